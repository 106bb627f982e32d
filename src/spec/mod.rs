//! The one resolved value that shapes a session, and how it is resolved from configuration layers.
//!
//! Owns [`SessionSpec`], resolving, ceilings and origins. Does no I/O, reads no clock and no environment.

pub mod session_spec;

pub use session_spec::*;
