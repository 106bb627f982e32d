//! Pipes that the session's user may open again by their names in `/proc/self/fd`, as `echo > /dev/stderr` does.

use std::os::fd::OwnedFd;
use std::path::Path;

use podspawn_wire::InitConfig;
use rustix::fs::{Mode, fchmod};
use rustix::io::{Errno, Result};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use crate::files;

/// Bytes that a sandboxed kernel keeps in a pipe from outside, as far as it gets: the fewer turns, the faster. A kernel
/// that counts pages against the account is not asked for it.
const CAPACITY: usize = 1024 * 1024;

/// A pipe, both ends closed on exec. Nobody but who holds an end can name it.
pub(super) fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    match fchmod(&reader, Mode::from_raw_mode(0o666)) {
        // gVisor gives no modes to pipes: there one must belong to the user from its making on.
        Err(Errno::PERM) => {
            let pipe = as_user().unwrap_or(Ok((reader, writer)));
            if let Ok((_, writer)) = &pipe {
                // A smaller one does as well.
                let _ = fcntl_setpipe_size(writer, CAPACITY);
            }
            pipe
        }
        done => done.map(|()| (reader, writer)),
    }
}

fn as_user() -> Option<Result<(OwnedFd, OwnedFd)>> {
    let command = files::read(Path::new("/proc/1/cmdline")).ok()??;
    let config = command.split(|byte| *byte == 0).nth(2)?;
    let config: InitConfig = serde_json::from_slice(config).ok()?;
    become_effectively(config.user.uid).then(|| {
        let pipe = pipe_with(PipeFlags::CLOEXEC);
        // Root can always come back: the real and the saved id are still its own.
        become_effectively(0);
        pipe
    })
}

fn become_effectively(uid: u32) -> bool {
    const SAME: libc::c_long = -1;
    // SAFETY: plain system call; this process has one thread.
    unsafe { libc::syscall(libc::SYS_setresuid, SAME, libc::c_long::from(uid), SAME) == 0 }
}
