//! Becoming another account, being started by somebody else with descriptors, and starting somebody that way.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Host;

/// Number of the first descriptor that an init system hands over.
const FIRST: i32 = 3;

/// The socket that the init system listens on for this process (`LISTEN_FDS`), if it does.
pub fn activated_socket(host: &Host) -> Option<OwnedFd> {
    let for_us = host.var("LISTEN_PID")?.parse() == Ok(host.pid());
    let any = host.var("LISTEN_FDS")?.parse::<u32>().is_ok_and(|count| count > 0);
    (for_us && any).then(|| inherited(FIRST))
}

/// A descriptor that whoever started this process handed over under a number that both know. To be asked for once, before
/// anything else is opened.
pub fn inherited(number: i32) -> OwnedFd {
    // SAFETY: the number was agreed upon with the starter, nothing else in this process has it, and the caller asks once.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    // Failing means that it is not open, which its first use tells.
    let _ = rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::CLOEXEC);
    descriptor
}

/// Gives up root's rights for those of an account, its groups among them. Only while this process has one thread.
pub fn become_user(uid: u32, gid: u32, name: &str) -> io::Result<()> {
    let name = CString::new(name)?;
    // SAFETY: plain system calls; the name ends in zero.
    unsafe {
        if libc::initgroups(name.as_ptr(), gid) != 0
            || libc::setresgid(gid, gid, gid) != 0
            || libc::setresuid(uid, uid, uid) != 0
        {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Starts a program that goes on by itself: in a session of its own, with no stream of this process's, and with these
/// descriptors under these numbers (from 3 on, in order). Nobody waits for it.
pub fn start_detached(program: &Path, args: &[String], handed: &[(BorrowedFd<'_>, i32)]) -> io::Result<()> {
    // Copies that are out of the way of the numbers they are to have.
    let copies = handed
        .iter()
        .map(|(fd, number)| Ok((rustix::io::fcntl_dupfd_cloexec(fd, FIRST + handed.len() as i32)?, *number)))
        .collect::<io::Result<Vec<_>>>()?;
    // Taken, so that nothing that is opened on the way to the program gets one of those numbers.
    let last = FIRST + handed.len() as i32 - 1;
    let mut taken = Vec::new();
    while let Some((fd, _)) = copies.first() {
        let next = rustix::io::fcntl_dupfd_cloexec(fd, FIRST)?;
        if next.as_raw_fd() > last {
            break;
        }
        taken.push(next);
    }
    let numbers: Vec<(i32, i32)> = copies.iter().map(|(fd, number)| (fd.as_raw_fd(), *number)).collect();
    let mut command = Command::new(program);
    command.args(args).current_dir("/").env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: the closure makes system calls only, on descriptors that live until the child has been started.
    unsafe {
        command.pre_exec(move || {
            // Twice removed, so that nobody has to wait for it.
            match libc::fork() {
                -1 => return Err(io::Error::last_os_error()),
                0 => {}
                _ => libc::_exit(0),
            }
            if libc::setsid() < 0 {
                return Err(io::Error::last_os_error());
            }
            for (from, to) in &numbers {
                if libc::dup2(*from, *to) < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
    let status = command.status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("{} ended with {status}", program.display())))
    }
}
