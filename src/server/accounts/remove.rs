//! Removing a container user: sessions, keys, account, home. Goes on past errors and reports the list.

use std::path::PathBuf;

use thiserror::Error;

use super::add::{clear, dismantle};
use super::directories::{make_root_dir, remove_file, remove_tree};
use super::error::AccountError;
use super::lock::Lock;
use super::place::Place;
use super::record::{Record, Way};
use crate::names::UserName;
use crate::state::UserLocks;
use crate::system::process;

/// The sessions of a user, which live elsewhere.
pub trait SessionsOfUser {
    /// Why they could not be counted or destroyed.
    type Error;

    /// How many there are that somebody has attached to.
    fn count(&mut self, user: &UserName) -> Result<usize, Self::Error>;

    /// Destroys all, connections or not, and says how many of them were of those that [`Self::count`] counts.
    fn destroy_all(&mut self, user: &UserName) -> Result<usize, Self::Error>;
}

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Removal<'a> {
    /// Who.
    pub user: &'a UserName,
    /// Destroy sessions that there are.
    pub force: bool,
    /// Delete the home of persistent sessions.
    pub purge: bool,
}

/// What was done.
#[derive(Debug, PartialEq, Eq)]
pub struct Removed {
    /// Sessions that were destroyed.
    pub destroyed: usize,
    /// The home of persistent sessions, if it was left.
    pub home_left: Option<PathBuf>,
}

/// Why a user was not removed.
#[derive(Debug, Error)]
pub enum RemoveError<E> {
    /// The sessions.
    #[error("the sessions")]
    Sessions(E),
    /// There are sessions, and `force` was not given.
    #[error("`{user}` has {count} active session(s)")]
    InUse {
        /// Who.
        user: UserName,
        /// How many.
        count: usize,
    },
    /// The account and what belongs to it.
    #[error(transparent)]
    Account(#[from] AccountError),
}

/// Removes a user. Needs root. If a session cannot be destroyed, nothing else is removed.
pub fn remove<S: SessionsOfUser>(
    place: &Place,
    removal: Removal<'_>,
    sessions: &mut S,
) -> Result<Removed, RemoveError<S::Error>> {
    let Removal { user, force, purge } = removal;
    let key_file = place.key_file(user);
    if !exists(&key_file) && Record::read(place, user)?.is_none() {
        return Err(AccountError::Unknown(user.clone()).into());
    }
    let count = sessions.count(user).map_err(RemoveError::Sessions)?;
    if count > 0 && !force {
        return Err(RemoveError::InUse { user: user.clone(), count });
    }
    // Before the lock is taken, since it takes its time.
    let mut destroyed = if force { destroy(sessions, user)? } else { 0 };

    make_root_dir(&place.accounts(), 0o755)?;
    let lock = Lock::take(place)?;
    clear(place, user)?;
    let record = Record::read(place, user)?;
    // Without keys nobody gets in any more, so that what is ended after it does not come back.
    remove_file(&key_file)?;
    let mut failures = Vec::new();
    let mut note = |outcome: Result<(), AccountError>| {
        if let Err(error) = outcome {
            failures.push(error.to_string());
        }
    };
    if let Some(record) = &record {
        if record.way != Way::Existing {
            // Stubs, and sshd's processes for this user's connections.
            note(
                process::end_all_of(record.uid)
                    .map_err(|error| AccountError::Processes { uid: record.uid, reason: error.to_string() }),
            );
        }
        note(dismantle(&lock, place, user, record));
    }
    note(remove_tree(&place.run_home(user)));
    // A connection may have come in before the keys were gone, and what only lends its network to forwarding is in no count.
    destroyed += destroy(sessions, user)?;
    note(UserLocks::new(&place.config.state.lock_dir).forget(user).map_err(|error| AccountError::Io {
        action: "remove the lock of the user in",
        path: place.config.state.lock_dir.clone(),
        source: std::io::Error::other(error.to_string()),
    }));
    let home = place.persistent_home(user);
    if purge {
        note(remove_tree(&home));
    }
    // The record goes last: as long as anything may be left, something tells of it.
    if failures.is_empty() {
        Record::remove(place, user)?;
        return Ok(Removed { destroyed, home_left: (!purge && exists(&home)).then_some(home) });
    }
    Err(AccountError::NotRemoved { user: user.clone(), failures }.into())
}

fn destroy<S: SessionsOfUser>(sessions: &mut S, user: &UserName) -> Result<usize, RemoveError<S::Error>> {
    sessions.destroy_all(user).map_err(RemoveError::Sessions)
}

fn exists(path: &std::path::Path) -> bool {
    path.symlink_metadata().is_ok()
}
