//! When to try again what could not be done because the engine was away, as a rule while it is restarted.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use super::Broker;
use crate::system::readiness::watched;
use crate::system::watch::DirWatch;

/// How long the first pause lasts. Each is twice as long as the one before, unless something is seen of the engine.
const FIRST: Duration = Duration::from_secs(5);

/// The next pause after something was seen of it: a socket that was just made may still refuse.
const STARTING: Duration = Duration::from_millis(50);

/// Longest pause.
const LONGEST: Duration = Duration::from_secs(60);

/// Pauses between tries. What happened to the engine's socket since this was made, or since the last pause, ends the next.
pub(super) struct Again {
    pause: Duration,
    /// The end of the pause that has begun.
    until: Option<Instant>,
    /// None if the engine has no socket on this host, or one whose directory is gone.
    socket: Option<Appearance>,
}

impl Again {
    /// For the engine of this broker.
    pub(super) fn new(broker: &Broker) -> Self {
        Self::watching(broker.core.engines.socket().as_deref())
    }

    fn watching(socket: Option<&Path>) -> Self {
        // Without being told, pauses do.
        let socket = socket.and_then(|socket| Appearance::of(socket).ok());
        Self { pause: FIRST, until: None, socket }
    }

    /// Returns when it is worth another try. May be dropped at any time, and goes on where it was.
    pub(super) async fn pause(&mut self) {
        let until = *self.until.get_or_insert_with(|| Instant::now() + self.pause);
        let mut seen = false;
        if let Some(socket) = &self.socket {
            tokio::select! {
                told = socket.appears() => match told {
                    Ok(()) => seen = true,
                    Err(_) => self.socket = None,
                },
                () = tokio::time::sleep_until(until) => {}
            }
        }
        if self.socket.is_none() {
            tokio::time::sleep_until(until).await;
        }
        self.until = None;
        self.pause = if seen { STARTING } else { (self.pause * 2).min(LONGEST) };
    }
}

/// Tells when a socket is made anew.
struct Appearance {
    directory: DirWatch,
    ready: AsyncFd<OwnedFd>,
    name: OsString,
}

impl Appearance {
    fn of(socket: &Path) -> io::Result<Self> {
        let (Some(parent), Some(name)) = (socket.parent(), socket.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let directory = DirWatch::new(File::open(parent)?.as_fd())?;
        let ready = watched(directory.as_fd().try_clone_to_owned()?, Interest::READABLE)?;
        Ok(Self { directory, ready, name: name.to_owned() })
    }

    /// Fails when the directory is gone.
    async fn appears(&self) -> io::Result<()> {
        loop {
            self.ready.readable().await?.clear_ready();
            if self.directory.told_of(&self.name)? {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn paused() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn a_socket_that_is_made_anew_ends_the_pause_and_nothing_else_in_its_directory_does() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("engine.sock");
        fs::write(&socket, "").unwrap();
        paused().block_on(async {
            let mut again = Again::watching(Some(&socket));
            again.pause = Duration::from_secs(600);
            fs::write(dir.path().join("engine.pid"), "").unwrap();
            let short = Duration::from_millis(50);
            assert!(tokio::time::timeout(short, again.pause()).await.is_err());
            let until = again.until.unwrap();
            assert!(tokio::time::timeout(short, again.pause()).await.is_err());
            assert_eq!(again.until.unwrap(), until);
            fs::remove_file(&socket).unwrap();
            fs::write(&socket, "").unwrap();
            again.pause().await;
            assert_eq!((again.until, again.pause), (None, STARTING));
            // What was just made may still refuse: it is tried again soon, and less often from then on.
            again.pause().await;
            assert_eq!((again.until, again.pause), (None, 2 * STARTING));
        });
    }

    #[test]
    fn without_a_socket_to_watch_pauses_grow() {
        let dir = tempfile::tempdir().unwrap();
        paused().block_on(async {
            for socket in [None, Some(dir.path().join("none/engine.sock"))] {
                let mut again = Again::watching(socket.as_deref());
                assert_eq!(again.pause, FIRST);
                again.pause = Duration::from_millis(2);
                again.pause().await;
                assert_eq!(again.pause, Duration::from_millis(4));
            }
        });
    }

    #[test]
    fn a_directory_that_goes_leaves_the_pause() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("run");
        fs::create_dir(&inner).unwrap();
        paused().block_on(async {
            let mut again = Again::watching(Some(&inner.join("engine.sock")));
            again.pause = Duration::from_millis(20);
            fs::remove_dir(&inner).unwrap();
            again.pause().await;
            assert!(again.socket.is_none());
        });
    }
}
