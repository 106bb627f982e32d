//! Podfiles: from the text in a repository to one valid [`Podfile`], and from that to the recipe of an image.
//!
//! A Podfile comes from a repository and is untrusted: it cannot name host paths, privileges, networks or devices. What is
//! valid is decided here, for the merged result, and nowhere else. Calls `names`, `config` (YAML with positions,
//! units) and `system` (one request over HTTPS, files written whole).

mod devcontainer;
pub mod draft;
mod error;
mod fetch;
mod model;
mod packages;
pub mod registry;
pub mod templates;

pub use devcontainer::devcontainer;
pub use error::PodfileError;
pub use fetch::{Fetch, Https};
pub use model::*;
pub use packages::check_package;
