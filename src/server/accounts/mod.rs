//! Accounts of container users: what sshd has to know before it lets anybody in, and the files of their keys.
//!
//! An account is made in one of two ways: as a userdb drop-in, or by `useradd`. Either way it has a uid of its own that no
//! other account of podspawn ever had, no password, one group, and a login shell that leads into the container only. An
//! account that existed before joins the group, gets the same login shell for as long, and stays what it is otherwise.
//!
//! Whoever changes accounts holds one lock for the whole installation. What is made is recorded before it is made, so that
//! a process that was killed leaves something that the next one repairs. Needs root.

mod add;
mod directories;
mod error;
mod existing;
mod key_files;
mod lock;
mod place;
mod prepare;
mod record;
mod remove;
mod subids;
mod tools;
mod useradd;
mod userdb;
mod way;

pub use add::{Added, Addition, add};
pub use error::AccountError;
pub use key_files::{Listed, list};
pub use place::Place;
pub use prepare::{
    clear_unfinished, own_account, prepare_account, prepare_dir, prepare_engine_account, prepare_group,
    prepare_key_dir, remove_account,
};
pub use record::{Record, Way};
pub use remove::{Removal, RemoveError, Removed, SessionsOfUser, remove};
pub use subids::has_subordinate_ids;
