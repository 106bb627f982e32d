//! Podfiles: from the text in a repository to one valid [`Podfile`], and from that to the recipe of an image.
//!
//! A Podfile comes from a repository and is untrusted: it cannot name host paths, privileges, networks or devices. What is
//! valid is decided here, for the merged result, and nowhere else: text → `parse` → `extends` (with `merge`) → `validate`.
//! Calls `names`, `config` (YAML with positions, units), `system` (HTTPS, files) and makes what `spec` carries.

mod bases;
mod devcontainer;
pub mod draft;
mod error;
mod extends;
mod fetch;
mod fields;
mod layer;
mod load;
mod merge;
mod model;
mod packages;
mod parse;
mod read;
mod recipe;
mod reference;
pub mod registry;
mod schema;
pub mod templates;
mod validate;
mod values;

pub use bases::BASES;
pub use devcontainer::devcontainer;
pub use error::PodfileError;
pub use extends::Places;
pub use fetch::{Fetch, Https, Missing};
pub use load::{LOCATIONS, Loaded, RecipeError, Repository, load, load_for, load_text, locate};
pub use model::*;
pub use packages::{check_package, word};
pub use recipe::recipe;
pub use schema::schema;
