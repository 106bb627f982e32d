//! The names that people and programs give to things: one grammar each, checked here and nowhere else.
//!
//! A value of one of these types is valid: nothing downstream checks again, and no plain string reaches a shell line, a
//! path or an engine.

mod git;
mod github;
mod image_ref;
mod plain;
mod ports;
mod target;
mod volume;

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use thiserror::Error;

pub use git::{BranchName, GitUrl};
pub use github::GithubLogin;
pub use image_ref::ImageRef;
pub(crate) use plain::plain;
pub use ports::PortList;
pub use target::Target;
pub use volume::VolumeName;

/// A name that does not fit its grammar.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid {kind} {shown}: {rule}")]
pub struct NameError {
    /// What was being named, such as `machine name`.
    pub kind: &'static str,
    /// The text as typed, quoted, shortened and neutralised for a terminal.
    pub shown: String,
    /// The rule it breaks, in words.
    pub rule: String,
    /// A name that would do, where one is near.
    pub suggestion: Option<String>,
}

impl NameError {
    pub(crate) fn new(kind: &'static str, text: &str, rule: impl Into<String>) -> Self {
        Self { kind, shown: quoted(text), rule: rule.into(), suggestion: None }
    }
}

/// `[a-z][a-z0-9_-]{0,max-1}`. The order of the checks decides which of several broken rules is told: the one that says
/// most about what the writer had in mind comes first.
fn check(kind: &'static str, text: &str, max: usize) -> Result<(), NameError> {
    let error = |rule: String| Err(NameError::new(kind, text, rule));
    let Some(first) = text.chars().next() else {
        return error("it must not be empty".into());
    };
    if let Some(bad) = text.chars().find(|c| c.is_control()) {
        return error(format!("it contains the control character {bad:?}"));
    }
    if text.contains('/') {
        return error("it must not contain `/`: this is a name, not a path".into());
    }
    if text.contains("..") {
        return error("it must not contain `..`: this is a name, not a path".into());
    }
    if first == '-' {
        return error("it must not begin with `-`: it would be read as an option".into());
    }
    let length = text.chars().count();
    if length > max {
        return error(format!("it has {length} characters, at most {max} are allowed"));
    }
    if text.contains(|c: char| c.is_ascii_uppercase()) {
        let lower = text.to_ascii_lowercase();
        let suggestion = check(kind, &lower, max).is_ok().then_some(lower);
        let rule = "capital letters are not allowed (use a-z, 0-9, `_` and `-`)";
        return Err(NameError { suggestion, ..NameError::new(kind, text, rule) });
    }
    if let Some(bad) = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '_' | '-')) {
        return error(format!("{bad:?} is not allowed (use a-z, 0-9, `_` and `-`)"));
    }
    if !first.is_ascii_lowercase() {
        return error("it must begin with a letter (a-z)".into());
    }
    Ok(())
}

/// Whether a terminal or a reader's eye would be misled: C0, DEL, C1, and what changes the order or joins invisibly.
pub(crate) fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// The text with everything escaped that a terminal would not simply show.
pub(crate) fn printable(text: &str) -> String {
    let shown = |c: char| matches!(c, '\'' | '"' | '\\') || c.escape_debug().len() == 1;
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if shown(c) {
            out.push(c)
        } else {
            out.extend(c.escape_debug())
        }
        out
    })
}

/// The text between double quotes, control characters escaped, cut after 64 characters.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(64) {
        Some((at, _)) => format!("{:?}…", &text[..at]),
        None => format!("{text:?}"),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                check($kind, text, $max)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

name!(
    /// Owner of a session as podspawn keys it, and login name inside: `[a-z][a-z0-9_-]{0,31}`.
    UserName, "user name", 32
);
name!(
    /// A machine of the local mode: `[a-z][a-z0-9_-]{0,63}`.
    MachineName, "machine name", 64
);
name!(
    /// A registered project: `[a-z][a-z0-9_-]{0,63}`.
    ProjectName, "project name", 64
);
name!(
    /// A companion service; also its host name on the session's network: `[a-z][a-z0-9_-]{0,39}`.
    ServiceName, "service name", 40
);

impl UserName {
    /// A valid name derived from an account's name that may have capitals, dots or other letters (`Ann.Lee` → `ann-lee`).
    /// Equal accounts give equal names; an account without any usable letter gives `user`.
    pub fn derive(account: &str) -> Self {
        if let Ok(name) = account.parse() {
            return name;
        }
        let mut name: String = account
            .to_lowercase()
            .chars()
            .map(|c| if matches!(c, 'a'..='z' | '0'..='9' | '_') { c } else { '-' })
            .collect();
        name = name.trim_matches('-').chars().take(32).collect();
        if name.is_empty() {
            name = "user".into();
        } else if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
            name = format!("u{name}").chars().take(32).collect();
        }
        Self(name)
    }
}

/// Key of a session: its owner and a project or machine name, empty for the default session.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct SessionKey {
    /// The owner.
    pub user: UserName,
    /// Machine (local) or project (server) name; none for the default session.
    pub name: Option<MachineName>,
}

impl SessionKey {
    /// Key of a local machine.
    pub fn machine(user: UserName, name: MachineName) -> Self {
        Self { user, name: Some(name) }
    }

    /// The project column of the store: empty for the default session.
    pub fn project(&self) -> &str {
        self.name.as_ref().map_or("", MachineName::as_str)
    }

    /// Name of the container: `podspawn-<user>[-<name>]`, hyphens inside the user part doubled, so that no two keys share one.
    pub fn container_name(&self) -> String {
        let user = self.user.as_str().replace('-', "--");
        match &self.name {
            Some(name) => format!("podspawn-{user}-{name}"),
            None => format!("podspawn-{user}"),
        }
    }

    /// Name of a service's container. No container of a session has a dot in its name.
    pub fn service_container(&self, service: &ServiceName) -> String {
        format!("{}.{service}", self.container_name())
    }

    /// Name of a volume in the engine: of one user and one project, machine or dev session each.
    pub fn volume_name(&self, volume: &VolumeName) -> String {
        format!("{}.{volume}", self.container_name())
    }

    /// Name of the session's network.
    pub fn network_name(&self) -> String {
        format!("{}-net", self.container_name())
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{}@{name}", self.user),
            None => write!(f, "{}", self.user),
        }
    }
}

#[cfg(test)]
mod tests;
