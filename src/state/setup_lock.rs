//! Who sets a session up: one process at a time, and everybody else waits for it.
//!
//! The lock is a `flock` on `<directory>/<session id>.lock`, which ends with the process that holds it, whatever happens to
//! that. Beside it, `<session id>.started` says that the hooks of the container's start have run. Both files stay until the
//! session goes; what is left of sessions that are no more, the next cleanup pass removes.
//!
//! Waiting neither polls nor blocks the caller: a thread of its own blocks in `flock`. A caller that gives up leaves the
//! thread behind; as soon as that gets the lock it lets it go again.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::LockError;
use super::lock::make_directory;

/// The directory of these locks.
#[derive(Debug, Clone)]
pub struct SetupLocks {
    directory: PathBuf,
}

/// A held lock. Dropping it lets it go.
#[derive(Debug)]
pub struct SetupLock(File);

impl Drop for SetupLock {
    fn drop(&mut self) {
        // Said explicitly: a child that another thread is just starting has the descriptor too, until it executes.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

impl SetupLocks {
    /// Locks in `directory`, which is made (0700) when the first lock is.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Takes the lock of a session if nobody holds it.
    pub fn try_lock(&self, session: &str) -> Result<Option<SetupLock>, LockError> {
        let path = self.lock_file(session);
        let file = self.open(&path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(SetupLock(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(LockError::io(path, error.into())),
        }
    }

    /// Takes the lock, however long that takes. May be dropped at any time. Whoever gets it looks whether the session still
    /// exists: its file is removed with it.
    pub async fn lock(&self, session: &str) -> Result<SetupLock, LockError> {
        if let Some(lock) = self.try_lock(session)? {
            return Ok(lock);
        }
        let path = self.lock_file(session);
        let file = self.open(&path)?;
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let wanted = Arc::new(());
        let still = Arc::downgrade(&wanted);
        let body = move || {
            let taken = loop {
                match flock(&file, FlockOperation::LockExclusive) {
                    Err(Errno::INTR) => {}
                    Ok(()) => break Ok(SetupLock(file)),
                    Err(error) => break Err(error),
                }
            };
            // Nobody waits any more: dropping it lets it go.
            if still.strong_count() > 0 {
                drop(sender.send(taken));
            }
        };
        let failed = |error| LockError::io(&path, error);
        std::thread::Builder::new().name("setup".into()).spawn(body).map_err(failed)?;
        let taken = receiver.await.map_err(|_| failed(io::ErrorKind::BrokenPipe.into()))?;
        drop(wanted);
        taken.map_err(|errno| failed(errno.into()))
    }

    /// Notes that the hooks of the container's start have run.
    pub fn set_started(&self, session: &str) -> Result<(), LockError> {
        self.open(&self.started_file(session)).map(drop)
    }

    /// Whether they have.
    pub fn is_started(&self, session: &str) -> bool {
        self.started_file(session).exists()
    }

    /// The container has been started anew: they have not run.
    pub fn clear_started(&self, session: &str) -> Result<(), LockError> {
        remove(&self.started_file(session))
    }

    /// Removes the files of a session that is gone. Who holds or waits for its lock is not disturbed.
    pub fn forget(&self, session: &str) -> Result<(), LockError> {
        remove(&self.lock_file(session))?;
        remove(&self.started_file(session))
    }

    /// Ids of all sessions that have a file here.
    pub fn sessions(&self) -> Result<Vec<String>, LockError> {
        let entries = match std::fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(LockError::io(&self.directory, error)),
        };
        let mut sessions = Vec::new();
        for entry in entries {
            let name = entry.map_err(|error| LockError::io(&self.directory, error))?.file_name();
            let stem = Path::new(&name).file_stem().map(|stem| stem.to_string_lossy().into_owned());
            sessions.extend(stem.filter(|stem| !sessions.contains(stem)));
        }
        Ok(sessions)
    }

    fn lock_file(&self, session: &str) -> PathBuf {
        self.directory.join(format!("{session}.lock"))
    }

    fn started_file(&self, session: &str) -> PathBuf {
        self.directory.join(format!("{session}.started"))
    }

    fn open(&self, path: &Path) -> Result<File, LockError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        match options.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_directory(&self.directory)?;
                options.open(path)
            }
            other => other,
        }
        .map_err(|error| LockError::io(path, error))
    }
}

fn remove(path: &Path) -> Result<(), LockError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LockError::io(path, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locks() -> (tempfile::TempDir, SetupLocks) {
        let dir = tempfile::Builder::new().prefix("podspawn-setup-").tempdir().unwrap();
        let locks = SetupLocks::new(dir.path().join("setup"));
        (dir, locks)
    }

    #[test]
    fn who_waits_gets_the_lock_when_it_is_let_go_and_who_gave_up_does_not_keep_it() {
        let (_dir, locks) = locks();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let held = locks.try_lock("1").unwrap().unwrap();
            assert!(locks.try_lock("1").unwrap().is_none());
            assert!(locks.try_lock("2").unwrap().is_some());
            {
                let mut given_up = std::pin::pin!(locks.lock("1"));
                tokio::select! {
                    biased;
                    _ = &mut given_up => panic!("somebody holds it"),
                    () = tokio::task::yield_now() => {}
                }
            }
            let (taken, ()) = tokio::join!(locks.lock("1"), async { drop(held) });
            drop(taken.unwrap());
        });
    }

    #[test]
    fn what_is_noted_of_a_start_goes_with_the_next_start_and_with_the_session() {
        let (_dir, locks) = locks();
        assert!(!locks.is_started("1"));
        locks.clear_started("1").unwrap();
        locks.set_started("1").unwrap();
        assert!(locks.is_started("1"));
        locks.clear_started("1").unwrap();
        assert!(!locks.is_started("1"));
        drop(locks.try_lock("1").unwrap());
        locks.set_started("1").unwrap();
        assert_eq!(locks.sessions().unwrap(), ["1"]);
        locks.forget("1").unwrap();
        assert_eq!(locks.sessions().unwrap(), Vec::<String>::new());
    }
}
