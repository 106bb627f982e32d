//! HTTP by hand, where an engine's client library guesses or hides what matters: streams that must be known to be open
//! before the call returns (events, logs), and command streams whose framing must not be guessed from their first bytes.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::call::Action;
use crate::endpoint::{Endpoint, Reader, Target, Writer};
use crate::error::{EngineError, Result};
use crate::types::ExecOutput;

/// Longest head of an answer that is accepted, in bytes.
const HEAD_LIMIT: usize = 16 * 1024;
/// Longest error text that is read, in bytes.
const ERROR_LIMIT: usize = 64 * 1024;
/// Longest body that is read whole, in bytes.
const BODY_LIMIT: usize = 16 * 1024 * 1024;
const READ_SIZE: usize = 64 * 1024;

/// An open connection whose answer's head was a success.
pub(crate) struct RawStream {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    /// What came after the head already.
    pub(crate) rest: BytesMut,
    pub(crate) head: Head,
}

/// What is used of an answer's head.
#[derive(Debug, Default)]
pub(crate) struct Head {
    status: u16,
    length: Option<usize>,
    /// `Api-Version`: Docker's API.
    pub(crate) api_version: Option<String>,
    /// `Libpod-Api-Version`: only Podman sends it.
    pub(crate) libpod_version: Option<String>,
    /// `Builder-Version`: the builder that Docker wants to be used.
    pub(crate) builder: Option<String>,
    /// `Server`, such as `Libpod/4.3.1 (linux)`.
    pub(crate) server: Option<String>,
}

pub(crate) enum Request<'a> {
    /// The answer is a stream of bytes that ends with the connection.
    Stream,
    /// A body goes with it; the answer is a stream of bytes that ends with the connection.
    Send { content_type: &'a str, body: Bytes },
    /// The connection becomes a two-way byte stream after the answer's head.
    Upgrade { body: &'a str },
}

/// Sends a request and reads the head of its answer. An answer that is no success becomes an error with its text.
pub(crate) async fn open(
    target: &Target,
    action: &Action,
    path: &str,
    request: Request<'_>,
) -> Result<RawStream> {
    let dial = target.endpoint.dial().await;
    let (reader, mut writer) = dial.map_err(|error| target.unreachable(error.to_string()))?;
    let (head, body, wanted) = match request {
        // Version 1.0 keeps the server from cutting the stream into chunks.
        Request::Stream => (format!("GET {path} HTTP/1.0\r\nHost: podspawn\r\n\r\n"), Bytes::new(), 200),
        Request::Send { content_type, body } => {
            let length = body.len();
            let head = format!(
                "POST {path} HTTP/1.0\r\nHost: podspawn\r\nContent-Type: {content_type}\r\n\
                 Content-Length: {length}\r\n\r\n"
            );
            (head, body, 200)
        }
        Request::Upgrade { body } => (upgrade(path, body), Bytes::new(), 101),
    };
    writer.write_all(head.as_bytes()).await.map_err(|error| action.io(error))?;
    writer.write_all(&body).await.map_err(|error| action.io(error))?;
    let mut stream =
        RawStream { reader, writer, rest: BytesMut::with_capacity(READ_SIZE), head: Head::default() };
    let head = read_head(&mut stream).await.map_err(|error| action.io(error))?;
    stream.head = head;
    if stream.head.status == wanted {
        return Ok(stream);
    }
    let text = read_error(&mut stream).await;
    Err(action.status(stream.head.status, text))
}

fn upgrade(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: podspawn\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Asks for an upgrade on a fresh connection, and gives back the connection itself once the engine has answered with exactly
/// that: until then it could be asked anything, afterwards it is one command's bytes. Nothing after the answer's head has been
/// read from it. Works on sockets of this host only.
pub(crate) async fn open_descriptor(
    target: &Target,
    action: &Action,
    path: &str,
    body: &str,
) -> Result<OwnedFd> {
    let Endpoint::Unix(socket) = &target.endpoint else {
        return Err(EngineError::Unsupported {
            action: action.text.clone(),
            engine: target.engine,
            reason: "only a connection to an engine's socket on this host can be handed on",
        });
    };
    let dial = UnixStream::connect(socket).await;
    let mut connection = dial.map_err(|error| target.unreachable(error.to_string()))?;
    let request = upgrade(path, body);
    connection.write_all(request.as_bytes()).await.map_err(|error| action.io(error))?;
    let head = read_exact_head(&mut connection).await.map_err(|error| action.io(error))?;
    let answer = Upgraded::parse(&head).map_err(|error| action.io(error))?;
    match answer {
        Upgraded::Yes => {}
        Upgraded::Wrongly(why) => return Err(action.refused(Some(101), why)),
        Upgraded::No(head) => {
            let status = head.status;
            let (reader, writer) = connection.into_split();
            let (reader, writer): (Reader, Writer) = (Box::pin(reader), Box::pin(writer));
            let mut stream = RawStream { reader, writer, rest: BytesMut::new(), head };
            return Err(action.status(status, read_error(&mut stream).await));
        }
    }
    connection.into_std().map(OwnedFd::from).map_err(|error| action.io(error))
}

/// The head of an answer, byte by byte: what is read too far could not be given back.
async fn read_exact_head(connection: &mut (impl tokio::io::AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(512);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == HEAD_LIMIT {
            return Err(io::Error::new(ErrorKind::InvalidData, "the head of the answer is too long"));
        }
        head.push(connection.read_u8().await?);
    }
    Ok(head)
}

/// What engines call the protocol that they have changed to. Podman 4.9 names the type of the content here, and the protocol
/// as that type.
const BYTE_STREAMS: [&str; 3] =
    ["tcp", "application/vnd.docker.raw-stream", "application/vnd.docker.multiplexed-stream"];

/// What an answer's head says about an upgrade.
#[derive(Debug)]
enum Upgraded {
    Yes,
    /// It says so, but not to what was asked for.
    Wrongly(&'static str),
    No(Head),
}

impl Upgraded {
    fn parse(head: &[u8]) -> io::Result<Self> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut answer = httparse::Response::new(&mut headers);
        let parsed = answer.parse(head).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        if parsed != httparse::Status::Complete(head.len()) {
            return Err(io::Error::new(ErrorKind::InvalidData, "the head of the answer is not one"));
        }
        let header = |name: &str| {
            let found = answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(found.value).ok()
        };
        let is = |name: &str, value: &str| header(name).is_some_and(|v| v.trim().eq_ignore_ascii_case(value));
        if answer.code != Some(101) {
            let length = header("content-length").and_then(|length| length.parse().ok());
            return Ok(Self::No(Head { status: answer.code.unwrap_or_default(), length, ..Head::default() }));
        }
        if answer.version != Some(1) {
            return Ok(Self::Wrongly("the engine changed to a stream in an old version of HTTP"));
        }
        let to_bytes = BYTE_STREAMS.into_iter().any(|protocol| is("upgrade", protocol));
        if !to_bytes || !is("connection", "upgrade") {
            return Ok(Self::Wrongly("the engine changed to another protocol than a byte stream"));
        }
        if header("content-length").is_some_and(|length| length.trim() != "0")
            || header("transfer-encoding").is_some()
        {
            return Ok(Self::Wrongly("the engine announced a body where a byte stream begins"));
        }
        Ok(Self::Yes)
    }
}

/// The head and the whole body of an answer.
pub(crate) async fn get(target: &Target, action: &Action, path: &str) -> Result<(Head, Bytes)> {
    let mut stream = open(target, action, path, Request::Stream).await?;
    while stream.rest.len() < BODY_LIMIT {
        if stream.reader.read_buf(&mut stream.rest).await.map_err(|error| action.io(error))? == 0 {
            return Ok((stream.head, stream.rest.freeze()));
        }
    }
    Err(action.refused(None, "the answer is too long"))
}

/// The head of the answer; the bytes after it stay in `stream.rest`.
async fn read_head(stream: &mut RawStream) -> io::Result<Head> {
    loop {
        if stream.reader.read_buf(&mut stream.rest).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut answer = httparse::Response::new(&mut headers);
        let parsed =
            answer.parse(&stream.rest).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        if let httparse::Status::Complete(size) = parsed {
            let header = |name: &str| {
                let found = answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
                Some(String::from_utf8_lossy(found.value).into_owned())
            };
            let head = Head {
                status: answer.code.unwrap_or_default(),
                length: header("content-length").and_then(|length| length.parse().ok()),
                api_version: header("api-version"),
                libpod_version: header("libpod-api-version"),
                builder: header("builder-version"),
                server: header("server"),
            };
            stream.rest.advance(size);
            return Ok(head);
        }
        if stream.rest.len() > HEAD_LIMIT {
            return Err(io::Error::new(ErrorKind::InvalidData, "the head of the answer is too long"));
        }
    }
}

/// The engine's words: the `message` of its JSON, or the text as it is.
async fn read_error(stream: &mut RawStream) -> String {
    let limit = stream.head.length.unwrap_or(ERROR_LIMIT).min(ERROR_LIMIT);
    while stream.rest.len() < limit {
        match stream.reader.read_buf(&mut stream.rest).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    let text = String::from_utf8_lossy(&stream.rest);
    // Without a length the text is cut into chunks: the JSON object stands between its first and last brace.
    let json = text.find('{').zip(text.rfind('}')).and_then(|(from, to)| text.get(from..=to));
    json.and_then(|json| serde_json::from_str::<serde_json::Value>(json).ok())
        .and_then(|value| Some(value.get("message")?.as_str()?.to_owned()))
        .unwrap_or_else(|| text.trim().to_owned())
}

/// Output as it comes, for a process with a terminal.
pub(crate) fn plain_output(
    action: Action,
    reader: Reader,
    rest: BytesMut,
) -> BoxStream<'static, Result<ExecOutput>> {
    chunks(action, reader, rest).map(|chunk| chunk.map(ExecOutput::Stdout)).boxed()
}

/// Bytes as they come.
pub(crate) fn chunks(action: Action, reader: Reader, rest: BytesMut) -> BoxStream<'static, Result<Bytes>> {
    let next = async |state: Option<(Action, Reader, BytesMut)>| {
        let (action, mut reader, mut rest) = state?;
        if rest.is_empty() {
            rest.reserve(READ_SIZE);
            match reader.read_buf(&mut rest).await {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => return Some((Err(action.io(error)), None)),
            }
        }
        let chunk = rest.split().freeze();
        Some((Ok(chunk), Some((action, reader, rest))))
    };
    stream::unfold(Some((action, reader, rest)), next).boxed()
}

/// Takes frames apart: eight bytes of head (stream number, three zeros, length), then that much of the stream.
struct Frames {
    action: Action,
    reader: Reader,
    buffer: BytesMut,
    /// Stream number and what is still to come of the current frame.
    frame: Option<(u8, usize)>,
    failed: bool,
}

impl Frames {
    async fn next(&mut self) -> Result<Option<ExecOutput>> {
        loop {
            if let Some((stream, left)) = self.frame
                && (!self.buffer.is_empty() || left == 0)
            {
                let chunk = self.buffer.split_to(left.min(self.buffer.len())).freeze();
                self.frame = Some((stream, left - chunk.len())).filter(|(_, left)| *left > 0);
                if chunk.is_empty() {
                    continue;
                }
                return match stream {
                    0 | 1 => Ok(Some(ExecOutput::Stdout(chunk))),
                    2 => Ok(Some(ExecOutput::Stderr(chunk))),
                    // The engine's own words about a stream that it could not go on with.
                    3 => Err(self.action.refused(None, String::from_utf8_lossy(&chunk).trim())),
                    _ => {
                        Err(self.action.refused(None, format!("the engine sent a frame of stream {stream}")))
                    }
                };
            }
            if self.frame.is_none() && self.buffer.len() >= 8 {
                let stream = self.buffer[0];
                if self.buffer[1..4] != [0; 3] {
                    return Err(self.action.refused(None, "the engine sent a frame with a garbled head"));
                }
                self.buffer.advance(4);
                self.frame = Some((stream, self.buffer.get_u32() as usize));
                continue;
            }
            self.buffer.reserve(READ_SIZE);
            let read = self.reader.read_buf(&mut self.buffer).await.map_err(|error| self.action.io(error))?;
            if read == 0 {
                let whole = self.frame.is_none() && self.buffer.is_empty();
                let cut = || self.action.io(ErrorKind::UnexpectedEof.into());
                return if whole { Ok(None) } else { Err(cut()) };
            }
        }
    }
}

/// Output of a process without a terminal.
pub(crate) fn framed_output(
    action: Action,
    reader: Reader,
    rest: BytesMut,
) -> BoxStream<'static, Result<ExecOutput>> {
    let frames = Frames { action, reader, buffer: rest, frame: None, failed: false };
    let next = async |mut frames: Frames| {
        if frames.failed {
            return None;
        }
        let item = frames.next().await.transpose()?;
        frames.failed = item.is_err();
        Some((item, frames))
    };
    stream::unfold(frames, next).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn decode(pieces: &'static [&'static [u8]]) -> Vec<std::result::Result<ExecOutput, String>> {
        let (mut writer, reader) = tokio::io::duplex(1024);
        let feed = async move {
            for piece in pieces {
                writer.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let output = framed_output(Action::general("read"), Box::pin(reader), BytesMut::new());
        let (_, output) = tokio::join!(feed, output.map(|o| o.map_err(|e| e.to_string())).collect());
        output
    }

    fn out(bytes: &'static [u8]) -> std::result::Result<ExecOutput, String> {
        Ok(ExecOutput::Stdout(Bytes::from_static(bytes)))
    }

    fn stdout(piece: ExecOutput) -> Bytes {
        match piece {
            ExecOutput::Stdout(bytes) => bytes,
            ExecOutput::Stderr(bytes) => panic!("{bytes:?} is no standard output"),
        }
    }

    #[tokio::test]
    async fn frames_are_taken_apart_wherever_they_are_cut() {
        let whole = decode(&[b"\x01\0\0\0\0\0\0\x02ab\x02\0\0\0\0\0\0\x01c"]).await;
        assert_eq!(whole, [out(b"ab"), Ok(ExecOutput::Stderr(Bytes::from_static(b"c")))]);
        let cut = decode(&[b"\x01\0\0", b"\0\0\0\0\x03\x00", b"\x01\x02"]).await;
        let pieces: Vec<u8> = cut.into_iter().flat_map(|piece| stdout(piece.unwrap())).collect();
        assert_eq!(pieces, b"\x00\x01\x02");
        let empty = decode(&[b"\x01\0\0\0\0\0\0\0", b"\x01\0\0\0\0\0\0\x01x"]).await;
        assert_eq!(empty, [out(b"x")]);
    }

    #[tokio::test]
    async fn a_stream_that_ends_inside_a_frame_is_an_error_and_the_last_item() {
        let output = decode(&[b"\x01\0\0\0\0\0\0\x05ab"]).await;
        assert_eq!(output[0], out(b"ab"));
        assert!(output[1].is_err());
        assert_eq!(output.len(), 2);
    }

    #[tokio::test]
    async fn a_frame_with_a_garbled_head_is_an_error() {
        let output = decode(&[b"\x01\0x\0\0\0\0\x01x"]).await;
        assert!(output[0].as_ref().unwrap_err().contains("garbled"), "{output:?}");
    }

    #[tokio::test]
    async fn a_head_is_read_to_its_last_byte_and_not_further() {
        let mut bytes = &b"HTTP/1.1 101 UPGRADED\r\nA: b\r\n\r\n\x01\0\0"[..];
        let head = read_exact_head(&mut bytes).await.unwrap();
        assert!(head.ends_with(b"A: b\r\n\r\n"));
        assert_eq!(bytes, b"\x01\0\0");
        let endless = vec![b'x'; HEAD_LIMIT + 1];
        assert_eq!(read_exact_head(&mut &endless[..]).await.unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(
            read_exact_head(&mut &b"HTTP/1.1 101"[..]).await.unwrap_err().kind(),
            ErrorKind::UnexpectedEof
        );
    }

    #[test]
    fn only_the_upgrade_that_was_asked_for_is_one() {
        let parse = |head: &str| Upgraded::parse(head.as_bytes());
        let good = "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n";
        assert!(matches!(parse(&format!("{good}\r\n")), Ok(Upgraded::Yes)));
        let podman = "HTTP/1.1 101 UPGRADED\r\nContent-Type: tcp\r\nConnection: Upgrade\r\n\
                      Upgrade: application/vnd.docker.raw-stream\r\n\r\n";
        assert!(matches!(parse(podman), Ok(Upgraded::Yes)));
        let bad = [
            "HTTP/1.0 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".to_owned(),
            "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n".to_owned(),
            "HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n".to_owned(),
            format!("{good}Content-Length: 5\r\n\r\n"),
            format!("{good}Transfer-Encoding: chunked\r\n\r\n"),
        ];
        for head in bad {
            assert!(matches!(parse(&head), Ok(Upgraded::Wrongly(_))), "{head}");
        }
        for status in [200, 204, 404, 409, 500] {
            let head = format!("HTTP/1.1 {status} X\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n");
            assert!(matches!(parse(&head), Ok(Upgraded::No(head)) if head.status == status));
        }
        assert!(parse("220 mail.example ready\r\n\r\n").is_err());
    }

    #[tokio::test]
    async fn a_frame_of_an_unknown_stream_is_an_error() {
        let output = decode(&[b"\x07\0\0\0\0\0\0\x01x"]).await;
        assert!(output[0].as_ref().unwrap_err().contains("stream 7"));
    }

    /// Feeds the pieces one by one, so that every cut is seen.
    fn decode_cut(pieces: Vec<Vec<u8>>) -> Vec<Result<ExecOutput>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut writer, reader) = tokio::io::duplex(64);
            let output = framed_output(Action::general("read"), Box::pin(reader), BytesMut::new());
            let feed = async move {
                for piece in pieces {
                    // The other side may have given up already.
                    let _ = writer.write_all(&piece).await;
                    tokio::task::yield_now().await;
                }
            };
            tokio::join!(feed, output.collect::<Vec<_>>()).1
        })
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_framed_comes_out_in_order(
            frames in proptest::collection::vec((1_u8..3, proptest::collection::vec(0_u8.., 0..100)), 0..20),
            size in 1_usize..50,
        ) {
            let mut bytes = Vec::new();
            let mut sent: Vec<(u8, u8)> = Vec::new();
            for (stream, content) in &frames {
                bytes.extend_from_slice(&[*stream, 0, 0, 0]);
                bytes.extend_from_slice(&(content.len() as u32).to_be_bytes());
                bytes.extend_from_slice(content);
                sent.extend(content.iter().map(|byte| (*stream, *byte)));
            }
            let pieces = bytes.chunks(size).map(<[u8]>::to_vec).collect();
            let mut seen = Vec::new();
            for piece in decode_cut(pieces) {
                let (stream, content) = match piece.unwrap() {
                    ExecOutput::Stdout(bytes) => (1, bytes),
                    ExecOutput::Stderr(bytes) => (2, bytes),
                };
                seen.extend(content.iter().map(|byte| (stream, *byte)));
            }
            proptest::prop_assert_eq!(seen, sent);
        }

        #[test]
        fn noise_ends_as_an_error_or_an_end(bytes in proptest::collection::vec(0_u8.., 0..300)) {
            let output = decode_cut(vec![bytes]);
            let failed = output.iter().position(Result::is_err);
            proptest::prop_assert!(failed.is_none_or(|at| at + 1 == output.len()), "an error is the last item");
        }
    }
}
