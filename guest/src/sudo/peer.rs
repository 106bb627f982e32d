//! Who is at the other end of a unix socket.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// User and group id of the peer when it connected. Its pid is left out: it may be one that this namespace does not see.
pub(super) fn user(socket: impl AsFd) -> io::Result<(u32, u32)> {
    let mut peer = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into a live local of that size.
    let asked = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &mut length,
        )
    };
    if asked < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((peer.uid, peer.gid))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_peer_of_a_pair_is_this_process() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let expected = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        assert_eq!(super::user(&one).unwrap(), expected);
    }
}
