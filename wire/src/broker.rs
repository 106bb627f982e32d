//! The messages between the broker and those who ask it: stubs, the PAM module, an administrator's commands.
//!
//! One connection carries one request. The client speaks first with a [`ToBroker`]; then the broker answers, with lines
//! about what takes time, and with one last answer. The connection of a stub and that of the PAM module stay open as long as
//! what was asked for is used: their end tells the broker that it no longer is. Both sides check the number of descriptors of
//! every message. The broker believes nothing of a request but the kernel's word for who sent it.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::channel::{Outgoing, PIECE, wait};
use crate::message::{Program, Streams, X11};
use crate::{Decoder, MAX_DESCRIPTORS, Received, WireError, passing};
use rustix::event::PollFlags;

/// Version of this protocol; both sides refuse another one.
pub const BROKER_PROTOCOL: u16 = 2;

/// Directory of a server's run-time files, unless its configuration names another.
pub const RUN_DIR: &str = "/run/podspawn";

/// Name of the broker's socket in the run-time directory.
pub const BROKER_SOCKET: &str = "broker.sock";

/// What a stub asks for: a process in the container of the user whose uid the kernel vouches for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spawn {
    /// The user's name as the forced command has it; must agree with the kernel's word.
    pub user: Option<String>,
    /// Project as the client asked for it, unchecked; none for the default session.
    pub project: Option<String>,
    /// What to run.
    pub program: Program,
    /// Its streams; descriptors come with the message as [`Streams`] says.
    pub streams: Streams,
    /// Environment that came from the client, unchecked.
    pub env: Vec<(String, String)>,
    /// Offer a key agent.
    pub agent: bool,
    /// Pass on X11.
    pub x11: Option<X11>,
    /// A person waits at a terminal: tell what takes time.
    pub interactive: bool,
    /// The command line as it came, for the audit log; empty for a shell.
    pub original: String,
}

/// From a client to the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToBroker {
    /// From a stub.
    Spawn {
        /// [`BROKER_PROTOCOL`].
        protocol: u16,
        /// The request.
        spawn: Box<Spawn>,
    },
    /// From the PAM module, as root: the network of a user's default session.
    Network {
        /// [`BROKER_PROTOCOL`].
        protocol: u16,
        /// Login name.
        user: String,
    },
    /// From a stub that was served, at the end.
    Ended {
        /// Status that it ends with.
        status: u8,
    },
    /// From an administrator's command, as root or the broker's own account.
    Admin {
        /// [`BROKER_PROTOCOL`].
        protocol: u16,
        /// The request, as JSON.
        request: String,
    },
}

/// How a stub goes on with the connection that it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// It leads to the guest itself, which has the start request and the streams already.
    Direct,
    /// It is an engine's connection to the guest's relay: the streams travel in it, and the stub speaks first.
    Relay,
}

/// From the broker to a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromBroker {
    /// What is being done meanwhile, one line. Only to those who asked for it.
    Progress(String),
    /// Last answer to a stub that is served; comes with the connection and the lease.
    Attached {
        /// What the connection is.
        way: Way,
        /// Lines for the person, before anything else is shown.
        notices: Vec<String>,
    },
    /// A line for the person while their process runs.
    Notice(String),
    /// The container of their process is gone: nothing more comes from it.
    Over,
    /// Last answer to the PAM module; comes with the network namespace and the lease.
    Network {
        /// Addresses of the name servers that the container asks, as far as they are known.
        resolvers: Vec<IpAddr>,
    },
    /// Last answer to the PAM module where there is none to be had.
    NoNetwork {
        /// Why, as a fragment.
        reason: String,
    },
    /// A part of the answer to an administrator's command, as JSON.
    Answer(String),
    /// The answer is complete.
    Done,
    /// The request cannot be granted; the last answer.
    Failed {
        /// Why, on one line. May contain text from outside: neutralise before printing.
        text: String,
        /// What to do about it, one line each.
        hints: Vec<String>,
    },
    /// Why the person's session ends now. [`FromBroker::Over`] follows.
    Ending(String),
}

/// A message that says how many descriptors come with it.
pub trait Message: Serialize + DeserializeOwned {
    /// How many, no more and no fewer.
    fn descriptors(&self) -> usize;
}

impl Message for ToBroker {
    fn descriptors(&self) -> usize {
        match self {
            Self::Spawn { spawn, .. } => match spawn.streams {
                Streams::Pipes => 3,
                Streams::Terminal { .. } => 1,
            },
            Self::Network { .. } | Self::Ended { .. } | Self::Admin { .. } => 0,
        }
    }
}

impl Message for FromBroker {
    fn descriptors(&self) -> usize {
        match self {
            Self::Attached { .. } | Self::Network { .. } => 2,
            Self::Progress(_)
            | Self::Notice(_)
            | Self::Over
            | Self::Ending(_)
            | Self::NoNetwork { .. }
            | Self::Answer(_)
            | Self::Done
            | Self::Failed { .. } => 0,
        }
    }
}

/// One end of a connection between a client and the broker: sends `Out`, receives `In`, each with its descriptors. Works
/// without ever blocking (`queue`, `flush`, `read`, `next`), and can wait up to a deadline.
#[derive(Debug)]
pub struct BrokerChannel<Out, In> {
    socket: OwnedFd,
    incoming: Decoder,
    /// Descriptors that came and whose message is not complete yet, oldest first.
    descriptors: VecDeque<OwnedFd>,
    outgoing: Outgoing,
    types: PhantomData<(Out, In)>,
}

/// The client's end.
pub type ClientChannel = BrokerChannel<ToBroker, FromBroker>;
/// The broker's end.
pub type ServerChannel = BrokerChannel<FromBroker, ToBroker>;

impl<Out: Message, In: Message> BrokerChannel<Out, In> {
    /// Over a connected unix stream socket.
    pub fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            incoming: Decoder::new(),
            descriptors: VecDeque::new(),
            outgoing: Outgoing::default(),
            types: PhantomData,
        }
    }

    /// Puts a message in the queue; its descriptors are closed here once they are sent.
    pub fn queue(&mut self, message: &Out, descriptors: Vec<OwnedFd>) -> Result<(), WireError> {
        if descriptors.len() != message.descriptors() {
            return Err(WireError::Descriptors);
        }
        self.outgoing.queue(message, descriptors)
    }

    /// Sends what the socket takes; true once the queue is empty.
    pub fn flush(&mut self) -> Result<bool, WireError> {
        self.outgoing.flush(self.socket.as_fd())
    }

    /// Something is waiting to go out.
    pub fn wants_write(&self) -> bool {
        self.outgoing.waits()
    }

    /// Reads once. Take all messages out with [`BrokerChannel::next`] before the next read.
    pub fn read(&mut self) -> Result<Received, WireError> {
        let mut piece = [0; PIECE];
        let mut received = Vec::new();
        let got = passing::receive_with_descriptors(&self.socket, &mut piece, &mut received)?;
        self.descriptors.extend(received);
        match got {
            None => Ok(Received::Nothing),
            Some(0) if self.incoming.is_empty() && self.descriptors.is_empty() => Ok(Received::End),
            Some(0) => Err(WireError::Closed),
            Some(got) => {
                self.incoming.push(&piece[..got]);
                Ok(Received::Some)
            }
        }
    }

    /// The next message that is complete, with its descriptors: exactly as many as it says.
    #[allow(clippy::should_implement_trait)] // fallible, and not an end when none is there
    pub fn next(&mut self) -> Result<Option<(In, Vec<OwnedFd>)>, WireError> {
        let Some((message, announced)) = self.incoming.next::<In>()? else {
            // Descriptors travel with the first byte of their frame, so that a frame must be under way, and only one.
            let held = self.descriptors.len();
            if held > MAX_DESCRIPTORS || (held > 0 && self.incoming.is_empty()) {
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

    /// Sends a message, waiting until it is gone or the deadline has come.
    pub fn send(
        &mut self,
        message: &Out,
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
    pub fn receive(&mut self, deadline: Option<Instant>) -> Result<(In, Vec<OwnedFd>), WireError> {
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

    /// The socket, once nothing more is to be said in messages.
    pub fn into_socket(self) -> OwnedFd {
        self.socket
    }
}

impl<Out, In> AsFd for BrokerChannel<Out, In> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
