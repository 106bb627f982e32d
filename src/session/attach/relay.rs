//! The guest's relay, run by the engine's exec: the conversation and the streams' bytes inside one byte pipe.

use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use podspawn_runtimes::{Carried, Engine, EngineError, ExecOutput, ExecSession, ExecSpec, Runtime, carried};
use podspawn_wire::{Decoder, Frame, FromGuest, GUEST_PROGRAM, PROTOCOL, ToGuest, WireError, encode};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::AttachError;
use super::find::{self, Greeting};

/// What is kept of a relay's own words, in bytes.
const MAX_NOISE: usize = 2048;

/// Towards the relay.
pub(super) struct RelayInput(Pin<Box<dyn AsyncWrite + Send>>);

impl RelayInput {
    /// Sends a frame.
    pub(super) async fn send(&mut self, frame: &Frame<'_, ToGuest>) -> Result<(), AttachError> {
        let bytes = encode(frame, 0).map_err(AttachError::Guest)?;
        self.send_encoded(&bytes).await
    }

    /// Sends a frame that is encoded already.
    pub(super) async fn send_encoded(&mut self, bytes: &[u8]) -> Result<(), AttachError> {
        let sent = async {
            self.0.write_all(bytes).await?;
            self.0.flush().await
        };
        sent.await.map_err(AttachError::io("write to the relay"))
    }

    /// Tells the relay that the client is gone.
    pub(super) async fn close(mut self) {
        // A relay that is gone knows.
        let _ = self.0.shutdown().await;
    }
}

/// From the relay.
pub(super) struct RelayOutput {
    output: BoxStream<'static, Result<ExecOutput, EngineError>>,
    decoder: Decoder,
    /// What it wrote that is no frame: the engine's or the relay's own complaint.
    noise: Vec<u8>,
    understood: bool,
}

impl RelayOutput {
    /// The next frame; none at the end.
    pub(super) async fn receive(&mut self) -> Result<Option<Frame<'static, FromGuest>>, AttachError> {
        loop {
            match self.decoder.next::<Frame<'_, FromGuest>>() {
                Ok(Some((frame, 0))) => {
                    let frame = frame.into_owned();
                    if !self.understood {
                        self.understood = true;
                        // It was a frame, and no complaint.
                        self.noise.clear();
                    }
                    return Ok(Some(frame));
                }
                Ok(Some(_)) => return Err(AttachError::Guest(WireError::Descriptors)),
                Ok(None) => {}
                Err(error) if self.understood => return Err(AttachError::Guest(error)),
                // An engine that cannot start the relay says so where frames are expected.
                Err(_) => return Err(self.complaint()),
            }
            match self.output.next().await {
                Some(Ok(ExecOutput::Stdout(bytes))) => {
                    if !self.understood {
                        self.note(&bytes);
                    }
                    // Whole pieces of an engine may be larger than what a decoder should hold.
                    self.decoder.push(&bytes);
                }
                Some(Ok(ExecOutput::Stderr(bytes))) => self.note(&bytes),
                Some(Err(error)) => return Err(error.into()),
                None if self.understood && self.decoder.is_empty() => return Ok(None),
                None => return Err(self.complaint()),
            }
        }
    }

    /// Waits for the end, discarding what comes.
    pub(super) async fn end(&mut self) {
        while self.output.next().await.is_some_and(|piece| piece.is_ok()) {}
    }

    fn note(&mut self, bytes: &[u8]) {
        let room = MAX_NOISE.saturating_sub(self.noise.len());
        self.noise.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// What the relay said instead of frames. One that ends among them without a word has ended with the container.
    pub(super) fn complaint(&self) -> AttachError {
        let text = String::from_utf8_lossy(&self.noise);
        let text = text.trim_matches(|c: char| c.is_whitespace() || c.is_control());
        if text.is_empty() && self.understood {
            return AttachError::Stopped;
        }
        AttachError::Relay(if text.is_empty() { "without a word".into() } else { text.to_owned() })
    }
}

/// How a relay is started: as the container's root, whose the guest's socket is.
pub(super) fn command() -> ExecSpec {
    ExecSpec {
        argv: vec![GUEST_PROGRAM.into(), "relay".into()],
        user: Some("0".into()),
        working_dir: Some("/".into()),
        stdin: true,
        ..ExecSpec::default()
    }
}

/// Starts a relay in a running container and greets the guest through it. Waits until the guest is ready, at most `limit`.
pub(super) async fn open(
    engine: &Runtime,
    container: &str,
    limit: Duration,
) -> Result<(RelayInput, RelayOutput, Greeting), AttachError> {
    let greeted = async {
        let ExecSession { input, output, .. } = engine.exec(container, &command()).await?;
        greet(input, output).await
    };
    within(limit, greeted).await
}

/// The same with a relay that was started already and nobody has spoken to, over the connection to it.
pub(super) async fn take_over(
    connection: OwnedFd,
    limit: Duration,
) -> Result<(RelayInput, RelayOutput, Greeting), AttachError> {
    let Carried { input, output } = carried(connection)?;
    within(limit, greet(input, output)).await
}

async fn within<T>(
    limit: Duration,
    greeted: impl Future<Output = Result<T, AttachError>>,
) -> Result<T, AttachError> {
    tokio::time::timeout(limit, greeted).await.unwrap_or(Err(AttachError::Guest(WireError::TimedOut)))
}

async fn greet(
    input: Pin<Box<dyn AsyncWrite + Send>>,
    output: BoxStream<'static, Result<ExecOutput, EngineError>>,
) -> Result<(RelayInput, RelayOutput, Greeting), AttachError> {
    let mut input = RelayInput(input);
    let mut output = RelayOutput { output, decoder: Decoder::new(), noise: Vec::new(), understood: false };
    input.send(&Frame::Control(ToGuest::Hello { protocol: PROTOCOL })).await?;
    let greeting = match output.receive().await? {
        Some(Frame::Control(message)) => find::understand(message)?,
        Some(_) => return Err(AttachError::Protocol("it did not begin with a greeting")),
        None => return Err(output.complaint()),
    };
    Ok((input, output, greeting))
}
