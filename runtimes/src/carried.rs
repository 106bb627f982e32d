//! A command's bare connection, taken apart by whoever was given it: no engine is asked.

use std::os::fd::OwnedFd;
use std::pin::Pin;

use bytes::BytesMut;
use futures_util::stream::BoxStream;
use tokio::io::AsyncWrite;
use tokio::net::UnixStream;

use crate::call::Action;
use crate::error::Result;
use crate::raw;
use crate::types::ExecOutput;

/// The two directions of a [`crate::RawExec`]'s connection.
pub struct Carried {
    /// Towards standard input; its shutdown is the end of input.
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
    /// Output until the connection ends. An error, also of framing, is the last item.
    pub output: BoxStream<'static, Result<ExecOutput>>,
}

/// Takes over a connection: a connected unix stream socket. Needs a runtime with I/O enabled; fails with
/// [`crate::EngineError::Io`] if the descriptor is no such socket.
pub fn carried(connection: OwnedFd) -> Result<Carried> {
    let action = Action::general("read from a command");
    let socket = std::os::unix::net::UnixStream::from(connection);
    // An address that is no unix socket's, or none at all, fails here and not at the first read.
    socket.peer_addr().map_err(|error| action.io(error))?;
    socket.set_nonblocking(true).map_err(|error| action.io(error))?;
    let (reader, writer) = UnixStream::from_std(socket).map_err(|error| action.io(error))?.into_split();
    let output = raw::framed_output(action, Box::pin(reader), BytesMut::new());
    Ok(Carried { input: Box::pin(writer), output })
}
