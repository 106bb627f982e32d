//! The engine way: a stand-in for the guest on this side, whose words and streams travel through the relay.
//!
//! The same conversation runs here as on the direct way, over a socket pair whose other end the stand-in holds. So there is
//! one way in which terminals, signals, streams and ends are handled, and this file only carries.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use podspawn_runtimes::{Engine, Runtime};
use podspawn_wire::{
    Exit, Frame, FromGuest, GuestChannel, HostChannel, Program, Received, RunAs, SendWindow, StreamId,
    Streams, ToGuest, WireError, X11, encode,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use super::conversation::{self, Aside, Caught};
use super::relay::{self, RelayInput, RelayOutput};
use super::stream::{Carried, Inbound, Outbound};
use super::{AttachError, AttachRequest};
use crate::system::readiness::watched;

/// Starting a relay and greeting a guest that is ready. An engine is slow and a sandbox slower.
pub(super) const GREETING: Duration = Duration::from_secs(30);

/// After the container's end, what it wrote last must come within this time; and a relay that was told to end must.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(2);

/// As [`super::attach_direct`], through the engine's exec and the guest's relay: for sandboxed kernels, engines on other hosts,
/// and containers that this process may not look into. Needs a runtime with I/O and time enabled.
pub async fn attach_engine(
    engine: &Runtime,
    container: &str,
    request: &AttachRequest<'_>,
) -> Result<Exit, AttachError> {
    let signals = Caught::new(request)?;
    let (input, output, _) = relay::open(engine, container, GREETING).await?;
    carry(input, output, request, signals, ended(engine, container)).await
}

/// Starts a relay and gives back the connection to it, on which nothing has been said, for [`attach_relay`] in another process.
/// Works with engines that are reached through a socket of this host.
pub async fn open_relay(engine: &Runtime, container: &str) -> Result<OwnedFd, AttachError> {
    Ok(engine.exec_raw(container, &relay::command()).await?.connection)
}

/// As [`attach_engine`], over a connection of [`open_relay`], by a process that has no engine. Makes a runtime of its own for
/// the time of the call, which must not be made inside another.
///
/// Nobody here can see the container: its end is noticed by the end of the connection, which a sandbox that dies may leave open
/// for minutes. So whoever opened the relay has to say `aside` that the container is gone.
pub fn attach_relay(
    connection: OwnedFd,
    request: &AttachRequest<'_>,
    aside: &mut dyn Aside,
) -> Result<Exit, AttachError> {
    let signals = Caught::new(request)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    runtime.map_err(AttachError::io("make a runtime"))?.block_on(async {
        let (input, output, _) = relay::take_over(connection, GREETING).await?;
        let raw = request.terminal.is_some();
        carry(input, output, request, signals, told(aside, raw)).await
    })
}

/// The conversation through a relay whose guest has been greeted, until it is over or the container has ended.
async fn carry(
    input: RelayInput,
    output: RelayOutput,
    request: &AttachRequest<'_>,
    signals: Caught,
    container_ended: impl Future<Output = ()>,
) -> Result<Exit, AttachError> {
    let pair = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let (here, there) = pair.map_err(AttachError::io("make a socket pair"))?;
    let owned = OwnedRequest::new(request).map_err(AttachError::io("copy a descriptor"))?;
    // A thread of its own: the conversation waits in `poll`.
    let conversation = tokio::task::spawn_blocking(move || {
        conversation::run(HostChannel::new(here), &owned.borrow(), signals)
    });
    // Without a limit of its own, so that reading never depends on writing: streams are limited by their windows, and control
    // messages by what a person does.
    let (to_relay, queue) = mpsc::unbounded_channel();
    let (over, told_over) = oneshot::channel();
    let mut writer = tokio::spawn(write(input, queue, told_over));
    let stand_in = StandIn::new(there, to_relay, over)?;
    let outcome = stand_in.run(output, conversation, container_ended).await;
    // The stand-in is gone, so that the writer ends by closing the relay's input: that is how the relay learns of it.
    if tokio::time::timeout(LAST_WORDS, &mut writer).await.is_err() {
        writer.abort();
    }
    outcome
}

/// Returns when the container has ended and its last words have had their time. An exec of a sandbox that dies may never end
/// by itself.
async fn ended(engine: &Runtime, container: &str) {
    match engine.wait_container(container).await {
        Ok(_) => tokio::time::sleep(LAST_WORDS).await,
        Err(error) if error.is_not_found() => tokio::time::sleep(LAST_WORDS).await,
        Err(error) => {
            tracing::debug!(%error, "cannot watch the container");
            std::future::pending().await
        }
    }
}

/// Passes on what is said aside. Returns when that was that the container is gone, and its last words have had their time.
async fn told(aside: &mut dyn Aside, raw: bool) {
    let socket = aside.watched().and_then(|socket| socket.try_clone_to_owned().ok());
    let Some(ready) = socket.and_then(|socket| watched(socket, Interest::READABLE).ok()) else {
        return std::future::pending().await;
    };
    while !aside.is_over() {
        match ready.readable().await {
            Ok(mut flags) if aside.watched().is_some() => {
                aside.listen(raw);
                flags.clear_ready();
            }
            // Nobody is left who could say anything.
            _ => return std::future::pending().await,
        }
    }
    tokio::time::sleep(LAST_WORDS).await;
}

/// Passes frames on until there are no more, or the relay has had its last word: what is sent after that may make an engine
/// reset the connection, and lose the end of the output.
pub(super) async fn write(
    mut input: RelayInput,
    mut queue: mpsc::UnboundedReceiver<Vec<u8>>,
    mut over: oneshot::Receiver<()>,
) {
    loop {
        let frame = tokio::select! {
            biased;
            _ = &mut over => break,
            frame = queue.recv() => frame,
        };
        let Some(frame) = frame else { break };
        if input.send_encoded(&frame).await.is_err() {
            // What became of it, the relay's output tells.
            return;
        }
    }
    input.close().await;
}

/// The request with descriptors of its own, for another thread.
struct OwnedRequest {
    program: Program,
    run_as: RunAs,
    cwd: Option<String>,
    env: Vec<(String, String)>,
    terminal: Option<String>,
    agent: Option<PathBuf>,
    stdin: Option<OwnedFd>,
    stdout: OwnedFd,
    stderr: OwnedFd,
    own_pipes: bool,
    x11: Option<X11>,
}

impl OwnedRequest {
    fn new(request: &AttachRequest<'_>) -> io::Result<Self> {
        let AttachRequest {
            program,
            run_as,
            cwd,
            env,
            terminal,
            agent,
            stdin,
            stdout,
            stderr,
            own_pipes,
            x11,
        } = request.clone();
        Ok(Self {
            program,
            run_as,
            cwd,
            env,
            terminal,
            agent,
            stdin: stdin.map(|fd| fd.try_clone_to_owned()).transpose()?,
            stdout: stdout.try_clone_to_owned()?,
            stderr: stderr.try_clone_to_owned()?,
            own_pipes,
            x11,
        })
    }

    fn borrow(&self) -> AttachRequest<'_> {
        AttachRequest {
            program: self.program.clone(),
            run_as: self.run_as,
            cwd: self.cwd.clone(),
            env: self.env.clone(),
            terminal: self.terminal.clone(),
            agent: self.agent.clone(),
            stdin: self.stdin.as_ref().map(AsFd::as_fd),
            stdout: self.stdout.as_fd(),
            stderr: self.stderr.as_fd(),
            own_pipes: self.own_pipes,
            x11: self.x11.clone(),
        }
    }
}

/// Speaks with the conversation as the guest would.
struct StandIn {
    channel: GuestChannel,
    ready: AsyncFd<OwnedFd>,
    to_relay: mpsc::UnboundedSender<Vec<u8>>,
    /// Dropped or used when nothing more is to be sent.
    over: Option<oneshot::Sender<()>>,
    streams: HashMap<StreamId, Carried>,
    tasks: JoinSet<()>,
    /// Output streams that have ended inside and whose last bytes are still being passed on.
    finishing: Vec<oneshot::Receiver<()>>,
    exited: bool,
}

impl StandIn {
    fn new(
        socket: OwnedFd,
        to_relay: mpsc::UnboundedSender<Vec<u8>>,
        over: oneshot::Sender<()>,
    ) -> Result<Self, AttachError> {
        let action = "watch a socket";
        // A descriptor of its own, only to be told of readiness.
        let ready = socket.try_clone().map_err(AttachError::io(action))?;
        let ready =
            watched(ready, Interest::READABLE | Interest::WRITABLE).map_err(AttachError::io(action))?;
        Ok(Self {
            channel: GuestChannel::new(socket),
            ready,
            to_relay,
            over: Some(over),
            streams: HashMap::new(),
            tasks: JoinSet::new(),
            finishing: Vec::new(),
            exited: false,
        })
    }

    async fn run(
        mut self,
        mut output: RelayOutput,
        mut conversation: JoinHandle<Result<Exit, AttachError>>,
        container_ended: impl Future<Output = ()>,
    ) -> Result<Exit, AttachError> {
        let mut container_ended = std::pin::pin!(container_ended);
        let mut relay_open = true;
        let mut listening = true;
        let mut failure = None;
        // Whatever fails here, the conversation is waited for: it has a terminal to put in order.
        let outcome = loop {
            let step = tokio::select! {
                done = &mut conversation => {
                    break done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
                }
                frame = output.receive(), if relay_open => match frame {
                    Ok(Some(frame)) => self.listen_to_relay(frame).await,
                    Ok(None) => {
                        relay_open = false;
                        if self.exited { Ok(()) } else { Err(output.complaint()) }
                    }
                    Err(error) => {
                        relay_open = false;
                        Err(error)
                    }
                },
                flags = self.ready.ready(Interest::READABLE), if listening => match flags {
                    Ok(mut flags) => match self.channel.read() {
                        Ok(Received::Some) => {
                            drop(flags);
                            self.listen_to_conversation()
                        }
                        Ok(Received::Nothing) => {
                            flags.clear_ready();
                            Ok(())
                        }
                        Ok(Received::End) | Err(WireError::Closed) => {
                            listening = false;
                            Ok(())
                        }
                        Err(error) => Err(AttachError::Guest(error)),
                    },
                    Err(error) => Err(AttachError::io("watch a socket")(error)),
                },
                () = &mut container_ended, if relay_open => {
                    relay_open = false;
                    Err(AttachError::Stopped)
                }
            };
            if let Err(error) = step {
                failure = failure.or(Some(error));
                listening = false;
                self.hang_up();
            }
        };
        drop(self);
        if outcome.is_err() && relay_open {
            // The relay's end says that the client's departure was heard.
            let _ = tokio::time::timeout(LAST_WORDS, output.end()).await;
        }
        match (outcome, failure) {
            (Err(AttachError::Lost), Some(failure)) => Err(failure),
            (outcome, _) => outcome,
        }
    }

    /// The conversation sees its guest go.
    fn hang_up(&mut self) {
        let _ = rustix::net::shutdown(&self.channel, rustix::net::Shutdown::Both);
        self.streams.clear();
        self.tasks.abort_all();
    }

    fn listen_to_conversation(&mut self) -> Result<(), AttachError> {
        while let Some((message, descriptors)) = self.channel.next().map_err(AttachError::Guest)? {
            let mut descriptors = descriptors.into_iter();
            match &message {
                ToGuest::Start(start) => match (start.streams.clone(), descriptors.next()) {
                    (Streams::Terminal { .. }, Some(socket)) => {
                        let other = socket.try_clone().map_err(AttachError::io("copy a descriptor"))?;
                        self.outbound(StreamId::Stdin, socket, SendWindow::default())?;
                        self.inbound(StreamId::Stdout, other)?;
                    }
                    (Streams::Pipes, Some(stdin)) => {
                        self.outbound(StreamId::Stdin, stdin, SendWindow::to_be_widened())?;
                        for (id, fd) in [StreamId::Stdout, StreamId::Stderr].into_iter().zip(descriptors) {
                            self.inbound(id, fd)?;
                        }
                    }
                    (_, None) => return Err(AttachError::Guest(WireError::Descriptors)),
                },
                ToGuest::AgentOpened { id } => {
                    if let Some(socket) = descriptors.next() {
                        let other = socket.try_clone().map_err(AttachError::io("copy a descriptor"))?;
                        self.outbound(StreamId::AgentIn(*id), socket, SendWindow::default())?;
                        self.inbound(StreamId::AgentOut(*id), other)?;
                    }
                }
                _ => {}
            }
            let widens = matches!(&message, ToGuest::Start(start) if matches!(start.streams, Streams::Pipes));
            self.send(&Frame::Control(message))?;
            if widens {
                self.send(&Frame::Window { stream: StreamId::Stdin, bytes: 0 })?;
            }
        }
        Ok(())
    }

    /// Bytes from here to the container.
    fn outbound(&mut self, id: StreamId, fd: OwnedFd, window: SendWindow) -> Result<(), AttachError> {
        let (task, handle) = Outbound::new(id, fd, self.to_relay.clone(), window)
            .map_err(AttachError::io("set up a stream"))?;
        let abort = self.tasks.spawn(task.run());
        self.streams.insert(id, Carried::Outbound(handle, abort));
        Ok(())
    }

    /// Bytes from the container to here.
    fn inbound(&mut self, id: StreamId, fd: OwnedFd) -> Result<(), AttachError> {
        let (task, handle) =
            Inbound::new(id, fd, self.to_relay.clone()).map_err(AttachError::io("set up a stream"))?;
        self.tasks.spawn(task.run());
        self.streams.insert(id, Carried::Inbound(handle));
        Ok(())
    }

    async fn listen_to_relay(&mut self, frame: Frame<'_, FromGuest>) -> Result<(), AttachError> {
        match frame {
            Frame::Control(message) => {
                if matches!(message, FromGuest::Exited(_) | FromGuest::Failed(_)) {
                    self.over = None;
                }
                if matches!(message, FromGuest::Exited(_)) {
                    self.exited = true;
                    // Everything that was written before comes before.
                    for id in [StreamId::Stdout, StreamId::Stderr] {
                        self.end(id);
                    }
                    for finished in self.finishing.drain(..) {
                        let _ = finished.await;
                    }
                }
                self.channel.queue(&message).map_err(AttachError::Guest)?;
                while !self.channel.flush().map_err(AttachError::Guest)? {
                    let ready = self.ready.ready(Interest::WRITABLE).await;
                    ready.map_err(AttachError::io("watch a socket"))?.clear_ready();
                }
            }
            Frame::Data { stream, bytes } => match self.streams.get_mut(&stream) {
                Some(Carried::Inbound(handle)) => {
                    handle.data(bytes.into_owned()).map_err(AttachError::Guest)?
                }
                Some(Carried::Outbound(..)) => {
                    return Err(AttachError::Protocol("it sent data on a stream that goes the other way"));
                }
                // Closed here already.
                None => {}
            },
            Frame::End { stream } => {
                self.end(stream);
            }
            Frame::Window { stream, bytes } => {
                if let Some(Carried::Outbound(handle, _)) = self.streams.get_mut(&stream) {
                    handle.grant(bytes).map_err(AttachError::Guest)?;
                }
            }
        }
        Ok(())
    }

    /// Nobody reads it inside any more, or nothing more comes.
    fn end(&mut self, id: StreamId) {
        match self.streams.remove(&id) {
            Some(Carried::Outbound(_, abort)) => abort.abort(),
            Some(Carried::Inbound(handle)) => {
                let finished = handle.finish();
                if matches!(id, StreamId::Stdout | StreamId::Stderr) {
                    self.finishing.push(finished);
                }
            }
            None => {}
        }
    }

    fn send(&self, frame: &Frame<ToGuest>) -> Result<(), AttachError> {
        let bytes = encode(frame, 0).map_err(AttachError::Guest)?;
        // A writer that has ended: the relay's output tells why.
        let _ = self.to_relay.send(bytes);
        Ok(())
    }
}
