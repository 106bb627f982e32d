//! The file that sshd includes: what holds for container users, and root's emergency keys. Pure.

use std::path::{Path, PathBuf};

use super::error::SetupError;

/// What the file is made of; every part is checked when the text is made.
#[derive(Debug, Clone)]
pub(super) struct Block {
    /// Group of container users.
    pub(super) group: String,
    /// Account that sshd asks for keys as.
    pub(super) auth_account: String,
    /// This program.
    pub(super) binary: PathBuf,
    /// The configuration file, if it is not the usual one.
    pub(super) config_flag: Option<PathBuf>,
    /// The broker's socket, if it is not the usual one.
    pub(super) socket_flag: Option<PathBuf>,
    /// Forwarding cannot end on the host.
    pub(super) forwarding: bool,
    /// Where root's keys are by the rest of the configuration, as `sshd -T` prints it.
    pub(super) root_keys: String,
    /// Keys that let root in when nothing else does.
    pub(super) emergency_keys: PathBuf,
    /// Connections that may be open without being logged in, if something was asked for.
    pub(super) max_startups: Option<String>,
}

/// What a container user's connection gets, one keyword and value each.
pub(super) type Lines = Vec<(&'static str, String)>;

/// Words of `AcceptEnv`.
const ENVIRONMENT: [&str; 3] = ["PODSPAWN_PROJECT", "LANG", "LC_*"];

/// Variables that are nothing in what sshd starts for container users, whatever a client sends and the rest of sshd's
/// configuration accepts: by them the dynamic linker and shells of this host would read or run what their owner wishes before the
/// first line of the stub does.
pub const CLEARED: [&str; 12] = [
    "LD_PRELOAD",
    "LD_AUDIT",
    "LD_LIBRARY_PATH",
    "LD_DEBUG",
    "LD_DEBUG_OUTPUT",
    "LD_PROFILE",
    "LD_PROFILE_OUTPUT",
    "GLIBC_TUNABLES",
    "BASH_ENV",
    "ENV",
    "SHELLOPTS",
    "PS4",
];

impl Block {
    /// The whole file.
    pub(super) fn text(&self) -> Result<String, SetupError> {
        self.for_whom(&format!("Group {}", self.group))
    }

    /// The file with its lines for container users meant for one account instead: `sshd -T` then shows what members of the
    /// group would get, without one.
    pub(super) fn rehearsal(&self, user: &str) -> Result<String, SetupError> {
        self.for_whom(&format!("User {user}"))
    }

    fn for_whom(&self, whom: &str) -> Result<String, SetupError> {
        let mut text = String::from(
            "# Made by `podspawn server-setup`, which writes it anew when it runs again; `--remove` takes it away.\n",
        );
        if let Some(value) = &self.max_startups {
            text.push_str(&format!(
                "\n# Connections that may be open without being logged in.\nMaxStartups {value}\n"
            ));
        }
        text.push_str(&format!(
            "\n# Root's keys, and those that let root in when nothing else does.\nMatch User root\n    \
             AuthorizedKeysFile {}\n",
            self.root_keys_with_emergency()?
        ));
        text.push_str(
            "\n# Container users. Nothing here holds for anybody else. podspawn looks at the variables again: whatever\n\
             # sshd accepts besides these, by lines elsewhere, goes no further.\n",
        );
        text.push_str(&format!("Match {whom}\n"));
        for (keyword, value) in self.lines()? {
            text.push_str(&format!("    {keyword} {value}\n"));
        }
        Ok(text)
    }

    /// The value of `AuthorizedKeysFile` for root.
    pub(super) fn root_keys_with_emergency(&self) -> Result<String, SetupError> {
        let emergency = word(&self.emergency_keys)?;
        Ok(match self.root_keys.as_str() {
            "none" => emergency.to_owned(),
            others => format!("{others} {emergency}"),
        })
    }

    /// What a container user's connection gets.
    pub(super) fn lines(&self) -> Result<Lines, SetupError> {
        let binary = word(&self.binary)?;
        let flag = |name: &str, path: &Option<PathBuf>| -> Result<String, SetupError> {
            path.as_ref().map_or(Ok(String::new()), |path| Ok(format!(" {name} {}", word(path)?)))
        };
        let keys = format!("{binary} auth-keys{} %u %t %k", flag("--config", &self.config_flag)?);
        let stub = format!("{binary} spawn{}", flag("--socket", &self.socket_flag)?);
        let forwarding = if self.forwarding { "yes" } else { "no" };
        let lines: [(&str, &str); 22] = [
            ("AuthorizedKeysCommand", &keys),
            ("AuthorizedKeysCommandUser", &self.auth_account),
            ("AuthenticationMethods", "publickey"),
            ("PubkeyAuthentication", "yes"),
            ("PasswordAuthentication", "no"),
            ("KbdInteractiveAuthentication", "no"),
            ("AuthorizedKeysFile", "none"),
            ("TrustedUserCAKeys", "none"),
            ("AuthorizedPrincipalsFile", "none"),
            ("ForceCommand", &stub),
            ("AllowTcpForwarding", forwarding),
            ("X11Forwarding", forwarding),
            ("X11UseLocalhost", "yes"),
            ("GatewayPorts", "no"),
            ("AllowStreamLocalForwarding", "no"),
            ("PermitTunnel", "no"),
            ("PermitUserRC", "no"),
            ("PermitTTY", "yes"),
            ("AllowAgentForwarding", "yes"),
            ("ChrootDirectory", "none"),
            ("ClientAliveInterval", "30"),
            ("ClientAliveCountMax", "4"),
        ];
        let mut lines: Lines = lines.map(|(keyword, value)| (keyword, value.to_owned())).into();
        lines.push(("AcceptEnv", ENVIRONMENT.join(" ")));
        lines.push(("SetEnv", CLEARED.map(|name| format!("{name}=")).join(" ")));
        Ok(lines)
    }
}

/// The lines of `sshd -T` that show the lines of ours in force.
pub(super) fn in_force(lines: &Lines) -> Vec<String> {
    let mut shown = Vec::new();
    for (keyword, value) in lines {
        let keyword = keyword.to_ascii_lowercase();
        if ["acceptenv", "setenv"].contains(&keyword.as_str()) {
            shown.extend(value.split(' ').map(|word| format!("{keyword} {word}")));
        } else {
            shown.push(format!("{keyword} {value}"));
        }
    }
    shown
}

/// A path that sshd, and the shell that it runs `ForceCommand` with, read as one word and as it stands.
pub(super) fn word(path: &Path) -> Result<&str, SetupError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._+-@,:".contains(c);
    match path.to_str() {
        Some(text) if path.is_absolute() && text.chars().all(plain) => Ok(text),
        _ => Err(SetupError::Name(path.to_owned())),
    }
}

/// The value of `MaxStartups` in a file of ours.
pub(super) fn max_startups(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("MaxStartups "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block() -> Block {
        Block {
            group: "podspawn-users".into(),
            auth_account: "podspawn-auth".into(),
            binary: "/usr/bin/podspawn".into(),
            config_flag: None,
            socket_flag: None,
            forwarding: true,
            root_keys: ".ssh/authorized_keys .ssh/authorized_keys2".into(),
            emergency_keys: "/etc/podspawn/emergency.keys".into(),
            max_startups: None,
        }
    }

    #[test]
    fn everything_for_container_users_stands_behind_their_match() {
        let text = block().text().unwrap();
        let (before, after) = text.split_once("Match Group podspawn-users\n").unwrap();
        for (keyword, _) in block().lines().unwrap() {
            assert!(after.contains(&format!("    {keyword} ")), "{keyword}");
        }
        let root = "Match User root\n    AuthorizedKeysFile .ssh/authorized_keys .ssh/authorized_keys2 \
                    /etc/podspawn/emergency.keys\n";
        assert!(before.contains(root), "{before}");
        assert!(after.contains("    AuthorizedKeysCommand /usr/bin/podspawn auth-keys %u %t %k\n"));
        assert!(after.contains("    ForceCommand /usr/bin/podspawn spawn\n"));
        assert!(!after.contains("Match"));
        assert_eq!(max_startups(&text), None);
    }

    #[test]
    fn another_installation_is_named_in_its_commands() {
        let block = Block {
            config_flag: Some("/srv/p/config.yaml".into()),
            socket_flag: Some("/srv/p/run/broker.sock".into()),
            forwarding: false,
            root_keys: "none".into(),
            max_startups: Some("100:30:200".into()),
            ..block()
        };
        let text = block.text().unwrap();
        assert!(text.contains("auth-keys --config /srv/p/config.yaml %u %t %k\n"));
        assert!(text.contains("ForceCommand /usr/bin/podspawn spawn --socket /srv/p/run/broker.sock\n"));
        assert!(text.contains("AllowTcpForwarding no\n") && text.contains("X11Forwarding no\n"));
        assert!(text.contains("AuthorizedKeysFile /etc/podspawn/emergency.keys\n"));
        assert_eq!(max_startups(&text), Some("100:30:200"));
        assert!(text.find("MaxStartups").unwrap() < text.find("Match").unwrap());
    }

    #[test]
    fn what_sshd_would_read_otherwise_is_refused() {
        for path in ["/opt/pod spawn", "/opt/%u", "/opt/$(id)", "/opt/a;b", "relative", "/opt/\"x", "/opt/é"]
        {
            let block = Block { binary: path.into(), ..block() };
            assert!(matches!(block.text(), Err(SetupError::Name(_))), "{path}");
        }
    }

    #[test]
    fn sshd_shows_variables_one_by_one() {
        let shown = in_force(&block().lines().unwrap());
        assert!(shown.contains(&"acceptenv LC_*".to_owned()));
        assert!(shown.contains(&"setenv LD_PRELOAD=".to_owned()));
        assert!(shown.contains(&"forcecommand /usr/bin/podspawn spawn".to_owned()));
    }
}
