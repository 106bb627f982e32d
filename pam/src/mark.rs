//! The mark by which `auth-keys` knows that the sshd that asks it has this module loaded.
//!
//! libpam loads the modules of a service when PAM is started, which sshd does for each connection in its privileged process
//! before it asks for the user's keys. The mark is a lock on the module's own file, at the byte that has the number of the
//! process: the kernel tells whose it is, nobody can set it for another process, and it ends with its process. It shares
//! nothing with the files that configure sshd, which need not be what sshd has read.

use std::ffi::{CStr, OsStr, c_int, c_short, c_void};
use std::mem::{MaybeUninit, zeroed};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::ffi::OsStrExt;
use std::panic::catch_unwind;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::getpid;

#[used]
// SAFETY: the section holds the addresses of functions that the loader calls once the module is complete.
#[unsafe(link_section = ".init_array")]
static WHEN_LOADED: extern "C" fn() = loaded;

extern "C" fn loaded() {
    // Without the mark nothing is forwarded, and that is told where keys are given out.
    let _ = catch_unwind(mark);
}

fn mark() -> Option<()> {
    let mut place = MaybeUninit::<libc::Dl_info>::uninit();
    let own = (&raw const WHEN_LOADED).cast::<c_void>();
    // SAFETY: the address is any, and what is found is written to a variable of the right type.
    if unsafe { libc::dladdr(own, place.as_mut_ptr()) } == 0 {
        return None;
    }
    // SAFETY: it was found, so all of it is filled.
    let name = unsafe { place.assume_init() }.dli_fname;
    if name.is_null() {
        return None;
    }
    // SAFETY: the loader's name of the file lives as long as the module is loaded.
    let path = OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes());
    // For reading only: sshd's processes of the user inherit it.
    let file = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty()).ok()?;
    // SAFETY: a structure of numbers, of which zero is a value.
    let mut lock: libc::flock = unsafe { zeroed() };
    lock.l_type = libc::F_RDLCK as c_short;
    lock.l_whence = libc::SEEK_SET as c_short;
    lock.l_start = libc::off_t::from(getpid().as_raw_pid());
    lock.l_len = 1;
    // SAFETY: the descriptor is open, and the structure is the one that this request reads.
    let set: c_int = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw const lock) };
    // The lock would end with any descriptor of the file, so this one stays until the process ends.
    let _ = file.into_raw_fd();
    (set == 0).then_some(())
}
