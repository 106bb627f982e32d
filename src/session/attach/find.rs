//! Finding the guest's socket in a container that may be hostile, and making sure that it is the guest who answers.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use podspawn_wire::{FromGuest, GUEST_DIR, GUEST_SOCKET, HostChannel, PROTOCOL, ToGuest, WireError};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::AttachError;
use crate::session::GuestAddress;
use crate::system::files::open_path_in_root;
use crate::system::peer::peer;
use crate::system::process::{PinError, Pinned};

/// The whole way from looking for the socket to the guest's first answer, where the guest is known to be ready.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(2);

/// What the guest said first.
#[derive(Debug)]
pub(super) struct Greeting {
    pub(super) shell: String,
    pub(super) warnings: Vec<String>,
}

/// Holds the first process of a container, so that its pid means nothing else from here on.
pub(super) fn pin(address: &GuestAddress) -> Result<Pinned, AttachError> {
    let process = address.process.as_ref().ok_or(AttachError::NoProcess)?;
    Pinned::recorded(process.pid, process.start_time, &process.boot_id).map_err(AttachError::NotRunning)
}

/// The directory that the guest's socket is in, as a descriptor to look from.
pub(super) fn open_guest_dir(address: &GuestAddress, guest: &Pinned) -> Result<OwnedFd, AttachError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    if let Some(dir) = &address.socket_dir {
        return rustix::fs::open(dir, flags | OFlags::NOFOLLOW, Mode::empty()).map_err(not_found);
    }
    // The one magic link that is followed, and it is the kernel's: the root of the process that is pinned.
    let root =
        rustix::fs::open(format!("/proc/{}/root", guest.pid()), flags, Mode::empty()).map_err(not_found)?;
    let dir = open_path_in_root(&root, Path::new(GUEST_DIR), true).map_err(not_found)?;
    if !guest.is_alive() {
        // The pid may have been another's when the link was followed.
        return Err(AttachError::NotRunning(PinError::Gone(guest.pid())));
    }
    Ok(dir)
}

/// Connects to the socket in that directory, if it is one and the guest is the one who listens there.
pub(super) fn connect(
    dir: BorrowedFd<'_>,
    guest: &Pinned,
    deadline: Instant,
) -> Result<HostChannel, AttachError> {
    let node = open_path_in_root(dir, Path::new(GUEST_SOCKET), false).map_err(not_found)?;
    let mode = rustix::fs::fstat(&node).map_err(not_found)?.st_mode;
    if FileType::from_raw_mode(mode) != FileType::Socket {
        return Err(AttachError::NotTheGuest("it is not a socket"));
    }
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(AttachError::io("make a socket"))?;
    // Many connections at once may wait for a place in the queue; a queue that is kept full may not keep us.
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    sockopt::set_socket_timeout(&socket, Timeout::Send, Some(left))
        .map_err(AttachError::io("set a deadline"))?;
    // By the descriptor that was looked at: whatever the name means by now does not matter.
    let path = format!("/proc/self/fd/{}", node.as_raw_fd());
    let name = SocketAddrUnix::new(path).map_err(AttachError::io("name a socket"))?;
    match rustix::net::connect(&socket, &name) {
        Ok(()) => {}
        Err(rustix::io::Errno::AGAIN) => return Err(AttachError::Guest(WireError::TimedOut)),
        Err(errno) => return Err(not_found(errno)),
    }
    let listener = peer(&socket).map_err(AttachError::io("ask who listens"))?;
    if listener.pid != guest.pid() || !guest.is_alive() {
        return Err(AttachError::NotTheGuest("another process listens there"));
    }
    Ok(HostChannel::new(socket))
}

/// Says hello and waits for the answer: the guest has finished provisioning then.
pub(super) fn greet(channel: &mut HostChannel, deadline: Instant) -> Result<Greeting, AttachError> {
    channel.send(&ToGuest::Hello { protocol: PROTOCOL }, Vec::new(), deadline).map_err(AttachError::Guest)?;
    understand(channel.receive(Some(deadline)).map_err(AttachError::Guest)?)
}

/// The guest's first message.
pub(super) fn understand(message: FromGuest) -> Result<Greeting, AttachError> {
    match message {
        FromGuest::Hello { protocol: PROTOCOL, shell, warnings } => Ok(Greeting { shell, warnings }),
        FromGuest::Hello { protocol, .. } => Err(AttachError::Version { theirs: protocol, ours: PROTOCOL }),
        FromGuest::Failed(failure) => Err(AttachError::Refused { kind: failure.kind, text: failure.text }),
        _ => Err(AttachError::Protocol("it did not begin with a greeting")),
    }
}

fn not_found(error: impl Into<io::Error>) -> AttachError {
    let error = error.into();
    match error.kind() {
        io::ErrorKind::PermissionDenied => AttachError::Forbidden(error),
        _ => AttachError::NoGuest(error),
    }
}
