//! The direct way: descriptors are passed to the guest's socket, and no engine is asked.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use podspawn_wire::Exit;

use super::conversation::{self, Caught};
use super::find::{self, HANDSHAKE};
use super::{AttachError, AttachRequest};
use crate::session::GuestAddress;

/// How long a guest that hung up may take to be found dead.
const DYING: Duration = Duration::from_millis(500);

/// Runs a process in a container that is ready, and returns when it has ended and its output has gone out. While it runs, this
/// process's signals are caught and passed on, and a terminal on standard input is in raw mode. Waits for nothing but the
/// process itself: finding the guest takes at most 2 s.
pub fn attach_direct(address: &GuestAddress, request: &AttachRequest<'_>) -> Result<Exit, AttachError> {
    let signals = Caught::new(request)?;
    let deadline = Instant::now() + HANDSHAKE;
    let guest = find::pin(address)?;
    let dir = find::open_guest_dir(address, &guest)?;
    let mut channel = find::connect(dir.as_fd(), &guest, deadline)?;
    drop(dir);
    find::greet(&mut channel, deadline)?;
    match conversation::run(channel, request, signals) {
        // A process that dies closes its descriptors a little before it counts as dead.
        Err(AttachError::Lost) if guest.ends_within(DYING) => Err(AttachError::Stopped),
        outcome => outcome,
    }
}
