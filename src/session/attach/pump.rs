//! Copying from one descriptor to another, driven by readiness, without ever waiting in a call.
//!
//! Descriptors that were handed to this process are shared with others (a shell, its pipeline): their mode is never
//! changed. Where the system allows it they are opened anew with a mode of their own; elsewhere nothing is read or written
//! without having been told that it would not block.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use rustix::pipe::{SpliceFlags, splice};

/// Bytes moved at once.
const PIECE: usize = 256 * 1024;

/// What is written at once where only readiness says that it would not block: pipes promise that much room.
const CAREFUL: usize = 4096;

/// Rounds in one go, so that one stream never starves the others and the control messages.
const ROUNDS: usize = 16;

/// How a descriptor is read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// Never blocks: its description is ours and non-blocking.
    NonBlocking,
    /// A socket: each call says that it must not block.
    Socket,
    /// A file or a device that is always ready.
    Direct,
    /// May block: one careful call for each time that it was found ready.
    Careful,
}

/// One end of a pump.
#[derive(Debug)]
pub(super) struct End {
    fd: OwnedFd,
    access: Access,
    file_type: FileType,
}

impl End {
    /// A pipe's or socket's end that belongs to podspawn alone; made non-blocking here.
    pub(super) fn own(fd: OwnedFd) -> io::Result<Self> {
        let flags = rustix::fs::fcntl_getfl(&fd)?;
        rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
        let file_type = FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode);
        Ok(Self { fd, access: Access::NonBlocking, file_type })
    }

    /// A descriptor that this process was given, to read from.
    pub(super) fn foreign_source(fd: BorrowedFd<'_>) -> io::Result<Self> {
        Self::foreign(fd, OFlags::RDONLY)
    }

    /// A descriptor that this process was given, to write to.
    pub(super) fn foreign_sink(fd: BorrowedFd<'_>) -> io::Result<Self> {
        Self::foreign(fd, OFlags::WRONLY)
    }

    fn foreign(fd: BorrowedFd<'_>, direction: OFlags) -> io::Result<Self> {
        let file_type = FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode);
        let (fd, access) = match file_type {
            FileType::Socket => (fd.try_clone_to_owned()?, Access::Socket),
            FileType::Fifo | FileType::CharacterDevice => match reopen(fd, direction) {
                Some(own) => (own, Access::NonBlocking),
                None => (fd.try_clone_to_owned()?, Access::Careful),
            },
            _ => (fd.try_clone_to_owned()?, Access::Direct),
        };
        Ok(Self { fd, access, file_type })
    }

    /// Whether pages may be moved here from a pipe instead of copied.
    fn takes_pages(&self) -> bool {
        match self.file_type {
            FileType::Fifo => self.access == Access::NonBlocking,
            // Refused by the system for a file opened for appending; found out by trying.
            FileType::RegularFile => true,
            FileType::CharacterDevice => is_dev_null(&self.fd),
            _ => false,
        }
    }

    fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        match self.access {
            Access::Socket => {
                rustix::net::recv(&self.fd, buffer, RecvFlags::DONTWAIT).map(|(received, _)| received)
            }
            _ => rustix::io::read(&self.fd, buffer),
        }
    }

    /// What an error in writing means.
    fn failed(&self, errno: Errno) -> Result<Moved, PumpError> {
        match errno {
            Errno::PIPE | Errno::CONNRESET => Ok(Moved::SinkGone),
            // A terminal that was hung up.
            Errno::IO if self.file_type == FileType::CharacterDevice => Ok(Moved::SinkGone),
            errno => Err(PumpError::Write(errno)),
        }
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        match self.access {
            Access::Socket => rustix::net::send(&self.fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL),
            Access::Careful => rustix::io::write(&self.fd, &bytes[..bytes.len().min(CAREFUL)]),
            Access::NonBlocking | Access::Direct => rustix::io::write(&self.fd, bytes),
        }
    }
}

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The same pipe or terminal with a file description of its own, so that its mode is nobody else's. Often not allowed
/// (after `su`, for example).
fn reopen(fd: BorrowedFd<'_>, direction: OFlags) -> Option<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = direction | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).ok()
}

fn is_dev_null(fd: impl AsFd) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|facts| facts.st_rdev == rustix::fs::makedev(1, 3))
}

/// Why a pump has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Nothing more comes, and all of it was passed on.
    Source,
    /// Nobody takes it any more.
    Sink,
}

/// What the system refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PumpError {
    /// Reading from the source.
    Read(Errno),
    /// Writing to the sink, for another reason than that nobody reads there any more (a full disk).
    Write(Errno),
}

/// Copies from its source to its sink.
#[derive(Debug)]
pub(super) struct Pump {
    source: End,
    sink: End,
    /// Pages move without being copied.
    splices: bool,
    buffer: Vec<u8>,
    written: usize,
    source_ready: bool,
    sink_ready: bool,
    source_ended: bool,
    /// Take only this much more.
    left: Option<usize>,
}

impl Pump {
    /// Towards the container. Always copied: pages of a host file that are moved into a pipe would be the file's own, and the
    /// pipe's other end is in hands that are not trusted.
    pub(super) fn inward(source: End, sink: End) -> Self {
        Self::new(source, sink, false)
    }

    /// From the container; pages are moved where that is possible.
    pub(super) fn outward(source: End, sink: End) -> Self {
        let splices = source.file_type == FileType::Fifo && sink.takes_pages();
        Self::new(source, sink, splices)
    }

    fn new(source: End, sink: End, splices: bool) -> Self {
        // A file or a device is always ready.
        let source_ready = source.access == Access::Direct;
        let sink_ready = sink.access != Access::Careful;
        Self {
            source,
            sink,
            splices,
            buffer: Vec::new(),
            written: 0,
            source_ready,
            sink_ready,
            source_ended: false,
            left: None,
        }
    }

    /// Whether it waits for its source, having passed on all it got.
    pub(super) fn waits_for_source(&self) -> bool {
        !self.has_buffered() && !self.source_ready
    }

    /// Whether [`Pump::run`] has something to do without any waiting.
    pub(super) fn can_run(&self) -> bool {
        self.sink_ready && (self.source_ready || self.has_buffered())
    }

    /// What to wait for at the source, if anything.
    pub(super) fn source_interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        (self.waits_for_source() && !self.source_ended).then(|| (self.source.as_fd(), PollFlags::IN))
    }

    /// What to wait for at the sink: room if there is something to write, and that it goes away in any case.
    pub(super) fn sink_interest(&self) -> (BorrowedFd<'_>, PollFlags) {
        let wants_room = !self.sink_ready && (self.source_ready || self.has_buffered());
        (self.sink.as_fd(), if wants_room { PollFlags::OUT } else { PollFlags::empty() })
    }

    /// Notes what waiting brought for the source.
    pub(super) fn source_event(&mut self, events: PollFlags) {
        // At a hang-up there may be something left to read; reading tells.
        self.source_ready |= !events.is_empty();
    }

    /// Notes what waiting brought for the sink. An end is told if nobody reads there any more.
    pub(super) fn sink_event(&mut self, events: PollFlags) -> Option<Ended> {
        self.sink_ready |= events.contains(PollFlags::OUT);
        events.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL).then_some(Ended::Sink)
    }

    /// From now on takes only what is there already: whoever writes on after the end of the main process is not waited for.
    pub(super) fn drain(&mut self) -> Result<(), Errno> {
        self.left = Some(usize::try_from(rustix::io::ioctl_fionread(&self.source.fd)?).unwrap_or(usize::MAX));
        self.source_ready = true;
        Ok(())
    }

    /// Moves what can be moved now.
    pub(super) fn run(&mut self) -> Result<Option<Ended>, PumpError> {
        for _ in 0..ROUNDS {
            if self.left == Some(0) || self.source_ended {
                self.source_ended = true;
                if !self.has_buffered() {
                    return Ok(Some(Ended::Source));
                }
            }
            let moved = if self.splices { self.splice()? } else { self.copy()? };
            match moved {
                Moved::Some => {}
                Moved::Nothing => break,
                Moved::SinkGone => return Ok(Some(Ended::Sink)),
            }
        }
        Ok(None)
    }

    fn has_buffered(&self) -> bool {
        self.written < self.buffer.len()
    }

    fn splice(&mut self) -> Result<Moved, PumpError> {
        if !self.source_ready || !self.sink_ready {
            return Ok(Moved::Nothing);
        }
        let most = self.left.unwrap_or(PIECE).min(PIECE);
        match splice(
            &self.source.fd,
            None,
            &self.sink.fd,
            None,
            most,
            SpliceFlags::NONBLOCK | SpliceFlags::MOVE,
        ) {
            Ok(0) => self.source_ended = true,
            Ok(moved) => self.took(moved),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                // Which of the two it was is not told: ask both. Of what was there, somebody inside may have taken a part.
                self.source_ready = false;
                self.sink_ready = false;
                if let Some(left) = self.left {
                    self.drain().map_err(PumpError::Read)?;
                    self.left = self.left.min(Some(left));
                }
                return Ok(if self.left == Some(0) { Moved::Some } else { Moved::Nothing });
            }
            // Opened for appending, or a file system that cannot.
            Err(Errno::INVAL) => self.splices = false,
            Err(errno) => return self.sink.failed(errno),
        }
        Ok(Moved::Some)
    }

    fn copy(&mut self) -> Result<Moved, PumpError> {
        if !self.has_buffered() {
            if self.source_ended || !self.source_ready {
                return Ok(Moved::Nothing);
            }
            self.buffer.resize(self.left.unwrap_or(PIECE).min(PIECE), 0);
            self.written = 0;
            let read = self.source.read(&mut self.buffer);
            self.buffer.truncate(read.unwrap_or(0));
            match read {
                // A terminal that was hung up.
                Ok(0) | Err(Errno::IO) => self.source_ended = true,
                // A socket of podspawn's own, behind its last byte: the other end was closed with something unread.
                Err(Errno::CONNRESET) if self.source.access != Access::Socket => self.source_ended = true,
                Ok(got) => {
                    self.took(got);
                    self.source_ready = self.source.access != Access::Careful;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.source_ready = false;
                    // What was there at the end, somebody inside has taken.
                    self.source_ended = self.left.is_some();
                    return Ok(if self.source_ended { Moved::Some } else { Moved::Nothing });
                }
                Err(errno) => return Err(PumpError::Read(errno)),
            }
            if self.source_ended {
                return Ok(Moved::Some);
            }
        }
        if !self.sink_ready {
            return Ok(Moved::Nothing);
        }
        match self.sink.write(&self.buffer[self.written..]) {
            Ok(put) => {
                self.written += put;
                self.sink_ready = self.sink.access != Access::Careful;
                Ok(Moved::Some)
            }
            Err(Errno::INTR) => Ok(Moved::Some),
            Err(Errno::AGAIN) => {
                self.sink_ready = false;
                Ok(Moved::Nothing)
            }
            Err(errno) => self.sink.failed(errno),
        }
    }

    fn took(&mut self, bytes: usize) {
        if let Some(left) = &mut self.left {
            *left -= bytes;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moved {
    Some,
    Nothing,
    SinkGone,
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn output_comes_whole_where_the_other_end_goes_without_having_read_its_input() {
        let (ours, mut other) = UnixStream::pair().unwrap();
        let (mut output, sink) = std::io::pipe().unwrap();
        (&ours).write_all(b"typed to nobody").unwrap();
        other.write_all(b"the last words").unwrap();
        drop(other);
        let mut pump = Pump::outward(End::own(ours.into()).unwrap(), End::own(sink.into()).unwrap());
        pump.source_event(PollFlags::IN);
        assert_eq!(pump.run(), Ok(Some(Ended::Source)));
        drop(pump);
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        assert_eq!(text, "the last words");
    }
}
