//! Whether somebody listens on a socket, found out without waiting and without a request.

use std::path::Path;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

/// The reason that stands for missing rights.
pub(super) const DENIED: &str = "permission denied";

/// Nothing if somebody listens, else why not.
pub(super) fn listens(path: &Path) -> Result<(), String> {
    match try_connect(path) {
        // A full queue of connections is a listener too.
        Ok(()) | Err(Errno::AGAIN | Errno::INPROGRESS) => Ok(()),
        Err(Errno::NOENT | Errno::NOTDIR) => Err("no such socket".into()),
        Err(Errno::CONNREFUSED) => Err("nobody listens".into()),
        Err(Errno::ACCESS | Errno::PERM) => Err(DENIED.into()),
        Err(Errno::NAMETOOLONG) => Err("the path is too long for a socket".into()),
        Err(error) => Err(error.to_string().to_lowercase()),
    }
}

fn try_connect(path: &Path) -> Result<(), Errno> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &address)
}
