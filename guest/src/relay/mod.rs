//! The relay: one conversation with the guest through a pair of byte pipes, for hosts that can pass no descriptors.
//!
//! Runs as root inside, started by the engine without a terminal. Frames come on standard input and go to standard output;
//! on the other side it is an ordinary client of the guest's socket, to which it passes pipes and sockets of its own
//! making. Each stream has a window, so that a reader that has stopped never holds up anything else. End of file on
//! standard input means that the client is gone: the relay ends, and with it the client as the guest sees it.

mod connect;
mod pipes;
mod streams;

use std::borrow::Cow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use podspawn_wire::{
    Decoder, Exit, Frame, FromGuest, HostChannel, Received, StreamId, Streams, ToGuest, WireError, encode_to,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio, read, write};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use streams::{Input, Output, Table};

/// Bytes that may wait for standard output before streams are no longer read.
const MAX_WAITING: usize = 128 * 1024;

/// Bytes read from standard input at once.
const PIECE: usize = 64 * 1024;

/// How many pieces are read before what came in them is passed on.
const IN_A_ROW: usize = 4;

/// How long the host may take to end its side after the last message.
const LEAVE: Duration = Duration::from_secs(5);

/// Where the conversation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Talking,
    /// The process has ended; its output is still being told.
    Ending(Exit),
    /// Everything has been told.
    Over,
}

struct Relay {
    frames: Decoder,
    channel: HostChannel,
    /// Frames for standard output, and how much of them is out.
    out: Vec<u8>,
    sent: usize,
    streams: Table,
    phase: Phase,
    /// What is read is read into this: in a sandboxed kernel, memory that is asked for anew for every piece costs more than
    /// the piece.
    piece: Vec<u8>,
}

/// What a descriptor in the set of a poll is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Stdin,
    Stdout,
    Channel,
    Input(StreamId),
    Output(StreamId),
}

/// Runs one conversation to its end; true if the guest had the last word.
pub fn run() -> Result<bool, WireError> {
    // A request to end comes with the end of the container: the guest then tells how the process ended.
    for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGINT] {
        // SAFETY: ignoring a signal installs no code of ours.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    let (stdin, stdout) = (rustix::stdio::stdin(), rustix::stdio::stdout());
    let Some(socket) = connect::when_there(stdin)? else { return Ok(false) };
    ioctl_fionbio(stdin, true)?;
    ioctl_fionbio(stdout, true)?;
    let mut relay = Relay {
        frames: Decoder::new(),
        channel: HostChannel::new(socket),
        out: Vec::new(),
        sent: 0,
        streams: Table::default(),
        phase: Phase::Talking,
        piece: vec![0; PIECE],
    };
    relay.converse(stdin, stdout)
}

/// Waits for the host to end its side, for a bounded time. An engine that is still sent something when this process ends
/// may reset its connection, and lose the last frames with it.
fn take_leave(stdin: BorrowedFd<'_>) -> Result<(), WireError> {
    let deadline = Instant::now() + LEAVE;
    let mut piece = vec![0; PIECE];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let limit = left.try_into().map_err(|_| WireError::TimedOut)?;
        match poll(&mut [PollFd::from_borrowed_fd(stdin, PollFlags::IN)], Some(&limit)) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        match read(stdin, &mut piece) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

impl Relay {
    fn converse(&mut self, stdin: BorrowedFd<'_>, stdout: BorrowedFd<'_>) -> Result<bool, WireError> {
        loop {
            if let Phase::Ending(exit) = self.phase
                && self.streams.outputs.is_empty()
            {
                self.tell(&Frame::Control(FromGuest::Exited(exit)))?;
                self.phase = Phase::Over;
            }
            if !self.flush(stdout)? {
                return Ok(false);
            }
            if self.phase == Phase::Over && self.out.is_empty() {
                return take_leave(stdin).map(|()| true);
            }
            for slot in self.wait(stdin, stdout)? {
                let goes_on = match slot {
                    Slot::Stdin => self.take_frames(stdin)?,
                    Slot::Stdout => true,
                    Slot::Channel => self.take_messages()?,
                    Slot::Input(stream) => self.drain(stream)?,
                    Slot::Output(stream) => self.fill(stream)?,
                };
                if !goes_on {
                    return Ok(false);
                }
            }
        }
    }

    /// Waits for something that can be acted upon. What nothing is wanted of is not in the set: its hang-up would be
    /// reported for ever.
    fn wait(&self, stdin: BorrowedFd<'_>, stdout: BorrowedFd<'_>) -> Result<Vec<Slot>, WireError> {
        let mut set = vec![PollFd::from_borrowed_fd(stdin, PollFlags::IN)];
        let mut slots = vec![Slot::Stdin];
        // Without anything to write, too: a reader that has gone shows as an error.
        let out = if self.out.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        set.push(PollFd::from_borrowed_fd(stdout, out));
        slots.push(Slot::Stdout);
        if self.phase == Phase::Talking {
            let out = if self.channel.wants_write() { PollFlags::OUT } else { PollFlags::empty() };
            set.push(PollFd::from_borrowed_fd(self.channel.as_fd(), PollFlags::IN | out));
            slots.push(Slot::Channel);
        }
        for (stream, input) in &self.streams.inputs {
            if let Some(fd) = input.wants_write() {
                set.push(PollFd::new(fd, PollFlags::OUT));
                slots.push(Slot::Input(*stream));
            }
        }
        let mut settled = Vec::new();
        for (stream, output) in &self.streams.outputs {
            if !output.wants_read() || self.out.len() - self.sent >= MAX_WAITING {
                continue;
            }
            if output.is_settled() {
                settled.push(Slot::Output(*stream));
            } else {
                set.push(PollFd::new(&output.fd, PollFlags::IN));
                slots.push(Slot::Output(*stream));
            }
        }
        let limit = (!settled.is_empty()).then(Timespec::default);
        loop {
            match poll(&mut set, limit.as_ref()) {
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        if set[1].revents().contains(PollFlags::ERR) {
            return Err(WireError::Closed);
        }
        let ready = set.iter().zip(slots).filter(|(fd, _)| !fd.revents().is_empty());
        Ok(ready.map(|(_, slot)| slot).chain(settled).collect())
    }

    fn tell(&mut self, frame: &Frame<'_, FromGuest>) -> Result<(), WireError> {
        encode_to(&mut self.out, frame, 0)
    }

    /// Writes what standard output takes; false if nobody reads it any more.
    fn flush(&mut self, stdout: BorrowedFd<'_>) -> Result<bool, WireError> {
        while self.sent < self.out.len() {
            match write(stdout, &self.out[self.sent..]) {
                Ok(wrote) => self.sent += wrote,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(Errno::PIPE) => return Ok(false),
                Err(errno) => return Err(errno.into()),
            }
        }
        if self.sent == self.out.len() || self.sent > MAX_WAITING {
            self.out.drain(..self.sent);
            self.sent = 0;
        }
        Ok(true)
    }

    /// Frames of the host, as many as are there within reason, and what came in them; false at their end. Asking again costs
    /// less than waiting for something that is there, and one long write less than many short ones: in a sandboxed kernel each
    /// of them is dear, whatever its length.
    fn take_frames(&mut self, stdin: BorrowedFd<'_>) -> Result<bool, WireError> {
        let mut open = true;
        for _ in 0..IN_A_ROW {
            match read(stdin, &mut self.piece) {
                Ok(0) => {
                    open = false;
                    break;
                }
                Ok(got) => self.frames.push(&self.piece[..got]),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
            // Not held while a frame, which is a part of it, is acted upon.
            let mut frames = std::mem::take(&mut self.frames);
            while let Some((frame, _)) = frames.next::<Frame<'_, ToGuest>>()? {
                self.act(frame)?;
            }
            self.frames = frames;
        }
        let waiting: Vec<_> = self
            .streams
            .inputs
            .iter()
            .filter(|(_, input)| input.wants_write().is_some())
            .map(|(id, _)| *id)
            .collect();
        for stream in waiting {
            self.drain(stream)?;
        }
        Ok(open)
    }

    fn act(&mut self, frame: Frame<'_, ToGuest>) -> Result<(), WireError> {
        match frame {
            Frame::Control(message) => self.control(message)?,
            Frame::Data { stream, bytes } => {
                // A stream that is not there any more has ended on this side first.
                if let Some(input) = self.streams.inputs.get_mut(&stream) {
                    input.take(&bytes)?;
                }
            }
            Frame::End { stream } => {
                self.streams.outputs.remove(&stream);
                if let Some(input) = self.streams.inputs.get_mut(&stream) {
                    input.ended = true;
                    self.drain(stream)?;
                }
            }
            Frame::Window { stream, bytes: 0 } => {
                if let Some(bytes) = self.streams.inputs.get_mut(&stream).and_then(Input::widen) {
                    self.tell(&Frame::Window { stream, bytes })?;
                }
            }
            Frame::Window { stream, bytes } => {
                if let Some(output) = self.streams.outputs.get_mut(&stream) {
                    output.window.grant(bytes)?;
                }
            }
        }
        Ok(())
    }

    /// A message of the host, with the descriptors that the guest expects.
    fn control(&mut self, message: ToGuest) -> Result<(), WireError> {
        if self.phase != Phase::Talking {
            return Ok(());
        }
        let descriptors = match &message {
            ToGuest::Start(start) => match start.streams {
                Streams::Pipes => self.pipes()?,
                Streams::Terminal { .. } => vec![self.socket(StreamId::Stdin, StreamId::Stdout)?],
            },
            ToGuest::AgentOpened { id } => {
                vec![self.socket(StreamId::AgentIn(*id), StreamId::AgentOut(*id))?]
            }
            _ => Vec::new(),
        };
        self.channel.queue(&message, descriptors)?;
        match self.channel.flush() {
            // Its last message may still be there to be read.
            Ok(_) | Err(WireError::Closed) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn pipes(&mut self) -> Result<Vec<OwnedFd>, WireError> {
        let mut theirs = Vec::new();
        for stream in [StreamId::Stdin, StreamId::Stdout, StreamId::Stderr] {
            let (reader, writer) = pipes::pipe()?;
            if stream == StreamId::Stdin {
                ioctl_fionbio(&writer, true)?;
                self.streams.inputs.insert(stream, Input::new(writer));
                theirs.push(reader);
            } else {
                ioctl_fionbio(&reader, true)?;
                self.streams.outputs.insert(stream, Output::new(reader));
                theirs.push(writer);
            }
        }
        Ok(theirs)
    }

    fn socket(&mut self, input: StreamId, output: StreamId) -> Result<OwnedFd, WireError> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        ioctl_fionbio(&ours, true)?;
        let copy = rustix::io::fcntl_dupfd_cloexec(&ours, 3)?;
        self.streams.inputs.insert(input, Input::new(copy));
        self.streams.outputs.insert(output, Output::new(ours));
        Ok(theirs)
    }

    /// Messages of the guest; false if it has gone without a last one.
    fn take_messages(&mut self) -> Result<bool, WireError> {
        match self.channel.flush() {
            Ok(_) | Err(WireError::Closed) => {}
            Err(error) => return Err(error),
        }
        match self.channel.read()? {
            Received::Some => {}
            Received::Nothing => return Ok(true),
            Received::End => return Ok(false),
        }
        while let Some(message) = self.channel.next()? {
            match message {
                FromGuest::Exited(exit) => {
                    self.phase = Phase::Ending(exit);
                    for stream in self.streams.finish() {
                        self.tell(&Frame::End { stream })?;
                    }
                }
                FromGuest::Failed(_) => {
                    self.streams = Table::default();
                    self.tell(&Frame::Control(message))?;
                    self.phase = Phase::Over;
                }
                _ => self.tell(&Frame::Control(message))?,
            }
        }
        Ok(true)
    }

    /// Writes what an input's descriptor takes.
    fn drain(&mut self, stream: StreamId) -> Result<bool, WireError> {
        let Some(input) = self.streams.inputs.get_mut(&stream) else { return Ok(true) };
        let was_open = !input.refused;
        let granted = input.drain();
        self.told(stream, was_open, granted)?;
        Ok(true)
    }

    /// Tells the host what became of an input: `was_open` before something was written to it, `granted` for what was.
    fn told(&mut self, stream: StreamId, was_open: bool, granted: Option<u32>) -> Result<(), WireError> {
        let Some(input) = self.streams.inputs.get_mut(&stream) else { return Ok(()) };
        let (refused, done) = (was_open && input.refused, input.is_done());
        if done {
            self.streams.inputs.remove(&stream);
        }
        if refused && !done {
            self.tell(&Frame::End { stream })?;
        }
        if let Some(bytes) = granted {
            self.tell(&Frame::Window { stream, bytes })?;
        }
        Ok(())
    }

    /// Reads what an output has, within its window.
    fn fill(&mut self, stream: StreamId) -> Result<bool, WireError> {
        let Some(output) = self.streams.outputs.get_mut(&stream) else { return Ok(true) };
        let got = output.fill(&mut self.piece);
        if got > 0 {
            let bytes = Cow::Borrowed(&self.piece[..got]);
            let frame: Frame<'_, FromGuest> = Frame::Data { stream, bytes };
            encode_to(&mut self.out, &frame, 0)?;
        }
        if self.streams.outputs.get(&stream).is_some_and(Output::is_done) {
            self.streams.outputs.remove(&stream);
            self.tell(&Frame::End { stream })?;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::io::PipeWriter;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_last_output_is_looked_at_also_where_it_is_gone() {
        let (socket, _guest) = UnixStream::pair().unwrap();
        let mut relay = Relay {
            frames: Decoder::new(),
            channel: HostChannel::new(socket.into()),
            out: Vec::new(),
            sent: 0,
            streams: Table::default(),
            phase: Phase::Ending(Exit::Code(0)),
            piece: vec![0; PIECE],
        };
        // Held by something in the background.
        let _holders: Vec<PipeWriter> = [StreamId::Stdout, StreamId::Stderr]
            .into_iter()
            .map(|stream| {
                let (reader, mut writer) = std::io::pipe().unwrap();
                ioctl_fionbio(&reader, true).unwrap();
                std::io::Write::write_all(&mut writer, b"last").unwrap();
                let mut inside = reader.try_clone().unwrap();
                relay.streams.outputs.insert(stream, Output::new(reader.into()));
                if stream == StreamId::Stderr {
                    assert!(relay.streams.finish().is_empty());
                    std::io::Read::read_exact(&mut inside, &mut [0; 4]).unwrap();
                }
                writer
            })
            .collect();
        // Something that ends the wait in any case.
        let (stdin, mut host) = std::io::pipe().unwrap();
        std::io::Write::write_all(&mut host, b"x").unwrap();
        let (_host, stdout) = std::io::pipe().unwrap();
        let ready = relay.wait(stdin.as_fd(), stdout.as_fd()).unwrap();
        let outputs = [Slot::Output(StreamId::Stdout), Slot::Output(StreamId::Stderr)];
        assert_eq!(ready, [&[Slot::Stdin], &outputs[..]].concat());
        for stream in [StreamId::Stdout, StreamId::Stderr] {
            assert!(relay.fill(stream).unwrap());
        }
        assert!(relay.streams.outputs.is_empty());
    }
}
