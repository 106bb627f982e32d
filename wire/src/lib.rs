//! Messages and descriptor passing between podspawn's programs: host side (command line, stub, broker) and guest.
//!
//! Owns the message types, their framing and the passing of descriptors over unix sockets. Knows nothing of engines,
//! sessions or configuration. Everything read here comes from the other side of a trust boundary: lengths are limited,
//! versions are checked, and what does not parse is an error of that one connection.

pub mod broker;
mod channel;
pub mod frame;
pub mod message;
mod passing;
mod relay;

pub use channel::{GuestChannel, HostChannel, Received};
pub use frame::{Decoder, WireError, encode, encode_to};
pub use message::*;
pub use relay::{ReceiveWindow, SendWindow};
