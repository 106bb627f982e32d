//! PAM, and forwarding, which depends on it.

use std::io;
use std::path::Path;

use super::{SET_UP, Server};
use crate::check::Check;
use crate::config::Forwarding;
use crate::server::forwarding::{self, Reason};
use crate::server::pam::{self, PamError};
use crate::system::files::TrustError;
use crate::system::pam_module::{Match, compare, pam_hash};

/// A check, and whether what it looked at does its work.
pub(super) struct Judged {
    pub(super) check: Check,
    pub(super) good: bool,
}

impl Judged {
    fn good(check: Check) -> Self {
        Self { check, good: true }
    }

    fn bad(check: Check) -> Self {
        Self { check, good: false }
    }
}

impl Server {
    pub(super) fn module(&self) -> Judged {
        const NAME: &str = "PAM module";
        let module = pam::module(&self.place.config);
        let shown = module.display();
        match compare(&module) {
            Ok(Match::Same) => {
                let hash = &pam_hash()[..16];
                Judged::good(Check::pass(NAME, format!("{shown}, SHA-256 {hash}…")))
            }
            Ok(Match::Other) => Judged::bad(Check::warn(
                NAME,
                format!("{shown} is damaged, or of another version of podspawn"),
                SET_UP,
            )),
            Err(error) => Judged::bad(match of(&error) {
                Some(io::ErrorKind::NotFound) => Check::warn(NAME, format!("{shown} is missing"), SET_UP),
                Some(io::ErrorKind::PermissionDenied) if self.uid != 0 => Check::unseen(NAME, shown),
                // sshd loads it as root.
                _ => Check::fail(NAME, error.to_string(), format!("{SET_UP}, and `ls -ld` the directory")),
            }),
        }
    }

    /// `named`: the service file that sshd's own configuration names, if it does.
    pub(super) fn line(&self, named: Option<&Path>) -> Judged {
        const NAME: &str = "PAM line";
        let file = match pam::service_file(&self.place.config_dir) {
            Ok(file) => file,
            Err(error) => return Judged::bad(Check::fail(NAME, error.to_string(), SET_UP)),
        };
        let shown = file.display();
        if let Some(named) = named.filter(|named| *named != file) {
            let named = named.display();
            let detail = format!("sshd uses {named} (`PAMServiceName`), and podspawn's line is for {shown}");
            return Judged::bad(Check::warn(NAME, detail, SET_UP));
        }
        match pam::read(&file) {
            Ok(text) if pam::is_wired(&text, &self.place.config) => {
                Judged::good(Check::pass(NAME, format!("first of the session lines of {shown}")))
            }
            Ok(text) if pam::unwired(&text) != text => Judged::bad(Check::warn(
                NAME,
                format!("{shown} has a line of podspawn's, but not first, or of another installation"),
                SET_UP,
            )),
            Ok(_) => Judged::bad(Check::warn(NAME, format!("{shown} has no line of podspawn's"), SET_UP)),
            Err(PamError::Service(error)) => Judged::bad(match of(&error) {
                Some(io::ErrorKind::NotFound) => {
                    Check::warn(NAME, format!("{shown} does not exist"), "install sshd with PAM")
                }
                Some(io::ErrorKind::PermissionDenied) if self.uid != 0 => Check::unseen(NAME, shown),
                _ => Check::fail(NAME, error.to_string(), format!("chown root {shown}; chmod 644 {shown}")),
            }),
            Err(error) => Judged::bad(Check::fail(NAME, error.to_string(), format!("look at {shown}"))),
        }
    }

    /// Whether anything is forwarded, and why not. Without PAM nothing is, whatever sshd's lines allow: keys grant it only
    /// where sshd has loaded the module. `wired`: the line is where sshd reads it.
    pub(super) fn forwarding(&self, uses_pam: Option<bool>, wired: bool) -> Check {
        const NAME: &str = "forwarding";
        let config = &self.place.config;
        match (forwarding::ready(config, &self.place.config_dir), uses_pam) {
            // That is what the administrator wants.
            (Err(reason @ Reason::Off(_)), _) => Check::pass(NAME, format!("off: {reason}")).shown(),
            (Err(reason), _) => Check::warn(NAME, format!("off: {reason}"), SET_UP),
            (Ok(()), Some(false)) => {
                let file = self.sshd_config.display();
                let fix = format!("set `UsePAM yes` in {file}, then run `{SET_UP}`");
                Check::warn(NAME, format!("off: {file} has no `UsePAM yes`"), fix)
            }
            (Ok(()), _) if !wired => Check::warn(NAME, "off: sshd does not load the PAM module", SET_UP),
            (Ok(()), known) => {
                let way = match config.server.forwarding {
                    Forwarding::Running => "running: a connection joins a container that runs",
                    _ => "on-demand: a connection gets its container in time",
                };
                let unless = if known.is_none() { ", unless sshd has `UsePAM no`" } else { "" };
                Check::pass(NAME, format!("{way}{unless}"))
            }
        }
    }
}

fn of(error: &TrustError) -> Option<io::ErrorKind> {
    match error {
        TrustError::Io { source, .. } => Some(source.kind()),
        _ => None,
    }
}
