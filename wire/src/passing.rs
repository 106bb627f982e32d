//! Passing of descriptors over unix stream sockets. Never blocks, whatever the socket's own mode.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recv, recvmsg, sendmsg,
};

use crate::{MAX_DESCRIPTORS, WireError};

/// Sends what fits; the descriptors go with the first byte. None if nothing fits now.
pub(crate) fn send(
    socket: impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<Option<usize>, WireError> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(WireError::Descriptors);
    }
    loop {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        return match sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, flags) {
            Ok(sent) => Ok(Some(sent)),
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => Ok(None),
            Err(Errno::PIPE | Errno::CONNRESET) => Err(WireError::Closed),
            Err(errno) => Err(errno.into()),
        };
    }
}

/// Receives bytes and nothing else: without a control buffer the kernel itself drops every descriptor that was sent.
/// None if nothing is there now, 0 at the end.
pub(crate) fn receive_bytes(socket: impl AsFd, buffer: &mut [u8]) -> Result<Option<usize>, WireError> {
    loop {
        return match recv(&socket, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((got, _)) => Ok(Some(got)),
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => Ok(None),
            Err(Errno::CONNRESET) => Ok(Some(0)),
            Err(errno) => Err(errno.into()),
        };
    }
}

/// Receives bytes, and appends the descriptors that came with them, all of them close-on-exec.
pub(crate) fn receive_with_descriptors(
    socket: impl AsFd,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> Result<Option<usize>, WireError> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        match recvmsg(&socket, &mut [IoSliceMut::new(buffer)], &mut control, flags) {
            Ok(message) => break message,
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => return Ok(None),
            Err(Errno::CONNRESET) => return Ok(Some(0)),
            Err(errno) => return Err(errno.into()),
        }
    };
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = part {
            descriptors.extend(received);
        }
    }
    if message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(WireError::Descriptors);
    }
    Ok(Some(message.bytes))
}
