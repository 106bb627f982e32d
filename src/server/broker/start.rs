//! Starting a broker where nobody answers: by the init system if that holds its socket, else by this process.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::BrokerError;
use crate::config::Config;
use crate::server::Installation;
use crate::server::installation::maintenance;
use crate::server::setup::{UnitState, manage_unit, unit_state};
use crate::system::readiness::readable_by;
use crate::system::watch::DirWatch;

const UNIT: &str = "podspawn-broker.socket";

/// Longest that whoever holds the lock may take until it listens, or ends.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Fails while root works on the state.
pub(super) fn refuse_in_maintenance(socket: &Path) -> Result<(), BrokerError> {
    let mark = maintenance(socket);
    match mark.symlink_metadata() {
        Ok(_) => Err(BrokerError::Maintenance(mark)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(BrokerError::io(format!("look for `{}`", mark.display()))(error)),
    }
}

/// Has the init system listen at the socket, if that is what it does for this installation: a broker beside it would keep
/// the lock from the one that it starts. False if clients cannot connect after that.
pub(super) fn by_init_system(installation: &Installation, socket: &Path) -> bool {
    if installation.config_flag().is_some() {
        return false;
    }
    let verb = match unit_state(UNIT) {
        UnitState::Absent => return false,
        // Its socket was taken away.
        UnitState::Active if !listens(socket) => "restart",
        UnitState::Active => return true,
        UnitState::Inactive => "start",
    };
    match manage_unit(verb, UNIT) {
        Ok(()) => listens(socket),
        Err(said) => {
            tracing::warn!("{UNIT} cannot be started: {said}");
            false
        }
    }
}

/// How long a broker waits for the end of the one whose place it takes.
pub(super) const HANDOVER: Duration = Duration::from_secs(30);

/// Whether clients can connect: they may have to wait for an answer.
fn listens(socket: &Path) -> bool {
    UnixStream::connect(socket).is_ok()
}

/// What became of waiting for a lock that somebody holds.
enum Turn {
    Locked(io::Result<File>),
    Served,
}

/// Waits until a broker listens at the socket (none), or whoever holds the lock has ended and it is this process's. The holder
/// may be about to do either.
pub(super) fn turn(
    held: File,
    config: &Config,
    socket: &Path,
    patience: Duration,
) -> Result<Option<File>, BrokerError> {
    let directory = &config.server.run_dir;
    let action = || format!("watch `{}`", directory.display());
    let deadline = Instant::now() + patience;
    let watch = File::open(directory)
        .and_then(|directory| DirWatch::new(directory.as_fd()))
        .map_err(BrokerError::io(action()))?;
    let (sender, turns) = mpsc::channel();
    // The threads end with this process, or by themselves: a lock that nobody takes from here is let go again.
    let locking = sender.clone();
    let spawned = thread::Builder::new()
        .name("lock".into())
        .spawn(move || drop(locking.send(Turn::Locked(wait(held)))))
        .and_then(|_| {
            let socket = socket.to_owned();
            thread::Builder::new().name("socket".into()).spawn(move || {
                while !listens(&socket) {
                    if !readable_by(watch.as_fd(), deadline) || watch.drain().is_err() {
                        return;
                    }
                }
                // Whoever got the lock meanwhile has said so, and nobody listens to this.
                let _ = sender.send(Turn::Served);
            })
        });
    spawned.map_err(BrokerError::io("start a thread"))?;
    match turns.recv_timeout(patience) {
        Ok(Turn::Locked(locked)) => {
            locked.map(Some).map_err(BrokerError::io("wait for another broker's end"))
        }
        Ok(Turn::Served) => Ok(None),
        Err(_) => Err(BrokerError::Deaf(socket.to_owned())),
    }
}

/// Waits for a lock that whoever holds it lets go as soon as it sees another broker at its socket; one of an older version does
/// not look, and is told of after a while. The init system then tries again.
pub(super) fn wait_for_end(held: File, limit: Duration) -> io::Result<File> {
    let (sender, locked) = mpsc::channel();
    let locking = move || drop(sender.send(wait(held)));
    let _ = thread::Builder::new().name("lock".into()).spawn(locking)?;
    locked.recv_timeout(limit).map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Waits for a lock as long as it takes.
fn wait(file: File) -> io::Result<File> {
    loop {
        match flock(&file, FlockOperation::LockExclusive) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(()) => return Ok(file),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    use super::*;

    /// A run-time directory, its socket's path, a held lock and another descriptor for it.
    fn place() -> (tempfile::TempDir, Config, PathBuf, File, File) {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.server.run_dir = dir.path().join("run");
        fs::create_dir(&config.server.run_dir).unwrap();
        let lock = dir.path().join("lock");
        let holder = File::create(&lock).unwrap();
        flock(&holder, FlockOperation::LockExclusive).unwrap();
        let socket = config.server.run_dir.join("broker.sock");
        (dir, config, socket, holder, File::open(lock).unwrap())
    }

    #[test]
    fn a_broker_that_is_just_ending_is_waited_for() {
        let (_dir, config, socket, holder, other) = place();
        let waiting = thread::spawn(move || turn(other, &config, &socket, PATIENCE));
        drop(holder);
        assert!(waiting.join().unwrap().unwrap().is_some());
    }

    #[test]
    fn a_broker_that_is_just_starting_is_waited_for() {
        let (_dir, config, socket, _holder, other) = place();
        let path = socket.clone();
        let waiting = thread::spawn(move || turn(other, &config, &path, PATIENCE));
        let _listener = UnixListener::bind(socket).unwrap();
        assert!(waiting.join().unwrap().unwrap().is_none());
    }

    #[test]
    fn a_broker_that_does_neither_is_told_of() {
        let (_dir, config, socket, _holder, other) = place();
        let error = turn(other, &config, &socket, Duration::from_millis(50)).unwrap_err();
        assert!(matches!(error, BrokerError::Deaf(path) if path == socket));
    }

    #[test]
    fn nothing_is_started_while_root_works() {
        let (_dir, _, socket, ..) = place();
        refuse_in_maintenance(&socket).unwrap();
        fs::write(maintenance(&socket), "").unwrap();
        assert!(matches!(refuse_in_maintenance(&socket), Err(BrokerError::Maintenance(_))));
    }
}
