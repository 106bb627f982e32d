//! The database: opening it, and everything that is asked of it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior, params};
use rustix::fs::{FlockOperation, flock};

use super::error::{LimitReached, StoreError};
use super::record::{Object, ObjectKind, SessionRecord, SetupState, Timestamp};
use super::rows::{COLUMNS, INSERT, Time, UPDATE, Word, read, with_parameters};
use super::workspaces::{self, Workspace};
use super::{identity, migrations, objects};
use crate::names::{MachineName, SessionKey, UserName};
use crate::spec::{Kind, Limits};

/// How long one process waits for another one's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The open state database. Calls are short and synchronous; a value may be shared between threads.
#[derive(Debug)]
pub struct Store {
    connection: Mutex<Connection>,
    path: PathBuf,
    installation: String,
}

impl Store {
    /// Opens the database at `path`. One that does not exist is made (0600, missing directories 0700), an older one is
    /// upgraded.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let fail = Fail { path };
        match path.metadata() {
            Ok(found) if found.is_dir() => return Err(StoreError::IsDirectory { path: path.into() }),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(path).map_err(|e| fail.io(&e))?,
            Err(error) => return Err(fail.io(&error)),
        }
        let mut connection = connect(path).map_err(|error| fail.sql(error))?;
        let found = migrations::version(&connection).map_err(|error| fail.sql(error))?;
        if found > migrations::CURRENT {
            return Err(StoreError::Newer { path: path.into(), found, known: migrations::CURRENT });
        }
        if found < migrations::CURRENT {
            // One process at a time: switching to WAL does not wait for others as transactions do.
            let _alone = lock_directory(path).map_err(|error| fail.io(&error))?;
            connection
                .pragma_update(None, "journal_mode", "WAL")
                .and_then(|()| migrations::migrate(&mut connection, &identity::of_a_new(path)))
                .map_err(|error| fail.sql(error))?;
        }
        let installation: String = connection
            .query_row("SELECT value FROM meta WHERE key = 'installation'", [], |row| row.get(0))
            .map_err(|error| fail.sql(error))?;
        identity::remember(path, &installation);
        Ok(Self { connection: Mutex::new(connection), path: path.into(), installation })
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The id of this installation: engine objects that carry another one are none of ours.
    pub fn installation(&self) -> &str {
        &self.installation
    }

    /// The session of that key.
    pub fn find(&self, key: &SessionKey) -> Result<Option<SessionRecord>, StoreError> {
        self.run(|connection| {
            connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM sessions WHERE user = ?1 AND project = ?2"))?
                .query_row(params![key.user.as_str(), key.project()], read)
                .optional()
        })
    }

    /// The session of that id.
    pub fn get(&self, id: &str) -> Result<Option<SessionRecord>, StoreError> {
        self.run(|connection| {
            connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM sessions WHERE id = ?1"))?
                .query_row([id], read)
                .optional()
        })
    }

    /// All sessions, ordered by user and project.
    pub fn all(&self) -> Result<Vec<SessionRecord>, StoreError> {
        self.run(|connection| {
            connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM sessions ORDER BY user, project"))?
                .query_map([], read)?
                .collect()
        })
    }

    /// All sessions of one user, ordered by project.
    pub fn of_user(&self, user: &UserName) -> Result<Vec<SessionRecord>, StoreError> {
        self.run(|connection| {
            connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM sessions WHERE user = ?1 ORDER BY project"))?
                .query_map([user.as_str()], read)?
                .collect()
        })
    }

    /// Writes a new session with what it is going to own, unless a limit is reached or the key is taken.
    pub fn insert(
        &self,
        record: &SessionRecord,
        objects: &[Object],
        limits: Limits,
    ) -> Result<(), StoreError> {
        let mut connection = self.connection();
        let fail = Fail { path: &self.path };
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| fail.sql(error))?;
        // In the same transaction: two users who start at once share the limit on all.
        check_counts(&transaction, &record.key.user, limits).map_err(|error| fail.sql(error))??;
        match with_parameters(&transaction, INSERT, record) {
            Ok(_) => {}
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                let taken = StoreError::Exists { key: record.key.to_string() };
                return Err(if self.is_key_error(&error) { taken } else { fail.sql(error) });
            }
            Err(error) => return Err(fail.sql(error)),
        }
        objects::insert(&transaction, &record.id, objects)
            .and_then(|()| transaction.commit())
            .map_err(|error| fail.sql(error))
    }

    /// Whether one more session of a user would be allowed, as [`Store::insert`] will find out.
    pub fn check_limits(&self, user: &UserName, limits: Limits) -> Result<(), StoreError> {
        self.run(|connection| check_counts(connection, user, limits))?.map_err(StoreError::Limit)
    }

    fn is_key_error(&self, error: &rusqlite::Error) -> bool {
        error.sqlite_error().is_some_and(|error| {
            matches!(
                error.extended_code,
                rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY | rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE
            )
        })
    }

    /// Writes what may change in a session's life, except how far its setup has come. False if its row is gone.
    pub fn update(&self, record: &SessionRecord) -> Result<bool, StoreError> {
        self.run(|connection| with_parameters(connection, UPDATE, record)).map(|rows| rows > 0)
    }

    /// As [`Store::update`], of a session that has come to run: volumes that were made for it outlive it from now on, except
    /// those of a throwaway machine.
    pub fn update_as_made(&self, record: &SessionRecord) -> Result<bool, StoreError> {
        let mut connection = self.connection();
        let fail = Fail { path: &self.path };
        // In one transaction: a session that counts as running must not have volumes in its list that go with it.
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| fail.sql(error))?;
        let updated = with_parameters(&transaction, UPDATE, record)
            .and_then(|rows| match record.kind {
                Kind::Throwaway => Ok(rows),
                Kind::Machine | Kind::Session => {
                    objects::remove_all(&transaction, &record.id, ObjectKind::Volume).map(|_| rows)
                }
            })
            .and_then(|rows| transaction.commit().map(|()| rows))
            .map_err(|error| fail.sql(error))?;
        Ok(updated > 0)
    }

    /// Writes how far the setup of a session has come. False if its row is gone.
    pub fn set_setup(&self, id: &str, state: SetupState) -> Result<bool, StoreError> {
        self.run(|connection| {
            connection
                .prepare_cached("UPDATE sessions SET setup = ?2 WHERE id = ?1")?
                .execute(params![id, Word(state)])
        })
        .map(|rows| rows > 0)
    }

    /// Notes that somebody connected or left.
    pub fn touch(&self, id: &str, now: Timestamp) -> Result<(), StoreError> {
        self.run(|connection| {
            connection
                .prepare_cached("UPDATE sessions SET last_activity = ?2 WHERE id = ?1")?
                .execute(params![id, Time(now)])
        })
        .map(drop)
    }

    /// Removes a session's row and the list of what it owned.
    pub fn delete(&self, id: &str) -> Result<(), StoreError> {
        self.run(|connection| connection.execute("DELETE FROM sessions WHERE id = ?1", [id])).map(drop)
    }

    /// What a session owns, in the order in which it was written down.
    pub fn objects(&self, id: &str) -> Result<Vec<Object>, StoreError> {
        self.run(|connection| objects::of(connection, id))
    }

    /// Writes down something that is about to be made.
    pub fn add_object(&self, id: &str, object: &Object) -> Result<(), StoreError> {
        self.run(|connection| objects::insert(connection, id, std::slice::from_ref(object)))
    }

    /// Writes down the engine's id of something that was made.
    pub fn set_object_id(
        &self,
        id: &str,
        kind: ObjectKind,
        name: &str,
        object: &str,
    ) -> Result<(), StoreError> {
        self.run(|connection| objects::set_id(connection, id, kind, name, object)).map(drop)
    }

    /// Forgets something that was removed.
    pub fn remove_object(&self, id: &str, kind: ObjectKind, name: &str) -> Result<(), StoreError> {
        self.run(|connection| objects::remove(connection, id, kind, name)).map(drop)
    }

    /// Writes down a checkout that is about to be made; false if its machine has one.
    pub fn insert_workspace(&self, workspace: &Workspace) -> Result<bool, StoreError> {
        self.run(|connection| workspaces::insert(connection, workspace))
    }

    /// Writes down another checkout in the place of the one that its machine has. False if it has none.
    pub fn replace_workspace(&self, workspace: &Workspace) -> Result<bool, StoreError> {
        self.run(|connection| workspaces::replace(connection, workspace))
    }

    /// Writes what may change in a checkout's life. False if its row is gone.
    pub fn update_workspace(&self, workspace: &Workspace) -> Result<bool, StoreError> {
        self.run(|connection| workspaces::update(connection, workspace))
    }

    /// Forgets a checkout that was removed.
    pub fn delete_workspace(&self, id: &str) -> Result<(), StoreError> {
        self.run(|connection| workspaces::delete(connection, id)).map(drop)
    }

    /// The checkout of a machine.
    pub fn workspace(&self, user: &UserName, name: &MachineName) -> Result<Option<Workspace>, StoreError> {
        self.run(|connection| workspaces::find(connection, user, name))
    }

    /// All checkouts of one user, ordered by name.
    pub fn workspaces(&self, user: &UserName) -> Result<Vec<Workspace>, StoreError> {
        self.run(|connection| workspaces::of_user(connection, user))
    }

    /// Something that is to be remembered apart from any session.
    pub fn note(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.run(|connection| {
            connection
                .query_row("SELECT value FROM meta WHERE key = ?1", [format!("note:{name}")], |row| {
                    row.get(0)
                })
                .optional()
        })
    }

    /// Remembers it.
    pub fn set_note(&self, name: &str, value: &str) -> Result<(), StoreError> {
        self.run(|connection| {
            connection.execute(
                "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2",
                [format!("note:{name}").as_str(), value],
            )
        })
        .map(drop)
    }

    /// Remembers it no longer, and says what it was.
    pub fn take_note(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.run(|connection| {
            connection
                .query_row(
                    "DELETE FROM meta WHERE key = ?1 RETURNING value",
                    [format!("note:{name}")],
                    |row| row.get(0),
                )
                .optional()
        })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic elsewhere leaves no open transaction: rusqlite rolls it back when it is dropped.
        self.connection.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn run<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        work(&self.connection()).map_err(|error| Fail { path: &self.path }.sql(error))
    }
}

fn check_counts(
    connection: &Connection,
    user: &UserName,
    limits: Limits,
) -> rusqlite::Result<Result<(), LimitReached>> {
    if limits.max_per_user.is_none() && limits.max_containers.is_none() {
        return Ok(Ok(()));
    }
    let (total, of_user): (u32, u32) = connection.query_row(
        "SELECT count(*), count(*) FILTER (WHERE user = ?1) FROM sessions WHERE attached",
        [user.as_str()],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    if let Some(limit) = limits.max_per_user.filter(|limit| of_user >= *limit) {
        return Ok(Err(LimitReached::PerUser { user: user.to_string(), count: of_user, limit }));
    }
    if let Some(limit) = limits.max_containers.filter(|limit| total >= *limit) {
        return Ok(Err(LimitReached::Total { count: total, limit }));
    }
    Ok(Ok(()))
}

/// Makes an empty file that only its owner may read: SQLite gives its side files the same mode.
fn create(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // In WAL mode nothing is lost but the last transactions of a power cut; what these had recorded is found again by
    // its labels.
    connection.execute_batch("PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;")?;
    // A short command must not pay for a checkpoint with two syncs when it ends; the next long write does it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(connection)
}

/// An exclusive lock on the directory of the database, until dropped.
fn lock_directory(path: &Path) -> io::Result<File> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = File::open(parent)?;
    flock(&directory, FlockOperation::LockExclusive)?;
    Ok(directory)
}

/// Puts errors into the words of [`StoreError`].
struct Fail<'a> {
    path: &'a Path,
}

impl Fail<'_> {
    fn io(&self, error: &io::Error) -> StoreError {
        let (path, reason) = (self.path.to_owned(), error.to_string());
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { path },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                StoreError::NotWritable { path, reason }
            }
            _ => StoreError::Other { path, reason },
        }
    }

    fn sql(&self, error: rusqlite::Error) -> StoreError {
        let path = self.path.to_owned();
        let code = error.sqlite_error_code();
        let extended = error.sqlite_error().map_or(0, |error| error.extended_code);
        let reason = match &error {
            rusqlite::Error::SqliteFailure(error, text) => text.clone().unwrap_or_else(|| error.to_string()),
            other => other.to_string(),
        };
        match (code, error) {
            (Some(ErrorCode::DiskFull), _) => StoreError::Full { path },
            (Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt), _) => {
                StoreError::Corrupt { path, reason }
            }
            (Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked), _) => StoreError::Busy { path },
            (Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied), _) => {
                StoreError::NotWritable { path, reason }
            }
            // The side files of WAL could not be made or grown: what stopped that is asked of the file system.
            (Some(ErrorCode::CannotOpen | ErrorCode::SystemIoFailure), _) => {
                self.file_trouble(extended, reason)
            }
            (
                None,
                rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::IntegralValueOutOfRange(..),
            ) => StoreError::Row { path, reason },
            _ => StoreError::Other { path, reason },
        }
    }

    fn file_trouble(&self, extended: i32, reason: String) -> StoreError {
        let path = self.path.to_owned();
        let parent = path.parent().unwrap_or(Path::new("."));
        let space = rustix::fs::statvfs(parent);
        if matches!(&space, Ok(space) if space.f_bavail == 0) {
            return StoreError::Full { path };
        }
        match rustix::fs::access(parent, rustix::fs::Access::WRITE_OK) {
            Err(error) => StoreError::NotWritable { path, reason: io::Error::from(error).to_string() },
            Ok(()) => StoreError::Other { path, reason: format!("{reason} (SQLite code {extended})") },
        }
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
