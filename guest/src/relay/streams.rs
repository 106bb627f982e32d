//! The streams of a relay: descriptors inside, windows towards the host.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, OwnedFd};

use podspawn_wire::{MAX_DATA, ReceiveWindow, SendWindow, StreamId, WireError};
use rustix::io::{Errno, ioctl_fionread, read, write};
use rustix::net::{Shutdown, shutdown};
use rustix::pipe::PIPE_BUF;

/// All streams that are open.
#[derive(Default)]
pub(super) struct Table {
    pub(super) inputs: BTreeMap<StreamId, Input>,
    pub(super) outputs: BTreeMap<StreamId, Output>,
}

impl Table {
    /// The process has ended: nothing goes in any more, and of what comes out only what it has written itself. Gives the
    /// streams that have nothing left, which are closed.
    pub(super) fn finish(&mut self) -> Vec<StreamId> {
        self.inputs.clear();
        self.outputs.retain(|stream, _| matches!(stream, StreamId::Stdout | StreamId::Stderr));
        let mut done = Vec::new();
        self.outputs.retain(|stream, output| {
            output.finish();
            if output.is_done() {
                done.push(*stream);
            }
            !output.is_done()
        });
        done
    }
}

/// Towards the container: bytes that came in frames and wait for their descriptor.
pub(super) struct Input {
    fd: OwnedFd,
    waiting: VecDeque<u8>,
    window: ReceiveWindow,
    /// The host sends nothing more.
    pub(super) ended: bool,
    /// Nobody inside reads it any more; what still comes is thrown away.
    pub(super) refused: bool,
}

impl Input {
    pub(super) fn new(fd: OwnedFd) -> Self {
        let window = ReceiveWindow::default();
        Self { fd, waiting: VecDeque::new(), window, ended: false, refused: false }
    }

    /// The descriptor, if something waits for it.
    pub(super) fn wants_write(&self) -> Option<&OwnedFd> {
        (!self.waiting.is_empty()).then_some(&self.fd)
    }

    /// Keeps what came until it is drained: one write for many frames.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        self.window.accept(bytes.len())?;
        self.waiting.extend(bytes);
        Ok(())
    }

    /// The host asks for a wider window; says what to grant it.
    pub(super) fn widen(&mut self) -> Option<u32> {
        self.window.widen()
    }

    /// How many of `bytes` are done with: written, or thrown away because nobody reads them. None if there is no room.
    fn put(&mut self, bytes: &[u8]) -> usize {
        let mut most = bytes.len();
        while !self.refused {
            match write(&self.fd, &bytes[..most]) {
                Ok(wrote) => return wrote,
                Err(Errno::INTR) => {}
                // A pipe takes as little as that whole or not at all. gVisor calls one writable that has any room: only once
                // the last byte of it is taken does waiting for room wait.
                Err(Errno::AGAIN) if (2..=PIPE_BUF).contains(&most) => most /= 2,
                Err(Errno::AGAIN) => return 0,
                Err(_) => self.refused = true,
            }
        }
        bytes.len()
    }

    /// Writes what can be written; says what to grant the host.
    pub(super) fn drain(&mut self) -> Option<u32> {
        // Out of the way while it is written from.
        let mut waiting = std::mem::take(&mut self.waiting);
        let before = waiting.len();
        while !waiting.is_empty() {
            match self.put(waiting.as_slices().0) {
                0 => break,
                put => drop(waiting.drain(..put)),
            }
        }
        self.waiting = waiting;
        self.window.passed_on(before - self.waiting.len())
    }

    /// The end has come and everything before it is through; tells the other side of a socket.
    pub(super) fn is_done(&self) -> bool {
        let done = self.ended && self.waiting.is_empty();
        if done {
            // A pipe ends by being closed; a socket is still read through its other copy.
            let _ = shutdown(self.fd.as_fd(), Shutdown::Write);
        }
        done
    }
}

/// From the container.
pub(super) struct Output {
    pub(super) fd: OwnedFd,
    pub(super) window: SendWindow,
    ended: bool,
    /// Once the process has ended: bytes that were in the pipe then and are still to be read. A socket ends by itself.
    left: Option<usize>,
}

impl Output {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self { fd, window: SendWindow::default(), ended: false, left: None }
    }

    pub(super) fn wants_read(&self) -> bool {
        !self.ended && self.window.left() > 0
    }

    /// Reading brings it on without any waiting: what is to be read is there already, or somebody inside has taken it, of
    /// which nothing would tell.
    pub(super) fn is_settled(&self) -> bool {
        self.left.is_some()
    }

    fn finish(&mut self) {
        let is_pipe = rustix::net::sockopt::socket_type(&self.fd).is_err();
        if is_pipe {
            // What processes in the background write from now on is not waited for.
            self.left = Some(ioctl_fionread(&self.fd).map_or(0, |waiting| waiting as usize));
            self.ended |= self.left == Some(0);
        }
    }

    /// Reads within the window, into `room`; how many bytes there were.
    pub(super) fn fill(&mut self, room: &mut [u8]) -> usize {
        let most = MAX_DATA.min(self.window.left()).min(self.left.unwrap_or(usize::MAX)).min(room.len());
        match read(&self.fd, &mut room[..most]) {
            Ok(0) => self.ended = true,
            Ok(got) => {
                self.window.spend(got);
                if let Some(left) = &mut self.left {
                    *left -= got;
                    self.ended = *left == 0;
                }
                return got;
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => self.ended = self.left.is_some(),
            Err(_) => self.ended = true,
        }
        0
    }

    pub(super) fn is_done(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::ioctl_fionbio;
    use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

    use super::*;

    #[test]
    fn a_pipe_is_filled_to_its_last_byte() {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        let room = fcntl_setpipe_size(&writer, PIPE_BUF).unwrap();
        let before = room - 100;
        assert_eq!(write(&writer, &vec![b'x'; before]), Ok(before));
        let mut input = Input::new(writer);
        let bytes: Vec<u8> = (0..250).collect();
        input.take(&bytes).unwrap();
        input.drain();
        assert_eq!(ioctl_fionread(&reader).unwrap() as usize, room);
        assert!(input.wants_write().is_some());
        let mut got = vec![0; 2 * room];
        assert_eq!(read(&reader, &mut got), Ok(room));
        assert!(got[before..room] == bytes[..100]);
        input.drain();
        assert_eq!(read(&reader, &mut got), Ok(150));
        assert!(got[..150] == bytes[100..]);
        assert!(input.wants_write().is_none());
    }

    #[test]
    fn last_output_that_somebody_inside_has_taken_is_not_waited_for() {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        ioctl_fionbio(&reader, true).unwrap();
        let inside = reader.try_clone().unwrap();
        let mut table = Table::default();
        table.outputs.insert(StreamId::Stdout, Output::new(reader));
        write(&writer, b"the last words").unwrap();
        assert!(table.finish().is_empty());
        let mut room = [0; 64];
        assert_eq!(read(&inside, &mut room), Ok(14));
        let output = table.outputs.get_mut(&StreamId::Stdout).unwrap();
        assert!(output.is_settled());
        assert_eq!(output.fill(&mut room), 0);
        assert!(output.is_done());
    }
}
