//! The engines that the setup started, and a private place on each: a home, an owner name, the program under test.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::Result;

const FACTS: &str = "/run/podspawn-test/engines.env";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the setup wrote about the engines.
pub(crate) struct Facts(BTreeMap<String, String>);

impl Facts {
    pub(crate) fn read() -> Result<Self> {
        let text = std::fs::read_to_string(FACTS)
            .map_err(|error| format!("{FACTS}: {error} (run `make engines` first)"))?;
        Ok(Self(
            text.lines()
                .filter_map(|line| line.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        ))
    }

    /// A fact that the setup always writes.
    pub(crate) fn get(&self, name: &str) -> Result<&str> {
        Ok(self.0.get(name).ok_or_else(|| format!("{FACTS} does not name {name}"))?)
    }
}

/// An engine with everything that is needed to use it as one account.
pub(crate) struct Place {
    /// `Docker` or `Podman`.
    pub(crate) engine: &'static str,
    /// Owner of the machines made here.
    pub(crate) user: String,
    environment: Vec<(String, String)>,
    account: Option<(u32, u32)>,
    cli: Vec<String>,
    flags: Vec<&'static str>,
    root: TempDir,
}

impl Place {
    pub(crate) fn docker(facts: &Facts, program: &Path) -> Result<Self> {
        let socket = facts.get("DOCKER_SOCKET")?;
        let mut place = Self::new("Docker", program)?;
        place.environment.push(("DOCKER_HOST".into(), format!("unix://{socket}")));
        place.cli = vec![facts.get("DOCKER_CLI")?.into()];
        place.settle()
    }

    pub(crate) fn podman(facts: &Facts, program: &Path) -> Result<Self> {
        let mut place = Self::new("Podman", program)?;
        place.account = Some((facts.get("PODMAN_UID")?.parse()?, facts.get("PODMAN_GID")?.parse()?));
        place.environment.push(("XDG_RUNTIME_DIR".into(), facts.get("PODMAN_RUNTIME_DIR")?.into()));
        // podman itself finds its storage and configuration through the account's own home
        place.cli = vec!["env".into(), format!("HOME={}", facts.get("PODMAN_HOME")?), "podman".into()];
        place.flags = vec!["--runtime", "podman"];
        place.settle()
    }

    fn new(engine: &'static str, program: &Path) -> Result<Self> {
        let root = tempfile::Builder::new().prefix("podspawn-bench-").tempdir()?;
        std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755))?;
        std::fs::create_dir(root.path().join("home"))?;
        // alone in an empty folder that every account may enter
        std::fs::copy(program, root.path().join("podspawn"))
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let tail = root.path().file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let letters = tail.chars().rev().filter(char::is_ascii_alphanumeric).take(6);
        let user = format!("b{}", letters.collect::<String>().to_lowercase());
        let environment = vec![
            ("HOME".to_owned(), root.path().join("home").display().to_string()),
            ("USER".into(), user.clone()),
            ("LOGNAME".into(), user.clone()),
            ("PATH".into(), PATH.into()),
            ("TERM".into(), "xterm-256color".into()),
            ("LANG".into(), "C.UTF-8".into()),
        ];
        Ok(Self { engine, user, environment, account: None, cli: Vec::new(), flags: Vec::new(), root })
    }

    fn settle(self) -> Result<Self> {
        if let Some((uid, gid)) = self.account {
            chown(self.home(), Some(uid), Some(gid))?;
        }
        Ok(self)
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// `podspawn` with arguments.
    pub(crate) fn podspawn(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(&self.root.path().join("podspawn"));
        command.args(&self.flags).args(arguments);
        command
    }

    /// The engine's own program with arguments.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(Path::new(&self.cli[0]));
        command.args(&self.cli[1..]).args(arguments);
        command
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.home()).stdin(Stdio::null());
        self.as_account(&mut command);
        command
    }

    /// Uid and gid of the account that the engine belongs to, if it is not root's.
    pub(crate) fn account(&self) -> Option<(u32, u32)> {
        self.account
    }

    /// Lets the command run as the account that the engine belongs to.
    pub(crate) fn as_account(&self, command: &mut Command) {
        if let Some((uid, gid)) = self.account {
            command.uid(uid).gid(gid);
        }
    }

    pub(crate) fn engine_version(&self) -> Result<String> {
        let template = if self.engine == "Docker" { "{{.Server.Version}}" } else { "{{.Client.Version}}" };
        output(self.cli(&["version", "--format", template]))
    }
}

/// Runs a command to its end; its output without the last newline. Fails, with what it said, if it fails.
pub(crate) fn output(mut command: Command) -> Result<String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?}: {}: {}", output.status, said.trim()).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}
