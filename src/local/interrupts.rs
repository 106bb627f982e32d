//! Ctrl-C and its like, while something is being made or removed.

use std::io;
use std::os::fd::AsFd;

use tokio::net::unix::pipe;

use crate::session::{Cancel, SessionError};
use crate::system::signals::{Signal, Signals};

const CAUGHT: [Signal; 3] = [Signal::Interrupt, Signal::Terminate, Signal::Hangup];

/// Keeps this process alive through signals that would end it, and remembers that one came.
///
/// Held from before the first engine object is made until the last one that must go is gone.
#[derive(Debug)]
pub struct Interrupts {
    signals: Signals,
    first: Option<Signal>,
}

impl Interrupts {
    /// Catches SIGINT, SIGTERM and SIGHUP from now on.
    pub fn catch() -> io::Result<Self> {
        let signals = Signals::catch(&CAUGHT)?;
        Ok(Self { signals, first: None })
    }

    /// The first signal that came so far.
    pub fn arrived(&mut self) -> Option<Signal> {
        while let Some(signal) = self.signals.take() {
            self.first.get_or_insert(signal);
        }
        self.first
    }

    /// What has come so far was about something that is over.
    pub(super) fn forget(&mut self) {
        while self.signals.take().is_some() {}
        self.first = None;
    }

    /// Waits for a signal that has not been seen yet.
    pub async fn next(&mut self) -> io::Result<Signal> {
        let arriving = pipe::Receiver::from_owned_fd(self.signals.as_fd().try_clone_to_owned()?)?;
        loop {
            arriving.readable().await?;
            let mut number = [0u8];
            match arriving.try_read(&mut number) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {
                    let caught = CAUGHT.into_iter().find(|signal| signal.number() == i32::from(number[0]));
                    if let Some(signal) = caught {
                        self.first.get_or_insert(signal);
                        return Ok(signal);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Does work that can be cancelled. The first signal cancels it, and what it made is undone before this returns; a
    /// second one gives up at once, and the next command or cleanup removes what is left.
    pub async fn guard<T>(
        &mut self,
        work: impl AsyncFnOnce(Cancel) -> Result<T, SessionError>,
    ) -> Result<T, Stopped> {
        let (handle, cancel) = Cancel::new();
        let mut work = std::pin::pin!(work(cancel));
        let mut signals = 0;
        loop {
            tokio::select! {
                biased;
                outcome = &mut work => return match (outcome, self.first) {
                    (Err(SessionError::Cancelled), Some(signal)) => Err(Stopped::By(signal)),
                    (Err(error), _) => Err(Stopped::Error(error)),
                    (Ok(value), _) => Ok(value),
                },
                signal = self.next() => {
                    let signal = signal.map_err(Stopped::Signals)?;
                    signals += 1;
                    if signals > 1 {
                        return Err(Stopped::By(signal));
                    }
                    handle.cancel();
                }
            }
        }
    }
}

/// Why guarded work has no result.
#[derive(Debug)]
pub enum Stopped {
    /// A signal came; what was made is undone, or recorded for the next cleanup.
    By(Signal),
    /// It failed.
    Error(SessionError),
    /// Signals cannot be waited for.
    Signals(io::Error),
}
