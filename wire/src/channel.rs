//! A connection between host and guest: what is queued to go out, what has come in.
//!
//! Both ends work without ever blocking (`queue`, `flush`, `read`, `next`, driven by readiness of the socket); the host's
//! end can also wait up to a deadline. The host's end receives without a control buffer, so that no descriptor is ever
//! accepted from a container.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use serde::Serialize;

use crate::frame::{Decoder, WireError, encode};
use crate::{FromGuest, ToGuest, passing};

/// Bytes read from a socket at once.
pub(crate) const PIECE: usize = 16 * 1024;

/// Most bytes waiting to go out; a receiver that lets more pile up is given up.
const MAX_QUEUED: usize = 256 * 1024;

/// What one read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// Bytes: look for messages with `next`.
    Some,
    /// Nothing at present.
    Nothing,
    /// The other side has closed the connection, between two messages.
    End,
}

/// Frames on their way out, each with the descriptors that go with its first byte.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    frames: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
    sent_of_first: usize,
    queued: usize,
}

impl Outgoing {
    pub(crate) fn queue<T: Serialize>(
        &mut self,
        message: &T,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), WireError> {
        let frame = encode(message, descriptors.len())?;
        if self.queued + frame.len() > MAX_QUEUED {
            return Err(WireError::TooLong(self.queued + frame.len()));
        }
        self.queued += frame.len();
        self.frames.push_back((frame, descriptors));
        Ok(())
    }

    /// Sends what the socket takes; true once nothing waits. After an error nothing waits either: what cannot be sent is not
    /// kept, least of all its descriptors, whose other holders may wait for them to be closed.
    pub(crate) fn flush(&mut self, socket: BorrowedFd<'_>) -> Result<bool, WireError> {
        let outcome = self.send(socket);
        if outcome.is_err() {
            *self = Self::default();
        }
        outcome
    }

    fn send(&mut self, socket: BorrowedFd<'_>) -> Result<bool, WireError> {
        while let Some((frame, descriptors)) = self.frames.front_mut() {
            let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
            let Some(sent) = passing::send(socket, &frame[self.sent_of_first..], &borrowed)? else {
                return Ok(false);
            };
            if sent > 0 {
                descriptors.clear();
            }
            self.sent_of_first += sent;
            self.queued -= sent;
            if self.sent_of_first == frame.len() {
                self.frames.pop_front();
                self.sent_of_first = 0;
            }
        }
        Ok(true)
    }

    pub(crate) fn waits(&self) -> bool {
        !self.frames.is_empty()
    }
}

/// The host's end: sends [`ToGuest`] with descriptors, receives [`FromGuest`].
#[derive(Debug)]
pub struct HostChannel {
    socket: OwnedFd,
    incoming: Decoder,
    outgoing: Outgoing,
}

impl HostChannel {
    /// Over a connected unix stream socket.
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket, incoming: Decoder::new(), outgoing: Outgoing::default() }
    }

    /// The socket, to be handed to another process. What came and was not looked at is lost.
    pub fn into_socket(self) -> OwnedFd {
        self.socket
    }

    /// Puts a message in the queue; its descriptors are closed here once they are sent.
    pub fn queue(&mut self, message: &ToGuest, descriptors: Vec<OwnedFd>) -> Result<(), WireError> {
        if descriptors.len() != message.descriptors() {
            return Err(WireError::Descriptors);
        }
        self.outgoing.queue(message, descriptors)
    }

    /// Sends what the socket takes; true once the queue is empty.
    pub fn flush(&mut self) -> Result<bool, WireError> {
        self.outgoing.flush(self.socket.as_fd())
    }

    /// Something is waiting to go out: watch for writability and call [`HostChannel::flush`].
    pub fn wants_write(&self) -> bool {
        self.outgoing.waits()
    }

    /// Reads once. Take all messages out with [`HostChannel::next`] before the next read.
    pub fn read(&mut self) -> Result<Received, WireError> {
        let mut piece = [0; PIECE];
        match passing::receive_bytes(&self.socket, &mut piece)? {
            None => Ok(Received::Nothing),
            Some(0) if self.incoming.is_empty() => Ok(Received::End),
            Some(0) => Err(WireError::Closed),
            Some(got) => {
                self.incoming.push(&piece[..got]);
                Ok(Received::Some)
            }
        }
    }

    /// The next message that is complete.
    #[allow(clippy::should_implement_trait)] // fallible, and not an end when none is there
    pub fn next(&mut self) -> Result<Option<FromGuest>, WireError> {
        match self.incoming.next()? {
            Some((message, 0)) => Ok(Some(message)),
            Some(_) => Err(WireError::Descriptors),
            None => Ok(None),
        }
    }

    /// Sends a message, waiting until it is gone or the deadline has come.
    pub fn send(
        &mut self,
        message: &ToGuest,
        descriptors: Vec<OwnedFd>,
        deadline: Instant,
    ) -> Result<(), WireError> {
        self.queue(message, descriptors)?;
        while !self.flush()? {
            wait(&self.socket, PollFlags::OUT, Some(deadline))?;
        }
        Ok(())
    }

    /// Waits for one message; without a deadline as long as the connection stands.
    pub fn receive(&mut self, deadline: Option<Instant>) -> Result<FromGuest, WireError> {
        loop {
            if let Some(message) = self.next()? {
                return Ok(message);
            }
            // Looked at before each read: a side that sends crumbs for ever must not be listened to for ever.
            wait(&self.socket, PollFlags::IN, deadline)?;
            if self.read()? == Received::End {
                return Err(WireError::Closed);
            }
        }
    }
}

impl AsFd for HostChannel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Waits for readiness; an error once the deadline has passed.
pub(crate) fn wait(socket: &OwnedFd, events: PollFlags, deadline: Option<Instant>) -> Result<(), WireError> {
    loop {
        let left = match deadline {
            None => None,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(WireError::TimedOut);
                }
                Some(left.try_into().map_err(|_| WireError::TimedOut)?)
            }
        };
        match poll(&mut [PollFd::new(socket, events)], left.as_ref()) {
            Ok(0) => return Err(WireError::TimedOut),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The guest's end: receives [`ToGuest`] with descriptors, sends [`FromGuest`]. Never blocks.
#[derive(Debug)]
pub struct GuestChannel {
    socket: OwnedFd,
    incoming: Decoder,
    /// Descriptors that came and whose message is not complete yet, oldest first.
    descriptors: Vec<OwnedFd>,
    outgoing: Outgoing,
}

impl GuestChannel {
    /// Over a connected unix stream socket.
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket, incoming: Decoder::new(), descriptors: Vec::new(), outgoing: Outgoing::default() }
    }

    /// Puts a message in the queue.
    pub fn queue(&mut self, message: &FromGuest) -> Result<(), WireError> {
        self.outgoing.queue(message, Vec::new())
    }

    /// Sends what the socket takes; true once the queue is empty.
    pub fn flush(&mut self) -> Result<bool, WireError> {
        self.outgoing.flush(self.socket.as_fd())
    }

    /// Something is waiting to go out.
    pub fn wants_write(&self) -> bool {
        self.outgoing.waits()
    }

    /// Reads once. Take all messages out with [`GuestChannel::next`] before the next read.
    pub fn read(&mut self) -> Result<Received, WireError> {
        let mut piece = [0; PIECE];
        match passing::receive_with_descriptors(&self.socket, &mut piece, &mut self.descriptors)? {
            None => Ok(Received::Nothing),
            Some(0) if self.incoming.is_empty() && self.descriptors.is_empty() => Ok(Received::End),
            Some(0) => Err(WireError::Closed),
            Some(got) => {
                self.incoming.push(&piece[..got]);
                Ok(Received::Some)
            }
        }
    }

    /// The next message that is complete, with its descriptors: exactly as many as [`ToGuest::descriptors`] says.
    #[allow(clippy::should_implement_trait)] // fallible, and not an end when none is there
    pub fn next(&mut self) -> Result<Option<(ToGuest, Vec<OwnedFd>)>, WireError> {
        let Some((message, announced)) = self.incoming.next::<ToGuest>()? else {
            // Descriptors travel with the first byte of their frame, so that a frame must be under way, and only one.
            let held = self.descriptors.len();
            if held > crate::MAX_DESCRIPTORS || (held > 0 && self.incoming.is_empty()) {
                self.descriptors.clear();
                return Err(WireError::Descriptors);
            }
            return Ok(None);
        };
        if announced != message.descriptors() || announced > self.descriptors.len() {
            self.descriptors.clear();
            return Err(WireError::Descriptors);
        }
        Ok(Some((message, self.descriptors.drain(..announced).collect())))
    }
}

impl AsFd for GuestChannel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
