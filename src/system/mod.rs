//! What is asked of the operating system: clock, processes, descriptors.
//!
//! The only place that reads the clock, the environment and the uid, and, with `wire`, `guest` and `pam`, the only one
//! that may hold `unsafe` code. Calls nothing else of podspawn.

pub mod clock;
pub mod process;

pub use clock::{Clock, SettableClock, SystemClock};
