//! What some kernels' terminals lack: gVisor's turn no key into a signal, report no change of size, and hang nobody up.
//!
//! There each terminal gets a keeper: a process of the terminal's session, since only such a one is told the foreground
//! group. It obeys a pipe that the first process holds: a byte is a signal to send to the foreground, the end of the pipe
//! is the hang-up. Where the kernel does all that itself, there is none.

use std::os::fd::{AsFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::{LocalModes, SpecialCodeIndex, Termios, tcgetattr};
use rustix::time::Timespec;

use crate::{pty, spawn};

/// The byte that sends a keeper home without a hang-up.
const LEAVE: u8 = 0;

/// Whether this kernel's terminals need a keeper: a proper one shows an interrupt key as `^C`, one that knows nothing of
/// signals shows the key as it is.
pub(crate) fn is_needed() -> bool {
    let Ok(probe) = pty::open(podspawn_wire::Window::default(), 0, 0) else { return false };
    let limit = Timespec { tv_sec: 1, tv_nsec: 0 };
    let mut shown = [0; 8];
    let answered = rustix::io::write(&probe.master, b"\x03").is_ok()
        && poll(&mut [PollFd::new(&probe.master, PollFlags::IN)], Some(&limit)) == Ok(1);
    answered && matches!(rustix::io::read(&probe.master, &mut shown), Ok(1) if shown[0] == 3)
}

/// The first process's hold on a keeper. Dropping it hangs up.
#[derive(Debug)]
pub(crate) struct Keeper(OwnedFd);

impl Keeper {
    /// The hold, and the end that the keeper itself is to be given.
    pub(crate) fn pipe() -> rustix::io::Result<(Self, OwnedFd)> {
        let (commands, hold) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&hold, true)?;
        Ok((Self(hold), commands))
    }

    /// Sends a signal to the foreground group.
    pub(crate) fn signal(&self, signal: i32) {
        if let Ok(byte @ 1..=64) = u8::try_from(signal) {
            // A full pipe has signals enough in it.
            let _ = rustix::io::write(&self.0, &[byte]);
        }
    }

    /// The session has ended by itself.
    pub(crate) fn dismiss(self) {
        let _ = rustix::io::write(&self.0, &[LEAVE]);
    }

    /// Takes the keys that mean a signal out of what was typed, as a terminal does; gives what is to be shown for them.
    pub(crate) fn filter(&self, terminal: impl AsFd, typed: &mut Vec<u8>) -> Vec<u8> {
        let Ok(modes) = tcgetattr(terminal) else { return Vec::new() };
        if !modes.local_modes.contains(LocalModes::ISIG) {
            return Vec::new();
        }
        let mut shown = Vec::new();
        let mut kept = Vec::with_capacity(typed.len());
        for byte in typed.drain(..) {
            let Some(signal) = signal_of(&modes, byte) else {
                kept.push(byte);
                continue;
            };
            if !modes.local_modes.contains(LocalModes::NOFLSH) {
                kept.clear();
            }
            if modes.local_modes.contains(LocalModes::ECHO) {
                shown.extend([b'^', byte ^ 0x40]);
            }
            self.signal(signal);
        }
        *typed = kept;
        shown
    }
}

fn signal_of(modes: &Termios, byte: u8) -> Option<i32> {
    let keys = [
        (SpecialCodeIndex::VINTR, libc::SIGINT),
        (SpecialCodeIndex::VQUIT, libc::SIGQUIT),
        (SpecialCodeIndex::VSUSP, libc::SIGTSTP),
    ];
    // A key that is switched off is a zero byte.
    keys.into_iter().find(|(key, _)| byte != 0 && modes.special_codes[*key] == byte).map(|(_, signal)| signal)
}

/// Forks the keeper off a process that leads a session with its terminal as standard input. Returns in that process, and
/// then the keeper holds nothing but the terminal and its pipe: nobody waits for an end that it would hold open, such as that
/// of `tell`, whose other end says that the program runs.
///
/// # Safety
/// Only in a freshly forked child of a process with one thread, before it executes its program.
pub(crate) unsafe fn leave_behind(commands: RawFd, tell: RawFd) {
    // SAFETY: system calls on the only thread. The one in between ends at once, so that the keeper is nobody's child whom
    // the session's leader would meet in its `wait`.
    unsafe {
        match libc::fork() {
            0 => {
                let commands = libc::dup2(commands, 1);
                spawn::close_from(2);
                // Where its number is too high for a kernel that closes one by one.
                libc::close(tell);
                if libc::fork() == 0 {
                    keep(commands);
                }
                libc::_exit(0)
            }
            pid => {
                libc::waitpid(pid, std::ptr::null_mut(), 0);
            }
        }
    }
}

/// # Safety
/// Only in a process that was forked for it.
unsafe fn keep(commands: RawFd) -> ! {
    // SAFETY: system calls with pointers to live locals.
    unsafe {
        libc::setpgid(0, 0);
        let leader = libc::getsid(0);
        let foreground = |signal| {
            let group = libc::tcgetpgrp(0);
            if group > 1 {
                libc::kill(-group, signal);
            }
        };
        let mut byte = 0u8;
        while libc::read(commands, (&raw mut byte).cast(), 1) == 1 {
            if byte == LEAVE {
                libc::_exit(0);
            }
            foreground(i32::from(byte));
        }
        foreground(libc::SIGHUP);
        libc::kill(leader, libc::SIGHUP);
        foreground(libc::SIGCONT);
        libc::kill(leader, libc::SIGCONT);
        libc::_exit(0)
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{
        Pid, Resource, Rlimit, WaitOptions, getgid, getgroups, getrlimit, getuid, setrlimit, waitpid,
    };
    use rustix::termios::{OptionalActions, tcsetattr};

    use super::*;
    use crate::spawn::{Command, Identity, Outcome, outcome};

    #[test]
    fn this_kernels_terminals_need_none() {
        assert!(!is_needed());
    }

    #[test]
    fn keys_become_signals_and_what_was_typed_before_them_goes() {
        let pty = pty::open(podspawn_wire::Window::default(), 0, 0).unwrap();
        let (keeper, commands) = Keeper::pipe().unwrap();
        let mut typed = b"abc\x03de\x1af".to_vec();
        assert_eq!(keeper.filter(&pty.slave, &mut typed), b"^C^Z");
        assert_eq!(typed, b"f");
        let mut sent = [0; 8];
        assert_eq!(rustix::io::read(&commands, &mut sent), Ok(2));
        assert_eq!(sent[..2], [libc::SIGINT as u8, libc::SIGTSTP as u8]);

        // A program that reads keys as they are gets them as they are.
        let mut modes = tcgetattr(&pty.slave).unwrap();
        modes.make_raw();
        tcsetattr(&pty.slave, OptionalActions::Now, &modes).unwrap();
        let mut typed = b"abc\x03".to_vec();
        assert!(keeper.filter(&pty.slave, &mut typed).is_empty());
        assert_eq!(typed, b"abc\x03");
    }

    /// Waits for a descriptor's end, with a limit.
    fn ends(fd: &OwnedFd) -> bool {
        let limit = Timespec { tv_sec: 10, tv_nsec: 0 };
        poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&limit)) == Ok(1)
    }

    #[test]
    fn a_keeper_holds_nothing_open_that_the_program_was_forked_with() {
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let high = rustix::io::fcntl_dupfd_cloexec(&writer, 2000).unwrap();
        drop(writer);
        let pty = pty::open(podspawn_wire::Window::default(), getuid().as_raw(), getgid().as_raw()).unwrap();
        let (keeper, commands) = Keeper::pipe().unwrap();
        let child = spawn::spawn(&Command {
            programs: vec![c"/bin/sh".into()],
            argv: vec![c"sh".into(), c"-c".into(), c":".into()],
            env: Vec::new(),
            cwd: None,
            cwd_fd: None,
            identity: Identity {
                uid: getuid().as_raw(),
                gid: getgid().as_raw(),
                groups: getgroups().unwrap().iter().map(|group| group.as_raw()).collect(),
            },
            stdio: [pty.slave.as_fd(); 3],
            terminal: true,
            keeper: Some(commands.as_fd()),
            nproc: None,
            nofile: None,
            umask: 0o022,
        })
        .unwrap();
        drop(high);
        waitpid(Pid::from_raw(child.pid), WaitOptions::empty()).unwrap();
        assert!(ends(&child.report) && outcome(&child.report) == Outcome::Running);
        assert!(ends(&reader));
        keeper.dismiss();
    }
}
