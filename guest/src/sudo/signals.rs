//! Signals of the `sudo` program and its helper, received as events from a descriptor.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

/// Signals that are blocked and can be read from the descriptor instead.
#[derive(Debug)]
pub(super) struct Signals(OwnedFd);

/// A signal that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) signal: i32,
    /// Who sent it; 0 for the kernel.
    pub(super) sender: i32,
}

impl Signals {
    /// Receives `signals` from now on.
    pub(super) fn receive(signals: &[i32]) -> io::Result<Self> {
        let set = set(signals);
        // SAFETY: the set is initialised and lives through both calls.
        let fd = unsafe {
            libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
            libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The next signal that has come, if any.
    pub(super) fn next(&self) -> Option<Received> {
        let mut buffer = [0u8; size_of::<libc::signalfd_siginfo>()];
        loop {
            return match rustix::io::read(&self.0, &mut buffer) {
                Ok(_) => {
                    let field = |index: usize| {
                        let bytes = buffer.as_chunks::<4>().0[index];
                        i32::from_ne_bytes(bytes)
                    };
                    // The record begins with the number, the cause's errno, the cause's code and the sender.
                    Some(Received { signal: field(0), sender: field(3) })
                }
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => None,
            };
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Never reported as ignored: SIGPIPE is ignored by the language's start-up, and the others stop a command that lacks its
/// terminal, which is how it is found out that it wants it (shells ignore them in command substitutions).
const NOT_PASSED: [i32; 4] = [libc::SIGPIPE, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];

/// Every signal that this process ignores, as a bit mask.
pub(super) fn ignored() -> u64 {
    let mut mask = 0;
    for signal in (1..=64).filter(|signal| !NOT_PASSED.contains(signal)) {
        let mut action = MaybeUninit::<libc::sigaction>::uninit();
        // SAFETY: asks for the action only; it is read only where the call has written it.
        let ignored = unsafe {
            libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) == 0
                && action.assume_init().sa_sigaction == libc::SIG_IGN
        };
        if ignored {
            mask |= 1 << (signal - 1);
        }
    }
    mask
}

/// In a new process before its program is executed: nothing blocked, default actions, and what the caller ignores ignored.
pub(super) fn reset(ignored: u64) {
    let none = set(&[]);
    crate::signal::default_all();
    for signal in (1..=64).filter(|signal| ignored & 1 << (signal - 1) != 0) {
        // SAFETY: this action runs no code of ours.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    // SAFETY: the set is initialised.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut()) };
}

/// Stops the whole process group of this process as `signal` does by default, and returns when it goes on. Returns at once
/// where nobody could make the group go on.
pub(super) fn stop_group(signal: i32) {
    // SIGSTOP would stop a group that no shell looks after for good.
    let signal = if matches!(signal, libc::SIGTTIN | libc::SIGTTOU) { signal } else { libc::SIGTSTP };
    let set = set(&[signal]);
    // SAFETY: plain system calls with an initialised set; the process stops when the signal is let through.
    unsafe {
        libc::kill(0, signal);
        libc::sigprocmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
        libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
    }
}

/// Ends this process by a signal, without a core file; returns only if the signal does not end processes.
pub(super) fn die(signal: i32) {
    let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let set = set(&[signal]);
    // SAFETY: plain system calls with pointers to live locals.
    unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &no_core);
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
        libc::sigprocmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
    }
}

fn set(signals: &[i32]) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set before it is used.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        set.assume_init()
    }
}
