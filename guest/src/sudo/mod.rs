//! `sudo` where a setuid program cannot work: a client that users call, a service of the first process that accepts them,
//! and a root helper per call.
//!
//! The helper runs the command with the container's own capabilities and nothing more, and has its own process so that
//! whatever it does concerns this one call. `options`, `environment` and `plan` decide and are pure; `monitor` acts.

pub mod client;
mod environment;
pub mod install;
mod keys;
pub mod monitor;
mod options;
mod peer;
mod plan;
mod protocol;
mod server;
mod signals;

pub use server::Server;

/// Name of the socket in the directory that the session's user may reach.
const SOCKET: &str = "sudo.sock";

/// Name under which the guest's program is the root helper.
pub const MONITOR: &str = "sudo-monitor";

/// What others are told.
const NOT_ALLOWED: &str = "only the user of this machine may use it";
