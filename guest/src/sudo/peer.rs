//! Who is at the other end of a unix socket.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// The peer as it was when it connected; its pid is 0 where this namespace does not see it.
pub(super) fn of(socket: impl AsFd) -> io::Result<libc::ucred> {
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
    Ok(peer)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_peer_of_a_pair_is_this_process() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let peer = super::of(&one).unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        assert_eq!((peer.pid, peer.uid), (pid, rustix::process::getuid().as_raw()));
    }
}
