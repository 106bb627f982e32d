//! Machines of the invoking user, with the invoking user's own engine.
//!
//! Owns how a local command comes by configuration, store, engine and guest, each when it is first needed: joining a
//! running machine needs neither an engine nor an asynchronous runtime. Owns projects and the checkouts of machines. Calls `config`, `spec`, `session`, `state`,
//! `runtimes`, `system`; prints nothing.

mod attach;
mod context;
mod doctor;
mod environment;
mod git;
mod inside;
mod interrupts;
mod machine;
pub mod ports;
mod prepare;
mod project_error;
mod projects;
mod scratch;
mod verify_image;
mod workspace;

pub use attach::{EnterError, Streams};
pub use context::{Context, LocalError, Overrides, Settings, deployment, load};
pub use doctor::{EngineSocket, Subject, examine};
pub use environment::{Loaded, ensure_image, podfile_of, project_request};
pub use git::{Git, GitError};
pub use interrupts::{Interrupts, Stopped};
pub use machine::{Machine, MachineError};
pub use project_error::ProjectError;
pub use projects::{Built, Removed};
pub use verify_image::ImageCheck;
pub use workspace::{Source, Temporary};
