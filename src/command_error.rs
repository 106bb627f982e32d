//! Every error meets its hint here.
//!
//! Libraries say what went wrong; this module says what to do about it. `main` prints the result once.

use std::error::Error;

use crate::cli::UsageError;

/// Why a command failed, as the person reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandError {
    /// What kind of failure.
    pub kind: ErrorKind,
    /// One line: what could not be done and why.
    pub text: String,
    /// Imperative lines: what to do, or which file to look at.
    pub hints: Vec<String>,
}

/// Kinds of failures; each has one exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The command line makes no sense, or names something that cannot be.
    Usage,
    /// Configuration is wrong.
    Config,
    /// The thing does not exist, or exists already.
    State,
    /// The engine is missing or said no.
    Engine,
    /// podspawn or the system failed.
    Failure,
    /// A signal came while the command was at work.
    Interrupted(u8),
}

impl ErrorKind {
    /// The exit code that this kind of failure has.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Usage | Self::Config | Self::State | Self::Engine | Self::Failure => crate::exit::FAILURE,
            Self::Interrupted(signal) => crate::exit::SIGNAL_BASE.saturating_add(signal),
        }
    }
}

impl CommandError {
    /// An error without a hint.
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), hints: Vec::new() }
    }

    /// An error that says "failed to …", with the whole chain of causes.
    pub fn failed_to(kind: ErrorKind, error: &dyn Error) -> Self {
        Self::new(kind, format!("failed to {}", chain(error)))
    }

    /// The same with a further hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// An error and its causes on one line, each said once.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

impl From<UsageError> for CommandError {
    fn from(error: UsageError) -> Self {
        let text = error.to_string();
        let hints = match error {
            UsageError::Name(error) => {
                error.suggestion.map(|name| format!("did you mean `{name}`?")).into_iter().collect()
            }
            UsageError::Argument { hints, .. } => hints,
        };
        Self { kind: ErrorKind::Usage, text, hints }
    }
}

impl From<std::io::Error> for CommandError {
    fn from(error: std::io::Error) -> Self {
        Self::new(ErrorKind::Failure, format!("failed to write the output: {error}"))
    }
}
