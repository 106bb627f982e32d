//! The broker, and what it is responsible for: state, engine, packet filter, the end of sessions.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::{SET_UP, Server, some_of};
use crate::check::Check;
use crate::config::{EngineChoice, Forwarding};
use crate::names::quoted;
use crate::server::admin::{AdminRequest, AskError, Examined, ask_within};
use crate::server::firewall::{self, Status};
use crate::server::installation::{maintenance, socket, state_dir};
use crate::server::setup::{has_systemd, unit_is_active};
use crate::session::GUARDED_BRIDGE_PREFIX;

/// Longest wait for the broker's answer, which asks the engine.
const ANSWER_LIMIT: Duration = Duration::from_secs(8);

/// What every SQLite database begins with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

const START: &str = "podspawn broker --detach";

impl Server {
    /// `starts_broker`: a login starts it where nobody else does.
    pub(super) fn broker(&self, starts_broker: bool, tell: &dyn Fn(Check)) {
        let asked = ask_within::<Examined>(&socket(&self.place.config), &AdminRequest::Examine, ANSWER_LIMIT);
        let (check, examined) = match asked {
            Ok(mut answers) => match answers.pop() {
                Some(examined) => (Check::pass("broker", "it answers"), Some(examined)),
                None => (self.unanswered(&AskError::Answer), None),
            },
            Err(AskError::NoBroker { source, .. }) => (self.absent(&source, starts_broker), None),
            Err(error) => (self.unanswered(&error), None),
        };
        tell(check);
        tell(self.database(examined.is_some()));
        if let Some(examined) = &examined {
            tell(match &examined.engine {
                Ok(engine)
                    if !examined.networks && self.place.config.server.forwarding != Forwarding::Off =>
                {
                    Check::warn(
                        "engine of the broker",
                        format!("{engine}: nothing is forwarded, its sandboxes have networks of their own"),
                        "add `--network=host` to runtimeArgs of `runsc` (docs/engines.md), or set server.forwarding: off",
                    )
                }
                Ok(engine) => Check::pass("engine of the broker", engine.as_str()),
                Err(error) => {
                    Check::fail("engine of the broker", error, "see `engine choice`; start the engine")
                }
            });
        }
        tell(self.packet_filter(examined.as_ref()));
        tell(self.cleanup(examined.as_ref()));
        if let Some(orphans) = examined.and_then(|examined| examined.orphans) {
            tell(lost(&orphans));
        }
    }

    /// It is there, and of no use: hung, or of another version. Another one in its place ends no session.
    fn unanswered(&self, error: &AskError) -> Check {
        let fix = match has_systemd() && self.installation.config_flag().is_none() {
            true => "systemctl restart podspawn-broker.service",
            false => "end the broker's process: the next login starts another, and no session ends",
        };
        Check::fail("broker", error.to_string(), fix)
    }

    fn absent(&self, source: &io::Error, starts_broker: bool) -> Check {
        const NAME: &str = "broker";
        let path = socket(&self.place.config);
        let shown = path.display();
        if self.is_closed(source) {
            return Check::unseen(NAME, shown);
        }
        let mark = maintenance(&path);
        if mark.symlink_metadata().is_ok() {
            let detail = format!("{} is there: no login starts it", mark.display());
            return Check::fail(NAME, detail, format!("rm {}", mark.display()));
        }
        let by_systemd = has_systemd() && self.installation.config_flag().is_none();
        let unit = "podspawn-broker.socket";
        if by_systemd && !unit_is_active(unit) {
            return Check::fail(
                NAME,
                format!("{unit} is not active"),
                format!("systemctl enable --now {unit}"),
            );
        }
        if source.kind() != io::ErrorKind::NotFound {
            // Whoever ends as it should takes its socket away.
            let detail =
                format!("nobody listens at {shown}: it was killed, and until it runs nothing expires");
            return Check::warn(NAME, detail, START);
        }
        if starts_broker {
            return Check::pass(NAME, "does not run: nothing is to be done, and the next login starts it");
        }
        Check::fail(
            NAME,
            "does not run, and without the PAM module no login starts it",
            format!("{START}, and {SET_UP}"),
        )
    }

    /// Nothing is opened that the broker may be writing: what it says of it is enough.
    fn database(&self, in_use: bool) -> Check {
        const NAME: &str = "state database";
        let path = &self.place.config.state.db_path;
        let shown = path.display();
        if self.uid != 0 {
            return Check::unseen(NAME, shown);
        }
        let facts = match fs::symlink_metadata(path) {
            Ok(facts) => facts,
            Err(error) => return Check::fail(NAME, format!("{shown}: {error}"), SET_UP),
        };
        let begins_well = || {
            let mut begin = [0; MAGIC.len()];
            File::open(path).and_then(|mut file| file.read_exact(&mut begin)).is_ok() && begin == *MAGIC
        };
        // What is no file is not opened: that could take for ever.
        if !facts.is_file() || !begins_well() {
            let fix = format!(
                "move {shown} out of the way: `{SET_UP}`, or the broker when it starts, makes a new one, and sessions of the old are lost"
            );
            return Check::fail(NAME, format!("{shown} is no database"), fix);
        }
        let owner = match self.owner() {
            Ok(Some(owner)) => owner,
            _ => {
                return Check::fail(
                    NAME,
                    "the account of the broker is not known",
                    "see `account of the broker`",
                );
            }
        };
        for place in [path.as_path(), state_dir(&self.place.config), &self.place.config.state.lock_dir] {
            let Ok(facts) = fs::metadata(place) else { continue };
            let mode = facts.mode() & 0o7777;
            if facts.uid() != owner.uid || mode & 0o022 != 0 {
                let detail = format!(
                    "{} has to be of `{}` alone (uid {}, mode {mode:04o})",
                    place.display(),
                    owner.name,
                    facts.uid()
                );
                return Check::fail(NAME, detail, SET_UP);
            }
        }
        Check::pass(NAME, format!("{shown}{}", if in_use { ", in use" } else { "" }))
    }

    fn packet_filter(&self, examined: Option<&Examined>) -> Check {
        const NAME: &str = "packet filter";
        let config = &self.place.config;
        if config.server.account.is_some() || config.engine() == Some(EngineChoice::Podman) {
            let detail =
                "not podspawn's for a rootless engine: docs/firewall.md has rules for administrators";
            return Check::pass(NAME, detail).shown();
        }
        if self.uid != 0 {
            return Check::unseen(NAME, "rules");
        }
        let bridges = || {
            let is_bridge = |entry: fs::DirEntry| {
                entry.file_name().as_encoded_bytes().starts_with(GUARDED_BRIDGE_PREFIX.as_bytes())
            };
            fs::read_dir("/sys/class/net").is_ok_and(|entries| entries.flatten().any(is_bridge))
        };
        let sessions = examined.is_some_and(|examined| examined.sessions > 0) || bridges();
        match firewall::status() {
            Status::InForce => Check::pass(NAME, "containers are kept away from this host"),
            Status::NotInForce { .. } if !sessions => {
                Check::pass(NAME, "no rules yet: the broker sets them before it makes the first container")
            }
            Status::NotInForce { detail, remedy } => {
                Check::fail(NAME, format!("containers are not kept away from this host: {detail}"), remedy)
            }
            Status::Unknown { detail, remedy } => Check::fail(NAME, format!("failed to {detail}"), remedy),
        }
    }

    fn cleanup(&self, examined: Option<&Examined>) -> Check {
        const NAME: &str = "cleanup";
        let overdue = examined.map_or(0, |examined| examined.overdue);
        if overdue > 0 {
            let detail = format!("sessions that should have ended are still there: {overdue}");
            return Check::warn(NAME, detail, "podspawn cleanup");
        }
        let (service, timer) = ("podspawn-cleanup.service", "podspawn-cleanup.timer");
        let by_systemd = has_systemd() && self.installation.config_flag().is_none();
        if by_systemd && !unit_is_active(service) && !unit_is_active(timer) {
            let detail = format!("neither {service} nor {timer} is active: leftovers of crashes stay");
            return Check::warn(NAME, detail, format!("systemctl enable --now {service}"));
        }
        match examined {
            Some(_) => Check::pass(NAME, "no session is there past its end"),
            None => Check::pass(NAME, "the broker ends what has expired while it runs"),
        }
    }
}

fn lost(orphans: &[String]) -> Check {
    if orphans.is_empty() {
        return Check::pass("orphans", "every container belongs to a session");
    }
    // Whoever can make containers gives them names.
    let names: Vec<String> = orphans.iter().map(|name| quoted(name)).collect();
    Check::warn("orphans", format!("containers without a session: {}", some_of(&names)), "podspawn cleanup")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;

    #[test]
    fn lost_containers_are_named_with_what_removes_them() {
        assert_eq!(lost(&[]).outcome, Outcome::Pass);
        let check = lost(&["podspawn-ann\x1b[2J".into()]);
        assert_eq!(check.outcome, Outcome::Warn);
        assert!(check.detail.ends_with(r#""podspawn-ann\u{1b}[2J""#), "{check:?}");
    }
}
