//! Terminals, made inside the container so that `tty`, `tmux` and job control work there.

use std::os::fd::{AsFd, OwnedFd};

use podspawn_wire::Window;
use rustix::fs::{CWD, Gid, Mode, OFlags, Uid, fchmod, fchown, openat};
use rustix::io;
use rustix::pty::{ptsname, unlockpt};
use rustix::termios::{InputModes, OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};

/// Both ends of a terminal.
#[derive(Debug)]
pub struct Pty {
    /// The end that is copied; never blocks.
    pub master: OwnedFd,
    /// The end of the processes. Keep it open as long as the master: without any holder the master reports a hang-up, even
    /// before the first process has opened it.
    pub slave: OwnedFd,
}

/// Makes a terminal of the given size that belongs to `uid` and `gid`.
pub fn open(window: Window, uid: u32, gid: u32) -> io::Result<Pty> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = openat(CWD, c"/dev/ptmx", flags | OFlags::NONBLOCK, Mode::empty())
        .or_else(|_| openat(CWD, c"/dev/pts/ptmx", flags | OFlags::NONBLOCK, Mode::empty()))?;
    unlockpt(&master)?;
    let slave = openat(CWD, ptsname(&master, Vec::new())?, flags, Mode::empty())?;
    // Without the right to give files away the terminal still works; only opening it again by its name does not.
    let _ = fchown(&slave, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    let _ = fchmod(&slave, Mode::from_raw_mode(0o620));
    if let Ok(mut modes) = tcgetattr(&slave) {
        modes.input_modes |= InputModes::IUTF8;
        let _ = tcsetattr(&slave, OptionalActions::Now, &modes);
    }
    resize(&master, window)?;
    Ok(Pty { master, slave })
}

/// Tells the terminal its size; its foreground group gets SIGWINCH if it is another one.
pub fn resize(terminal: impl AsFd, window: Window) -> io::Result<()> {
    tcsetwinsize(terminal, Winsize { ws_row: window.rows, ws_col: window.cols, ws_xpixel: 0, ws_ypixel: 0 })
}
