//! Why an account could not be made, changed or removed.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::names::UserName;
use crate::system::files::TrustError;

/// See the module. Texts fit after "failed to" where they tell of something that was tried; the others stand alone.
#[derive(Debug, Error)]
pub enum AccountError {
    /// A file or directory.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The system's list of accounts.
    #[error("look up the account `{name}`: {source}")]
    LookUp {
        /// Account or group.
        name: String,
        /// The system's error.
        source: io::Error,
    },
    /// A file that others could have written.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A program of the system failed.
    #[error("run `{program}`: {reason}")]
    Tool {
        /// Its name.
        program: &'static str,
        /// Its own words, or how it ended.
        reason: String,
    },
    /// A record says something that cannot be.
    #[error("read {}: {reason}", path.display())]
    Record {
        /// The record's file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// There is an account of that name, and podspawn did not make it.
    #[error("the account `{0}` exists already and is not podspawn's")]
    Exists(UserName),
    /// There is none that could be used.
    #[error("there is no account `{0}`")]
    NoAccount(UserName),
    /// Its login shell cannot be changed here, and sshd would run the forced command through it.
    #[error(
        "the account `{0}` is not in /etc/passwd, and its login shell can only be changed where it is kept"
    )]
    Elsewhere(UserName),
    /// `--existing` for an account that podspawn made.
    #[error("the account `{0}` was made by podspawn")]
    Own(UserName),
    /// The account is one of the system's.
    #[error("the account `{user}` has uid {uid}: accounts of the system do not become container users")]
    System {
        /// The account.
        user: UserName,
        /// Its uid.
        uid: u32,
    },
    /// The account is as good as root's.
    #[error("the account `{user}` is in the group `{group}`, which is as good as being root")]
    Privileged {
        /// The account.
        user: UserName,
        /// The group.
        group: &'static str,
    },
    /// The way that the configuration asks for does not work here.
    #[error("accounts by userdb do not work here: {0}")]
    NoUserdb(String),
    /// The accounts' uids are not usable.
    #[error("`server.first_uid` and `server.last_uid` must be a range above 999, not {first} to {last}")]
    Range {
        /// First uid.
        first: u32,
        /// Last uid.
        last: u32,
    },
    /// Every uid was given out once.
    #[error("every uid from {first} to {last} was given to an account already")]
    NoUid {
        /// First uid.
        first: u32,
        /// Last uid.
        last: u32,
    },
    /// An account that was just made is not there.
    #[error("the account `{0}` was made, but the system does not know it")]
    Unseen(UserName),
    /// The key directory is somebody's.
    #[error("the key directory {} belongs to uid {owner}", path.display())]
    KeyDir {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// More keys than `auth-keys` reads.
    #[error("the key file {} would be larger than 1 MiB", .0.display())]
    TooManyKeys(PathBuf),
    /// Neither keys nor an account.
    #[error("there is no container user `{0}`")]
    Unknown(UserName),
    /// Processes that do not end.
    #[error("end the processes of uid {uid}: {reason}")]
    Processes {
        /// Whose.
        uid: u32,
        /// Why not.
        reason: String,
    },
    /// Some of it is gone, some is not.
    #[error("remove everything of `{user}`: {}", failures.join("; "))]
    NotRemoved {
        /// Whose.
        user: UserName,
        /// One fragment for each thing.
        failures: Vec<String>,
    },
}

impl AccountError {
    /// For `map_err`.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// For `map_err`.
    pub(super) fn look_up(name: &str) -> impl FnOnce(io::Error) -> Self {
        let name = name.to_owned();
        move |source| Self::LookUp { name, source }
    }
}
