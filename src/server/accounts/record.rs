//! What podspawn knows about the accounts that it made or took: one small file each, and the last uid given out.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use super::error::AccountError;
use super::place::Place;
use crate::names::UserName;
use crate::system::accounts;
use crate::system::files;

/// How an account came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// A drop-in file of userdb.
    Userdb,
    /// By `useradd`.
    Useradd,
    /// It existed before.
    Existing,
}

/// An account of a container user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Login name.
    pub name: String,
    /// Its uid.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
    /// How it came to be.
    pub way: Way,
    /// When, as an RFC 3339 time.
    pub created: String,
    /// The login shell that it had before it was taken; none if podspawn gave it none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<String>,
    /// It is being made; if nobody holds the lock, whoever did was killed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unfinished: bool,
}

/// Longest record, in bytes.
const LIMIT: u64 = 4096;

impl Record {
    /// The record of a user; none if podspawn has no account of that name.
    pub fn read(place: &Place, user: &UserName) -> Result<Option<Self>, AccountError> {
        let path = place.record(user);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            _ => {}
        }
        let wrong = |reason: String| AccountError::Record { path: path.clone(), reason };
        let text = files::read_trusted(&path, 0, LIMIT)?;
        let record: Self = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        if record.name != user.as_str() {
            return Err(wrong(format!(
                "it is about another account, {}",
                crate::names::quoted(&record.name)
            )));
        }
        Ok(Some(record))
    }

    /// Writes it, whole or not at all.
    pub(super) fn write(&self, place: &Place, user: &UserName) -> Result<(), AccountError> {
        let path = place.record(user);
        let mut text = serde_json::to_vec(self)
            .map_err(|error| AccountError::Record { path: path.clone(), reason: error.to_string() })?;
        text.push(b'\n');
        files::write_atomic(&path, &text, 0o644).map_err(AccountError::io("write", &path))
    }

    /// Removes it; that it is gone already is no error.
    pub(super) fn remove(place: &Place, user: &UserName) -> Result<(), AccountError> {
        super::directories::remove_file(&place.record(user))
    }

    /// Whether the system has this very account.
    pub(super) fn is_intact(&self) -> Result<bool, AccountError> {
        let found = accounts::user_by_name(&self.name).map_err(AccountError::look_up(&self.name))?;
        Ok(found.is_some_and(|account| account.uid == self.uid))
    }
}

/// A uid that no account of this installation ever had, and that no account of the system has. It counts as given out from
/// now on. The caller holds the lock.
pub(super) fn next_uid(place: &Place) -> Result<u32, AccountError> {
    let server = &place.config.server;
    let (first, last) = (server.first_uid.limit().unwrap_or(0), server.last_uid.limit().unwrap_or(0));
    if first < 1000 || last < first {
        return Err(AccountError::Range { first, last });
    }
    let path = place.accounts().join(".last-uid");
    let given = match fs::read_to_string(&path) {
        Ok(text) => Some(
            text.trim()
                .parse::<u32>()
                .map_err(|error| AccountError::Record { path: path.clone(), reason: error.to_string() })?,
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(AccountError::io("read", &path)(error)),
    };
    let begin = given.map_or(first, |given| given.saturating_add(1).max(first));
    for uid in begin..=last {
        let taken = accounts::user_by_uid(uid).map_err(AccountError::look_up(&uid.to_string()))?;
        let linked = place.userdb().join(format!("{uid}.user")).symlink_metadata().is_ok();
        if taken.is_none() && !linked {
            files::write_atomic(&path, format!("{uid}\n").as_bytes(), 0o644)
                .map_err(AccountError::io("write", &path))?;
            return Ok(uid);
        }
    }
    Err(AccountError::NoUid { first, last })
}
