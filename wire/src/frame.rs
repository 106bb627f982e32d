//! Framing: how messages follow each other in a byte stream.
//!
//! A frame is four bytes of header and a postcard body. The header's first byte is the number of descriptors that belong
//! to the message, the other three its length, most significant first. Naming the number in the frame binds descriptors
//! to their message however the kernel cuts the stream. Pure: no descriptor is touched here.

use std::io;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::MAX_MESSAGE;

/// Bytes before every body.
const HEADER: usize = 4;

/// What can go wrong between two programs.
#[derive(Debug, Error)]
pub enum WireError {
    /// A message is longer than [`MAX_MESSAGE`].
    #[error("a message of {0} bytes is longer than the {MAX_MESSAGE} that are allowed")]
    TooLong(usize),
    /// Bytes that are no message.
    #[error("the other side sent something that is not a message")]
    Malformed,
    /// Descriptors that were not announced, are missing or too many, or came where none is accepted.
    #[error("the other side sent the wrong number of descriptors")]
    Descriptors,
    /// More bytes of a stream than its window allows.
    #[error("the other side sent more than the stream's window allows")]
    Window,
    /// The other side has closed the connection.
    #[error("the other side closed the connection")]
    Closed,
    /// Nothing came in time.
    #[error("the other side did not answer in time")]
    TimedOut,
    /// The system refused.
    #[error("the connection failed")]
    Io(#[from] io::Error),
}

impl From<rustix::io::Errno> for WireError {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Io(errno.into())
    }
}

/// One message as a frame that announces `descriptors` descriptors.
pub fn encode<T: Serialize>(message: &T, descriptors: usize) -> Result<Vec<u8>, WireError> {
    let mut frame = Vec::new();
    encode_to(&mut frame, message, descriptors)?;
    Ok(frame)
}

/// As [`encode`], behind what `out` holds already. After an error `out` is of no further use.
pub fn encode_to<T: Serialize>(out: &mut Vec<u8>, message: &T, descriptors: usize) -> Result<(), WireError> {
    let count = u8::try_from(descriptors).map_err(|_| WireError::Descriptors)?;
    let body = out.len() + HEADER;
    out.extend([0; HEADER]);
    *out = postcard::to_extend(message, std::mem::take(out)).map_err(|_| WireError::Malformed)?;
    let length = out.len() - body;
    if length > MAX_MESSAGE {
        return Err(WireError::TooLong(length));
    }
    out[body - HEADER..body].copy_from_slice(&((length as u32) | (u32::from(count) << 24)).to_be_bytes());
    Ok(())
}

/// Puts frames together from pieces of any size.
///
/// Take everything out with [`Decoder::next`] before the next [`Decoder::push`]: then it never holds more than one frame
/// and one piece.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    taken: usize,
}

impl Decoder {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes as they came.
    pub fn push(&mut self, piece: &[u8]) {
        if self.taken > 0 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(piece);
    }

    /// The next complete message and the number of descriptors that it announces. After an error the stream is of no
    /// further use.
    #[allow(clippy::should_implement_trait)] // the type differs from call to call
    pub fn next<'a, T: Deserialize<'a>>(&'a mut self) -> Result<Option<(T, usize)>, WireError> {
        let rest = &self.bytes[self.taken..];
        let Some((header, rest)) = rest.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let header = u32::from_be_bytes(*header);
        let (count, length) = ((header >> 24) as usize, (header & 0x00ff_ffff) as usize);
        if length > MAX_MESSAGE {
            return Err(WireError::TooLong(length));
        }
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        let (message, rest) = postcard::take_from_bytes(body).map_err(|_| WireError::Malformed)?;
        if !rest.is_empty() {
            return Err(WireError::Malformed);
        }
        self.taken += HEADER + length;
        Ok(Some((message, count)))
    }

    /// Nothing is left, not even a part of a message.
    pub fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }
}

/// Bytes as one piece instead of number by number, borrowed from what they are read out of.
pub(crate) mod byte_string {
    use std::borrow::Cow;
    use std::fmt;

    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de: 'a, 'a, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Cow<'a, [u8]>, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Cow<'de, [u8]>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a byte string")
            }

            fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(bytes))
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(Cow::Owned(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Frame, FromGuest, StreamId, ToGuest};

    #[test]
    fn an_incomplete_frame_is_no_message_yet() {
        let frame = encode(&ToGuest::Hello { protocol: 7 }, 0).unwrap();
        let mut decoder = Decoder::new();
        decoder.push(&frame[..frame.len() - 1]);
        assert!(decoder.next::<ToGuest>().unwrap().is_none());
        decoder.push(&frame[frame.len() - 1..]);
        assert_eq!(decoder.next::<ToGuest>().unwrap(), Some((ToGuest::Hello { protocol: 7 }, 0)));
        assert!(decoder.is_empty());
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_anything_is_collected() {
        let mut decoder = Decoder::new();
        decoder.push(&((MAX_MESSAGE as u32) + 1).to_be_bytes());
        assert!(matches!(decoder.next::<ToGuest>(), Err(WireError::TooLong(_))));
        let long = FromGuest::Hello { protocol: 1, shell: "x".repeat(MAX_MESSAGE), warnings: vec![] };
        assert!(matches!(encode(&long, 0), Err(WireError::TooLong(_))));
    }

    #[test]
    fn bytes_after_the_message_inside_its_frame_are_refused() {
        let mut frame = encode(&ToGuest::Signal(2), 0).unwrap();
        frame.push(0);
        frame[3] += 1;
        let mut decoder = Decoder::new();
        decoder.push(&frame);
        assert!(matches!(decoder.next::<ToGuest>(), Err(WireError::Malformed)));
    }

    proptest! {
        #[test]
        fn frames_survive_any_cutting(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..20),
            cut in 1usize..50,
        ) {
            let frames: Vec<Frame<ToGuest>> = pieces
                .into_iter()
                .map(|bytes| Frame::Data { stream: StreamId::AgentIn(9), bytes: bytes.into() })
                .collect();
            let stream: Vec<u8> = frames.iter().flat_map(|f| encode(f, 0).unwrap()).collect();
            let mut decoder = Decoder::new();
            let mut seen = Vec::new();
            for piece in stream.chunks(cut) {
                decoder.push(piece);
                while let Some((frame, count)) = decoder.next::<Frame<ToGuest>>().unwrap() {
                    prop_assert_eq!(count, 0);
                    seen.push(frame.into_owned());
                }
            }
            prop_assert!(decoder.is_empty());
            prop_assert_eq!(seen, frames);
        }

        #[test]
        fn garbage_never_panics_and_never_grows(bytes in proptest::collection::vec(any::<u8>(), 0..4096), cut in 1usize..600) {
            let mut decoder = Decoder::new();
            for piece in bytes.chunks(cut) {
                decoder.push(piece);
                loop {
                    match decoder.next::<Frame<FromGuest>>() {
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(_) => return Ok(()),
                    }
                }
            }
            prop_assert!(decoder.bytes.len() <= HEADER + MAX_MESSAGE + cut);
        }

        #[test]
        fn garbage_bodies_never_panic(body in proptest::collection::vec(any::<u8>(), 0..600)) {
            let mut frame = (body.len() as u32).to_be_bytes().to_vec();
            frame.extend(&body);
            let mut decoder = Decoder::new();
            decoder.push(&frame);
            if let Ok(Some((message, _))) = decoder.next::<ToGuest>() {
                prop_assert!(encode(&message, 0).unwrap().len() <= frame.len());
            }
        }
    }
}
