//! sshd and its configuration.

use std::io;
use std::path::{Path, PathBuf};

use super::{SET_UP, Server, some_of};
use crate::check::Check;
use crate::server::forwarding;
use crate::server::setup::{Look, PENDING, SetupError, Wired, open_ssh};

/// Least version of OpenSSH that has everything that is relied on.
const LEAST: (u32, u32) = (7, 4);

/// Most of sshd's complaint that is shown, in characters.
const SAID_MAX: usize = 200;

const INSTALL: &str = "install the package `openssh-server`";

/// What the other checks want to know of sshd.
pub(super) struct Found {
    /// `UsePAM yes` is in force; none if that is not known.
    pub(super) uses_pam: Option<bool>,
    /// The PAM service file that sshd's configuration names, if it names one.
    pub(super) pam_service: Option<PathBuf>,
    /// Program that sshd asks for keys.
    pub(super) program: PathBuf,
}

pub(super) fn version() -> Check {
    const NAME: &str = "OpenSSH version";
    let Some(version) = open_ssh() else {
        return Check::fail(NAME, "neither `sshd -V` nor `ssh -V` names OpenSSH", INSTALL);
    };
    if is_recent(&version) {
        return Check::pass(NAME, version);
    }
    let (major, minor) = LEAST;
    Check::fail(NAME, format!("{version} is older than {major}.{minor}"), "bring OpenSSH up to date")
}

fn is_recent(version: &str) -> bool {
    let mut numbers =
        version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= LEAST
}

pub(super) fn valid(sshd_config: &Path, uid: u32) -> Check {
    const NAME: &str = "sshd config valid";
    let shown = sshd_config.display();
    let fix = format!("correct {shown}; `sshd -t -f {shown}` says what is wrong");
    match Look::at(sshd_config).and_then(|look| look.valid()) {
        Ok(Ok(())) => Check::pass(NAME, format!("`sshd -t` accepts {shown}")),
        // Host keys are root's, and sshd wants to read them.
        Ok(Err(_)) if uid != 0 => Check::unseen(NAME, "it: sshd wants to read its host keys"),
        Ok(Err(said)) => Check::fail(NAME, said.chars().take(SAID_MAX).collect::<String>(), fix),
        Err(SetupError::NoSshd) => Check::fail(NAME, "there is no `sshd`", INSTALL),
        Err(error) if uid != 0 && is_closed(&error) => Check::unseen(NAME, shown),
        Err(error) => Check::fail(NAME, format!("failed to {error}"), fix),
    }
}

pub(super) fn asks_podspawn(sshd_config: &Path, uid: u32) -> Check {
    const NAME: &str = "AuthorizedKeysCommand";
    let shown = sshd_config.display();
    match Look::at(sshd_config).and_then(|look| look.asks_podspawn()) {
        Ok(true) => Check::pass(NAME, format!("{shown} asks podspawn for keys")),
        Ok(false) => Check::warn(NAME, format!("{shown} does not ask podspawn for keys"), SET_UP),
        Err(SetupError::NoSshd) => Check::fail(NAME, "there is no `sshd`", INSTALL),
        Err(error) if uid != 0 && is_closed(&error) => Check::unseen(NAME, shown),
        Err(error) => Check::fail(NAME, format!("failed to {error}"), format!("ls -l {shown}")),
    }
}

fn is_closed(error: &SetupError) -> bool {
    matches!(error, SetupError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
}

impl Server {
    /// What is in force for container users, and for everybody else.
    pub(super) fn sshd(&self, tell: &dyn Fn(Check)) -> Found {
        const OURS: &str = "sshd for container users";
        const OTHERS: &str = "sshd for everybody else";
        let mut found = Found { uses_pam: None, pam_service: None, program: self.program.clone() };
        if self.uid != 0 {
            tell(Check::unseen(OURS, "what is in force: sshd wants to read its host keys"));
            return found;
        }
        let ready = forwarding::ready(&self.place.config, &self.place.config_dir).is_ok();
        let member = self.members().next().map(|user| user.name.as_str());
        let looked = Look::at(&self.sshd_config).and_then(|look| {
            if let Ok(Ok(pam)) = look.pam() {
                found.uses_pam = Some(pam.on);
                found.pam_service = pam.service;
            }
            look.wired(&self.place, &self.installation, &self.program, member, ready)
        });
        match looked {
            Ok(Ok(Some(wired))) => {
                found.program.clone_from(&wired.program);
                tell(self.for_container_users(OURS, &wired));
                tell(match wired.objection {
                    None => Check::pass(OTHERS, "nothing of podspawn's holds for them"),
                    Some(why) => Check::fail(OTHERS, why, SET_UP),
                });
            }
            Ok(Ok(None)) => tell(Check::fail(
                OURS,
                format!("{} does not lead anybody into a container", self.sshd_config.display()),
                SET_UP,
            )),
            Ok(Err(said)) => {
                let said: String = said.chars().take(SAID_MAX).collect();
                tell(Check::fail(OURS, said, "see `sshd config valid`"));
            }
            Err(error) => tell(Check::fail(OURS, format!("failed to {error}"), SET_UP)),
        }
        found
    }

    fn for_container_users(&self, name: &str, wired: &Wired) -> Check {
        let program = wired.program.display();
        if let Some(why) = &wired.untrusted {
            let fix = format!("put podspawn where only root may write, and run `{SET_UP}` with it");
            return Check::fail(name, format!("sshd would not run {program}: {why}"), fix);
        }
        if !wired.missing.is_empty() {
            let lacks = format!("what should be in force is not: {}", some_of(&wired.missing));
            return Check::fail(name, lacks, SET_UP);
        }
        if let Some(why) = &wired.locked_out {
            let shown = self.sshd_config.display();
            let fix = format!("correct that line in {shown}, or in a file that it includes");
            return Check::fail(name, format!("no container user gets in: {why}"), fix);
        }
        if !wired.first {
            return Check::warn(name, "podspawn's file is not the first thing that sshd reads", SET_UP);
        }
        if self.place.config.server.run_dir.join(PENDING).exists() {
            return Check::warn(name, "sshd was not told of its new configuration", SET_UP);
        }
        Check::pass(name, format!("`sshd -T` shows every line in force, with {program}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (version, recent) in
            [("7.4", true), ("7.3p1", false), ("10.0p2", true), ("9.2", true), ("6.9p1", false)]
        {
            assert_eq!(is_recent(version), recent, "{version}");
        }
    }
}
