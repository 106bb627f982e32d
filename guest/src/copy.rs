//! Copying between two descriptors inside the loop, in both directions, with bounded memory.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::{Errno, read, retry_on_intr, write};
use rustix::net::{Shutdown, shutdown};

use crate::reactor::{Interest, Key, Reactor};

/// Bytes held per direction.
const CAPACITY: usize = 16 * 1024;

/// Pieces moved per direction before other descriptors get their turn.
const TURNS: usize = 8;

/// One direction.
#[derive(Debug)]
pub struct Lane {
    buffer: Vec<u8>,
    start: usize,
    /// The source gives nothing more.
    pub ended: bool,
    /// The sink takes nothing more.
    pub broken: bool,
    /// The sink has been told of the end.
    pub told: bool,
}

/// What an attempt to read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filled {
    /// So many bytes.
    Some(usize),
    /// Nothing now.
    Nothing,
    /// No room, or the lane has ended.
    Closed,
}

impl Default for Lane {
    fn default() -> Self {
        Self { buffer: Vec::with_capacity(CAPACITY), start: 0, ended: false, broken: false, told: false }
    }
}

impl Lane {
    /// Nothing is held.
    pub fn is_empty(&self) -> bool {
        self.start == self.buffer.len()
    }

    /// It could read.
    pub fn wants_read(&self) -> bool {
        !self.ended && !self.broken && self.is_empty()
    }

    /// It could write.
    pub fn wants_write(&self) -> bool {
        !self.broken && !self.is_empty()
    }

    /// Holds bytes that do not come from the source.
    pub fn inject(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Changes what has just been read.
    pub fn change<T>(&mut self, change: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        self.buffer.drain(..self.start);
        self.start = 0;
        change(&mut self.buffer)
    }

    /// Reads at most `most` bytes.
    pub fn fill(&mut self, source: impl AsFd, most: usize) -> Filled {
        if !self.wants_read() || most == 0 {
            return Filled::Closed;
        }
        self.buffer.resize(CAPACITY.min(most), 0);
        self.start = 0;
        let got = retry_on_intr(|| read(&source, &mut self.buffer[..]));
        self.buffer.truncate(*got.as_ref().unwrap_or(&0));
        match got {
            Ok(0) => {
                self.ended = true;
                Filled::Closed
            }
            Ok(got) => Filled::Some(got),
            Err(Errno::AGAIN) => Filled::Nothing,
            Err(_) => {
                self.ended = true;
                Filled::Closed
            }
        }
    }

    /// Writes what the sink takes.
    pub fn drain(&mut self, sink: impl AsFd) {
        while self.wants_write() {
            match write(&sink, &self.buffer[self.start..]) {
                Ok(wrote) => self.start += wrote,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.broken = true,
            }
        }
    }
}

/// A descriptor and what it is watched for at present.
///
/// It is taken out of the reactor while nothing is wanted of it: a hang-up is always reported, and one that nobody can act
/// upon would keep the loop spinning.
#[derive(Debug)]
pub struct Watched {
    /// The descriptor.
    pub fd: OwnedFd,
    key: Key,
    interest: Option<Interest>,
}

impl Watched {
    /// Not watched for anything yet.
    pub fn new(fd: OwnedFd, key: Key) -> Self {
        Self { fd, key, interest: None }
    }

    /// Changes what it is watched for.
    pub fn want(&mut self, reactor: &Reactor, read: bool, write: bool) {
        let wanted = (read || write).then_some(Interest { read, write });
        if wanted == self.interest {
            return;
        }
        let done = match (self.interest, wanted) {
            (None, Some(interest)) => reactor.add(&self.fd, self.key, interest),
            (Some(_), Some(interest)) => reactor.change(&self.fd, self.key, interest),
            (_, None) => {
                reactor.remove(&self.fd);
                Ok(())
            }
        };
        self.interest = if done.is_ok() { wanted } else { None };
    }

    /// Watched for nothing any more, before it is closed.
    pub fn release(&mut self, reactor: &Reactor) {
        self.want(reactor, false, false);
    }
}

/// Two sockets that are copied to each other.
#[derive(Debug)]
pub struct Duplex {
    left: Watched,
    right: Watched,
    to_right: Lane,
    to_left: Lane,
}

impl Duplex {
    /// Between two non-blocking sockets. Call [`Duplex::pump`] once to begin.
    pub fn new(left: Watched, right: Watched) -> Self {
        Self { left, right, to_right: Lane::default(), to_left: Lane::default() }
    }

    /// Moves what can be moved; false once nothing can come any more. Then call [`Duplex::release`].
    pub fn pump(&mut self, reactor: &Reactor) -> bool {
        for _ in 0..TURNS {
            let moved = one_turn(&mut self.to_right, &self.left.fd, &self.right.fd)
                | one_turn(&mut self.to_left, &self.right.fd, &self.left.fd);
            if !moved {
                break;
            }
        }
        let done = |lane: &Lane| lane.broken || lane.ended && lane.is_empty();
        if self.to_right.broken || self.to_left.broken || done(&self.to_right) && done(&self.to_left) {
            return false;
        }
        self.left.want(reactor, self.to_right.wants_read(), self.to_left.wants_write());
        self.right.want(reactor, self.to_left.wants_read(), self.to_right.wants_write());
        true
    }

    /// Takes both ends out of the reactor.
    pub fn release(&mut self, reactor: &Reactor) {
        self.left.release(reactor);
        self.right.release(reactor);
    }
}

/// One read and what can be written of it, passing on the end; true if bytes moved.
fn one_turn(lane: &mut Lane, from: &OwnedFd, to: &OwnedFd) -> bool {
    let filled = lane.fill(from, CAPACITY);
    lane.drain(to);
    if lane.ended && lane.is_empty() && !lane.told {
        lane.told = true;
        let _ = shutdown(to, Shutdown::Write);
    }
    matches!(filled, Filled::Some(_))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::reactor::Owner;

    fn joined() -> (UnixStream, UnixStream, Duplex) {
        let ends = || {
            let (outside, inside) = UnixStream::pair().unwrap();
            inside.set_nonblocking(true).unwrap();
            (outside, inside)
        };
        let ((a, a_inside), (b, b_inside)) = (ends(), ends());
        let watched =
            |socket: UnixStream, part| Watched::new(socket.into(), Key::new(Owner::Session, 1, part));
        (a, b, Duplex::new(watched(a_inside, 1), watched(b_inside, 2)))
    }

    /// Lets the loop run until the pair is done.
    fn run(mut duplex: Duplex) -> std::thread::JoinHandle<usize> {
        std::thread::spawn(move || {
            let mut reactor = Reactor::new().unwrap();
            let (mut events, mut rounds) = (Vec::new(), 0);
            while duplex.pump(&reactor) {
                reactor.wait(&mut events).unwrap();
                rounds += 1;
            }
            duplex.release(&reactor);
            rounds
        })
    }

    #[test]
    fn bytes_and_ends_go_both_ways() {
        let (mut a, mut b, duplex) = joined();
        let worker = run(duplex);
        let data: Vec<u8> = (0..300_000u32).map(|i| (i * 7) as u8).collect();
        let copy = data.clone();
        let mut writer = a.try_clone().unwrap();
        let writing = std::thread::spawn(move || {
            writer.write_all(&copy).unwrap();
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let mut got = Vec::new();
        b.read_to_end(&mut got).unwrap();
        assert!(got == data);
        writing.join().unwrap();
        // The other direction still works after this one has ended.
        b.write_all(b"answer").unwrap();
        drop(b);
        let mut answer = String::new();
        a.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "answer");
        worker.join().unwrap();
    }

    #[test]
    fn a_side_that_hangs_up_while_nothing_can_move_does_not_spin() {
        let (mut a, mut b, duplex) = joined();
        // More than both sockets and the lane hold, so that the loop cannot read on from `a`, which then goes away.
        a.set_nonblocking(true).unwrap();
        let worker = run(duplex);
        let piece = [7; 4096];
        let mut sent = 0;
        let deadline = std::time::Instant::now() + std::time::Duration::from_millis(300);
        while std::time::Instant::now() < deadline {
            match a.write(&piece) {
                Ok(wrote) => sent += wrote,
                Err(_) => {
                    let mut room = [rustix::event::PollFd::new(&a, rustix::event::PollFlags::OUT)];
                    let wait = rustix::event::Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
                    if rustix::event::poll(&mut room, Some(&wait)).unwrap() == 0 {
                        break;
                    }
                }
            }
        }
        drop(a);
        let mut got = Vec::new();
        b.read_to_end(&mut got).unwrap();
        drop(b);
        assert_eq!(got.len(), sent);
        let rounds = worker.join().unwrap();
        assert!(rounds < sent / 1024 + 100, "{rounds} rounds for {sent} bytes");
    }
}
