//! Podfiles: from the text in a repository to one valid [`Podfile`], and from that to the recipe of an image.
//!
//! A Podfile comes from a repository and is untrusted: it cannot name host paths, privileges, networks or devices. What is
//! valid is decided here, for the merged result, and nowhere else. Calls `names`, `config` (YAML with positions, units),
//! `system` (what a repository's own Dockerfile may copy) and makes what `spec` carries.

mod error;
mod model;
mod packages;
mod recipe;

pub use error::PodfileError;
pub use model::*;
pub use packages::check_package;
pub use recipe::recipe;
