//! Starts a broker, while the process is still in the host's network.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::reason::Reason;

/// Runs `<program> broker --detach [--config FILE]`, which ends with 0 as soon as a broker listens, its own or another's.
/// Past the deadline that process is killed; only this one is ever waited for, never another of sshd's children.
pub(crate) fn start(program: &Path, config: Option<&Path>, deadline: Instant) -> Result<(), Reason> {
    let failed = |how: String| Reason::Start(program.to_owned(), how);
    let mut command = Command::new(program);
    command.args(["broker", "--detach"]);
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    command
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // SAFETY: only system calls are made between fork and exec.
    unsafe { command.pre_exec(leave_sshd) };
    let mut child = command.spawn().map_err(|e| failed(e.to_string()))?;
    let ended = wait(Pid::from_child(&child), deadline);
    if !matches!(ended, Ok(true)) {
        // Both fail only if it has ended meanwhile.
        let _ = child.kill();
        let _ = child.wait();
        return Err(failed(match ended {
            Err(error) => error.to_string(),
            Ok(_) => "it takes too long".into(),
        }));
    }
    match child.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(status.to_string())),
        // Somebody had the kernel collect children by itself: whether a broker listens is seen when connecting.
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(()),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// In the new process: a session of its own, and none of sshd's descriptors, of which the client's connection is one.
fn leave_sshd() -> io::Result<()> {
    // SAFETY: takes and touches no memory.
    if unsafe { libc::setsid() } < 0 {
        return Err(io::Error::last_os_error());
    }
    // Closed by exec rather than here: one of them tells the parent how exec went.
    // SAFETY: takes and touches no memory.
    if unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// True once the process has ended; false if the deadline came first.
fn wait(pid: Pid, deadline: Instant) -> io::Result<bool> {
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return Ok(true),
        opened => opened?,
    };
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
