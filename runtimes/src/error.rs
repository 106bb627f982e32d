//! What can go wrong with an engine, in terms that a caller can act on.

use thiserror::Error;

/// Result of an engine call.
pub type Result<T, E = EngineError> = std::result::Result<T, E>;

/// A failed engine call. Texts are lower-case fragments that fit after "failed to …".
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// No engine answers at the place that was asked.
    #[error("reach the {engine} engine at {endpoint}: {reason}")]
    Unreachable {
        /// `Docker`, `Podman` or `gVisor`.
        engine: &'static str,
        /// Socket path or URL.
        endpoint: String,
        /// The system's or the engine's words.
        reason: String,
    },
    /// The engine did not answer within the deadline of the call.
    #[error("{action}: no answer within {seconds} s")]
    Timeout {
        /// What was asked, as a verb phrase.
        action: String,
        /// The deadline, in seconds.
        seconds: u64,
    },
    /// The object does not exist.
    #[error("{action}: no such {kind} `{name}`")]
    NotFound {
        /// What was asked, as a verb phrase.
        action: String,
        /// `container`, `image`, `network` or `volume`.
        kind: &'static str,
        /// Name or id that was asked for.
        name: String,
    },
    /// An object of that name exists already.
    #[error("{action}: the name `{name}` is in use")]
    Conflict {
        /// What was asked, as a verb phrase.
        action: String,
        /// The name.
        name: String,
    },
    /// The image could not be had; the registry's or the engine's answer is kept whole.
    #[error("pull image `{image}`: {answer}")]
    Pull {
        /// The reference as it was asked for.
        image: String,
        /// The registry's answer.
        answer: String,
    },
    /// A build step failed.
    #[error("build image `{image}`: {answer}")]
    Build {
        /// The tag that was to be made.
        image: String,
        /// Last lines of the output, and the failing command where the engine names it.
        answer: String,
    },
    /// The engine is known not to be able to do this; declared, not discovered.
    #[error("{action}: {engine} cannot do this ({reason})")]
    Unsupported {
        /// What was asked, as a verb phrase.
        action: String,
        /// The engine's name.
        engine: &'static str,
        /// Why, in one fragment.
        reason: &'static str,
    },
    /// All address ranges that the engine has for networks are in use.
    #[error("{action}: {answer}")]
    NoAddresses {
        /// What was asked, as a verb phrase.
        action: String,
        /// The engine's words.
        answer: String,
    },
    /// Everything else that the engine said no to.
    #[error("{action}: {message}")]
    Engine {
        /// What was asked, as a verb phrase.
        action: String,
        /// HTTP status of the answer, if there was one.
        status: Option<u16>,
        /// The engine's words.
        message: String,
    },
    /// The stream between podspawn and the engine broke.
    #[error("{action}: {source}")]
    Io {
        /// What was going on, as a verb phrase.
        action: String,
        /// The system's error.
        source: std::io::Error,
    },
}

impl EngineError {
    /// Whether the object asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether the name is taken.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. })
    }
}
