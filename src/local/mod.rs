//! Machines of the invoking user, with the invoking user's own engine.
//!
//! Owns how a local command comes by configuration, store, engine and guest, each when it is first needed: joining a
//! running machine needs neither an engine nor an asynchronous runtime. Owns projects, the checkouts of machines and `dev`
//! sessions. Calls `config`, `podfile`, `spec`, `session`, `state`, `runtimes`, `system`; prints nothing.

mod attach;
mod audit;
mod context;
mod dev_name;
mod doctor;
mod environment;
mod git;
mod inside;
mod interrupts;
mod login;
mod machine;
pub mod ports;
mod prepare;
mod project_error;
mod projects;
mod scratch;
mod server_projects;
mod verify_image;
mod workspace;

pub use attach::{EnterError, Streams};
pub use context::{Context, LocalError, Overrides, Settings, deployment, load, owner};
pub use dev_name::session_name;
pub use doctor::{EngineSocket, Subject, examine};
pub use environment::{DevWish, EnvironmentError};
pub use git::{Git, GitError};
pub use interrupts::{Interrupts, Stopped};
pub use machine::{Machine, MachineError};
pub use project_error::ProjectError;
pub use projects::{Built, Removed};
pub use server_projects::{ProjectLock, ServerProjects};
pub use workspace::{Left, Source, Temporary};
