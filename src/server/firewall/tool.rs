//! The host's `iptables-save` and `iptables-restore`: whichever backend the host has chosen works through them.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};

use super::FirewallError;
use super::rules::{Family, Host, TABLE};
use crate::system::process::output_within;

/// Where the commands are looked for, whatever the caller's search path says.
const PLACES: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/usr/local/sbin"];
/// Seconds to wait for somebody else's change to be over.
const LOCK_WAIT: &str = "5";
/// Longest that a command may take: everybody who wants a session waits for it.
const LIMIT: Duration = Duration::from_secs(20);
/// Most of a command's complaint that is passed on, in characters.
const SAID_MAX: usize = 300;

/// The families that the kernel speaks.
pub(super) fn families() -> impl Iterator<Item = Family> {
    let v6 = Path::new("/proc/net/if_inet6").exists();
    std::iter::once(Family::V4).chain(v6.then_some(Family::V6))
}

/// What rules of a family depend on besides the table.
pub(super) fn host(family: Family) -> Host {
    let switch = match family {
        Family::V4 => "/proc/sys/net/bridge/bridge-nf-call-iptables",
        Family::V6 => "/proc/sys/net/bridge/bridge-nf-call-ip6tables",
    };
    // Not there: the module that does it is not loaded.
    let filters_bridges = std::fs::read_to_string(switch).is_ok_and(|text| text.trim() != "0");
    Host { filters_bridges }
}

/// The two commands of one family.
pub(super) struct Tools {
    save: (&'static str, PathBuf),
    restore: (&'static str, PathBuf),
}

impl Tools {
    pub(super) fn find(family: Family) -> Result<Self, FirewallError> {
        let (save, restore) = match family {
            Family::V4 => ("iptables-save", "iptables-restore"),
            Family::V6 => ("ip6tables-save", "ip6tables-restore"),
        };
        let find = |name: &'static str| {
            let path = PLACES.iter().map(|place| Path::new(place).join(name)).find(|path| path.exists());
            path.map(|path| (name, path)).ok_or(FirewallError::Missing(name))
        };
        Ok(Self { save: find(save)?, restore: find(restore)? })
    }

    /// Every rule of the table, as text.
    pub(super) fn save(&self) -> Result<String, FirewallError> {
        let (name, path) = &self.save;
        run(name, command(path).args(["-t", TABLE]).stdin(Stdio::null()), LIMIT)
    }

    /// Carries out a script as one transaction.
    pub(super) fn restore(&self, script: &str) -> Result<(), FirewallError> {
        let (name, path) = &self.restore;
        // A file, so that a command that does not read holds nobody up.
        let input = memfd_create("rules", MemfdFlags::CLOEXEC).map_err(io::Error::from).and_then(|file| {
            let mut file = File::from(file);
            file.write_all(script.as_bytes())?;
            file.rewind()?;
            Ok(file)
        });
        let input = input.map_err(|source| FirewallError::Run { command: name, source })?;
        run(name, command(path).args(["--noflush", "-w", LOCK_WAIT]).stdin(input), LIMIT).map(drop)
    }
}

fn command(path: &Path) -> Command {
    let mut command = Command::new(path);
    command.env_clear().env("PATH", PLACES.join(":")).env("LC_ALL", "C").current_dir("/");
    command
}

fn run(name: &'static str, command: &mut Command, limit: Duration) -> Result<String, FirewallError> {
    let output = output_within(command, limit).map_err(|error| {
        let source = match error.kind() {
            io::ErrorKind::TimedOut => io::Error::new(
                io::ErrorKind::TimedOut,
                format!("it did not end within {} s", limit.as_secs()),
            ),
            _ => error,
        };
        FirewallError::Run { command: name, source }
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: String = said.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(SAID_MAX).collect();
    let said = if said.is_empty() { output.status.to_string() } else { said };
    Err(FirewallError::Refused { command: name, said })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_does_not_end_is_an_error() {
        let error = run("sleep", Command::new("sleep").arg("1000"), Duration::from_millis(50)).unwrap_err();
        let FirewallError::Run { command: "sleep", source } = error else { panic!("{error}") };
        assert_eq!(source.to_string(), "it did not end within 0 s");
    }
}
