//! Small things that the standard library does not offer: waiting with a deadline, random names, file access of others.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal};

/// Eight random bytes as sixteen hex digits.
pub fn random_hex() -> String {
    let mut bytes = [0u8; 8];
    std::fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut bytes)).expect("random bytes");
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// An address of this host's loopback that nobody else uses, so that each of its ports is free.
pub fn own_loopback() -> String {
    let random = random_hex();
    let byte = |at: usize| u8::from_str_radix(&random[at..at + 2], 16).expect("hexadecimal");
    format!("127.{}.{}.{}", byte(0) | 128, byte(2), byte(4) | 1)
}

/// What is left until `deadline`, as a poll time-out.
fn left(deadline: Instant) -> Timespec {
    let left = deadline.saturating_duration_since(Instant::now());
    Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() }
}

/// Waits until one of the descriptors is readable (or hung up); false when the deadline came first.
pub fn readable(fds: &[BorrowedFd<'_>], deadline: Instant) -> bool {
    let mut fds: Vec<_> = fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    loop {
        match poll(&mut fds, Some(&left(deadline))) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("poll: {error}"),
        }
    }
}

/// A descriptor that becomes readable when the child ends.
pub fn pidfd(child: &Child) -> OwnedFd {
    rustix::process::pidfd_open(Pid::from_child(child), PidfdFlags::empty()).expect("pidfd of a child")
}

/// Waits for a child's end; false when the deadline came first.
pub fn ends_by(pidfd: &OwnedFd, deadline: Instant) -> bool {
    readable(&[pidfd.as_fd()], deadline)
}

/// Sends a signal to the child's process group, which it leads.
pub fn signal_group(child: &Child, signal: Signal) {
    // Gone already is fine: the caller looks at the child's status anyway.
    let _ = rustix::process::kill_process_group(Pid::from_child(child), signal);
}

/// The status a shell would show.
pub fn status_of(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Whether any account of this host may execute the file.
pub fn executable_by_everybody(path: &Path) -> bool {
    let mode = |p: &Path| std::fs::metadata(p).map_or(0, |m| m.permissions().mode());
    mode(path) & 0o005 == 0o005 && path.ancestors().skip(1).all(|dir| mode(dir) & 0o001 != 0)
}

/// The program under test.
pub fn podspawn() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_podspawn"))
}

/// The children of a process; none if it is gone.
pub fn children(pid: i32) -> Vec<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect()
}

/// Runs a program of the host, which must succeed; its output.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("start a program");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
