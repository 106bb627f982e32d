//! Signals: receiving them as events, and sending them where the first process itself may not.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

/// Signals that the loop receives.
const RECEIVED: [i32; 3] = [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT];

/// Whom to signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// One process.
    Process(i32),
    /// A process group.
    Group(i32),
    /// The group that a child leads, or the child alone where it has not come to make the group yet.
    Leader(i32),
}

/// A descriptor that becomes readable when the loop has a signal to act on; those signals are blocked from here on.
pub fn receive() -> std::io::Result<OwnedFd> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set before anything else uses it, and all pointers are to live locals.
    let fd = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in RECEIVED {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
        libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    if fd < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes the signals that have come; each kind is reported once.
pub fn taken(fd: &OwnedFd) -> Vec<i32> {
    const SIZE: usize = size_of::<libc::signalfd_siginfo>();
    let mut signals = Vec::new();
    let mut buffer = [0u8; SIZE * 8];
    while let Ok(got) = rustix::io::read(fd.as_fd(), &mut buffer) {
        for info in buffer[..got].chunks_exact(SIZE) {
            // The number is the record's first field.
            let signal = i32::from_ne_bytes([info[0], info[1], info[2], info[3]]);
            if !signals.contains(&signal) {
                signals.push(signal);
            }
        }
        if got == 0 {
            break;
        }
    }
    signals
}

/// Sends a signal. Where this process lacks `CAP_KILL`, a child that has become `uid` sends it.
pub fn send(target: Target, signal: i32, uid: u32) {
    let pid = match target {
        Target::Process(pid) if pid > 0 => pid,
        Target::Group(group) if group > 1 => -group,
        Target::Leader(pid) if pid > 1 => {
            if group_exists(pid) {
                -pid
            } else {
                pid
            }
        }
        Target::Process(_) | Target::Group(_) | Target::Leader(_) => return,
    };
    send_all(&[pid], signal, uid);
}

/// Asked before a signal is sent, so that the leader of a group gets it once.
fn group_exists(group: i32) -> bool {
    // SAFETY: plain system call, which sends nothing.
    let found = unsafe { libc::kill(-group, 0) };
    found == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

/// Sends a signal to every process but the first and those that came from outside: what an engine has started in the
/// container is none of ours, and a relay has still to tell how its process ended.
pub fn send_everyone(signal: i32, uid: u32) {
    let Ok(entries) = std::fs::read_dir("/proc") else { return };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let ours: Vec<i32> =
        pids.filter(|pid| *pid > 1 && parent(*pid).is_some_and(|parent| parent != 0)).collect();
    send_all(&ours, signal, uid);
}

/// The parent's pid; 0 for one that this namespace does not see.
fn parent(pid: i32) -> Option<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it stands in parentheses and may contain anything.
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// Negative numbers are groups, as for the system call.
fn send_all(pids: &[i32], signal: i32, uid: u32) {
    if !(1..=64).contains(&signal) {
        return;
    }
    // SAFETY: plain system calls.
    let denied = |pid: &&i32| unsafe {
        libc::kill(**pid, signal) < 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
    };
    let denied: Vec<i32> = pids.iter().filter(denied).copied().collect();
    if denied.is_empty() {
        return;
    }
    // SAFETY: this process has one thread, and the child calls nothing but system calls before it ends. The loop reaps it.
    unsafe {
        if libc::fork() == 0 {
            if libc::syscall(libc::SYS_setresuid, uid, uid, uid) == 0 {
                for pid in denied {
                    libc::kill(pid, signal);
                }
            }
            libc::_exit(0);
        }
    }
}

/// Gives every signal its default action: an ignored one would stay ignored through exec. The kernel is asked itself, since
/// the C library refuses the two or three that it keeps for its threads, and a container that was started by a program
/// which ignores those would hand that on.
///
/// Calls nothing but the kernel: fit for a child after fork.
pub fn default_all() {
    for signal in 1..=64 {
        set_default(signal);
    }
}

/// One signal's default action, whichever it is. Refused by the kernel for SIGKILL and SIGSTOP, which have no other.
fn set_default(signal: i32) {
    // The kernel's own structure is four words at most on every architecture, and all zeroes are the default action, no
    // flags and an empty mask.
    let action = [0u64; 4];
    // SAFETY: the structure is at least as large as the kernel's, and no old action is asked for.
    unsafe {
        libc::syscall(libc::SYS_rt_sigaction, signal, action.as_ptr(), std::ptr::null::<u64>(), 8usize)
    };
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{Command, Stdio};

    use super::*;

    /// The action as the kernel has it: 0 for the default, 1 for ignored.
    fn handler(signal: i32, new: Option<usize>) -> u64 {
        let mut action = [0u64; 4];
        let new = new.map(|handler| [handler as u64, 0, 0, 0]);
        let new = new.as_ref().map_or(std::ptr::null(), |new| new.as_ptr());
        // SAFETY: both structures are at least as large as the kernel's.
        let done = unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, new, action.as_mut_ptr(), 8usize) };
        assert_eq!(done, 0);
        action[0]
    }

    #[test]
    fn also_the_signals_of_the_c_library_get_their_default_action() {
        // The one that cancels threads, which nothing here does.
        let signal = 32;
        handler(signal, Some(libc::SIG_IGN));
        assert_eq!(handler(signal, None), 1, "or the next line shows nothing");
        set_default(signal);
        assert_eq!(handler(signal, None), 0);
    }

    #[test]
    fn nonsense_is_not_sent() {
        // Each of these would reach this very process or more.
        send(Target::Process(0), libc::SIGKILL, 0);
        send(Target::Group(1), libc::SIGKILL, 0);
        send(Target::Group(0), libc::SIGKILL, 0);
        send(Target::Leader(1), libc::SIGKILL, 0);
        send(Target::Leader(0), libc::SIGKILL, 0);
        send(Target::Process(std::process::id() as i32), 0, 0);
        send(Target::Process(std::process::id() as i32), 65, 0);
    }

    #[test]
    fn a_leader_is_reached_before_and_after_it_has_made_its_group() {
        for led in [false, true] {
            let mut command = Command::new("cat");
            command.stdin(Stdio::piped());
            if led {
                command.process_group(0);
            }
            let mut child = command.spawn().unwrap();
            send(Target::Leader(child.id() as i32), libc::SIGKILL, rustix::process::getuid().as_raw());
            // Ends its input as well: what got no signal ends by itself.
            assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL), "{led}");
        }
    }
}
