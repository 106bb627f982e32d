//! Who is at the other end of a unix socket.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd};

/// The process that listens (asked by who connected) or that connected (asked by who accepted).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its pid as this process's pid namespace sees it; 0 if it does not.
    pub pid: i32,
    /// Its uid as this process's user namespace sees it.
    pub uid: u32,
    /// Its gid as this process's user namespace sees it.
    pub gid: u32,
}

/// Asks the kernel, which noted it when the socket was set up.
pub fn peer(socket: impl AsFd) -> io::Result<Peer> {
    let mut facts = MaybeUninit::<libc::ucred>::zeroed();
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the pointers are valid for writes of the lengths that go with them, and zero is a valid value of every field.
    let facts = unsafe {
        let status = libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            facts.as_mut_ptr().cast(),
            &raw mut length,
        );
        if status != 0 {
            return Err(io::Error::last_os_error());
        }
        facts.assume_init()
    };
    Ok(Peer { pid: facts.pid, uid: facts.uid, gid: facts.gid })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_other_end_of_a_pair_is_this_process() {
        let (one, _other) = UnixStream::pair().unwrap();
        let peer = peer(&one).unwrap();
        assert_eq!(peer.pid as u32, std::process::id());
        assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
    }
}
