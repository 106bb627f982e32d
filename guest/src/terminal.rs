//! A session's terminal: its pty, and the copying between it and the client's socket.

use std::os::fd::OwnedFd;

use podspawn_wire::Window;
use rustix::net::{Shutdown, shutdown};
use rustix::termios::{SpecialCodeIndex, tcgetattr, tcgetpgrp};

use crate::copy::{Filled, Lane, Watched};
use crate::keeper::Keeper;
use crate::pty::{self, Pty};
use crate::reactor::{Key, Reactor};
use crate::signal::{Target, send};

/// Most bytes that are still taken from the terminal after the main process has ended: more than a terminal holds, so that
/// all of its output comes, and an end even where a process in the background writes for ever.
const LAST_BYTES: usize = 256 * 1024;

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
        for _ in 0..TURNS {
            let input = self.move_input();
            let output = self.move_output();
            if !input && !output {
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
