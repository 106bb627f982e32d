//! The names that people and programs give to things: one grammar each, checked here and nowhere else.
//!
//! A value of one of these types is valid: nothing downstream checks again, and no plain string reaches a shell line, a
//! path or an engine.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A name that does not fit its grammar.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid {kind} name {shown}: {rule}")]
pub struct NameError {
    /// What was being named, such as `machine`.
    pub kind: &'static str,
    /// The text as typed, quoted and neutralised for a terminal.
    pub shown: String,
    /// The rule it breaks, in words.
    pub rule: String,
}

/// `[a-z][a-z0-9_-]{0,max-1}`
fn check(kind: &'static str, text: &str, max: usize) -> Result<(), NameError> {
    let error = |rule: String| NameError { kind, shown: format!("{:?}", shorten(text)), rule };
    let Some(first) = text.chars().next() else {
        return Err(error("it must not be empty".into()));
    };
    if !first.is_ascii_lowercase() {
        return Err(error("it must begin with a lower-case letter (a-z)".into()));
    }
    if let Some(bad) = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '_' | '-')) {
        return Err(error(format!("{bad:?} is not allowed (use a-z, 0-9, `_` and `-`)")));
    }
    if text.len() > max {
        return Err(error(format!("it has {} characters, at most {max} are allowed", text.len())));
    }
    Ok(())
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(64) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
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
    };
}

name!(
    /// Owner of a session as podspawn keys it, and login name inside: `[a-z][a-z0-9_-]{0,31}`.
    UserName, "user", 32
);
name!(
    /// A machine of the local mode: `[a-z][a-z0-9_-]{0,63}`.
    MachineName, "machine", 64
);
name!(
    /// A registered project: `[a-z][a-z0-9_-]{0,63}`.
    ProjectName, "project", 64
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
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
