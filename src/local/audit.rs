//! What local commands write into the audit log, if the configuration names one.

use std::sync::Arc;

use podspawn_wire::Program;

use super::context::{Context, Settings};
use crate::names::UserName;
use crate::podfile;
use crate::session::audit::{Actor, Audit, Event};
use crate::session::{Observer, Orphan, Reason};
use crate::state::{SessionRecord, Workspace};
use crate::system::{Clock, SystemClock};

/// Writes down what the invoking user does.
#[derive(Debug, Clone)]
pub(super) struct Recorder {
    audit: Arc<Audit>,
    who: UserName,
}

impl Recorder {
    /// By these settings. The log of a server is its broker's.
    pub(super) fn new(settings: &Settings) -> Self {
        let file = settings.layers.config.log.audit_log.clone().filter(|_| !settings.is_server());
        Self { audit: Arc::new(Audit::new(file)), who: settings.owner.clone() }
    }

    /// Whether anything is written.
    fn is_on(&self) -> bool {
        self.audit.file().is_some()
    }

    fn actor(&self, owner: &str) -> Actor<'_> {
        if self.who.as_str() == owner { Actor::Owner } else { Actor::Operator(self.who.as_str()) }
    }

    fn write(&self, event: &Event<'_>, record: &SessionRecord) {
        self.audit.write(event, record, self.actor(record.key.user.as_str()), SystemClock.now());
    }
}

impl Observer for Recorder {
    fn created(&self, record: &SessionRecord) {
        self.write(&Event::Create, record);
    }

    fn removing(&self, _: &SessionRecord, _: Reason) {}

    fn removed(&self, record: &SessionRecord, reason: Reason) {
        if !record.container_id.is_empty() {
            self.write(&Event::Destroy { reason: reason.as_str() }, record);
        }
    }

    fn orphan_removed(&self, orphan: &Orphan<'_>) {
        self.audit.write_orphan(orphan, self.actor(orphan.user), SystemClock.now());
    }
}

impl Context {
    /// Why the audit log that the configuration names cannot be written, if it cannot.
    pub fn audit_fault(&self) -> Option<String> {
        let file = self.recorder.audit.file()?;
        let error = self.recorder.audit.check().err()?;
        Some(format!("the audit log `{}` cannot be written: {error}", file.display()))
    }

    /// A connection was made.
    pub(super) fn record_connect(&self, record: &SessionRecord) {
        if self.recorder.is_on() {
            let connections = self.core.leases().count(&record.id).unwrap_or_default();
            self.recorder.write(&Event::Connect { connections }, record);
        }
    }

    /// A connection is about to end, and with it perhaps its session.
    pub(super) fn record_disconnect(&self, record: &SessionRecord) {
        if self.recorder.is_on() {
            let connections = self.core.leases().count(&record.id).unwrap_or_default();
            self.recorder.write(&Event::Disconnect { remaining: connections.saturating_sub(1) }, record);
        }
    }

    /// What the user ran has come to its end.
    pub(super) fn record_command(&self, record: &SessionRecord, program: &Program, status: Option<u8>) {
        if self.recorder.is_on() {
            self.recorder.write(&Event::Command { command: &command_line(program), status }, record);
        }
    }

    /// The checkout of a machine was made, or removed for that reason.
    pub(super) fn record_workspace(&self, workspace: &Workspace, removed: Option<&str>) {
        let Recorder { audit, .. } = &self.recorder;
        let actor = self.recorder.actor(workspace.user.as_str());
        audit.write_workspace(workspace, removed, actor, SystemClock.now());
    }
}

/// A program as a shell would be told to run it; nothing for a shell.
fn command_line(program: &Program) -> String {
    match program {
        Program::Shell { .. } => String::new(),
        Program::CommandLine(line) => line.clone(),
        Program::Argv(argv) => argv.iter().map(|word| shell_word(word)).collect::<Vec<_>>().join(" "),
        Program::Sftp => "sftp".into(),
    }
}

fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "%+,-./:=@_".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => podfile::word(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_written_as_a_shell_reads_it() {
        let line =
            |argv: &[&str]| command_line(&Program::Argv(argv.iter().map(|word| (*word).into()).collect()));
        assert_eq!(line(&["make", "-j2", "CC=gcc"]), "make -j2 CC=gcc");
        assert_eq!(line(&["sh", "-c", "echo $x; it's"]), r"sh -c 'echo $x; it'\''s'");
        assert_eq!(line(&["printf", "", "*", "a b", "~"]), "printf '' '*' 'a b' '~'");
        assert_eq!(command_line(&Program::Shell { login: true }), "");
    }
}
