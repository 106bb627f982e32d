//! What can go wrong between a person and the process in the container.

use std::io;

use podspawn_runtimes::EngineError;
use podspawn_wire::{FailureKind, WireError};
use thiserror::Error;

use super::crossing::MustNotCross;
use crate::system::process::PinError;
use crate::system::signals::Signal;

/// A failed attach. Text that came from the container is part of some messages: neutralise before printing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The container's first process is not the one that was recorded, or is none.
    #[error("the machine is not running")]
    NotRunning(#[source] PinError),
    /// The session's record does not say which process is its container's first one.
    #[error("the machine's first process is not known here")]
    NoProcess,
    /// This process may not look into the container.
    #[error("look into the machine")]
    Forbidden(#[source] io::Error),
    /// There is nothing that could be the guest's socket.
    #[error("find the machine's guest")]
    NoGuest(#[source] io::Error),
    /// What stands in the socket's place is not a socket, or does not belong to the guest.
    #[error("the machine's guest was replaced by something else: {0}")]
    NotTheGuest(&'static str),
    /// The guest did not answer in time, or not sensibly.
    #[error("speak with the machine's guest")]
    Guest(#[source] WireError),
    /// The guest sent something that has no place in the conversation.
    #[error("the machine's guest does not keep to the protocol: {0}")]
    Protocol(&'static str),
    /// The guest speaks another version: it was started by another release.
    #[error("the machine was made by another version of podspawn (protocol {theirs}, this is {ours})")]
    Version {
        /// What the guest speaks.
        theirs: u16,
        /// What this program speaks.
        ours: u16,
    },
    /// The guest cannot carry out the request.
    #[error("{text}")]
    Refused {
        /// Why.
        kind: FailureKind,
        /// The guest's words, untrusted.
        text: String,
    },
    /// The connection to the guest ended while the process ran, and the container still exists.
    #[error("the connection to the machine was lost")]
    Lost,
    /// The container ended while the process ran.
    #[error("the machine stopped")]
    Stopped,
    /// A signal asked this process to leave; what runs inside is told.
    #[error("interrupted by signal {}", .0.number())]
    Interrupted(Signal),
    /// The engine could not start or carry the relay.
    #[error("attach through the engine")]
    Engine(#[from] EngineError),
    /// The relay inside ended without a word that it could be understood by.
    #[error("attach through the engine: the relay ended: {0}")]
    Relay(String),
    /// A descriptor that must not be passed was about to be.
    #[error(transparent)]
    Crossing(#[from] MustNotCross),
    /// The system refused something on this side.
    #[error("{action}")]
    Io {
        /// What was being done, as a verb phrase.
        action: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

impl AttachError {
    /// Wraps a system error.
    pub(super) fn io<E: Into<io::Error>>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Io { action, source: source.into() }
    }

    /// The status that a shell would give: 127 and 126 for a program that is not there or cannot run, 128 + n for a signal.
    pub fn status(&self) -> Option<u8> {
        match self {
            Self::Refused { kind: FailureKind::NotFound, .. } => Some(127),
            Self::Refused { kind: FailureKind::NotExecutable, .. } => Some(126),
            Self::Interrupted(signal) => Some(128 + u8::try_from(signal.number()).ok()?),
            _ => None,
        }
    }
}
