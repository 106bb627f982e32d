//! Waiting for a guest while its session is made, and finding out which way leads to it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use podspawn_runtimes::{Engine, Runtime};
use podspawn_wire::{FromGuest, HostChannel, PROTOCOL, Received, ToGuest, WireError};
use thiserror::Error;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::AttachError;
use super::find::{self, Greeting, HANDSHAKE};
use super::relay;
use crate::session::guest_port::{GuestAddress, GuestPort, GuestReady};
use crate::session::settle::last_output;
use crate::state::AttachWay;
use crate::system::process::{PinError, Pinned};
use crate::system::readiness::watched;
use crate::system::watch::DirWatch;

/// How long a container whose relay ended may take to be found dead.
const DYING: Duration = Duration::from_secs(2);

/// Lines of a dead container's output that are shown.
const LOG_LINES: u64 = 10;

/// Bytes of them.
const LOG_BYTES: usize = 4096;

/// Why a container did not become ready. The log's lines are the container's own words: neutralise before printing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GuestError {
    /// Its first process ended before it was ready.
    #[error("the container ended while it was being set up{}", quoted(.log))]
    Died {
        /// The last lines that it wrote.
        log: String,
    },
    /// It took longer than it may.
    #[error("the container was not ready within {seconds} s{}", quoted(.log))]
    Late {
        /// The limit.
        seconds: u64,
        /// The last lines that it wrote.
        log: String,
    },
    /// It could not be set up, or not be reached.
    #[error("set up the container")]
    Attach(#[source] AttachError),
}

fn quoted(log: &str) -> String {
    if log.is_empty() { String::new() } else { format!("; it said: {log}") }
}

/// The guests of real containers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Guests;

impl GuestPort for Guests {
    type Error = GuestError;

    async fn wait_ready(
        &self,
        engine: &Runtime,
        address: &GuestAddress,
        limit: Duration,
    ) -> Result<GuestReady, GuestError> {
        let deadline = Instant::now() + limit;
        if engine.facts().direct_attach() {
            match tokio::time::timeout(limit, direct(address, deadline)).await {
                Ok(Ok(greeting)) => return Ok(ready(AttachWay::Direct, greeting)),
                Ok(Err(error)) if says_why(&error) => {
                    return Err(explain(engine, address, limit, error).await);
                }
                Ok(Err(error)) => tracing::info!(
                    container = address.container_id,
                    %error,
                    cause = std::error::Error::source(&error).map(tracing::field::display),
                    "direct attach is not possible here; sessions go through the engine"
                ),
                Err(_) => {
                    let error = AttachError::Guest(WireError::TimedOut);
                    return Err(explain(engine, address, limit, error).await);
                }
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        match relay::open(engine, &address.container_id, left).await {
            Ok((input, _, greeting)) => {
                input.close().await;
                Ok(ready(AttachWay::Engine, greeting))
            }
            Err(error) => Err(explain(engine, address, limit, error).await),
        }
    }
}

fn ready(attach: AttachWay, greeting: Greeting) -> GuestReady {
    GuestReady { attach, shell: greeting.shell, warnings: greeting.warnings }
}

/// Whether the other way would fail for the same reason.
fn says_why(error: &AttachError) -> bool {
    matches!(
        error,
        AttachError::Refused { .. }
            | AttachError::Version { .. }
            | AttachError::NotRunning(_)
            | AttachError::Stopped
    )
}

/// Connects as soon as the guest listens and waits for its greeting: it greets when it has finished provisioning.
async fn direct(address: &GuestAddress, deadline: Instant) -> Result<Greeting, AttachError> {
    let guest = find::pin(address)?;
    let end = watch(copy(&guest)?)?;
    tokio::select! {
        greeting = greet(address, &guest, deadline) => match greeting {
            Err(AttachError::Guest(WireError::Closed)) if !guest.is_alive() => Err(AttachError::Stopped),
            greeting => greeting,
        },
        _ = end.ready(Interest::READABLE) => Err(AttachError::NotRunning(PinError::Gone(guest.pid()))),
    }
}

async fn greet(address: &GuestAddress, guest: &Pinned, deadline: Instant) -> Result<Greeting, AttachError> {
    let dir = find::open_guest_dir(address, guest)?;
    // Before the first look, so that nothing that appears after it is missed.
    let changes = DirWatch::new(dir.as_fd()).map_err(AttachError::io("watch the guest's directory"))?;
    let changed = watch(copy(&changes)?)?;
    let mut channel = loop {
        let connected = find::connect(dir.as_fd(), guest, deadline.min(Instant::now() + HANDSHAKE));
        match connected {
            Err(AttachError::NoGuest(error)) if not_yet(&error) => {
                let mut guard =
                    changed.readable().await.map_err(AttachError::io("watch the guest's directory"))?;
                changes.drain().map_err(AttachError::io("watch the guest's directory"))?;
                guard.clear_ready();
            }
            connected => break connected?,
        }
    };
    channel.queue(&ToGuest::Hello { protocol: PROTOCOL }, Vec::new()).map_err(AttachError::Guest)?;
    // A few bytes into an empty buffer.
    channel.flush().map_err(AttachError::Guest)?;
    find::understand(receive(&mut channel).await?)
}

fn not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

async fn receive(channel: &mut HostChannel) -> Result<FromGuest, AttachError> {
    let ready = watch(copy(&channel)?)?;
    loop {
        if let Some(message) = channel.next().map_err(AttachError::Guest)? {
            return Ok(message);
        }
        let mut guard =
            ready.ready(Interest::READABLE).await.map_err(AttachError::io("wait for the guest"))?;
        match channel.read().map_err(AttachError::Guest)? {
            Received::Some => {}
            Received::Nothing => guard.clear_ready(),
            Received::End => return Err(AttachError::Guest(WireError::Closed)),
        }
    }
}

fn watch(fd: OwnedFd) -> Result<AsyncFd<OwnedFd>, AttachError> {
    watched(fd, Interest::READABLE).map_err(AttachError::io("wait for the guest"))
}

fn copy(fd: impl AsFd) -> Result<OwnedFd, AttachError> {
    fd.as_fd().try_clone_to_owned().map_err(AttachError::io("copy a descriptor"))
}

/// Finds out what became of a container that did not get ready.
async fn explain(
    engine: &Runtime,
    address: &GuestAddress,
    limit: Duration,
    error: AttachError,
) -> GuestError {
    let died = match error {
        AttachError::NotRunning(_) | AttachError::Stopped => true,
        AttachError::Refused { .. } | AttachError::Version { .. } => false,
        _ => dies(engine, &address.container_id).await,
    };
    match error {
        _ if died => GuestError::Died { log: last_words(engine, address).await },
        AttachError::Guest(WireError::TimedOut) => {
            GuestError::Late { seconds: limit.as_secs(), log: last_words(engine, address).await }
        }
        error => GuestError::Attach(error),
    }
}

/// Whether a container has ended, or does within a moment: what ran in it may be seen to end before it is.
async fn dies(engine: &Runtime, container: &str) -> bool {
    match tokio::time::timeout(DYING, engine.wait_container(container)).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => error.is_not_found(),
        Err(_) => false,
    }
}

/// The last lines that the container wrote, in one line.
async fn last_words(engine: &Runtime, address: &GuestAddress) -> String {
    let bytes = last_output(engine, &address.container_id, LOG_LINES, LOG_BYTES).await;
    let text = String::from_utf8_lossy(&bytes);
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}
