//! A client's connection in the hands of the asynchronous runtime.

use std::os::fd::{AsFd, OwnedFd};

use podspawn_wire::broker::{FromBroker, ServerChannel, ToBroker};
use podspawn_wire::{Received, WireError};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::system::readiness::watched;

pub(super) struct Link {
    channel: ServerChannel,
    ready: AsyncFd<OwnedFd>,
}

impl Link {
    pub(super) fn new(socket: OwnedFd) -> std::io::Result<Self> {
        // A descriptor of its own, only to be told of readiness.
        let ready = watched(socket.as_fd().try_clone_to_owned()?, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { channel: ServerChannel::new(socket), ready })
    }

    /// The next message; none at the orderly end. May be dropped at any time.
    pub(super) async fn receive(&mut self) -> Result<Option<(ToBroker, Vec<OwnedFd>)>, WireError> {
        loop {
            if let Some(message) = self.channel.next()? {
                return Ok(Some(message));
            }
            let mut guard = self.ready.readable().await?;
            match self.channel.read()? {
                Received::Some => {}
                Received::Nothing => guard.clear_ready(),
                Received::End => return Ok(None),
            }
        }
    }

    /// Sends a message; its descriptors are closed here.
    pub(super) async fn send(
        &mut self,
        message: &FromBroker,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), WireError> {
        self.channel.queue(message, descriptors)?;
        while !self.channel.flush()? {
            self.ready.writable().await?.clear_ready();
        }
        Ok(())
    }
}
