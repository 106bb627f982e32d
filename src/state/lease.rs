//! A connection is alive because a process holds a lock, never because a counter says so.
//!
//! Each connection has a file `<directory>/<session id>/<name>`, 0600, opened read-only and close-on-exec, with an
//! exclusive `flock` on it: the lock lives exactly as long as the process that serves the connection. A probe asks for a
//! shared lock, so that two probes never take each other for a connection. A file that nobody locks is stale; what was
//! left by a process that died is removed by the next [`Leases::sweep`].
//!
//! An SSH connection holds one lease for its forwarding (`<connection>`) and one for each process that it has inside
//! (`<connection>+<uuid>`). It counts as many times as it has processes, and once if it has none. Everything else is
//! `<uuid>` and counts once.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, RawDir, flock};
use rustix::io::Errno;
use uuid::Uuid;

use super::error::LockError;
use super::lock::make_directory;

/// What the content of a lease's file begins with, if it has any.
const NOTE: &str = "command\n";

/// The directory of all leases.
#[derive(Debug, Clone)]
pub struct Leases {
    directory: PathBuf,
}

/// Who holds a lease.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Holder {
    /// This process, for itself.
    #[default]
    Alone,
    /// An SSH connection, for its forwarding. The text names the connection, and has no `+` and no `/`.
    Connection(String),
    /// A process of that SSH connection.
    Process(String),
}

impl Holder {
    fn file_name(&self) -> String {
        match self {
            Self::Alone => Uuid::new_v4().to_string(),
            Self::Connection(connection) => connection.clone(),
            Self::Process(connection) => format!("{connection}+{}", Uuid::new_v4()),
        }
    }
}

/// One connection to a session. Dropping it ends the connection's count, as the end of the process does; the file stays
/// until [`Lease::end`] or the next sweep.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    /// None once it was handed over.
    file: Option<File>,
}

/// A lease whose lock another process holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedLease {
    path: PathBuf,
}

impl HandedLease {
    /// The name of the lease, which tells its [`Holder`].
    pub fn name(&self) -> String {
        self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// The SSH connection that the lease belongs to, or the name of a lease that belongs to none.
    pub fn connection(&self) -> String {
        let name = self.name();
        name.split_once('+').map(|(connection, _)| connection.to_owned()).unwrap_or(name)
    }

    /// Leaves word of what the connection is for, for whoever sees its end if this process does not.
    pub fn note(&self, text: &str) -> io::Result<()> {
        let flags = OFlags::NOFOLLOW.bits().cast_signed();
        let mut file = File::options().write(true).truncate(true).custom_flags(flags).open(&self.path)?;
        file.write_all(format!("{NOTE}{text}").as_bytes())
    }

    /// The word that was left; none if there is none, which is not an empty one.
    pub fn noted(&self) -> Option<String> {
        let text = std::fs::read_to_string(&self.path).ok()?;
        text.strip_prefix(NOTE).map(str::to_owned)
    }

    /// Waits until nobody holds the lock any more, and removes the file. Blocks.
    pub fn wait_for_end(self) {
        let Ok(file) = File::open(&self.path) else { return };
        loop {
            match flock(&file, FlockOperation::LockShared) {
                Err(Errno::INTR) => {}
                // That it cannot be waited for is seen by the next sweep, which asks without waiting.
                Err(_) => return,
                Ok(()) => break,
            }
        }
        drop(file);
        let _ = std::fs::remove_file(&self.path);
        let _ = self.path.parent().map(std::fs::remove_dir);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Said explicitly: a child that another thread is just starting has the descriptor too, until it executes.
        // An error leaves what closing the file does anyway.
        if let Some(file) = &self.file {
            let _ = flock(file, FlockOperation::Unlock);
        }
    }
}

impl Lease {
    /// Gives the lock away: from now on it lives as long as the descriptor does, in whichever process that is.
    pub fn hand_over(mut self) -> (OwnedFd, HandedLease) {
        let file = self.file.take().expect("only taken here, where the lease ends");
        (file.into(), HandedLease { path: self.path.clone() })
    }

    /// Ends the connection's count and removes its file.
    pub fn end(self) {
        // Removed while it is still locked: nobody ever sees a stale file of an orderly end. The directory goes with the
        // last one. That something cannot be removed does not matter, the next sweep does it.
        let _ = std::fs::remove_file(&self.path);
        let _ = self.path.parent().map(std::fs::remove_dir);
    }
}

impl Leases {
    /// Leases in `directory`, which is made (0700) when the first lease is.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Counts a connection to a session from now on, until the lease or the process ends.
    pub fn take(&self, session: &str) -> Result<Lease, LockError> {
        self.take_as(session, &Holder::Alone)
    }

    /// As [`Leases::take`], for a holder of that kind. A connection that holds one for its forwarding already is an error.
    pub fn take_as(&self, session: &str, holder: &Holder) -> Result<Lease, LockError> {
        let directory = self.directory.join(session);
        loop {
            let path = directory.join(holder.file_name());
            let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let file = match rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR) {
                Ok(descriptor) => File::from(descriptor),
                Err(Errno::NOENT) => {
                    make_directory(&directory)?;
                    continue;
                }
                Err(error) => return Err(LockError::io(path, error.into())),
            };
            // A sweep may hold its shared lock on the new file for an instant, and then it removes the file.
            flock(&file, FlockOperation::LockExclusive)
                .map_err(|error| LockError::io(&path, error.into()))?;
            let links = file.metadata().map_err(|error| LockError::io(&path, error))?.nlink();
            if links > 0 {
                return Ok(Lease { path, file: Some(file) });
            }
        }
    }

    /// How many connections a session has.
    pub fn count(&self, session: &str) -> Result<usize, LockError> {
        self.probe(session, false)
    }

    /// How many connections each of these sessions has, in their order. The directory of all leases is read first, so that
    /// sessions without connections cost nothing.
    pub fn counts<'a>(
        &self,
        sessions: impl ExactSizeIterator<Item = &'a str>,
    ) -> Result<Vec<usize>, LockError> {
        if sessions.len() < 2 {
            return sessions.map(|session| self.count(session)).collect();
        }
        let Some(all) = open_directory(CWD, &self.directory, &self.directory)? else {
            return Ok(vec![0; sessions.len()]);
        };
        let present: HashSet<Vec<u8>> = names(&all, &self.directory)?.into_iter().collect();
        let count = |session: &str| {
            if !present.contains(session.as_bytes()) {
                return Ok(0);
            }
            Ok(connections(&self.probe_below(all.as_fd(), Path::new(session), session, false)?))
        };
        sessions.map(count).collect()
    }

    /// As [`Leases::count`], and removes what was left by processes that died.
    pub fn sweep(&self, session: &str) -> Result<usize, LockError> {
        self.probe(session, true)
    }

    /// Removes the directory of a session that is gone, with what was left in it. Connections that still hold a lease
    /// keep their files.
    pub fn forget(&self, session: &str) -> Result<(), LockError> {
        if self.sweep(session)? > 0 {
            return Ok(());
        }
        let directory = self.directory.join(session);
        match std::fs::remove_dir(&directory) {
            Ok(()) => Ok(()),
            // Somebody took a lease just now; a later sweep finds it.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) =>
            {
                Ok(())
            }
            Err(error) => Err(LockError::io(directory, error)),
        }
    }

    /// Ids of all sessions that have a directory here.
    pub fn sessions(&self) -> Result<Vec<String>, LockError> {
        let Some(all) = open_directory(CWD, &self.directory, &self.directory)? else {
            return Ok(Vec::new());
        };
        Ok(names(&all, &self.directory)?.into_iter().map(text).collect())
    }

    /// The leases of a session that somebody holds, so that their end can be waited for.
    pub fn held(&self, session: &str) -> Result<Vec<HandedLease>, LockError> {
        let directory = self.directory.join(session);
        let names = self.probe_names(session, false)?;
        Ok(names.into_iter().map(|name| HandedLease { path: directory.join(name) }).collect())
    }

    /// The leases of a session that nobody holds any more and nobody has swept: they ended where nobody saw it. To be asked
    /// only while nobody takes any.
    pub fn left(&self, session: &str) -> Result<Vec<HandedLease>, LockError> {
        let directory = self.directory.join(session);
        let Some(open) = open_directory(CWD, &directory, &directory)? else { return Ok(Vec::new()) };
        let held = self.probe_names(session, false)?;
        let all = names(&open, &directory)?.into_iter().map(text);
        let left = all.filter(|name| !held.contains(name));
        Ok(left.map(|name| HandedLease { path: directory.join(name) }).collect())
    }

    fn probe(&self, session: &str, remove_stale: bool) -> Result<usize, LockError> {
        Ok(connections(&self.probe_names(session, remove_stale)?))
    }

    /// The names of the leases that are held.
    fn probe_names(&self, session: &str, remove_stale: bool) -> Result<Vec<String>, LockError> {
        self.probe_below(CWD, &self.directory.join(session), session, remove_stale)
    }

    /// As [`Leases::probe_names`], for the directory `relative` to an open one.
    fn probe_below(
        &self,
        parent: BorrowedFd<'_>,
        relative: &Path,
        session: &str,
        remove_stale: bool,
    ) -> Result<Vec<String>, LockError> {
        let path = self.directory.join(session);
        let Some(directory) = open_directory(parent, relative, &path)? else {
            return Ok(Vec::new());
        };
        let mut held = Vec::new();
        for name in names(&directory, &path)? {
            let failed = |errno: Errno, name: Vec<u8>| LockError::io(path.join(text(name)), errno.into());
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let file = match rustix::fs::openat(&directory, name.as_slice(), flags, Mode::empty()) {
                Ok(file) => file,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(failed(errno, name)),
            };
            match flock(&file, FlockOperation::NonBlockingLockShared) {
                Ok(()) if remove_stale => remove(&path.join(text(name)))?,
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => held.push(text(name)),
                Err(errno) => return Err(failed(errno, name)),
            }
        }
        Ok(held)
    }
}

/// Opens a directory; none if there is no such directory. `path` is for the error.
fn open_directory(
    parent: BorrowedFd<'_>,
    relative: &Path,
    path: &Path,
) -> Result<Option<OwnedFd>, LockError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    loop {
        match rustix::fs::openat(parent, relative, flags, Mode::empty()) {
            Ok(directory) => return Ok(Some(directory)),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(LockError::io(path, errno.into())),
        }
    }
}

/// The names in an open directory. `path` is for the error.
fn names(directory: &OwnedFd, path: &Path) -> Result<Vec<Vec<u8>>, LockError> {
    let mut buffer = [const { MaybeUninit::uninit() }; 8192];
    let mut entries = RawDir::new(directory, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            // Removed since it was opened, with its last lease: there is nothing in it.
            Err(Errno::NOENT) => break,
            Err(errno) => return Err(LockError::io(path, errno.into())),
        };
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Names of leases and sessions are ASCII; what else lies there is only to be told.
fn text(name: Vec<u8>) -> String {
    String::from_utf8(name).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// How many connections these leases are: a connection's own lease counts only where it has no process.
fn connections(names: &[String]) -> usize {
    let is_process_of = |name: &str, connection: &str| {
        name.strip_prefix(connection).is_some_and(|rest| rest.starts_with('+'))
    };
    let counts = |name: &&String| name.contains('+') || !names.iter().any(|other| is_process_of(other, name));
    names.iter().filter(counts).count()
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
    use std::os::unix::fs::PermissionsExt;

    fn leases() -> (tempfile::TempDir, Leases) {
        let dir = tempfile::Builder::new().prefix("podspawn-leases-").tempdir().unwrap();
        let leases = Leases::new(dir.path().join("leases"));
        (dir, leases)
    }

    #[test]
    fn what_ended_unseen_is_found_with_the_word_that_was_left() {
        let (_dir, leases) = leases();
        assert!(leases.left("one").unwrap().is_empty());
        let handed = |holder| leases.take_as("one", &holder).unwrap().hand_over();
        let (shell, noted) = handed(Holder::Process("7".into()));
        noted.note("").unwrap();
        let (command, other) = handed(Holder::Process("7".into()));
        other.note("echo 1\n2").unwrap();
        let (connection, _) = handed(Holder::Connection("7".into()));
        assert!(leases.left("one").unwrap().is_empty());
        // A word changes nothing of the count.
        assert_eq!(leases.count("one").unwrap(), 2);
        drop((command, connection));
        let mut left: Vec<_> =
            leases.left("one").unwrap().iter().map(|lease| (lease.connection(), lease.noted())).collect();
        left.sort();
        assert_eq!(left, [("7".into(), None), ("7".into(), Some("echo 1\n2".into()))]);
        assert_eq!(noted.noted().as_deref(), Some(""));
        drop(shell);
        assert_eq!(leases.left("one").unwrap().len(), 3);
        leases.sweep("one").unwrap();
        assert!(leases.left("one").unwrap().is_empty() && noted.noted().is_none());
    }

    #[test]
    fn connections_are_counted_as_long_as_they_are_held() {
        let (_dir, leases) = leases();
        assert_eq!(leases.count("s").unwrap(), 0);
        assert_eq!(leases.counts(["s", "other"].into_iter()).unwrap(), [0, 0]);
        let (one, two) = (leases.take("s").unwrap(), leases.take("s").unwrap());
        assert_eq!((leases.count("s").unwrap(), leases.count("other").unwrap()), (2, 0));
        assert_eq!(leases.counts(["other", "s", "s"].into_iter()).unwrap(), [0, 2, 2]);
        assert_eq!(leases.counts(["s"].into_iter()).unwrap(), [2]);
        drop(one);
        assert_eq!(leases.count("s").unwrap(), 1);
        two.end();
        assert_eq!(leases.count("s").unwrap(), 0);
    }

    #[test]
    fn a_connection_counts_once_for_each_process_and_once_without_any() {
        let (_dir, leases) = leases();
        let take = |holder| leases.take_as("s", &holder).unwrap();
        let one = take(Holder::Connection("c1.5".into()));
        assert_eq!(leases.count("s").unwrap(), 1);
        let processes = [take(Holder::Process("c1.5".into())), take(Holder::Process("c1.5".into()))];
        assert_eq!(leases.count("s").unwrap(), 2);
        let other = take(Holder::Connection("c1.55".into()));
        let alone = take(Holder::Alone);
        assert_eq!(leases.count("s").unwrap(), 4, "another connection whose name begins alike");
        drop(processes);
        assert_eq!(leases.count("s").unwrap(), 3);
        drop((one, other, alone));
        assert_eq!(leases.count("s").unwrap(), 0);
    }

    #[test]
    fn a_lease_that_was_handed_over_lives_as_long_as_its_descriptor() {
        let (_dir, leases) = leases();
        let (descriptor, handed) = leases.take("s").unwrap().hand_over();
        assert_eq!(leases.count("s").unwrap(), 1);
        assert_eq!(leases.held("s").unwrap(), std::slice::from_ref(&handed));
        let waiting = std::thread::spawn(move || handed.wait_for_end());
        drop(descriptor);
        waiting.join().unwrap();
        assert_eq!(leases.count("s").unwrap(), 0);
        assert_eq!(leases.sessions().unwrap(), Vec::<String>::new(), "nothing is left");
    }

    #[test]
    fn what_a_dead_process_left_is_swept_and_what_is_held_is_not() {
        let (_dir, leases) = leases();
        let held = leases.take("s").unwrap();
        drop(leases.take("s").unwrap());
        let files = |leases: &Leases| std::fs::read_dir(leases.directory.join("s")).unwrap().count();
        assert_eq!(files(&leases), 2, "a dropped lease leaves its file, as a killed process does");
        assert_eq!(leases.count("s").unwrap(), 1);
        assert_eq!(files(&leases), 2, "counting removes nothing");
        assert_eq!(leases.sweep("s").unwrap(), 1);
        assert_eq!(files(&leases), 1);
        leases.forget("s").unwrap();
        assert_eq!(leases.sessions().unwrap(), ["s"], "somebody is connected");
        held.end();
        assert_eq!(leases.sessions().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn the_file_is_private_and_the_lock_does_not_reach_programs_that_are_started() {
        let (_dir, leases) = leases();
        let lease = leases.take("s").unwrap();
        assert_eq!(std::fs::metadata(&lease.path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(std::fs::metadata(&leases.directory).unwrap().permissions().mode() & 0o7777, 0o700);
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        drop(lease);
        assert_eq!(leases.count("s").unwrap(), 0, "the child does not hold it");
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn probes_never_take_each_other_for_a_connection() {
        let (_dir, leases) = leases();
        drop(leases.take("s").unwrap());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        assert_eq!(leases.count("s").unwrap(), 0);
                    }
                });
            }
        });
    }

    #[test]
    fn a_directory_that_goes_while_it_is_looked_into_is_empty() {
        let (dir, leases) = leases();
        let lease = leases.take("s").unwrap();
        let path = dir.path().join("leases/s");
        let opened = open_directory(CWD, &path, &path).unwrap().unwrap();
        lease.end();
        assert!(!path.exists(), "it goes with its last lease");
        assert_eq!(names(&opened, &path).unwrap(), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn taking_and_sweeping_at_once_never_loses_a_held_lease() {
        let (_dir, leases) = leases();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let lease = leases.take("s").unwrap();
                        assert!(lease.path.exists(), "its file is where others look");
                        assert!(leases.count("s").unwrap() >= 1);
                        lease.end();
                    }
                });
            }
            scope.spawn(|| {
                for _ in 0..400 {
                    leases.sweep("s").unwrap();
                    leases.forget("s").unwrap();
                }
            });
        });
        assert_eq!(leases.count("s").unwrap(), 0);
    }
}
