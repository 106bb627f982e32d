//! The lifecycle core: acquire, create, provision, attach, release, reconcile, cleanup.
//!
//! Knows no command line, no SSH and no engine by name. Calls `spec`, `state`, `runtimes`, `wire`, `names`, `system`.

pub mod guest_port;

pub use guest_port::*;
