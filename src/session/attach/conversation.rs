//! The conversation with a guest from the start of a process to its end, and the copying of its streams meanwhile: one
//! thread, one loop, nothing in it waits but the loop itself.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use podspawn_wire::{Exit, FromGuest, HostChannel, Received, Start, ToGuest, Window, WireError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::Shutdown;

use super::agent::{AgentDoor, Asked};
use super::crossing::Passable;
use super::plumbing::{self, OwnPipes, Plumbing};
use super::pump::{Ended, Pump, PumpError};
use super::{AttachError, AttachRequest};
use crate::system::signals::{self, Signal, Signals};
use crate::system::terminal::{self, RawMode};

/// The guest has this long to start the process. Generous: a busy machine forks slowly, and Ctrl-C works meanwhile.
const START: Duration = Duration::from_secs(30);

/// After the end of a process with a terminal, its last output must come within this time, each piece.
const LAST_OUTPUT: Duration = Duration::from_secs(2);

/// As many signals of this kind within [`IMPATIENCE`] and this process no longer waits for what runs inside.
const IMPATIENT: usize = 3;
const IMPATIENCE: Duration = Duration::from_secs(2);

/// The signals of this process, caught from before the first step of an attach.
#[derive(Debug)]
pub(super) struct Caught(Signals);

impl Caught {
    pub(super) fn new(request: &AttachRequest<'_>) -> Result<Self, AttachError> {
        let mut wanted = vec![Signal::Interrupt, Signal::Quit, Signal::Terminate, Signal::Hangup];
        if request.terminal.is_some() {
            wanted.extend([Signal::WindowChange, Signal::Suspend, Signal::Continue]);
        }
        Signals::catch(&wanted).map(Self).map_err(AttachError::io("catch signals"))
    }
}

/// Somebody who may have a word for the person while their process runs.
pub trait Aside {
    /// What becomes readable when there is one; none if nothing more comes.
    fn watched(&self) -> Option<BorrowedFd<'_>>;
    /// Listens, and passes it on. `raw`: the person's terminal is in raw mode.
    fn listen(&mut self, raw: bool);
    /// It was said that the container is gone.
    fn is_over(&self) -> bool {
        false
    }
}

/// This side of an attach, ready before the other side is: signals are caught, pipes are made.
pub struct Prepared<'a> {
    request: &'a AttachRequest<'a>,
    plumbing: Plumbing,
    agent: Option<AgentDoor>,
    signals: Caught,
    aside: Option<Box<dyn Aside + 'a>>,
}

impl<'a> Prepared<'a> {
    /// Gets ready. From here on this process's signals are caught.
    pub fn new(request: &'a AttachRequest<'a>) -> Result<Self, AttachError> {
        Self::with_signals(request, Caught::new(request)?, OwnPipes::Pass)
    }

    fn with_signals(
        request: &'a AttachRequest<'a>,
        signals: Caught,
        of_ours: OwnPipes,
    ) -> Result<Self, AttachError> {
        let agent = match &request.agent {
            Some(socket) => {
                Some(AgentDoor::new(socket.clone()).map_err(AttachError::io("watch the key agent"))?)
            }
            None => None,
        };
        Ok(Self { request, plumbing: Plumbing::new(request, of_ours)?, agent, signals, aside: None })
    }

    /// Lets somebody have a word meanwhile.
    pub fn with_aside(self, aside: Box<dyn Aside + 'a>) -> Self {
        Self { aside: Some(aside), ..self }
    }

    /// The start request.
    pub fn request(&self) -> Start {
        let request = self.request;
        Start {
            program: request.program.clone(),
            run_as: request.run_as,
            cwd: request.cwd.clone(),
            env: request.env.clone(),
            streams: self.plumbing.streams.clone(),
            agent: self.agent.is_some(),
            x11: request.x11.clone(),
        }
    }

    /// The descriptors that go with the start request.
    pub fn take_passed(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.plumbing.passed).into_iter().map(Passable::into_inner).collect()
    }

    /// Waits until something can be read from `other`, as long as nobody asks this process to end and the client is there.
    pub fn wait_for(&mut self, other: BorrowedFd<'_>) -> Result<(), AttachError> {
        let mut pipes: Vec<&OwnedFd> = self.plumbing.watched.iter().collect();
        let watches = !pipes.is_empty();
        loop {
            let mut fds = vec![
                PollFd::from_borrowed_fd(other, PollFlags::IN),
                PollFd::from_borrowed_fd(self.signals.0.as_fd(), PollFlags::IN),
            ];
            fds.extend(pipes.iter().copied().map(|pipe| PollFd::new(pipe, PollFlags::empty())));
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(AttachError::io("wait for an answer")(errno)),
            }
            let readable = !fds[0].revents().is_empty();
            // One that has lost its reader would say so again and again.
            pipes = pipes
                .into_iter()
                .zip(&fds[2..])
                .filter(|(_, fd)| fd.revents().is_empty())
                .map(|(pipe, _)| pipe)
                .collect();
            if watches && pipes.is_empty() {
                return Err(AttachError::Interrupted(Signal::Hangup));
            }
            while let Some(signal) = self.signals.0.take() {
                match signal {
                    Signal::WindowChange | Signal::Suspend | Signal::Continue => {}
                    signal => return Err(AttachError::Interrupted(signal)),
                }
            }
            if readable {
                return Ok(());
            }
        }
    }

    /// Starts the process over a channel whose guest has been greeted, and sees it to its end.
    pub(super) fn start(mut self, mut channel: HostChannel) -> Result<Exit, AttachError> {
        let start = ToGuest::Start(Box::new(self.request()));
        let passed = self.take_passed();
        channel.queue(&start, passed).map_err(AttachError::Guest)?;
        self.go_on(channel)
    }

    /// Sees a process to its end that somebody else has started, with the descriptors of this side.
    pub fn go_on(self, channel: HostChannel) -> Result<Exit, AttachError> {
        Conversation::new(channel, self).run()
    }
}

/// Runs one process over a channel to a stand-in for a guest that has been greeted. Nothing of this process is passed.
pub(super) fn run(
    channel: HostChannel,
    request: &AttachRequest<'_>,
    signals: Caught,
) -> Result<Exit, AttachError> {
    Prepared::with_signals(request, signals, OwnPipes::Stay)?.start(channel)
}

/// Where the conversation stands.
#[derive(Debug)]
enum Phase {
    /// The request is under way.
    Starting,
    /// The process runs.
    Running,
    /// It has ended, or the guest has gone; what was written before is still passed on.
    Ending(Result<Exit, AttachError>),
}

struct Conversation<'a> {
    request: &'a AttachRequest<'a>,
    channel: HostChannel,
    channel_open: bool,
    signals: Signals,
    impatience: Vec<Instant>,
    phase: Phase,
    deadline: Option<Instant>,
    stdin: Option<Pump>,
    stdout: Option<Pump>,
    stderr: Option<Pump>,
    terminal: Option<OwnedFd>,
    window: Window,
    raw_mode: Option<RawMode>,
    agent: Option<AgentDoor>,
    /// This process's own pipes for output; when nobody reads any of them any more, the client is gone.
    readers: Vec<OwnedFd>,
    aside: Option<Box<dyn Aside + 'a>>,
}

/// What a poll entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watched {
    Channel,
    Signals,
    Source(Stream),
    Sink(Stream),
    /// The pipe of that place among those whose readers are watched.
    Reader(usize),
    Aside,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Stdin,
    Stdout,
    Stderr,
}

impl<'a> Conversation<'a> {
    fn new(channel: HostChannel, prepared: Prepared<'a>) -> Self {
        let Prepared { request, plumbing, agent, signals, aside } = prepared;
        let Plumbing { streams: _, passed: _, stdin, stdout, stderr, terminal, watched } = plumbing;
        Self {
            request,
            channel,
            channel_open: true,
            signals: signals.0,
            impatience: Vec::new(),
            phase: Phase::Starting,
            deadline: Some(Instant::now() + START),
            stdin,
            stdout,
            stderr,
            terminal,
            readers: watched,
            window: plumbing::window(request),
            raw_mode: None,
            agent,
            aside,
        }
    }

    fn run(mut self) -> Result<Exit, AttachError> {
        loop {
            if self.channel_open {
                match self.channel.flush() {
                    Ok(_) => {}
                    // Its last words may still be there to be read.
                    Err(WireError::Closed) => {}
                    Err(error) => return Err(AttachError::Guest(error)),
                }
            }
            if matches!(self.phase, Phase::Ending(_)) && self.stdout.is_none() && self.stderr.is_none() {
                break;
            }
            let events = self.wait()?;
            if events.is_empty() && self.limit() == Some(Duration::ZERO) {
                match self.phase {
                    Phase::Ending(_) => break,
                    _ => return Err(AttachError::Guest(WireError::TimedOut)),
                }
            }
            // The last first, so that taking one of several out leaves the numbers of the others as they are.
            for (watched, flags) in events.into_iter().rev() {
                self.event(watched, flags)?;
            }
            self.pump(Stream::Stdout)?;
            self.pump(Stream::Stderr)?;
            self.pump(Stream::Stdin)?;
        }
        match self.phase {
            Phase::Ending(outcome) => outcome,
            Phase::Starting | Phase::Running => Err(AttachError::Lost),
        }
    }

    /// Waits until something can be done, and says what.
    fn wait(&self) -> Result<Vec<(Watched, PollFlags)>, AttachError> {
        let mut watched: Vec<(Watched, BorrowedFd<'_>, PollFlags)> = Vec::with_capacity(8);
        if self.channel_open {
            let mut flags = PollFlags::IN;
            flags.set(PollFlags::OUT, self.channel.wants_write());
            watched.push((Watched::Channel, self.channel.as_fd(), flags));
        }
        watched.push((Watched::Signals, self.signals.as_fd(), PollFlags::IN));
        let mut busy = false;
        for (stream, pump) in
            [(Stream::Stdin, &self.stdin), (Stream::Stdout, &self.stdout), (Stream::Stderr, &self.stderr)]
        {
            let Some(pump) = pump.as_ref().filter(|_| self.flows(stream)) else { continue };
            busy |= pump.can_run();
            if let Some((fd, flags)) = pump.source_interest() {
                watched.push((Watched::Source(stream), fd, flags));
            }
            let (fd, flags) = pump.sink_interest();
            watched.push((Watched::Sink(stream), fd, flags));
        }
        for (index, pipe) in self.readers.iter().enumerate() {
            // That nobody reads is told unasked.
            watched.push((Watched::Reader(index), pipe.as_fd(), PollFlags::empty()));
        }
        if let Some(fd) = self.aside.as_ref().and_then(|aside| aside.watched()) {
            watched.push((Watched::Aside, fd, PollFlags::IN));
        }
        let limit = if busy { Some(Duration::ZERO) } else { self.limit() };
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        let mut fds: Vec<PollFd<'_>> =
            watched.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        match poll(&mut fds, limit.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Vec::new()),
            Err(errno) => return Err(AttachError::io("wait for input")(errno)),
        }
        Ok(watched
            .iter()
            .zip(&fds)
            .map(|((watched, ..), fd)| (*watched, fd.revents()))
            .filter(|(_, flags)| !flags.is_empty())
            .collect())
    }

    /// How long to wait at most.
    fn limit(&self) -> Option<Duration> {
        let left = self.deadline?.saturating_duration_since(Instant::now());
        match self.phase {
            // A consumer that takes its time is waited for; a guest that is done is not.
            Phase::Ending(_) => self.stdout.as_ref().is_some_and(Pump::waits_for_source).then_some(left),
            _ => Some(left),
        }
    }

    /// Input is read only while there is a process to read it: what was typed too early or too late is the shell's.
    fn flows(&self, stream: Stream) -> bool {
        match stream {
            Stream::Stdin => matches!(self.phase, Phase::Running),
            Stream::Stdout | Stream::Stderr => !matches!(self.phase, Phase::Starting),
        }
    }

    fn event(&mut self, watched: Watched, flags: PollFlags) -> Result<(), AttachError> {
        match watched {
            Watched::Channel => {
                if flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                    self.listen()?;
                }
            }
            Watched::Signals => {
                while let Some(signal) = self.signals.take() {
                    self.signal(signal)?;
                }
            }
            Watched::Reader(index) => {
                self.readers.remove(index);
                if self.readers.is_empty() && !matches!(self.phase, Phase::Ending(_)) {
                    return self.leave(Signal::Hangup);
                }
            }
            Watched::Aside => {
                let raw = self.raw_mode.is_some();
                if let Some(aside) = &mut self.aside {
                    aside.listen(raw);
                }
            }
            Watched::Source(stream) => {
                if let Some(pump) = self.stream(stream) {
                    pump.source_event(flags);
                }
            }
            Watched::Sink(stream) => {
                if let Some(end) = self.stream(stream).as_mut().and_then(|pump| pump.sink_event(flags)) {
                    self.ended(stream, end)?;
                }
            }
        }
        Ok(())
    }

    fn stream(&mut self, stream: Stream) -> &mut Option<Pump> {
        match stream {
            Stream::Stdin => &mut self.stdin,
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    fn pump(&mut self, stream: Stream) -> Result<(), AttachError> {
        if !self.flows(stream) {
            return Ok(());
        }
        let ending = matches!(self.phase, Phase::Ending(_));
        let Some(pump) = self.stream(stream) else { return Ok(()) };
        let waited = pump.waits_for_source();
        let end = pump.run().map_err(|error| match (stream, error) {
            (Stream::Stdin, PumpError::Read(errno)) => AttachError::io("read standard input")(errno),
            (Stream::Stdin, PumpError::Write(errno)) => AttachError::io("write the machine's input")(errno),
            (_, PumpError::Read(errno)) => AttachError::io("read the machine's output")(errno),
            (Stream::Stdout, PumpError::Write(errno)) => AttachError::io("write standard output")(errno),
            (Stream::Stderr, PumpError::Write(errno)) => AttachError::io("write standard error")(errno),
        })?;
        if ending && !waited && self.terminal.is_some() {
            // It goes on: the next piece has its own time.
            self.deadline = Some(Instant::now() + LAST_OUTPUT);
        }
        match end {
            Some(end) => self.ended(stream, end),
            None => Ok(()),
        }
    }

    /// A stream is over. Dropping its pump closes this side's ends, which the process inside sees as the end of its input or
    /// as a reader that has gone.
    fn ended(&mut self, stream: Stream, end: Ended) -> Result<(), AttachError> {
        *self.stream(stream) = None;
        if let Some(terminal) = &self.terminal {
            match (stream, end) {
                // In raw mode no key is an end: the person's terminal is gone. That may be seen before the signal comes, and
                // the shell inside must not take it for an orderly end, which spares its jobs.
                (Stream::Stdin, Ended::Source) if self.raw_mode.is_some() => {
                    return self.leave(Signal::Hangup);
                }
                (Stream::Stdin, Ended::Source) => {
                    // Already closed from the other side: nothing to say.
                    let _ = rustix::net::shutdown(terminal, Shutdown::Write);
                }
                // The person's terminal is gone.
                (Stream::Stdout, Ended::Sink) => return self.leave(Signal::Hangup),
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads once from the guest and acts on what it said.
    fn listen(&mut self) -> Result<(), AttachError> {
        match self.channel.read() {
            Ok(Received::Nothing) => Ok(()),
            Ok(Received::Some) => {
                while let Some(message) = self.channel.next().map_err(AttachError::Guest)? {
                    self.message(message)?;
                    if !self.channel_open {
                        break;
                    }
                }
                Ok(())
            }
            Ok(Received::End) | Err(WireError::Closed) => self.finish(Err(AttachError::Lost)),
            Err(error) => Err(AttachError::Guest(error)),
        }
    }

    fn message(&mut self, message: FromGuest) -> Result<(), AttachError> {
        match (message, &self.phase) {
            (FromGuest::Started { .. }, Phase::Starting) => {
                self.phase = Phase::Running;
                self.deadline = None;
                self.enter_raw_mode()
            }
            (FromGuest::Failed(failure), Phase::Starting) => {
                Err(AttachError::Refused { kind: failure.kind, text: failure.text })
            }
            (FromGuest::Exited(exit), Phase::Running) => self.finish(Ok(exit)),
            (FromGuest::AgentWanted { id }, Phase::Running) => self.agent_wanted(id),
            (FromGuest::Hello { .. }, _) => Err(AttachError::Protocol("it greeted twice")),
            _ => Err(AttachError::Protocol("it sent a message that does not belong there")),
        }
    }

    fn agent_wanted(&mut self, id: u32) -> Result<(), AttachError> {
        let door =
            self.agent.as_mut().ok_or(AttachError::Protocol("it asked for an agent that was not offered"))?;
        let (answer, passed) = match door.ask() {
            Asked::Opened(connection) => (ToGuest::AgentOpened { id }, vec![connection.into_inner()]),
            Asked::Refused => (ToGuest::AgentRefused { id }, Vec::new()),
            Asked::Abuse => return Err(AttachError::Protocol("it asked for too many agent connections")),
        };
        // The queue has a limit of its own: a guest that asks and never listens ends here.
        self.channel.queue(&answer, passed).map_err(AttachError::Guest)
    }

    /// The process has ended or the guest is gone: no more input, and of the output what is there.
    fn finish(&mut self, outcome: Result<Exit, AttachError>) -> Result<(), AttachError> {
        if matches!(self.phase, Phase::Starting) {
            return Err(outcome.err().unwrap_or(AttachError::Protocol("the process ended before it began")));
        }
        self.phase = Phase::Ending(outcome);
        self.channel_open = false;
        self.stdin = None;
        if self.terminal.is_some() {
            // The guest closes its end after the last output.
            self.deadline = Some(Instant::now() + LAST_OUTPUT);
            return Ok(());
        }
        for pump in [&mut self.stdout, &mut self.stderr].into_iter().flatten() {
            pump.drain().map_err(AttachError::io("read the machine's output"))?;
        }
        Ok(())
    }

    fn signal(&mut self, signal: Signal) -> Result<(), AttachError> {
        match (signal, &self.phase) {
            (Signal::WindowChange, _) => self.resize(),
            (Signal::Suspend, _) => {
                if let Some(raw_mode) = &self.raw_mode {
                    let _ = raw_mode.suspend();
                }
                signals::stop_this_process();
                self.resume()
            }
            (Signal::Continue, _) => self.resume(),
            // With a terminal the keys arrive as bytes; a signal comes from elsewhere and means this process.
            (Signal::Interrupt | Signal::Quit | Signal::Terminate, Phase::Running)
                if self.terminal.is_none() =>
            {
                let now = Instant::now();
                self.impatience.retain(|before| now.duration_since(*before) < IMPATIENCE);
                self.impatience.push(now);
                if self.impatience.len() >= IMPATIENT {
                    return self.leave(signal);
                }
                self.channel.queue(&ToGuest::Signal(signal.number()), Vec::new()).map_err(AttachError::Guest)
            }
            _ => self.leave(signal),
        }
    }

    /// Ends this side. The guest sees its client go and does what is due then.
    fn leave(&mut self, signal: Signal) -> Result<(), AttachError> {
        Err(AttachError::Interrupted(signal))
    }

    fn enter_raw_mode(&mut self) -> Result<(), AttachError> {
        if self.terminal.is_some() {
            let raw_mode = match (self.request.stdin, self.request.stdout) {
                (Some(stdin), _) if terminal::is_terminal(stdin) => Some(RawMode::enter(stdin)),
                // The terminal inside has ended the lines already.
                (None, stdout) if terminal::is_terminal(stdout) => Some(RawMode::output(stdout)),
                _ => None,
            };
            self.raw_mode = raw_mode.transpose().map_err(AttachError::io("set up the terminal"))?;
        }
        // It may have changed since the request was written.
        self.resize()
    }

    fn resume(&mut self) -> Result<(), AttachError> {
        if let Some(raw_mode) = &self.raw_mode {
            raw_mode.resume().map_err(AttachError::io("set up the terminal"))?;
        }
        self.resize()
    }

    fn resize(&mut self) -> Result<(), AttachError> {
        let window = plumbing::window(self.request);
        if self.terminal.is_some() && matches!(self.phase, Phase::Running) && window != self.window {
            self.window = window;
            self.channel.queue(&ToGuest::Resize(window), Vec::new()).map_err(AttachError::Guest)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use podspawn_wire::{Program, RunAs};

    use super::*;

    #[test]
    fn while_an_answer_is_awaited_the_client_is_gone_with_the_last_reader() {
        let (answer, mut other) = std::io::pipe().unwrap();
        let (read_out, stdout) = std::io::pipe().unwrap();
        let (read_err, stderr) = std::io::pipe().unwrap();
        let request = AttachRequest {
            program: Program::Shell { login: false },
            run_as: RunAs::User,
            cwd: None,
            env: Vec::new(),
            terminal: None,
            agent: None,
            stdin: None,
            stdout: stdout.as_fd(),
            stderr: stderr.as_fd(),
            own_pipes: true,
            x11: None,
        };
        let mut prepared = Prepared::new(&request).unwrap();
        drop(read_out);
        std::io::Write::write_all(&mut other, b"x").unwrap();
        prepared.wait_for(answer.as_fd()).unwrap();
        std::io::Read::read_exact(&mut &answer, &mut [0]).unwrap();
        drop(read_err);
        let gone = prepared.wait_for(answer.as_fd());
        assert!(matches!(gone, Err(AttachError::Interrupted(Signal::Hangup))), "{gone:?}");
    }
}
