//! What can be wrong with configuration.

use std::path::PathBuf;

use thiserror::Error;

/// Configuration that cannot be used. The text names the file and line (or variable, or flag), the key, what was expected
/// and, where one is near, the valid name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read the configuration file `{}`: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words, or ours.
        reason: String,
    },
    /// The file named by `--config` does not exist.
    #[error("read the configuration file `{}`: it does not exist", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file is no YAML document that a configuration could be.
    #[error("{place}: not a valid configuration file: {reason}")]
    Malformed {
        /// `file` or `file:line`.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// A key that does not exist.
    #[error("{place}: unknown key `{key}`{guess}")]
    UnknownKey {
        /// `file:line`, a variable or a flag.
        place: String,
        /// The whole key.
        key: String,
        /// `; did you mean …`, or the keys that exist there.
        guess: String,
    },
    /// A value that does not fit its key.
    #[error("{place}: `{key}`: {reason}")]
    Value {
        /// `file:line`, a variable or a flag.
        place: String,
        /// The whole key.
        key: String,
        /// What was expected and what was found.
        reason: String,
    },
}
