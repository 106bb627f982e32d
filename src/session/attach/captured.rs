//! A process of podspawn's own inside, such as a hook: it reads the end of its input at once, and what it writes comes
//! here, both streams as one. Nothing of this process is connected to it, and no signal of this process reaches it unasked.

use std::os::fd::{AsFd, OwnedFd};

use podspawn_runtimes::Runtime;
use podspawn_wire::{
    Exit, Frame, FromGuest, HostChannel, ReceiveWindow, Received, Start, StreamId, Streams, ToGuest,
    WireError, encode,
};
use rustix::fs::OFlags;
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::crossing::Passable;
use super::engine::{self, GREETING, LAST_WORDS};
use super::plumbing::pipe;
use super::relay::{self, RelayOutput};
use super::{AttachError, direct};
use crate::session::GuestAddress;
use crate::system::readiness::watched;

/// Read at once, in bytes.
const PIECE: usize = 16 * 1024;

/// After the end of a process, at most so many bytes of what it wrote are still read: something that it left running may
/// write for ever.
const REST: usize = 1024 * 1024;

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Output; untrusted bytes.
    Output(Vec<u8>),
    /// The process has ended, and its output is complete. Nothing comes after it.
    Ended(Exit),
}

/// See the module. When it is dropped, the process inside is told that its client is gone, and what ignores that is killed
/// a little later; through an engine, better say [`Captured::hang_up`].
pub struct Captured(Way);

enum Way {
    Direct(Box<Direct>),
    Relayed(Box<Relayed>),
}

struct Direct {
    channel: HostChannel,
    /// A descriptor of its own, only to be told of readiness.
    ready: AsyncFd<OwnedFd>,
    output: Option<AsyncFd<OwnedFd>>,
    ended: Option<Exit>,
    rest: usize,
}

struct Relayed {
    output: RelayOutput,
    to_relay: mpsc::UnboundedSender<Vec<u8>>,
    writer: JoinHandle<()>,
    /// Dropped when nothing more is to be sent.
    over: Option<oneshot::Sender<()>>,
    windows: [ReceiveWindow; 2],
}

impl Captured {
    /// Starts a process by the direct way. Its streams are pipes, whatever `start` says.
    pub async fn direct(address: &GuestAddress, start: Start) -> Result<Self, AttachError> {
        let start = Start { streams: Streams::Pipes, ..start };
        let (ours, inner) = pipe()?;
        let second = inner.try_clone().map_err(AttachError::io("copy a descriptor"))?;
        // The other end of its input is closed at once.
        let passed = [pipe()?.0, inner, second].map(Passable::check);
        let passed = passed.into_iter().collect::<Result<Vec<_>, _>>()?;
        let address = address.clone();
        // Finding the guest waits, two seconds at most.
        let opened = tokio::task::spawn_blocking(move || direct::open_direct(&address, start, passed)).await;
        let socket = opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        let action = "watch a process";
        let ready = socket.try_clone().map_err(AttachError::io(action))?;
        let flags = rustix::fs::fcntl_getfl(&ours).map_err(AttachError::io(action))?;
        rustix::fs::fcntl_setfl(&ours, flags | OFlags::NONBLOCK).map_err(AttachError::io(action))?;
        Ok(Self(Way::Direct(Box::new(Direct {
            channel: HostChannel::new(socket),
            ready: watched(ready, Interest::READABLE).map_err(AttachError::io(action))?,
            output: Some(watched(ours, Interest::READABLE).map_err(AttachError::io(action))?),
            ended: None,
            rest: REST,
        }))))
    }

    /// Starts a process through the engine and the guest's relay.
    pub async fn through_engine(
        engine: &Runtime,
        container: &str,
        start: Start,
    ) -> Result<Self, AttachError> {
        let start = Start { streams: Streams::Pipes, ..start };
        let (input, output, _) = relay::open(engine, container, GREETING).await?;
        let (to_relay, queue) = mpsc::unbounded_channel();
        let (over, told_over) = oneshot::channel();
        let writer = tokio::spawn(engine::write(input, queue, told_over));
        let windows = [ReceiveWindow::default(), ReceiveWindow::default()];
        let relayed = Relayed { output, to_relay, writer, over: Some(over), windows };
        relayed.send(&Frame::Control(ToGuest::Start(Box::new(start))))?;
        relayed.send(&Frame::End { stream: StreamId::Stdin })?;
        Ok(Self(Way::Relayed(Box::new(relayed))))
    }

    /// Waits for what comes next. May be dropped and called again.
    pub async fn next(&mut self) -> Result<Heard, AttachError> {
        match &mut self.0 {
            Way::Direct(direct) => direct.next().await,
            Way::Relayed(relayed) => relayed.next().await,
        }
    }

    /// Sends a signal to the process and what belongs to it.
    pub fn signal(&mut self, number: i32) -> Result<(), AttachError> {
        match &mut self.0 {
            Way::Direct(direct) => {
                direct.channel.queue(&ToGuest::Signal(number), Vec::new()).map_err(AttachError::Guest)?;
                // What does not go out now goes with the next wait.
                direct.channel.flush().map(drop).map_err(AttachError::Guest)
            }
            Way::Relayed(relayed) => relayed.send(&Frame::Control(ToGuest::Signal(number))),
        }
    }

    /// Leaves the process, and waits until that is on its way to it.
    pub async fn hang_up(self) {
        if let Way::Relayed(relayed) = self.0 {
            let Relayed { output, to_relay, writer, over, .. } = *relayed;
            drop(to_relay);
            let mut writer = writer;
            // The writer ends by closing the relay's input: that is how the relay learns of it.
            if tokio::time::timeout(LAST_WORDS, &mut writer).await.is_err() {
                writer.abort();
            }
            drop((output, over));
        }
    }
}

impl Direct {
    async fn next(&mut self) -> Result<Heard, AttachError> {
        loop {
            if let Some(exit) = self.ended {
                return Ok(self.read_rest().map_or(Heard::Ended(exit), Heard::Output));
            }
            if self.channel.wants_write() {
                self.channel.flush().map_err(AttachError::Guest)?;
            }
            tokio::select! {
                biased;
                bytes = read(&self.output), if self.output.is_some() => match bytes? {
                    Some(bytes) => return Ok(Heard::Output(bytes)),
                    None => self.output = None,
                },
                ready = self.ready.readable() => {
                    let mut ready = ready.map_err(AttachError::io("watch a process"))?;
                    match self.channel.read() {
                        Ok(Received::Some) => {}
                        Ok(Received::Nothing) => ready.clear_ready(),
                        Ok(Received::End) | Err(WireError::Closed) => return Err(AttachError::Lost),
                        Err(error) => return Err(AttachError::Guest(error)),
                    }
                }
            }
            while self.ended.is_none() {
                let Some(message) = self.channel.next().map_err(AttachError::Guest)? else { break };
                self.ended = understand(message)?;
            }
        }
    }

    /// What was written before the end and not read yet.
    fn read_rest(&mut self) -> Option<Vec<u8>> {
        let mut piece = vec![0; PIECE.min(self.rest)];
        let got =
            rustix::io::read(self.output.as_ref()?.get_ref(), &mut piece).ok().filter(|got| *got > 0)?;
        self.rest -= got;
        piece.truncate(got);
        Some(piece)
    }
}

/// Reads once; none at the end.
async fn read(output: &Option<AsyncFd<OwnedFd>>) -> Result<Option<Vec<u8>>, AttachError> {
    let Some(output) = output else { return Ok(None) };
    let failed = "read the machine's output";
    loop {
        let mut ready = output.readable().await.map_err(AttachError::io(failed))?;
        let mut piece = vec![0; PIECE];
        match rustix::io::read(output.get_ref().as_fd(), &mut piece) {
            Ok(0) => return Ok(None),
            Ok(got) => {
                piece.truncate(got);
                return Ok(Some(piece));
            }
            Err(Errno::AGAIN) => ready.clear_ready(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(AttachError::io(failed)(errno)),
        }
    }
}

impl Relayed {
    async fn next(&mut self) -> Result<Heard, AttachError> {
        loop {
            match self.output.receive().await? {
                None => return Err(self.output.complaint()),
                Some(Frame::Control(message)) => {
                    if let Some(exit) = understand(message)? {
                        // What is sent after the relay's last word may make an engine reset the connection.
                        self.over = None;
                        return Ok(Heard::Ended(exit));
                    }
                }
                Some(Frame::Data { stream, bytes }) => {
                    let window = match stream {
                        StreamId::Stdout => &mut self.windows[0],
                        StreamId::Stderr => &mut self.windows[1],
                        _ => {
                            return Err(AttachError::Protocol(
                                "it sent data on a stream that goes the other way",
                            ));
                        }
                    };
                    window.accept(bytes.len()).map_err(AttachError::Guest)?;
                    if let Some(granted) = window.passed_on(bytes.len()) {
                        self.send(&Frame::Window { stream, bytes: granted })?;
                    }
                    return Ok(Heard::Output(bytes.into_owned()));
                }
                Some(Frame::End { .. } | Frame::Window { .. }) => {}
            }
        }
    }

    fn send(&self, frame: &Frame<'_, ToGuest>) -> Result<(), AttachError> {
        let bytes = encode(frame, 0).map_err(AttachError::Guest)?;
        // A writer that has ended: the relay's output tells why.
        let _ = self.to_relay.send(bytes);
        Ok(())
    }
}

/// The end, if the message tells of it.
fn understand(message: FromGuest) -> Result<Option<Exit>, AttachError> {
    match message {
        FromGuest::Started { .. } => Ok(None),
        FromGuest::Exited(exit) => Ok(Some(exit)),
        FromGuest::Failed(failure) => Err(AttachError::Refused { kind: failure.kind, text: failure.text }),
        FromGuest::Hello { .. } | FromGuest::AgentWanted { .. } => {
            Err(AttachError::Protocol("it sent a message that does not belong there"))
        }
    }
}
