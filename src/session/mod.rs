//! The lifecycle core: acquire, create, provision, attach, release, reconcile, cleanup.
//!
//! Knows no command line, no SSH and no engine by name. Calls `spec`, `state`, `runtimes`, `wire`, `names`, `system`.
//!
//! The rules that everything here keeps:
//! - What decides ([`decide`]) is pure; what acts does so under the lock of the session's user.
//! - A row, with the name of each thing that is going to exist, is written before the engine is asked for any of them.
//! - Every engine call under a lock has a deadline; what may take longer (pulling an image) happens without the lock.
//! - Dropping a future here never leaves more behind than a killed process does, and the next reconcile of that user
//!   finishes it off. Ctrl-C is a [`Cancel`]: then the future undoes what it did before it ends.

mod account_files;
mod acquire;
pub mod attach;
pub mod audit;
mod build_watch;
mod cleanup;
mod container_spec;
mod copy;
mod core;
mod create;
pub mod decide;
mod destroy;
mod directory;
mod dockerfile;
mod error;
pub mod guest_port;
mod image;
mod list;
mod prepare;
mod readiness;
mod release;
mod report;
mod service_info;
mod services;
mod settle;
pub mod setup;
mod verify_image;
mod volumes;

pub use acquire::{Acquired, Caller, Exists};
pub use cleanup::CleanupReport;
pub use container_spec::GUARDED_BRIDGE_PREFIX;
pub use core::{Core, Dirs, EngineSource, Observer, Orphan, Session};
pub use decide::Reason;
pub use destroy::Destroyed;
pub use error::{BuildPart, ServiceProblem, SessionError};
pub use guest_port::*;
pub use list::{Filter, Listed, SessionView};
pub use release::Released;
pub use report::{Cancel, CancelHandle, Report, Silent, Step};
pub use service_info::{ListedService, ServiceState, ServiceView};
pub use settle::is_alive;
pub use setup::{Audience, News, Skip, SkipHandle};
pub use verify_image::ImageCheck;
