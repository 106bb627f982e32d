//! The system as podspawn meets it: captured facts, clock, processes, trusted files, terminals, signals, embedded programs.
//!
//! The only place that reads the clock, the environment and the uid, and, with `wire`, `guest` and `pam`, the only one
//! that may hold `unsafe` code. Calls nothing else of podspawn.

pub mod accounts;
pub mod build_context;
pub mod clock;
pub mod cpus;
pub mod directory;
mod dockerignore;
pub mod files;
pub mod guest_program;
pub mod handover;
pub mod host;
pub mod https;
pub mod hygiene;
pub mod pam_module;
pub mod peer;
pub mod ports;
pub mod process;
pub mod readiness;
pub mod signals;
pub mod terminal;
pub mod watch;

pub use build_context::{BuildContext, BuildContextError};
pub use clock::{Clock, SettableClock, SystemClock};
pub use guest_program::guest_program;
pub use host::Host;
