//! The direct way: descriptors are passed to the guest's socket, and no engine is asked.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use podspawn_wire::{Exit, HostChannel, Start, ToGuest};

use super::conversation::Prepared;
use super::crossing::Passable;
use super::find::{self, HANDSHAKE};
use super::{AttachError, AttachRequest};
use crate::session::GuestAddress;
use crate::system::process::Pinned;

/// How long a guest that hung up may take to be found dead.
const DYING: Duration = Duration::from_millis(500);

/// Starts a process in a container that is ready, in the name of somebody else, and gives the connection on which it is
/// spoken about. Waits at most 2 s.
pub fn open_direct(
    address: &GuestAddress,
    start: Start,
    passed: Vec<Passable>,
) -> Result<OwnedFd, AttachError> {
    let (mut channel, deadline) = reach(address)?.1;
    let passed = passed.into_iter().map(Passable::into_inner).collect();
    channel.send(&ToGuest::Start(Box::new(start)), passed, deadline).map_err(AttachError::Guest)?;
    Ok(channel.into_socket())
}

/// Runs a process in a container that is ready, and returns when it has ended and its output has gone out. While it runs, this
/// process's signals are caught and passed on, and a terminal on standard input is in raw mode. Waits for nothing but the
/// process itself: finding the guest takes at most 2 s.
pub fn attach_direct(address: &GuestAddress, request: &AttachRequest<'_>) -> Result<Exit, AttachError> {
    let prepared = Prepared::new(request)?;
    let (guest, (channel, _)) = reach(address)?;
    match prepared.start(channel) {
        // A process that dies closes its descriptors a little before it counts as dead.
        Err(AttachError::Lost) if guest.ends_within(DYING) => Err(AttachError::Stopped),
        outcome => outcome,
    }
}

/// Connects to the guest and greets it.
fn reach(address: &GuestAddress) -> Result<(Pinned, (HostChannel, Instant)), AttachError> {
    let deadline = Instant::now() + HANDSHAKE;
    let guest = find::pin(address)?;
    let dir = find::open_guest_dir(address, &guest)?;
    let mut channel = find::connect(dir.as_fd(), &guest, deadline)?;
    drop(dir);
    find::greet(&mut channel, deadline)?;
    Ok((guest, (channel, deadline)))
}
