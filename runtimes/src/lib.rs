//! Container engines behind one trait.
//!
//! Owns everything that speaks to Docker, rootless Podman and gVisor-flavoured Docker. Knows nothing of sessions, of
//! podspawn's configuration or of SSH, and lets no engine type out: callers see only the types of [`types`] and [`error`].

pub mod error;
pub mod types;

pub use error::{EngineError, Result};
pub use types::*;

mod call;
mod carried;
pub mod discovery;
mod docker;
mod endpoint;
pub mod engine;
mod facts;
mod gvisor;
mod podman;
mod raw;
mod runtime;
#[cfg(feature = "fake")]
pub mod testing;

pub use carried::{Carried, carried};
pub use discovery::{Chosen, DiscoveryError, DiscoveryInput, Tried, discover};
pub use docker::Docker;
pub use endpoint::Endpoint;
pub use engine::{ByteStream, Engine};
pub use gvisor::Gvisor;
pub use podman::Podman;
pub use runtime::Runtime;

#[cfg(all(feature = "fake", not(debug_assertions)))]
compile_error!("the feature `fake` is for tests: release builds refuse it");
