//! The one resolved value that shapes a session, and how it is resolved from configuration layers.
//!
//! Owns [`SessionSpec`], resolving, ceilings and origins. Does no I/O, reads no clock and no environment. Calls `config` and
//! `names` only.

pub mod resolve;
pub mod session_spec;
pub mod show;

/// The text of the seccomp filter that [`SeccompChoice::Strict`] means.
pub use crate::config::STRICT_SECCOMP;
pub use resolve::*;
pub use session_spec::*;
pub use show::*;

#[cfg(test)]
mod tests;
