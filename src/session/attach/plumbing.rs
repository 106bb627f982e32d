//! The streams between this process's own three descriptors and the process in the container.
//!
//! What this process was started with never crosses: there is always a pipe, or for a terminal a socket pair, of
//! podspawn's own in between.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use podspawn_wire::{Streams, Window};
use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::pipe::{PipeFlags, pipe_with};

use super::crossing::Passable;
use super::pump::{End, Pump};
use super::{AttachError, AttachRequest};
use crate::system::terminal;

/// Room in a pipe, in bytes. More would be faster still, but what one user's pipes may hold in all is limited, and past that
/// limit every pipe of that user becomes tiny.
const PIPE_ROOM: usize = 256 * 1024;

/// Used where no window size can be had.
const USUAL_WINDOW: Window = Window { rows: 24, cols: 80 };

/// What is passed, and what copies on this side of it.
#[derive(Debug)]
pub(super) struct Plumbing {
    pub(super) streams: Streams,
    pub(super) passed: Vec<Passable>,
    pub(super) stdin: Option<Pump>,
    pub(super) stdout: Option<Pump>,
    pub(super) stderr: Option<Pump>,
    /// This end of the terminal's socket pair, to be half-closed at the end of input.
    pub(super) terminal: Option<OwnedFd>,
    /// Where the output goes, if that is this process's own pipes.
    pub(super) watched: Vec<OwnedFd>,
}

/// What becomes of pipes that are this process's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnPipes {
    /// They are passed as they are.
    Pass,
    /// They are copied as everything else is.
    Stay,
}

impl Plumbing {
    pub(super) fn new(request: &AttachRequest<'_>, of_ours: OwnPipes) -> Result<Self, AttachError> {
        match &request.terminal {
            Some(term) => Self::terminal(request, term.clone()),
            None => Self::pipes(request, of_ours),
        }
    }

    fn pipes(request: &AttachRequest<'_>, of_ours: OwnPipes) -> Result<Self, AttachError> {
        let passes = request.own_pipes && of_ours == OwnPipes::Pass;
        let share = |fd: BorrowedFd<'_>| if passes { shared(fd) } else { None };
        let (inner_stdin, stdin) = match (request.stdin.and_then(share), request.stdin) {
            (Some(pipe), _) => (pipe, None),
            (None, Some(source)) => {
                let (inner, ours) = pipe()?;
                widen(&ours);
                (inner, Some(Pump::inward(source_of(source)?, own(ours)?)))
            }
            // Closed at once: the process reads the end of its input.
            (None, None) => (pipe()?.0, None),
        };
        let mut watched = Vec::new();
        let mut outward = |sink: BorrowedFd<'_>, wide: bool| {
            if request.own_pipes {
                // A process that writes nothing would never notice that nobody reads.
                watched.push(sink.try_clone_to_owned().map_err(AttachError::io("copy a descriptor"))?);
            }
            if let Some(pipe) = share(sink) {
                return Ok((pipe, None));
            }
            let (ours, inner) = pipe()?;
            if wide {
                widen(&ours);
            }
            Ok::<_, AttachError>((inner, Some(Pump::outward(own(ours)?, sink_of(sink)?))))
        };
        let (inner_stdout, stdout) = outward(request.stdout, true)?;
        let (inner_stderr, stderr) = outward(request.stderr, false)?;
        let passed = [inner_stdin, inner_stdout, inner_stderr]
            .into_iter()
            .map(Passable::check)
            .collect::<Result<_, _>>()?;
        Ok(Self { streams: Streams::Pipes, passed, stdin, stdout, stderr, terminal: None, watched })
    }

    fn terminal(request: &AttachRequest<'_>, term: String) -> Result<Self, AttachError> {
        let (ours, inner) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .map_err(AttachError::io("make a socket pair"))?;
        let clone = || ours.try_clone().map_err(AttachError::io("copy a descriptor"));
        let stdin = match request.stdin {
            Some(source) => Some(Pump::inward(source_of(source)?, own(clone()?)?)),
            None => None,
        };
        let stdout = Some(Pump::outward(own(clone()?)?, sink_of(request.stdout)?));
        Ok(Self {
            streams: Streams::Terminal { term, window: window(request) },
            passed: vec![Passable::check(inner)?],
            stdin,
            stdout,
            stderr: None,
            terminal: Some(ours),
            watched: Vec::new(),
        })
    }
}

/// The size of the terminal that the person looks at.
pub(super) fn window(request: &AttachRequest<'_>) -> Window {
    [Some(request.stdout), request.stdin, Some(request.stderr)]
        .into_iter()
        .flatten()
        .find_map(terminal::window_size)
        .map_or(USUAL_WINDOW, |(rows, cols)| Window { rows, cols })
}

/// A copy of a descriptor that may cross as it is: an anonymous pipe, opened up for the container's user.
fn shared(fd: BorrowedFd<'_>) -> Option<OwnedFd> {
    let fd = fd.try_clone_to_owned().ok()?;
    let is_pipe = rustix::fs::fstat(&fd)
        .is_ok_and(|facts| rustix::fs::FileType::from_raw_mode(facts.st_mode) == rustix::fs::FileType::Fifo);
    if !is_pipe {
        return None;
    }
    let fd = Passable::check(fd).ok()?.into_inner();
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(0o666)).ok()?;
    Some(fd)
}

/// An anonymous pipe that may cross: the end to read from, and the end to write to.
pub(super) fn pipe() -> Result<(OwnedFd, OwnedFd), AttachError> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(AttachError::io("make a pipe"))?;
    // The container's user must be able to open it by name (`> /dev/stderr`). It has no name anywhere else.
    rustix::fs::fchmod(&read, Mode::from_raw_mode(0o666)).map_err(AttachError::io("open up a pipe"))?;
    Ok((read, write))
}

fn widen(pipe: impl AsFd) {
    // Refused when this user's pipes hold too much already: then it is a slower pipe.
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE_ROOM);
}

fn own(fd: OwnedFd) -> Result<End, AttachError> {
    End::own(fd).map_err(AttachError::io("set up a stream"))
}

fn source_of(fd: BorrowedFd<'_>) -> Result<End, AttachError> {
    End::foreign_source(fd).map_err(AttachError::io("look at standard input"))
}

fn sink_of(fd: BorrowedFd<'_>) -> Result<End, AttachError> {
    End::foreign_sink(fd).map_err(AttachError::io("look at standard output"))
}
