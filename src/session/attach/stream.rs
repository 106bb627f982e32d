//! One stream of a relay: a task that copies between a descriptor and frames, and what the carrier holds of it.

use std::borrow::Cow;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use podspawn_wire::{Frame, MAX_DATA, ReceiveWindow, SendWindow, StreamId, ToGuest, WireError, encode};
use rustix::fs::OFlags;
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::system::readiness::watched;

/// What the carrier holds of a stream.
pub(super) enum Carried {
    /// From here to the container; the task can be ended.
    Outbound(OutboundHandle, AbortHandle),
    /// From the container to here.
    Inbound(InboundHandle),
}

/// Copies from a descriptor into frames, as far as the window allows.
pub(super) struct Outbound {
    id: StreamId,
    fd: AsyncFd<OwnedFd>,
    to_relay: mpsc::UnboundedSender<Vec<u8>>,
    window: Arc<Window>,
}

struct Window {
    left: Mutex<SendWindow>,
    granted: Notify,
}

/// Gives an [`Outbound`] room.
pub(super) struct OutboundHandle(Arc<Window>);

impl OutboundHandle {
    /// The receiver has room for this many further bytes.
    pub(super) fn grant(&mut self, bytes: u32) -> Result<(), WireError> {
        self.0.left.lock().unwrap_or_else(PoisonError::into_inner).grant(bytes)?;
        self.0.granted.notify_one();
        Ok(())
    }
}

impl Outbound {
    pub(super) fn new(
        id: StreamId,
        fd: OwnedFd,
        to_relay: mpsc::UnboundedSender<Vec<u8>>,
        window: SendWindow,
    ) -> io::Result<(Self, OutboundHandle)> {
        let window = Arc::new(Window { left: Mutex::new(window), granted: Notify::new() });
        Ok((Self { id, fd: watch(fd)?, to_relay, window: window.clone() }, OutboundHandle(window)))
    }

    pub(super) async fn run(self) {
        let mut buffer = vec![0; MAX_DATA];
        loop {
            let room = loop {
                let left = self.window.left.lock().unwrap_or_else(PoisonError::into_inner).left();
                if left > 0 {
                    break left.min(MAX_DATA);
                }
                self.window.granted.notified().await;
            };
            let read =
                ready(&self.fd, Interest::READABLE, |fd| rustix::io::read(fd, &mut buffer[..room])).await;
            let got = read.unwrap_or(0);
            let frame: Frame<'_, ToGuest> = match got {
                0 => Frame::End { stream: self.id },
                got => {
                    self.window.left.lock().unwrap_or_else(PoisonError::into_inner).spend(got);
                    Frame::Data { stream: self.id, bytes: Cow::Borrowed(&buffer[..got]) }
                }
            };
            if !send(&self.to_relay, &frame) || got == 0 {
                return;
            }
        }
    }
}

/// Copies what came in frames to a descriptor.
pub(super) struct Inbound {
    id: StreamId,
    fd: AsyncFd<OwnedFd>,
    to_relay: mpsc::UnboundedSender<Vec<u8>>,
    queue: mpsc::UnboundedReceiver<Vec<u8>>,
    window: Arc<Mutex<ReceiveWindow>>,
    /// Dropped with the task.
    _alive: oneshot::Sender<()>,
}

/// Gives an [`Inbound`] its bytes. Dropped: nothing more comes.
pub(super) struct InboundHandle {
    queue: mpsc::UnboundedSender<Vec<u8>>,
    window: Arc<Mutex<ReceiveWindow>>,
    ended: oneshot::Receiver<()>,
}

impl InboundHandle {
    /// Queues bytes. What is queued in all is limited by the window.
    pub(super) fn data(&mut self, bytes: Vec<u8>) -> Result<(), WireError> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner).accept(bytes.len())?;
        // A task that has ended: nobody reads on this side.
        let _ = self.queue.send(bytes);
        Ok(())
    }

    /// Nothing more comes. The rest is an error, and is what is waited for, once all of it has been passed on.
    pub(super) fn finish(self) -> oneshot::Receiver<()> {
        self.ended
    }
}

impl Inbound {
    pub(super) fn new(
        id: StreamId,
        fd: OwnedFd,
        to_relay: mpsc::UnboundedSender<Vec<u8>>,
    ) -> io::Result<(Self, InboundHandle)> {
        let (sender, queue) = mpsc::unbounded_channel();
        let window = Arc::new(Mutex::new(ReceiveWindow::default()));
        let (alive, ended) = oneshot::channel();
        let handle = InboundHandle { queue: sender, window: window.clone(), ended };
        Ok((Self { id, fd: watch(fd)?, to_relay, queue, window, _alive: alive }, handle))
    }

    pub(super) async fn run(mut self) {
        while let Some(bytes) = self.queue.recv().await {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                match ready(&self.fd, Interest::WRITABLE, |fd| rustix::io::write(fd, rest)).await {
                    Ok(put) => rest = &rest[put..],
                    Err(_) => {
                        // Nobody reads here any more: the process inside is to notice.
                        send(&self.to_relay, &Frame::End { stream: self.id });
                        return;
                    }
                }
            }
            let granted = self.window.lock().unwrap_or_else(PoisonError::into_inner).passed_on(bytes.len());
            if let Some(bytes) = granted {
                send(&self.to_relay, &Frame::Window { stream: self.id, bytes });
            }
        }
        // A socket's other descriptor is still read from; a pipe is closed with the task.
        let _ = rustix::net::shutdown(self.fd.get_ref(), rustix::net::Shutdown::Write);
    }
}

fn send(to_relay: &mpsc::UnboundedSender<Vec<u8>>, frame: &Frame<'_, ToGuest>) -> bool {
    match encode(frame, 0) {
        Ok(bytes) => to_relay.send(bytes).is_ok(),
        Err(_) => false,
    }
}

fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
    watched(fd, Interest::READABLE | Interest::WRITABLE)
}

/// Makes a call once the descriptor is ready for it.
async fn ready(
    fd: &AsyncFd<OwnedFd>,
    interest: Interest,
    mut call: impl FnMut(&OwnedFd) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    loop {
        let mut guard = fd.ready(interest).await.map_err(|_| Errno::IO)?;
        match call(fd.get_ref()) {
            Err(Errno::AGAIN) => guard.clear_ready(),
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}
