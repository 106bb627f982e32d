//! The audit log: who did what to which session, one JSON object a line. Written by the broker alone.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::names::misleads;
use crate::session::Orphan;
use crate::state::{SessionRecord, Timestamp};

/// Appends to the file that the configuration names.
#[derive(Debug)]
pub(super) struct Audit {
    file: Option<PathBuf>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// Somebody connected.
    Connect { connections: usize },
    /// A connection ended.
    Disconnect { remaining: usize },
    /// A container was made.
    Create,
    /// A container was removed.
    Destroy { reason: &'a str },
    /// A command or, where it is empty, a shell ended. No status: its client was gone first.
    Command { command: &'a str, status: Option<u8> },
}

impl Audit {
    pub(super) fn new(file: Option<PathBuf>) -> Self {
        Self { file }
    }

    /// Writes an event. An audit log that cannot be written stops nobody, and says so in the log.
    pub(super) fn write(&self, event: &Event<'_>, record: &SessionRecord, actor: &str, now: Timestamp) {
        let Some(file) = &self.file else { return };
        let kind = if actor == record.key.user.as_str() { "human" } else { "operator" };
        let mut line = Map::new();
        let mut put = |key: &str, value: Value| line.insert(key.to_owned(), value);
        put("time", now.to_string().into());
        put("level", "INFO".into());
        put("msg", "audit".into());
        let name = match event {
            Event::Connect { .. } => "connect",
            Event::Disconnect { .. } => "disconnect",
            Event::Create => "container_create",
            Event::Destroy { .. } => "container_destroy",
            Event::Command { .. } => "command",
        };
        put("event", name.into());
        put("user", record.key.user.as_str().into());
        put("timestamp", now.to_string().into());
        put("actor", format!("{kind}:{actor}").into());
        put("actor_kind", kind.into());
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
    pub(super) fn write_orphan(&self, orphan: &Orphan<'_>, now: Timestamp) {
        let Some(file) = &self.file else { return };
        let line = json!({
            "time": now.to_string(),
            "level": "INFO",
            "msg": "audit",
            "event": "container_destroy",
            "user": orphan.user,
            "timestamp": now.to_string(),
            "actor": "operator:podspawn",
            "actor_kind": "operator",
            "session_id": orphan.session,
            "container_id": orphan.container,
            "container": orphan.name,
            "reason": "orphan",
        });
        append(file, line.as_object().cloned().unwrap_or_default());
    }
}

/// Adds a line.
fn append(file: &Path, line: Map<String, Value>) {
    let text = safe(&Value::Object(line).to_string()) + "\n";
    let opened =
        OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(file);
    // One write for each line: lines of several requests never mix.
    if let Err(error) = opened.and_then(|mut file| file.write_all(text.as_bytes())) {
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
