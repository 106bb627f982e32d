//! The audit log: who did what to which session, one JSON object a line. On a server the broker alone writes it; a local command
//! writes what it does itself.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::core::Orphan;
use crate::names::misleads;
use crate::state::{SessionRecord, Timestamp, Workspace};

/// podspawn itself, where it acts without being asked by anybody.
pub const ITSELF: &str = "podspawn";

/// Appends to the file that the configuration names.
#[derive(Debug)]
pub struct Audit {
    file: Option<PathBuf>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// Somebody connected.
    Connect {
        /// How many there are now.
        connections: usize,
    },
    /// A connection ended.
    Disconnect {
        /// How many are left.
        remaining: usize,
    },
    /// A container was made.
    Create,
    /// A container was removed.
    Destroy {
        /// Why, in a word.
        reason: &'a str,
    },
    /// A command ended.
    Command {
        /// As it was asked for; empty for a shell.
        command: &'a str,
        /// Its status; none if its client was gone first.
        status: Option<u8>,
    },
}

/// Who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor<'a> {
    /// Whose session it is.
    Owner,
    /// Somebody else: the account of an administrator, or podspawn.
    Operator(&'a str),
}

impl Actor<'_> {
    /// The kind of actor, and its name behind the kind.
    fn words(self, owner: &str) -> (&'static str, String) {
        let (kind, name) = match self {
            Self::Owner => ("human", owner),
            Self::Operator(name) => ("operator", name),
        };
        (kind, format!("{kind}:{name}"))
    }
}

impl Audit {
    /// That file; none writes nothing.
    pub fn new(file: Option<PathBuf>) -> Self {
        Self { file }
    }

    /// The file, if there is one.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Whether something could be written.
    pub fn check(&self) -> io::Result<()> {
        self.file().map_or(Ok(()), |file| open(file).map(drop))
    }

    /// Writes an event. An audit log that cannot be written stops nobody, and says so in the log.
    pub fn write(&self, event: &Event<'_>, record: &SessionRecord, actor: Actor<'_>, now: Timestamp) {
        let Some(file) = &self.file else { return };
        let name = match event {
            Event::Connect { .. } => "connect",
            Event::Disconnect { .. } => "disconnect",
            Event::Create => "container_create",
            Event::Destroy { .. } => "container_destroy",
            Event::Command { .. } => "command",
        };
        let mut line = envelope(name, record.key.user.as_str(), actor, now);
        let mut put = |key: &str, value: Value| line.insert(key.to_owned(), value);
        put("session_id", record.id.as_str().into());
        if !record.container_id.is_empty() {
            put("container_id", record.container_id.as_str().into());
        }
        put("project", record.key.project().into());
        if !matches!(event, Event::Command { .. }) {
            put("container", record.container_name.as_str().into());
        }
        match event {
            Event::Connect { connections } => {
                put("connections", (*connections).into());
            }
            Event::Disconnect { remaining } => {
                put("remaining_connections", (*remaining).into());
            }
            Event::Create => {
                put("image", record.image.as_str().into());
            }
            Event::Destroy { reason } => {
                put("reason", json!(reason));
            }
            Event::Command { command, status } => {
                put("command", json!(command));
                put("exit_code", json!(status));
                put("outcome", if *status == Some(0) { "success" } else { "failure" }.into());
                if command.is_empty() {
                    put("shell", true.into());
                }
            }
        }
        append(file, line);
    }

    /// A container went that had lost its session.
    pub fn write_orphan(&self, orphan: &Orphan<'_>, actor: Actor<'_>, now: Timestamp) {
        let Some(file) = &self.file else { return };
        let mut line = envelope("container_destroy", orphan.user, actor, now);
        let mut put = |key: &str, value: &str| line.insert(key.to_owned(), value.into());
        put("session_id", orphan.session);
        put("container_id", orphan.container);
        put("container", orphan.name);
        put("reason", "orphan");
        append(file, line);
    }

    /// A checkout of a machine was made, or removed for that reason.
    pub fn write_workspace(
        &self,
        workspace: &Workspace,
        removed: Option<&str>,
        actor: Actor<'_>,
        now: Timestamp,
    ) {
        let Some(file) = &self.file else { return };
        let name = if removed.is_some() { "workspace.delete" } else { "workspace.create" };
        let mut line = envelope(name, workspace.user.as_str(), actor, now);
        let mut put = |key: &str, value: &str| line.insert(key.to_owned(), value.into());
        put("workspace_id", &workspace.id);
        put("name", workspace.name.as_str());
        put("project", workspace.project.as_str());
        put("branch", workspace.branch.as_str());
        put("workspace", &workspace.path.display().to_string());
        if let Some(reason) = removed {
            put("reason", reason);
        }
        append(file, line);
    }
}

/// What every line begins with.
fn envelope(event: &str, user: &str, actor: Actor<'_>, now: Timestamp) -> Map<String, Value> {
    let (kind, actor) = actor.words(user);
    let now = now.to_string();
    let parts = [
        ("time", now.as_str()),
        ("level", "INFO"),
        ("msg", "audit"),
        ("event", event),
        ("user", user),
        ("timestamp", &now),
        ("actor", &actor),
        ("actor_kind", kind),
    ];
    parts.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect()
}

fn open(file: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(file)
}

/// Adds a line.
fn append(file: &Path, line: Map<String, Value>) {
    let text = safe(&Value::Object(line).to_string()) + "\n";
    // One write for each line: lines of several requests never mix.
    if let Err(error) = open(file).and_then(|mut file| file.write_all(text.as_bytes())) {
        tracing::error!(file = %file.display(), "the audit log cannot be written: {error}");
    }
}

/// JSON with escapes for what a terminal would act on: JSON itself asks for that below U+0020 only, and none of it stands
/// outside of a string.
fn safe(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if misleads(c) {
            text.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            text.push(c);
        }
    }
    text
}
