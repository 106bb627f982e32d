//! A session's terminal: its pty, and the copying between it and the client's socket.

use std::os::fd::OwnedFd;

use podspawn_wire::Window;
use rustix::io::{Errno, read};
use rustix::net::{Shutdown, shutdown};
use rustix::termios::{SpecialCodeIndex, tcgetattr, tcgetpgrp};

use crate::copy::{Filled, Lane, Watched};
use crate::keeper::Keeper;
use crate::pty::{self, Pty};
use crate::reactor::{Key, Reactor};
use crate::signal::{Target, send};

/// Most bytes that are still taken from the terminal after the main process has ended: more than a terminal holds, so that
/// all of its output comes, and an end even where a process in the background writes for ever.
pub(crate) const LAST_BYTES: usize = 256 * 1024;

/// Pieces moved per direction before others get their turn.
const TURNS: usize = 8;

/// A terminal and its client.
#[derive(Debug)]
pub(crate) struct Terminal {
    master: Watched,
    /// Held so that the master never reports a hang-up of its own.
    slave: OwnedFd,
    client: Watched,
    input: Lane,
    output: Lane,
    /// Set once the main process has ended: what may still be read.
    left: Option<usize>,
    keeper: Option<Keeper>,
}

impl Terminal {
    /// Joins a terminal to the client's socket. Call [`Terminal::pump`] to begin.
    pub(crate) fn new(pty: Pty, client: OwnedFd, keys: (Key, Key), keeper: Option<Keeper>) -> Self {
        Self {
            master: Watched::new(pty.master, keys.0),
            slave: pty.slave,
            client: Watched::new(client, keys.1),
            input: Lane::default(),
            output: Lane::default(),
            left: None,
            keeper,
        }
    }

    /// The end that processes use.
    pub(crate) fn slave(&self) -> &OwnedFd {
        &self.slave
    }

    /// Sends a signal to the foreground group; false if that is not known here.
    pub(crate) fn signal(&self, signal: i32, uid: u32) -> bool {
        if let Some(keeper) = &self.keeper {
            keeper.signal(signal);
            return true;
        }
        let foreground = tcgetpgrp(&self.master.fd);
        if let Ok(group) = foreground {
            send(Target::Group(group.as_raw_nonzero().get()), signal, uid);
        }
        foreground.is_ok()
    }

    /// The client's window changed.
    pub(crate) fn resize(&self, window: Window) {
        // A terminal that does not take a size keeps the one it has.
        let _ = pty::resize(&self.master.fd, window);
        if let Some(keeper) = &self.keeper {
            keeper.signal(libc::SIGWINCH);
        }
    }

    /// The main process has ended: take what output is left, then be complete.
    pub(crate) fn finish(&mut self) {
        self.left.get_or_insert(LAST_BYTES);
        if let Some(keeper) = self.keeper.take() {
            keeper.dismiss();
        }
    }

    /// Moves what can be moved; true once the main process has ended and all of its output is with the client.
    pub(crate) fn pump(&mut self, reactor: &Reactor) -> bool {
        for turn in 1.. {
            let input = self.move_input();
            let output = self.move_output();
            // Of the last output all is taken that the client has room for: nothing would tell that its end is reached already.
            let finishing = self.left.is_some_and(|left| left > 0) && self.output.wants_read();
            if !finishing && (turn == TURNS || !input && !output) {
                break;
            }
        }
        let complete = self.left == Some(0) && (self.output.is_empty() || self.output.broken);
        if complete && !self.output.told {
            self.output.told = true;
            let _ = shutdown(&self.client.fd, Shutdown::Write);
        }
        let reads = self.left != Some(0);
        self.master.want(
            reactor,
            reads && self.output.wants_read(),
            self.left.is_none() && self.input.wants_write(),
        );
        self.client.want(reactor, self.left.is_none() && self.input.wants_read(), self.output.wants_write());
        complete
    }

    fn move_input(&mut self) -> bool {
        if self.left.is_some() {
            self.discard_input();
            return false;
        }
        let filled = self.input.fill(&self.client.fd, usize::MAX);
        if let (Some(keeper), Filled::Some(_)) = (&self.keeper, filled) {
            let shown = self.input.change(|typed| keeper.filter(&self.slave, typed));
            self.output.inject(&shown);
        }
        self.input.drain(&self.master.fd);
        if self.input.ended && self.input.is_empty() && !self.input.told {
            // The client has no more input: say so as a person would, by the terminal's end-of-file character.
            self.input.told = true;
            let code = tcgetattr(&self.slave).map_or(4, |modes| modes.special_codes[SpecialCodeIndex::VEOF]);
            self.input.inject(&[code]);
            self.input.drain(&self.master.fd);
        }
        matches!(filled, Filled::Some(_))
    }

    /// Throws away what the client has typed to nobody. A socket that is closed with something unread breaks the connection,
    /// and the client could not fetch the rest of the output.
    pub(crate) fn discard_input(&self) {
        let mut typed = [0; 16 * 1024];
        // More than a socket holds, and an end where somebody types for ever.
        for _ in 0..64 {
            if !matches!(read(&self.client.fd, &mut typed), Ok(1..) | Err(Errno::INTR)) {
                break;
            }
        }
    }

    fn move_output(&mut self) -> bool {
        let most = self.left.unwrap_or(usize::MAX);
        let filled = self.output.fill(&self.master.fd, most);
        if let Some(left) = &mut self.left {
            match filled {
                Filled::Some(got) => *left -= got,
                Filled::Nothing => *left = 0,
                Filled::Closed if self.output.ended || self.output.broken => *left = 0,
                Filled::Closed => {}
            }
        }
        self.output.drain(&self.client.fd);
        matches!(filled, Filled::Some(_))
    }

    /// Takes everything out of the reactor. Dropping the terminal then closes the master: the kernel hangs up, and what
    /// ignores that lives on.
    pub(crate) fn release(&mut self, reactor: &Reactor) {
        self.master.release(reactor);
        self.client.release(reactor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::Owner;
    use rustix::io::write;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use rustix::process::{getgid, getuid};

    /// A terminal that shows what is written as it is, and the client's end of it.
    fn terminal(reactor: &Reactor) -> (Terminal, OwnedFd) {
        let window = Window { rows: 24, cols: 80 };
        let pty = pty::open(window, getuid().as_raw(), getgid().as_raw()).unwrap();
        let mut modes = rustix::termios::tcgetattr(&pty.slave).unwrap();
        modes.make_raw();
        rustix::termios::tcsetattr(&pty.slave, rustix::termios::OptionalActions::Now, &modes).unwrap();
        // A test does not wait where there is no room.
        rustix::io::ioctl_fionbio(&pty.slave, true).unwrap();
        let (ours, client) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK, None).unwrap();
        let key = |part| Key::new(Owner::Session, 1, part);
        let mut terminal = Terminal::new(pty, ours, (key(1), key(2)), None);
        assert!(!terminal.pump(reactor));
        (terminal, client)
    }

    fn taken(client: &OwnedFd) -> usize {
        let mut buffer = [0; 4096];
        std::iter::from_fn(|| read(client, &mut buffer).ok().filter(|got| *got > 0)).sum()
    }

    #[test]
    fn at_the_end_all_output_is_taken_at_once_and_the_end_is_seen() {
        let reactor = Reactor::new().unwrap();
        for pieces in 1..=40 {
            let (mut terminal, client) = terminal(&reactor);
            let mut written = 0;
            for _ in 0..pieces {
                written += write(terminal.slave(), &[b'x'; 1024]).unwrap_or_default();
            }
            terminal.finish();
            assert!(terminal.pump(&reactor), "{pieces}");
            assert_eq!(taken(&client), written);
        }
    }

    #[test]
    fn a_client_that_takes_the_last_output_late_sees_the_end_too() {
        let reactor = Reactor::new().unwrap();
        let (mut terminal, client) = terminal(&reactor);
        // Until the client's socket is full, and a piece is held here.
        let mut written = 0;
        while terminal.output.is_empty() {
            written += write(terminal.slave(), &[b'x'; 1024]).unwrap();
            assert!(!terminal.pump(&reactor));
        }
        terminal.finish();
        assert!(!terminal.pump(&reactor));
        let before = taken(&client);
        assert!(terminal.pump(&reactor));
        assert_eq!(before + taken(&client), written);
    }

    #[test]
    fn what_was_typed_to_nobody_does_not_cost_the_client_its_output() {
        let reactor = Reactor::new().unwrap();
        let (mut terminal, client) = terminal(&reactor);
        // More than the terminal takes.
        while write(&client, &[b'y'; 1024]).is_ok() {
            assert!(!terminal.pump(&reactor));
        }
        let written = write(terminal.slave(), b"the last words").unwrap();
        terminal.finish();
        assert!(terminal.pump(&reactor));
        // This came when the end was told already.
        write(&client, b"y").unwrap();
        terminal.discard_input();
        drop(terminal);
        let mut buffer = [0; 64];
        assert_eq!(read(&client, &mut buffer), Ok(written));
        assert_eq!(read(&client, &mut buffer), Ok(0));
    }
}
