//! What can go wrong with the store, the leases and the locks.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// A failure of the store. Every text names the file and fits after "failed to …: ".
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The path is a directory.
    #[error("the state database `{}` is a directory", path.display())]
    IsDirectory {
        /// The database.
        path: PathBuf,
    },
    /// A file of this name is there, and it is no database or a damaged one.
    #[error("the state database `{}` is damaged or no database: {reason}", path.display())]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// SQLite's words.
        reason: String,
    },
    /// A newer podspawn has upgraded it.
    #[error("the state database `{}` has version {found}, but this podspawn knows only up to {known}", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Version found.
        found: i64,
        /// Newest version known.
        known: i64,
    },
    /// The file system is full.
    #[error("no space left for the state database `{}`", path.display())]
    Full {
        /// The database.
        path: PathBuf,
    },
    /// Neither the database nor its directory may be written.
    #[error("the state database `{}` cannot be written: {reason}", path.display())]
    NotWritable {
        /// The database.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// Another process kept it locked for longer than the busy timeout.
    #[error("the state database `{}` is locked by another process", path.display())]
    Busy {
        /// The database.
        path: PathBuf,
    },
    /// A limit on the number of sessions is reached.
    #[error(transparent)]
    Limit(#[from] LimitReached),
    /// A row of that key exists already.
    #[error("a session `{key}` exists already")]
    Exists {
        /// The key.
        key: String,
    },
    /// A row holds what no podspawn writes.
    #[error("the state database `{}` holds a row that makes no sense: {reason}", path.display())]
    Row {
        /// The database.
        path: PathBuf,
        /// What and where.
        reason: String,
    },
    /// Everything else that SQLite or the system said no to.
    #[error("the state database `{}` cannot be used: {reason}", path.display())]
    Other {
        /// The database.
        path: PathBuf,
        /// SQLite's or the system's words.
        reason: String,
    },
}

/// A limit on the number of sessions.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LimitReached {
    /// `resources.max_per_user`.
    #[error("{user} has {count} sessions, and {limit} are allowed at once")]
    PerUser {
        /// The owner.
        user: String,
        /// Sessions there are.
        count: u32,
        /// Sessions allowed.
        limit: u32,
    },
    /// `resources.max_containers`.
    #[error("there are {count} sessions, and {limit} are allowed at once on this host")]
    Total {
        /// Sessions there are.
        count: u32,
        /// Sessions allowed.
        limit: u32,
    },
}

/// A failure of leases or locks.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process kept the lock until the deadline.
    #[error("another podspawn command of `{user}` is still at work{}", by(*.pid))]
    Timeout {
        /// Whose lock.
        user: String,
        /// The process that holds it, if it said so.
        pid: Option<u32>,
    },
    /// Another process was still making an image at the deadline.
    #[error("another podspawn is still building `{image}`{}", by(*.pid))]
    Building {
        /// The image.
        image: String,
        /// The process that makes it, if it said so.
        pid: Option<u32>,
    },
    /// The lock directory cannot be used.
    #[error("the lock file `{}` cannot be used: {source}", path.display())]
    Io {
        /// File or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file system is full.
    #[error("no space left for the lock file `{}`", path.display())]
    Full {
        /// File or directory.
        path: PathBuf,
    },
}

fn by(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

impl LockError {
    pub(crate) fn io(path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            _ => Self::Io { path, source },
        }
    }
}
