//! What can be wrong with a Podfile.

use std::path::PathBuf;

use thiserror::Error;

/// A Podfile that cannot be used. The text names file and line, the key, what was expected and, where one is near, the
/// valid name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PodfileError {
    /// The file cannot be read.
    #[error("read the Podfile `{}`: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words, or ours.
        reason: String,
    },
    /// It is no document that a Podfile could be.
    #[error("{place}: not a valid Podfile: {reason}")]
    Malformed {
        /// `file` or `file:line`.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// A key that does not exist.
    #[error("{place}: unknown key `{key}`{guess}")]
    UnknownKey {
        /// `file:line`.
        place: String,
        /// The whole key.
        key: String,
        /// `; did you mean …`, or the keys that exist there.
        guess: String,
    },
    /// A value that does not fit its key, or the others.
    #[error("{place}: `{key}`: {reason}")]
    Value {
        /// `file:line`.
        place: String,
        /// The whole key.
        key: String,
        /// What was expected and what was found.
        reason: String,
    },
    /// What a Podfile extends cannot be had.
    #[error("{place}: `extends: {reference}`: {reason}")]
    Extends {
        /// `file:line`.
        place: String,
        /// The reference, neutralised.
        reference: String,
        /// Why not.
        reason: String,
    },
}
