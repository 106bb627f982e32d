//! The first acts of a process that somebody else's process started: nothing inherited is kept.

use std::io;

use rustix::fs::Mode;

/// Closes every descriptor above standard error. Only as the first act of a process: what the process itself opened is
/// closed with the rest.
pub fn close_inherited() -> io::Result<()> {
    // SAFETY: no descriptor of this process is owned by anything yet, so that nothing is closed behind an owner's back;
    // the call touches no memory.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
    if closed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Files made from now on are for their owner to write and, at most, for others to read.
pub fn plain_umask() {
    let _ = rustix::process::umask(Mode::from_raw_mode(0o022));
}
