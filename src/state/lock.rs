//! One exclusive lock per user, around decide-and-create and around destroy.
//!
//! The lock is a `flock` on `<directory>/<user>.lock`: it ends with the process that holds it, whatever happens to that.
//! The file itself stays until its user is removed: who gets the lock of a file that is gone by then takes the lock of the
//! new one instead, so that two processes never hold two files of one name. It holds the pid of the last holder, for the
//! message that a waiting process shows.
//!
//! Waiting neither polls nor blocks the caller: a thread of its own blocks in `flock`, and the caller waits for that thread
//! with a deadline. A caller that gives up leaves the thread behind; as soon as that gets the lock it lets it go again.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::LockError;
use crate::names::UserName;
use crate::system::directory::Directory;

/// Longest that a command is waited for whose user is being removed.
const FORGET_LIMIT: Duration = Duration::from_secs(60);

/// The directory of the locks.
#[derive(Debug, Clone)]
pub struct UserLocks {
    directory: PathBuf,
    /// The directory held open, where it may be another account's.
    held: Option<Arc<Directory>>,
}

/// A held lock. Dropping it lets it go.
#[derive(Debug)]
pub struct UserLock {
    user: UserName,
    file: File,
}

impl Drop for UserLock {
    fn drop(&mut self) {
        // Said explicitly: a child that another thread is just starting has the descriptor too, until it executes.
        // An error leaves what closing the file does anyway.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

impl UserLock {
    /// Whose lock it is.
    pub fn user(&self) -> &UserName {
        &self.user
    }
}

/// A lock that is held by another process and waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockWait {
    /// The process that holds it, if it said so.
    pub pid: Option<u32>,
}

impl UserLocks {
    /// Locks in `directory`, which is made (0700) when the first lock is.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), held: None }
    }

    fn path(&self, user: &UserName) -> PathBuf {
        self.directory.join(format!("{user}.lock"))
    }

    /// By which path the file of a lock is reached.
    fn reach(&self, path: &Path) -> PathBuf {
        match (&self.held, path.file_name()) {
            (Some(held), Some(name)) => held.at(name),
            _ => path.to_owned(),
        }
    }

    /// Takes the lock if nobody holds it.
    pub fn try_lock(&self, user: &UserName) -> Result<Option<UserLock>, LockError> {
        let path = self.path(user);
        loop {
            let file = self.open(&path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_gone(&file) => {}
                Ok(()) => return Ok(Some(taken(user, file))),
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(LockError::io(path, error.into())),
            }
        }
    }

    /// Removes the file of a user who is no more, and those of their machines' names, waiting at most as long as one command
    /// may take for who holds its lock.
    /// Root does that in the directory of the broker's account, which may have put anything there.
    pub fn forget(&self, user: &UserName) -> Result<(), LockError> {
        let held = match Directory::open(&self.directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            opened => opened.map_err(|error| LockError::io(self.path(user), error))?,
        };
        forget_names(&held, user).map_err(|error| LockError::io(self.path(user), error))?;
        let locks = Self { held: Some(Arc::new(held)), ..self.clone() };
        if locks.reach(&self.path(user)).symlink_metadata().is_err() {
            return Ok(());
        }
        let lock = locks.lock_blocking(user, FORGET_LIMIT)?;
        locks.remove_held(&lock)
    }

    /// Removes the file of a lock that is held: who waits for it gets the lock of the next file.
    pub(super) fn remove_held(&self, lock: &UserLock) -> Result<(), LockError> {
        let path = self.path(&lock.user);
        std::fs::remove_file(self.reach(&path)).map_err(|error| LockError::io(path, error))
    }

    /// Takes the lock, waiting at most `limit`. Blocks the calling thread.
    pub fn lock_blocking(&self, user: &UserName, limit: Duration) -> Result<UserLock, LockError> {
        if let Some(lock) = self.try_lock(user)? {
            return Ok(lock);
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        let wanted = Arc::new(());
        self.wait_in_thread(user, &wanted, move |taken| drop(sender.try_send(taken)))?;
        receiver.recv_timeout(limit).unwrap_or_else(|_| Err(self.timeout(user)))
    }

    /// Takes the lock, waiting at most `limit`. `waiting` is told once, if there is need to wait.
    pub async fn lock(
        &self,
        user: &UserName,
        limit: Duration,
        waiting: impl FnOnce(LockWait),
    ) -> Result<UserLock, LockError> {
        if let Some(lock) = self.try_lock(user)? {
            return Ok(lock);
        }
        waiting(LockWait { pid: self.holder(user) });
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let wanted = Arc::new(());
        self.wait_in_thread(user, &wanted, move |taken| drop(sender.send(taken)))?;
        match tokio::time::timeout(limit, receiver).await {
            Ok(Ok(taken)) => taken,
            Ok(Err(_)) | Err(_) => Err(self.timeout(user)),
        }
    }

    fn timeout(&self, user: &UserName) -> LockError {
        LockError::Timeout { user: user.to_string(), pid: self.holder(user) }
    }

    /// Blocks a new thread in `flock` and hands what came of it to `done`. Once `wanted` is dropped, it touches nothing more.
    fn wait_in_thread(
        &self,
        user: &UserName,
        wanted: &Arc<()>,
        done: impl FnOnce(Result<UserLock, LockError>) + Send + 'static,
    ) -> Result<(), LockError> {
        let path = self.path(user);
        let mut file = self.open(&path)?;
        let (locks, user, wanted) = (self.clone(), user.clone(), Arc::downgrade(wanted));
        let body = {
            let path = path.clone();
            move || {
                done(loop {
                    match flock(&file, FlockOperation::LockExclusive) {
                        Err(Errno::INTR) => {}
                        Ok(()) if wanted.strong_count() == 0 => break Err(locks.timeout(&user)),
                        Ok(()) if is_gone(&file) => match locks.open(&path) {
                            Ok(new) => file = new,
                            Err(error) => break Err(error),
                        },
                        Ok(()) => break Ok(taken(&user, file)),
                        Err(error) => break Err(LockError::io(path, error.into())),
                    }
                });
            }
        };
        std::thread::Builder::new()
            .name("lock".into())
            .spawn(body)
            .map(drop)
            .map_err(|error| LockError::io(path, error))
    }

    fn holder(&self, user: &UserName) -> Option<u32> {
        let mut text = String::new();
        let path = self.reach(&self.path(user));
        file_itself().read(true).open(path).ok()?.take(16).read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    }

    fn open(&self, path: &Path) -> Result<File, LockError> {
        let mut options = file_itself();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let place = self.reach(path);
        let opened = match options.open(&place) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.held.is_none() => {
                make_directory(&self.directory)?;
                options.open(place)
            }
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
                Err(std::io::Error::other("it is a symbolic link where a file belongs"))
            }
            other => other,
        };
        let file = opened.map_err(|error| LockError::io(path, error))?;
        match file.metadata() {
            Ok(facts) if !facts.is_file() => Err(std::io::Error::other("it is no regular file")),
            looked => looked.map(|_| file),
        }
        .map_err(|error| LockError::io(path, error))
    }
}

/// Of a file that may be somebody else's doing: a link is not followed, and a named pipe holds nobody up.
fn file_itself() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    options
}

/// Whether the file was removed: its lock is worth nothing then.
fn is_gone(file: &File) -> bool {
    rustix::fs::fstat(file).is_ok_and(|stat| stat.st_nlink == 0)
}

/// The lock, with this process named as its holder. What is written is for a message only: that it cannot be is no error.
fn taken(user: &UserName, mut file: File) -> UserLock {
    let name = format!("{:<10}\n", std::process::id());
    // A file that goes by another name too may be anybody's.
    if rustix::fs::fstat(&file).is_ok_and(|stat| stat.st_nlink == 1) {
        let _ = file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(name.as_bytes()));
    }
    UserLock { user: user.clone(), file }
}

/// Makes a directory of podspawn's own and what is missing above it, 0700.
pub(super) fn make_directory(path: &Path) -> Result<(), LockError> {
    let gone = |path: &Path| {
        path.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    };
    match std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path) {
        // It was there, and somebody who removes empty ones took it away before that could be looked at.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && gone(path) => Ok(()),
        done => done.map_err(|error| LockError::io(path, error)),
    }
}

/// Removes the locks on the names of a user's machines.
fn forget_names(directory: &Directory, user: &UserName) -> std::io::Result<()> {
    let begin = format!("{user}.");
    // The locks of projects begin like those of a user of that name.
    if begin == "project." {
        return Ok(());
    }
    for entry in std::fs::read_dir(directory.at("."))? {
        let name = entry?.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(&begin) && name.ends_with(".name.lock")) {
            std::fs::remove_file(directory.at(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn locks() -> (tempfile::TempDir, UserLocks) {
        let dir = tempfile::Builder::new().prefix("podspawn-locks-").tempdir().unwrap();
        let locks = UserLocks::new(dir.path().join("locks"));
        (dir, locks)
    }

    fn user(name: &str) -> UserName {
        name.parse().unwrap()
    }

    #[test]
    fn one_at_a_time_and_users_never_block_each_other() {
        let (dir, locks) = locks();
        let held = locks.try_lock(&user("ann")).unwrap().unwrap();
        assert!(locks.try_lock(&user("ann")).unwrap().is_none());
        assert!(locks.try_lock(&user("bob")).unwrap().is_some());
        let mode =
            |path: &str| std::fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("locks"), mode("locks/ann.lock")), (0o700, 0o600));
        drop(held);
        assert!(locks.try_lock(&user("ann")).unwrap().is_some());
    }

    #[test]
    fn who_waits_too_long_is_told_for_whom_and_does_not_get_the_lock_later() {
        let (_dir, locks) = locks();
        let held = locks.try_lock(&user("ann")).unwrap().unwrap();
        let error = locks.lock_blocking(&user("ann"), Duration::from_millis(20)).unwrap_err();
        let pid = std::process::id();
        assert_eq!(
            error.to_string(),
            format!("another podspawn command of `ann` is still at work (process {pid})")
        );
        drop(held);
        // The thread that waited gets it for an instant and lets it go.
        drop(locks.lock_blocking(&user("ann"), Duration::from_secs(10)).unwrap());
    }

    #[test]
    fn a_lock_that_is_let_go_is_got_at_once() {
        let (_dir, locks) = locks();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let held = locks.try_lock(&user("ann")).unwrap().unwrap();
        let mut told = None;
        runtime.block_on(async {
            let ann = user("ann");
            let waiting = locks.lock(&ann, Duration::from_secs(10), |wait| told = Some(wait));
            let (taken, ()) = tokio::join!(waiting, async { drop(held) });
            assert_eq!(taken.unwrap().user(), &ann);
        });
        assert_eq!(told, Some(LockWait { pid: Some(std::process::id()) }));
    }

    #[test]
    fn who_waits_for_a_file_that_is_removed_gets_the_lock_of_the_next_one() {
        let (_dir, locks) = locks();
        let ann = user("ann");
        locks.forget(&ann).unwrap();
        let held = locks.try_lock(&ann).unwrap().unwrap();
        let (sender, receiver) = mpsc::sync_channel(1);
        let wanted = Arc::new(());
        locks.wait_in_thread(&ann, &wanted, move |taken| drop(sender.try_send(taken))).unwrap();
        std::fs::remove_file(locks.path(&ann)).unwrap();
        let new = locks.try_lock(&ann).unwrap().unwrap();
        drop(held);
        // The waiting thread must not have it while somebody holds the new file's.
        assert!(receiver.recv_timeout(Duration::from_millis(100)).is_err());
        drop(new);
        let got = receiver.recv_timeout(Duration::from_secs(10)).unwrap().unwrap();
        assert!(locks.try_lock(&ann).unwrap().is_none());
        drop(got);
        locks.forget(&ann).unwrap();
        assert!(!locks.path(&ann).exists());
    }

    #[test]
    fn what_is_no_file_of_a_lock_is_refused_and_what_a_link_leads_to_is_not_written() {
        let (dir, locks) = locks();
        let (victim, ann) = (dir.path().join("victim"), user("ann"));
        std::fs::write(&victim, "text of another").unwrap();
        std::fs::create_dir(dir.path().join("locks")).unwrap();
        let refused = |says: &str| {
            for error in [locks.try_lock(&ann).unwrap_err(), locks.forget(&ann).unwrap_err()] {
                let text = error.to_string();
                assert!(text.contains("locks/ann.lock") && text.contains(says), "{text}");
            }
            std::fs::remove_file(locks.path(&ann)).unwrap();
        };
        for target in [&victim, &dir.path().join("none")] {
            std::os::unix::fs::symlink(target, locks.path(&ann)).unwrap();
            refused("it is a symbolic link");
        }
        let mode = rustix::fs::Mode::RWXU;
        rustix::fs::mkfifoat(rustix::fs::CWD, locks.path(&ann), mode).unwrap();
        refused("it is no regular file");
        std::fs::hard_link(&victim, locks.path(&ann)).unwrap();
        locks.forget(&ann).unwrap();
        assert!(!locks.path(&ann).exists() && !dir.path().join("none").exists());
        assert_eq!(std::fs::read_to_string(victim).unwrap(), "text of another");
    }

    #[test]
    fn a_lock_is_not_forgotten_at_the_end_of_another_accounts_link() {
        let (dir, locks) = locks();
        drop(locks.try_lock(&user("ann")).unwrap());
        let theirs = dir.path().join("theirs");
        std::fs::create_dir(&theirs).unwrap();
        std::fs::set_permissions(&theirs, std::fs::Permissions::from_mode(0o777)).unwrap();
        std::os::unix::fs::symlink(dir.path().join("locks"), theirs.join("locks")).unwrap();
        let error = UserLocks::new(theirs.join("locks")).forget(&user("ann")).unwrap_err().to_string();
        assert!(error.contains("theirs/locks` is a symbolic link where a directory belongs"), "{error}");
        assert!(locks.path(&user("ann")).exists());
    }

    #[test]
    fn a_file_where_the_directory_should_be_is_named() {
        let (dir, locks) = locks();
        std::fs::write(dir.path().join("locks"), "").unwrap();
        let error = locks.try_lock(&user("ann")).unwrap_err();
        assert!(error.to_string().contains("locks/ann.lock"), "{error}");
    }
}
