//! Exit codes.
//!
//! | Code | When |
//! |---|---|
//! | [`SUCCESS`] | all went well |
//! | [`FAILURE`] | a usage error, a failure, or a check that failed |
//! | the session's own | `run`, `shell`, `exec`: the status of what ran inside |
//! | 128 + n | signal n ended the command, or what ran inside |

use std::process::ExitCode;

/// All went well.
pub const SUCCESS: u8 = 0;
/// A usage error or a failure; standard error says which.
pub const FAILURE: u8 = 1;
/// Added to the number of the signal that ended something.
pub const SIGNAL_BASE: u8 = 128;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Exit {
    /// It did what was asked.
    Success,
    /// It did what was asked, and the answer is no (a check failed).
    Negative,
    /// What ran inside ended with this status.
    Session(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => SUCCESS,
            Exit::Negative => FAILURE,
            Exit::Session(status) => status,
        })
    }
}
