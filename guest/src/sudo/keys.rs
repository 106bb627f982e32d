//! Keys that are signals, where the kernel does not make them so.
//!
//! A terminal turns Ctrl-C, Ctrl-\\ and Ctrl-Z into signals, and a new size into another. gVisor's terminals do neither: there
//! the two ends of this program stand in. `sudo` takes the keys out of what is typed, its helper, which leads the terminal's
//! session and so may ask who has the foreground, sends the signal.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::OFlags;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr,
};

use super::signals::Signals;
use crate::pty::Pty;

/// Whether keys of the terminal do nothing by themselves. To be asked of a fresh terminal by the leader of its session, that
/// is still in the foreground and receives SIGINT from `signals`. Leaves the terminal's settings changed.
pub(super) fn dead(terminal: &Pty, signals: &Signals) -> io::Result<bool> {
    // Linux answers this on both ends; who does not is asked for more.
    if tcgetpgrp(&terminal.master).is_ok() {
        return Ok(false);
    }
    let mut modes = tcgetattr(&terminal.slave)?;
    modes.make_raw();
    modes.local_modes |= LocalModes::ISIG;
    let key = modes.special_codes[SpecialCodeIndex::VINTR];
    tcsetattr(&terminal.slave, OptionalActions::Now, &modes)?;
    rustix::io::write(&terminal.master, &[key])?;
    let mut live = false;
    while let Some(received) = signals.next() {
        live |= received.signal == libc::SIGINT;
    }
    if !live {
        take_back(terminal.slave.as_fd())?;
    }
    Ok(!live)
}

/// Reads the key that the terminal has passed on, without waiting for it.
fn take_back(slave: BorrowedFd<'_>) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(slave)?;
    rustix::fs::fcntl_setfl(slave, flags | OFlags::NONBLOCK)?;
    // Nothing to read means that nothing has to be taken back.
    let _ = rustix::io::read(slave, &mut [0u8; 16]);
    Ok(rustix::fs::fcntl_setfl(slave, flags)?)
}

/// What was typed, told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Typed {
    /// For the command to read.
    Bytes(Vec<u8>),
    /// A key that is this signal.
    Signal(i32),
}

/// Splits what was typed by the settings of the command's terminal.
pub(super) fn split(typed: &[u8], modes: &Termios) -> Vec<Typed> {
    let signal = |byte: u8| {
        let signals = [
            (SpecialCodeIndex::VINTR, libc::SIGINT),
            (SpecialCodeIndex::VQUIT, libc::SIGQUIT),
            (SpecialCodeIndex::VSUSP, libc::SIGTSTP),
        ];
        let on = modes.local_modes.contains(LocalModes::ISIG);
        // A key that is switched off has the code 0.
        let found = signals.into_iter().find(|(key, _)| byte != 0 && modes.special_codes[*key] == byte);
        found.filter(|_| on).map(|(_, signal)| signal)
    };
    let mut parts = Vec::new();
    for byte in typed {
        match (signal(*byte), parts.last_mut()) {
            (Some(signal), _) => parts.push(Typed::Signal(signal)),
            (None, Some(Typed::Bytes(bytes))) => bytes.push(*byte),
            (None, _) => parts.push(Typed::Bytes(vec![*byte])),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use podspawn_wire::Window;

    use super::*;

    #[test]
    fn keys_are_signals_only_where_the_terminal_says_so() {
        let terminal = crate::pty::open(Window::default(), 0, 0).unwrap();
        let mut modes = tcgetattr(&terminal.slave).unwrap();
        let bytes = |text: &[u8]| Typed::Bytes(text.to_vec());
        assert_eq!(
            split(b"ab\x03c\x1a\x1c", &modes),
            [bytes(b"ab"), Typed::Signal(2), bytes(b"c"), Typed::Signal(20), Typed::Signal(3)]
        );
        modes.special_codes[SpecialCodeIndex::VINTR] = 0;
        assert_eq!(split(b"\0\x03", &modes), [bytes(b"\0\x03")]);
        modes.local_modes.remove(LocalModes::ISIG);
        assert_eq!(split(b"\x1a", &modes), [bytes(b"\x1a")]);
        assert_eq!(split(b"", &modes), []);
    }
}
