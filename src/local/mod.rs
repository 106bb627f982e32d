//! Machines of the invoking user, with the invoking user's own engine.
//!
//! Owns how a local command comes by configuration, store, engine and guest, each when it is first needed: joining a
//! running machine needs neither an engine nor an asynchronous runtime. Calls `config`, `spec`, `session`, `state`,
//! `runtimes`, `system`; prints nothing.

mod attach;
mod context;
mod doctor;
mod interrupts;
mod machine;
pub mod ports;
mod prepare;
mod verify_image;

pub use attach::{EnterError, Streams};
pub use context::{Context, LocalError, Overrides, Settings, deployment, load};
pub use doctor::{EngineSocket, Subject, examine};
pub use interrupts::{Interrupts, Stopped};
pub use machine::{Machine, MachineError};
pub use verify_image::ImageCheck;
