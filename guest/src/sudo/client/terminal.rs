//! The caller's terminal and the command's: raw mode while the command has it, and copying between the two.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::termios::{
    OptionalActions, OutputModes, Termios, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr, tcsetwinsize,
};

use crate::sudo::keys::{self, Typed};
use crate::sudo::protocol::Terminal;
use crate::terminal::LAST_BYTES;

/// The terminal that controls this process.
pub(super) struct Screen {
    terminal: OwnedFd,
    streams: [bool; 3],
}

impl Screen {
    /// None without a controlling terminal.
    pub(super) fn open() -> Option<Self> {
        let standard = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
        // Answered only for the caller's own controlling terminal.
        let streams = standard.map(|stream| tcgetpgrp(stream).is_ok());
        // A description of its own, so that not blocking concerns nobody else.
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let terminal = rustix::fs::open("/dev/tty", flags, Mode::empty()).ok().or_else(|| {
            // gVisor has no such device: there a stream that is the terminal leads to it, by its name if it has one.
            let stream = standard.into_iter().zip(streams).find(|(_, ours)| *ours)?.0;
            let name = rustix::fs::readlink(format!("/proc/self/fd/{}", stream.as_raw_fd()), Vec::new());
            let named = name.ok().filter(|name| name.to_bytes().starts_with(b"/dev/"));
            let opened = named.and_then(|name| rustix::fs::open(name, flags, Mode::empty()).ok());
            opened.or_else(|| rustix::io::fcntl_dupfd_cloexec(stream, 3).ok())
        })?;
        Some(Self { terminal, streams })
    }

    /// What the helper is to know.
    pub(super) fn terminal(&self) -> Terminal {
        Terminal { streams: self.streams, in_front: is_foreground(&self.terminal) }
    }

    /// Begins to stand between the two terminals.
    pub(super) fn attach(self, master: OwnedFd, foreground: bool, keys_dead: bool) -> io::Result<Attached> {
        let modes = tcgetattr(&self.terminal)?;
        let mut attached = Attached {
            terminal: self.terminal,
            master,
            modes,
            wanted: foreground,
            settled: foreground,
            keys_dead,
            raw: false,
            gone: false,
            ended: false,
            input: Vec::new(),
            output: Vec::new(),
        };
        attached.enter();
        Ok(attached)
    }
}

impl AsFd for Screen {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.terminal.as_fd()
    }
}

/// Both terminals, and what is on its way between them.
pub(super) struct Attached {
    terminal: OwnedFd,
    master: OwnedFd,
    /// The caller's settings.
    modes: Termios,
    /// The command has asked for the terminal.
    wanted: bool,
    /// The command's terminal has the settings of the caller's: at once where it began in the foreground. What the caller's
    /// has meanwhile, in the background, is its shell's business.
    settled: bool,
    /// The command's terminal makes no signals of keys.
    keys_dead: bool,
    raw: bool,
    /// The caller's terminal has hung up: what the command writes is dropped.
    gone: bool,
    /// The command's terminal has no user left.
    ended: bool,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Attached {
    pub(super) fn is_foreground(&self) -> bool {
        !self.gone && is_foreground(&self.terminal)
    }

    pub(super) fn keys_dead(&self) -> bool {
        self.keys_dead
    }

    /// The command asks for the terminal.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// Takes the terminal if it is wanted and can be had; says whether the command has it.
    pub(super) fn enter(&mut self) -> bool {
        if !self.wanted || !self.is_foreground() {
            return false;
        }
        if !self.raw {
            // Settings may have been changed while the caller's shell had the terminal.
            if let Ok(modes) = tcgetattr(&self.terminal) {
                self.modes = modes;
            }
            let mut raw = self.modes.clone();
            raw.make_raw();
            self.raw = tcsetattr(&self.terminal, OptionalActions::Now, &raw).is_ok();
            if !std::mem::replace(&mut self.settled, true) {
                let _ = tcsetattr(&self.master, OptionalActions::Now, &self.modes);
            }
            self.process_output(self.modes.output_modes.contains(OutputModes::OPOST));
        }
        self.raw
    }

    /// Gives the terminal back as it was.
    pub(super) fn leave(&mut self) {
        if !std::mem::take(&mut self.raw) {
            return;
        }
        // In the background the settings are somebody else's.
        if self.is_foreground() {
            let _ = tcsetattr(&self.terminal, OptionalActions::Drain, &self.modes);
        }
        self.process_output(false);
    }

    /// Output is processed once: by the caller's terminal, or, while that is raw, by the command's.
    fn process_output(&self, on: bool) {
        if let Ok(mut modes) = tcgetattr(&self.master) {
            modes.output_modes.set(OutputModes::OPOST, on);
            let _ = tcsetattr(&self.master, OptionalActions::Now, &modes);
        }
    }

    pub(super) fn resize(&self) {
        if let Ok(size) = tcgetwinsize(&self.terminal) {
            let _ = tcsetwinsize(&self.master, size);
        }
    }

    /// What to wait for: the caller's terminal, the command's. One that is gone would report it again and again, and is
    /// left out.
    pub(super) fn interests(&self) -> [Option<PollFd<'_>>; 2] {
        let mut caller = PollFlags::empty();
        caller.set(PollFlags::IN, self.raw && self.input.is_empty());
        caller.set(PollFlags::OUT, !self.output.is_empty());
        let mut command = PollFlags::empty();
        command.set(PollFlags::IN, self.output.is_empty());
        command.set(PollFlags::OUT, !self.input.is_empty());
        [
            (!self.gone).then(|| PollFd::new(&self.terminal, caller)),
            (!self.ended).then(|| PollFd::new(&self.master, command)),
        ]
    }

    /// Copies what can be copied now; returns the signals that were typed, where the command's terminal does not know them.
    pub(super) fn copy(&mut self, caller: PollFlags, command: PollFlags) -> Vec<i32> {
        let readable = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
        if caller.intersects(readable) && self.raw && self.input.is_empty() {
            self.read_caller();
        } else if caller.intersects(PollFlags::HUP | PollFlags::ERR) {
            self.gone = true;
        }
        let typed = if self.keys_dead { self.take_keys() } else { Vec::new() };
        if command.intersects(readable) && self.output.is_empty() {
            self.read_command();
        }
        if !self.input.is_empty() && write(&self.master, &mut self.input).is_err() {
            self.input.clear();
        }
        self.show();
        typed
    }

    /// Takes the keys that are signals out of the input, and what was typed before them, as a terminal does.
    fn take_keys(&mut self) -> Vec<i32> {
        let Ok(modes) = tcgetattr(&self.master) else { return Vec::new() };
        let mut signals = Vec::new();
        for part in keys::split(&std::mem::take(&mut self.input), &modes) {
            match part {
                Typed::Bytes(bytes) => self.input = bytes,
                Typed::Signal(signal) => {
                    self.input.clear();
                    signals.push(signal);
                }
            }
        }
        signals
    }

    fn read_caller(&mut self) {
        let mut buffer = [0; 4096];
        match rustix::io::read(&self.terminal, &mut buffer) {
            Ok(0) => self.gone = true,
            Ok(count) => self.input.extend_from_slice(&buffer[..count]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Another program has taken the foreground: reading is not ours any more, and neither are the settings.
            Err(_) if !is_foreground(&self.terminal) => {
                self.raw = false;
                self.process_output(false);
            }
            Err(_) => self.gone = true,
        }
    }

    fn read_command(&mut self) {
        let mut buffer = [0; 16 * 1024];
        match rustix::io::read(&self.master, &mut buffer) {
            Ok(0) => self.ended = true,
            Ok(count) => self.output.extend_from_slice(&buffer[..count]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.ended = true,
        }
    }

    fn show(&mut self) {
        if !self.gone && !self.output.is_empty() {
            self.gone = write(&self.terminal, &mut self.output).is_err();
        }
        if self.gone {
            self.output.clear();
        }
    }

    /// The command has ended: shows the rest of its output, as much as a terminal holds at most, and gives the terminal back.
    pub(super) fn finish(&mut self) {
        let mut left = LAST_BYTES;
        loop {
            while !self.output.is_empty() {
                self.show();
                if !self.output.is_empty() {
                    // Waits as any program does whose terminal takes nothing for now.
                    let _ = rustix::event::poll(&mut [PollFd::new(&self.terminal, PollFlags::OUT)], None);
                }
            }
            if self.ended || left == 0 {
                break;
            }
            // What others may write to the terminal later is not the command's output any more.
            self.read_command();
            if self.output.is_empty() {
                break;
            }
            left = left.saturating_sub(self.output.len());
        }
        self.leave();
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Writes what fits now and takes it out of `bytes`.
fn write(fd: &OwnedFd, bytes: &mut Vec<u8>) -> Result<(), Errno> {
    match rustix::io::write(fd, bytes) {
        Ok(count) => {
            bytes.drain(..count);
            Ok(())
        }
        Err(Errno::AGAIN | Errno::INTR) => Ok(()),
        Err(error) => Err(error),
    }
}

fn is_foreground(terminal: &OwnedFd) -> bool {
    tcgetpgrp(terminal).is_ok_and(|group| group == rustix::process::getpgrp())
}

#[cfg(test)]
mod tests {
    use rustix::fs::{MemfdFlags, SeekFrom, fstat, ftruncate, memfd_create, seek};

    use super::*;
    use crate::pty;

    #[test]
    fn what_others_go_on_writing_after_the_command_is_not_waited_for() {
        let pty = pty::open(podspawn_wire::Window::default(), 0, 0).unwrap();
        let file = || memfd_create("stand-in", MemfdFlags::CLOEXEC).unwrap();
        // Always has something to read, far more than a terminal holds.
        let (master, terminal) = (file(), file());
        ftruncate(&master, 4 * LAST_BYTES as u64).unwrap();
        seek(&master, SeekFrom::Start(0)).unwrap();
        let mut attached = Attached {
            terminal,
            master,
            modes: tcgetattr(&pty.slave).unwrap(),
            wanted: false,
            settled: false,
            keys_dead: false,
            raw: false,
            gone: false,
            ended: false,
            input: Vec::new(),
            output: b"before".to_vec(),
        };
        attached.finish();
        assert_eq!(fstat(&attached.terminal).unwrap().st_size, 6 + LAST_BYTES as i64);
    }
}
