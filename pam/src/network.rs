//! The network namespace: is it a container's, and the steps into it or into an empty one.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use rustix::fs::{fstat, fstatfs};

use crate::reason::Reason;

/// File system that namespaces are files of.
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// Only a network namespace, and not one that the host itself works in.
pub(crate) fn check(namespace: &OwnedFd) -> Result<(), Reason> {
    let io = |what| move |errno: rustix::io::Errno| Reason::System(what, errno.into());
    // Asked first: the request below means something else to a device.
    let kind = fstatfs(namespace).map_err(io("look at what the broker gave"))?;
    if kind.f_type as u64 != NSFS_MAGIC {
        return Err(Reason::Namespace("something that is no namespace"));
    }
    // SAFETY: the request takes no argument and answers with a number.
    let kind = unsafe { libc::ioctl(namespace.as_raw_fd(), libc::NS_GET_NSTYPE) };
    if kind != libc::CLONE_NEWNET {
        return Err(Reason::Namespace("a namespace that is no network"));
    }
    let given = fstat(namespace).map_err(io("look at what the broker gave"))?;
    let given = (given.st_dev, given.st_ino);
    let own = fs::metadata("/proc/self/ns/net").map_err(|e| Reason::System("find the own network", e))?;
    // Not readable from inside a container that sshd itself may run in.
    let first = fs::metadata("/proc/1/ns/net").ok();
    if [Some(own), first].iter().flatten().any(|host| (host.dev(), host.ino()) == given) {
        return Err(Reason::Namespace("the network of the host itself"));
    }
    Ok(())
}

/// Enters a namespace that was checked.
pub(crate) fn enter(namespace: &OwnedFd) -> Result<(), Reason> {
    // SAFETY: no memory is involved; sshd's process has one thread, which is this one.
    if unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
        return Err(Reason::System("enter the network", io::Error::last_os_error()));
    }
    complete_loopback();
    Ok(())
}

/// Gives the loopback of the namespace that this process is in its address of IPv6. Older Dockers take it away, and for
/// X11 sshd listens on both addresses or, where one of them is missing, not at all.
fn complete_loopback() {
    // A kernel without IPv6 has no such file, and then sshd does not ask for the address either.
    let _ = fs::write("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "0");
}

/// Enters a new namespace, in which nothing is and nothing is brought up.
pub(crate) fn leave() -> io::Result<()> {
    // SAFETY: no memory is involved; sshd's process has one thread, which is this one.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
