//! Where a value came from.

use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::words::ProfileName;

/// The layer that a value came from, as exactly as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Built in, as `config.example.yaml` shows it.
    Default,
    /// Built in for local commands: paths below `~/.podspawn`.
    Local,
    /// A deployment profile.
    Profile(ProfileName),
    /// A configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1, where it is known.
        line: Option<u64>,
        /// The key as it is written there.
        key: String,
    },
    /// An environment variable.
    Env(String),
    /// A command-line flag.
    Flag(String),
    /// What was asked for, such as the machine's name; or a fixed rule, in words.
    Rule(&'static str),
    /// More was asked for than a ceiling allows.
    Capped {
        /// The ceiling's key.
        ceiling: &'static str,
        /// Where the ceiling came from.
        by: Box<Origin>,
        /// What was asked for.
        asked: String,
        /// Where that came from.
        from: Box<Origin>,
    },
}

impl Origin {
    /// One word for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Local => "local",
            Self::Profile(_) => "profile",
            Self::File { .. } => "file",
            Self::Env(_) => "environment",
            Self::Flag(_) => "flag",
            Self::Rule(_) => "rule",
            Self::Capped { .. } => "ceiling",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Local => f.write_str("default of local commands"),
            Self::Profile(profile) => write!(f, "profile {profile}"),
            Self::File { path, line: Some(line), .. } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line: None, .. } => write!(f, "{}", path.display()),
            Self::Env(variable) => write!(f, "environment variable {variable}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::Rule(rule) => f.write_str(rule),
            Self::Capped { ceiling, by, asked, from } => {
                write!(f, "{by} ({ceiling}; {asked} was asked for by {from})")
            }
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("kind", self.kind())?;
        match self {
            Self::Default | Self::Local => {}
            Self::Profile(profile) => map.serialize_entry("profile", profile)?,
            Self::File { path, line, key } => {
                map.serialize_entry("file", path)?;
                map.serialize_entry("line", line)?;
                map.serialize_entry("key", key)?;
            }
            Self::Env(variable) => map.serialize_entry("variable", variable)?,
            Self::Flag(flag) => map.serialize_entry("flag", flag)?,
            Self::Rule(rule) => map.serialize_entry("rule", rule)?,
            Self::Capped { ceiling, by, asked, from } => {
                map.serialize_entry("ceiling", ceiling)?;
                map.serialize_entry("by", by)?;
                map.serialize_entry("asked", asked)?;
                map.serialize_entry("from", from)?;
            }
        }
        map.end()
    }
}
