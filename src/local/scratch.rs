//! Directories in the making and locks on names, both held by the kernel for as long as their process lives.
//!
//! A directory whose name begins with a dot belongs to the command that made it; that command holds a lock on it. Whoever
//! gets that lock knows that the maker is gone, and removes the directory.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

/// Beginning of the names of directories that are renamed once they are whole.
pub(super) const NEW: &str = ".new-";
/// Beginning of the names of directories that live as long as one command.
pub(super) const TEMPORARY: &str = ".tmp-";

/// A held lock on a name. Dropping it lets it go.
#[derive(Debug)]
pub(super) struct NameLock {
    _open: File,
}

impl NameLock {
    /// Takes the lock that `path` stands for if nobody holds it; else what to wait for.
    pub(super) fn try_take(path: &Path) -> io::Result<Result<Self, File>> {
        let file = lock_file(path)?;
        Ok(if locked(&file)? { Ok(Self { _open: file }) } else { Err(file) })
    }

    /// Takes the lock, however long that takes. May be dropped at any time: a thread of its own waits, and as soon as that
    /// gets a lock that nobody wants any more it lets it go again.
    pub(super) async fn wait_for(file: File) -> io::Result<Self> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let body = move || drop(sender.send(Self::wait(file)));
        std::thread::Builder::new().name("name".into()).spawn(body)?;
        receiver.await.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?
    }

    /// Takes the lock, waiting for whoever holds it; `waiting` is told once if there is need to. No signal ends the waiting.
    pub(super) fn take(path: &Path, waiting: impl FnOnce()) -> io::Result<Self> {
        match Self::try_take(path)? {
            Ok(lock) => Ok(lock),
            Err(file) => {
                waiting();
                Self::wait(file)
            }
        }
    }

    fn wait(file: File) -> io::Result<Self> {
        loop {
            match flock(&file, FlockOperation::LockExclusive) {
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(()) => return Ok(Self { _open: file }),
            }
        }
    }
}

fn lock_file(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        make_private(parent)?;
    }
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// A directory that is removed with its owner, unless it is kept.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    held: Option<File>,
}

impl Scratch {
    /// Makes `<parent>/<prefix><name>-<unique>`. Others of this host are kept out by the parent; in a container everybody may
    /// look at it.
    pub(super) fn make(parent: &Path, prefix: &str, name: &str, unique: i128) -> io::Result<Self> {
        make_private(parent)?;
        // Held while the directory is made and locked: whoever sweeps sees it locked or not at all.
        let _alone = lock_whole(parent)?;
        let path = parent.join(format!("{prefix}{name}-{unique}"));
        DirBuilder::new().mode(0o755).create(&path)?;
        let held = File::open(&path)?;
        flock(&held, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { path, held: Some(held) })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its own name: it is whole, and stays.
    pub(super) fn keep_as(mut self, path: &Path) -> io::Result<()> {
        self.try_keep_as(path)
    }

    /// The same; after an error it is as it was.
    pub(super) fn try_keep_as(&mut self, path: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, path)?;
        self.held = None;
        Ok(())
    }

    /// Lets it be. Whoever sweeps next finds it.
    pub(super) fn abandon(mut self) {
        self.held = None;
    }

    /// Removes it now. What cannot be removed is the caller's business: it is not tried again.
    pub(super) fn remove(mut self) -> Result<(), (PathBuf, io::Error)> {
        let removed = std::fs::remove_dir_all(&self.path);
        // The lock goes last, and with the directory.
        self.held = None;
        removed.map_err(|error| (std::mem::take(&mut self.path), error))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.held.is_some()
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!("remove `{}`: {error}", self.path.display());
        }
    }
}

/// Directories below `parent` that commands left which are gone, locked, so that nobody else looks at them.
pub(super) fn abandoned(parent: &Path) -> io::Result<Vec<Scratch>> {
    let entries = match std::fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let _alone = lock_whole(parent)?;
    let mut left = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|name| name.starts_with(NEW) || name.starts_with(TEMPORARY));
        if !ours {
            continue;
        }
        let flags = (OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::NONBLOCK).bits();
        let opened = File::options().read(true).custom_flags(flags.cast_signed()).open(entry.path());
        // One that is gone, or no directory, is none of ours.
        let Ok(directory) = opened else { continue };
        if locked(&directory)? {
            left.push(Scratch { path: entry.path(), held: Some(directory) });
        }
    }
    Ok(left)
}

fn locked(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn lock_whole(directory: &Path) -> io::Result<File> {
    let directory = File::open(directory)?;
    flock(&directory, FlockOperation::LockExclusive)?;
    Ok(directory)
}

/// Makes a directory of podspawn's own and what is missing above it, 0700.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_holds_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let parent = dir.path().join("workspaces");
        assert!(abandoned(&parent).unwrap().is_empty());
        let held = Scratch::make(&parent, TEMPORARY, "dev", 1).unwrap();
        std::fs::create_dir_all(parent.join(".tmp-dead-2/sub")).unwrap();
        std::fs::create_dir(parent.join("machine")).unwrap();
        std::os::unix::fs::symlink("machine", parent.join(".new-link-3")).unwrap();
        let left = abandoned(&parent).unwrap();
        assert_eq!(left.iter().map(Scratch::path).collect::<Vec<_>>(), [parent.join(".tmp-dead-2")]);
        assert!(abandoned(&parent).unwrap().is_empty(), "somebody sweeps it already");
        drop(left);
        assert!(!parent.join(".tmp-dead-2").exists() && parent.join("machine").exists());
        assert!(held.path().exists());
        held.remove().unwrap();
        assert!(!parent.join(".tmp-dev-1").exists());
    }

    #[test]
    fn what_is_let_be_is_found_by_whoever_sweeps() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".tmp-dev-1");
        Scratch::make(dir.path(), TEMPORARY, "dev", 1).unwrap().abandon();
        assert!(path.exists());
        for left in abandoned(dir.path()).unwrap() {
            left.abandon();
        }
        assert_eq!(abandoned(dir.path()).unwrap().iter().map(Scratch::path).collect::<Vec<_>>(), [path]);
    }

    #[test]
    fn what_is_kept_stays_under_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let new = Scratch::make(dir.path(), NEW, "dev", 1).unwrap();
        std::fs::write(new.path().join("file"), "").unwrap();
        new.keep_as(&dir.path().join("dev")).unwrap();
        assert!(dir.path().join("dev/file").exists());
        let other = Scratch::make(dir.path(), NEW, "dev", 2).unwrap();
        assert!(other.keep_as(&dir.path().join("dev")).is_err(), "nothing is replaced");
        assert!(!dir.path().join(".new-dev-2").exists());
    }

    #[test]
    fn a_name_is_locked_by_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("locks/machine.lock");
        let held = NameLock::take(&path, || panic!("nobody has it")).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let other = {
            let path = path.clone();
            std::thread::spawn(move || NameLock::take(&path, || sender.send(()).unwrap()).map(drop))
        };
        receiver.recv().unwrap();
        drop(held);
        other.join().unwrap().unwrap();
    }

    #[test]
    fn who_gave_up_waiting_for_a_name_does_not_keep_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("locks/machine.lock");
        let held = NameLock::try_take(&path).unwrap().unwrap();
        let wanted = || NameLock::try_take(&path).unwrap().unwrap_err();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            {
                let mut given_up = std::pin::pin!(NameLock::wait_for(wanted()));
                tokio::select! {
                    biased;
                    _ = &mut given_up => panic!("somebody holds it"),
                    () = tokio::task::yield_now() => {}
                }
            }
            let (taken, ()) = tokio::join!(NameLock::wait_for(wanted()), async { drop(held) });
            drop(taken.unwrap());
        });
    }
}
