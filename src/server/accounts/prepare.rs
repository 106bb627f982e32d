//! What every container user needs, one at a time: the group, the accounts that podspawn itself works as, directories.

use std::path::Path;

use super::directories;
use super::error::AccountError;
use super::lock::Lock;
use super::place::Place;
use super::useradd;
use crate::system::accounts::{self, Passwd};

/// Makes the group of container users, unless there is one.
pub fn prepare_group(place: &Place) -> Result<(), AccountError> {
    useradd::ensure_group(&locked(place)?, place.config.server.group.as_str()).map(drop)
}

/// Makes an account of the system that nobody logs in to, unless there is one of that name.
pub fn prepare_account(place: &Place, name: &str) -> Result<Passwd, AccountError> {
    useradd::ensure_auth_account(&locked(place)?, name)
}

/// An account that [`prepare_account`] made; none if there is none, or one of another making.
pub fn own_account(name: &str) -> Result<Option<Passwd>, AccountError> {
    useradd::own_account(name)
}

/// Removes such an account.
pub fn remove_account(place: &Place, name: &str) -> Result<(), AccountError> {
    useradd::remove_account(&locked(place)?, name)
}

/// Makes the account that owns a rootless engine, unless there is one of that name: with a home for the engine's files and
/// with ids for its containers.
pub fn prepare_engine_account(place: &Place, name: &str) -> Result<Passwd, AccountError> {
    let server = &place.config.server;
    let (first, last) = (server.first_uid.limit().unwrap_or(0), server.last_uid.limit().unwrap_or(0));
    useradd::ensure_engine_account(&locked(place)?, name, first..=last)
}

/// Makes the key directory, and makes it readable by the account that sshd asks for keys as and by nobody else.
pub fn prepare_key_dir(place: &Place) -> Result<(), AccountError> {
    let name = place.config.server.auth_account.as_str();
    let account = accounts::user_by_name(name)
        .map_err(AccountError::look_up(name))?
        .ok_or_else(|| AccountError::look_up(name)(std::io::ErrorKind::NotFound.into()))?;
    directories::ensure_key_dir(&place.config.auth.key_dir, &account)
}

/// Makes a directory of root's and what is missing above it; one that exists stays as it is.
pub fn prepare_dir(path: &Path, mode: u32) -> Result<(), AccountError> {
    directories::make_root_dir(path, mode)
}

/// Removes what writers of a file that were killed left beside it. Nobody else may be writing it.
pub fn clear_unfinished(file: &Path) -> Result<(), AccountError> {
    match (file.parent(), file.file_name().and_then(|name| name.to_str())) {
        (Some(dir), Some(name)) => directories::clear_unfinished(dir, name),
        _ => Ok(()),
    }
}

fn locked(place: &Place) -> Result<Lock, AccountError> {
    directories::make_root_dir(&place.accounts(), 0o755)?;
    Lock::take(place)
}
