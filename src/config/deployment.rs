//! Whether a command works for the invoking user or for a server.

use serde::Serialize;

/// For whom a command works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deployment {
    /// For the invoking user, whose state lies below `~/.podspawn`.
    Local,
    /// For a server, whose state lies in `/var/lib/podspawn`.
    Server,
}

/// Where a command can work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Always local, also on a server: `create`, `run`, `shell`, `exec`, `rm`, …
    AlwaysLocal,
    /// Local or for a server, by what the host is: `list`, `stop`, `status`, `cleanup`, `doctor`, `spec`, …
    Either,
    /// Only for a server.
    ServerOnly,
}

/// Decides for whom a command works: a host is a server if the server's configuration file exists, or if sshd's
/// configuration calls podspawn.
pub fn detect(reach: Reach, config_exists: bool, sshd_wired: bool) -> Deployment {
    match reach {
        Reach::AlwaysLocal => Deployment::Local,
        Reach::ServerOnly => Deployment::Server,
        Reach::Either if config_exists || sshd_wired => Deployment::Server,
        Reach::Either => Deployment::Local,
    }
}

/// Whether the text of an `sshd_config` has a line that is no comment and makes podspawn the source of keys.
pub fn sshd_is_wired(sshd_config: &str) -> bool {
    sshd_config.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next().is_some_and(|word| word.eq_ignore_ascii_case("AuthorizedKeysCommand"))
            && line.contains("podspawn auth-keys")
    })
}

/// The files that the text of an `sshd_config` names as ones to be read too, as they are written there; patterns name none.
pub fn sshd_includes(sshd_config: &str) -> impl Iterator<Item = &str> {
    let is_file = |word: &&str| !word.contains(['*', '?', '[']);
    sshd_config.lines().flat_map(move |line| {
        let blank = |c: char| c.is_whitespace() || matches!(c, '=' | '"');
        let mut words = line.split(blank).filter(|word| !word.is_empty());
        let includes = words.next().is_some_and(|word| word.eq_ignore_ascii_case("Include"));
        words.filter(move |word| includes && is_file(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_server_by_its_configuration_or_its_sshd() {
        for (config, sshd, either) in [
            (false, false, Deployment::Local),
            (true, false, Deployment::Server),
            (false, true, Deployment::Server),
            (true, true, Deployment::Server),
        ] {
            assert_eq!(detect(Reach::Either, config, sshd), either);
            assert_eq!(detect(Reach::AlwaysLocal, config, sshd), Deployment::Local);
            assert_eq!(detect(Reach::ServerOnly, config, sshd), Deployment::Server);
        }
    }

    #[test]
    fn files_that_sshd_reads_too_are_found_as_sshd_finds_them() {
        let text = "# Include /a\nInclude /etc/ssh/podspawn.conf\n\tinclude=\"b.conf\" /c.d/*.conf d.conf\r\nPort 22\n";
        let found: Vec<&str> = sshd_includes(text).collect();
        assert_eq!(found, ["/etc/ssh/podspawn.conf", "b.conf", "d.conf"]);
    }

    #[test]
    fn a_comment_does_not_wire_sshd() {
        assert!(sshd_is_wired("Port 22\n  authorizedkeyscommand /usr/local/bin/podspawn auth-keys %u\n"));
        assert!(!sshd_is_wired("#AuthorizedKeysCommand /usr/local/bin/podspawn auth-keys %u\n"));
        assert!(!sshd_is_wired("AuthorizedKeysCommand /usr/bin/other\n"));
        assert!(!sshd_is_wired("AuthorizedKeysCommandUser podspawn auth-keys\n"));
    }
}
