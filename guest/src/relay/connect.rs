//! Reaching the guest's socket from inside, as soon as it is there.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use podspawn_wire::{GUEST_DIR, GUEST_SOCKET, WireError};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;
use rustix::io::{Errno, read};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt};
use rustix::time::Timespec;

/// How long the socket may take to appear, and the guest to take a client.
const APPEARING: Duration = Duration::from_secs(60);

/// Connects once the guest listens; none if the client has gone before.
pub(super) fn when_there(stdin: BorrowedFd<'_>) -> Result<Option<OwnedFd>, WireError> {
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    // Watched before the first look, so that the moment of its appearing cannot be missed.
    inotify::add_watch(&watch, GUEST_DIR, inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::CREATE)?;
    let address = SocketAddrUnix::new(Path::new(GUEST_DIR).join(GUEST_SOCKET))?;
    loop {
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(APPEARING))?;
        match connect(&socket, &address) {
            Ok(()) => return Ok(Some(socket)),
            Err(Errno::NOENT | Errno::CONNREFUSED) => {}
            Err(errno) => return Err(errno.into()),
        }
        let limit = Timespec { tv_sec: APPEARING.as_secs() as i64, tv_nsec: 0 };
        let gone = {
            let nothing = PollFlags::empty();
            let mut set = [PollFd::new(&watch, PollFlags::IN), PollFd::from_borrowed_fd(stdin, nothing)];
            match poll(&mut set, Some(&limit)) {
                Ok(0) => return Err(WireError::TimedOut),
                Ok(_) | Err(Errno::INTR) => !set[1].revents().is_empty(),
                Err(errno) => return Err(errno.into()),
            }
        };
        if gone {
            return Ok(None);
        }
        let mut events = [0; 4096];
        // Which event it was does not matter: the next look tells.
        let _ = read(&watch, &mut events);
    }
}
