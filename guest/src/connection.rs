//! One connection of the host: a conversation about one process.
//!
//! Fresh → greeted → running → closing. Whatever does not fit the conversation ends it; what is due to the process then is
//! decided by the owner of all connections, `sessions`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use podspawn_wire::{
    Exit, Failure, FailureKind, FromGuest, GuestChannel, PROTOCOL, Received, Start, Streams, ToGuest,
    USER_DIR,
};

use crate::agent::Agent;
use crate::keeper::Keeper;
use crate::provision::Ready;
use crate::pty;
use crate::reactor::{Interest, Key, Owner, Reactor, Timer};
use crate::signal::{Target, send};
use crate::spawn::{Outcome, outcome, spawn};
use crate::start::{self, Base, failure};
use crate::terminal::Terminal;
use crate::x11::{self, Authority};

/// Parts of a connection in keys; from 16 on they are the agent's.
pub(crate) mod part {
    pub(crate) const CHANNEL: u32 = 0;
    pub(crate) const REPORT: u32 = 1;
    pub(crate) const MASTER: u32 = 2;
    pub(crate) const CLIENT: u32 = 3;
    pub(crate) const AGENT: u32 = 4;
    pub(crate) const DEADLINE: u32 = 5;
    pub(crate) const KILL: u32 = 6;
}

/// How long a client may take for its first word.
const HELLO: Duration = Duration::from_secs(5);
/// How long it may then take to ask for a process.
const START: Duration = Duration::from_secs(30);
/// How long it may take to fetch the end and close.
const LINGER: Duration = Duration::from_secs(5);

/// The process of a connection.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) uid: u32,
    request: Box<Start>,
    /// Until it is known how the start went.
    report: Option<OwnedFd>,
    terminal: Option<Terminal>,
    exit: Option<Exit>,
}

#[derive(Debug)]
enum State {
    Fresh,
    Greeted,
    Running(Process),
    /// The last message is on its way; the client's end of the terminal stays open until the client has read it.
    Closing,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    id: u32,
    channel: GuestChannel,
    interest: Interest,
    state: State,
    deadline: Option<Timer>,
    agent: Option<Agent>,
    x11: Option<Authority>,
    terminal_left: Option<Terminal>,
}

impl Connection {
    pub(crate) fn new(reactor: &mut Reactor, id: u32, socket: OwnedFd) -> std::io::Result<Self> {
        let channel = GuestChannel::new(socket);
        reactor.add(&channel, Key::new(Owner::Session, id, part::CHANNEL), Interest::READ)?;
        let mut connection = Self {
            id,
            channel,
            interest: Interest::READ,
            state: State::Fresh,
            deadline: None,
            agent: None,
            x11: None,
            terminal_left: None,
        };
        connection.set_deadline(reactor, Some(HELLO));
        Ok(connection)
    }

    fn key(&self, part: u32) -> Key {
        Key::new(Owner::Session, self.id, part)
    }

    fn set_deadline(&mut self, reactor: &mut Reactor, delay: Option<Duration>) {
        if let Some(old) = self.deadline.take() {
            reactor.cancel(old);
        }
        self.deadline = delay.map(|delay| reactor.after(delay, self.key(part::DEADLINE)));
    }

    /// The process, while it runs.
    pub(crate) fn process(&self) -> Option<&Process> {
        match &self.state {
            State::Running(process) if process.exit.is_none() => Some(process),
            _ => None,
        }
    }

    /// A descriptor is ready; false if the connection is at its end.
    pub(crate) fn ready(
        &mut self,
        reactor: &mut Reactor,
        base: &Base,
        provisioned: &Result<Ready, String>,
        part: u32,
        readable: bool,
    ) -> bool {
        let alive = match part {
            part::CHANNEL if readable => self.read(reactor, base, provisioned),
            part::CHANNEL => true,
            part::REPORT => self.started(reactor),
            part::MASTER | part::CLIENT => self.pump(reactor),
            part::AGENT => self.agents(reactor),
            _ => {
                if let Some(agent) = &mut self.agent {
                    agent.ready(reactor, part);
                }
                true
            }
        };
        alive && self.flush(reactor)
    }

    fn flush(&mut self, reactor: &mut Reactor) -> bool {
        let Ok(empty) = self.channel.flush() else { return false };
        let interest = Interest { read: true, write: !empty };
        if interest != self.interest {
            self.interest = interest;
            return reactor.change(&self.channel, self.key(part::CHANNEL), interest).is_ok();
        }
        true
    }

    fn read(&mut self, reactor: &mut Reactor, base: &Base, provisioned: &Result<Ready, String>) -> bool {
        match self.channel.read() {
            Ok(Received::Some) => {}
            Ok(Received::Nothing) => return true,
            Ok(Received::End) | Err(_) => return false,
        }
        loop {
            match self.channel.next() {
                Ok(Some((message, descriptors))) => {
                    if !self.message(reactor, base, provisioned, message, descriptors) {
                        return false;
                    }
                }
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    fn message(
        &mut self,
        reactor: &mut Reactor,
        base: &Base,
        provisioned: &Result<Ready, String>,
        message: ToGuest,
        mut descriptors: Vec<OwnedFd>,
    ) -> bool {
        match (&mut self.state, message) {
            (State::Fresh, ToGuest::Hello { protocol }) => self.hello(reactor, provisioned, protocol),
            (State::Greeted, ToGuest::Start(request)) => {
                match self.start(reactor, base, request, descriptors) {
                    Ok(()) => true,
                    Err(failure) => self.fail(reactor, failure),
                }
            }
            (State::Running(process), ToGuest::Resize(window)) => {
                if let Some(terminal) = &process.terminal {
                    terminal.resize(window);
                }
                true
            }
            (State::Running(process), ToGuest::Signal(signal)) => {
                process.signal(signal);
                true
            }
            (State::Running(_), ToGuest::AgentOpened { id }) => {
                match (&mut self.agent, descriptors.pop()) {
                    (Some(agent), Some(remote)) if start::is_unix_stream(&remote) => {
                        agent.opened(reactor, id, remote);
                    }
                    (Some(agent), _) => agent.refused(reactor, id),
                    (None, _) => {}
                }
                true
            }
            (State::Running(_), ToGuest::AgentRefused { id }) => {
                if let Some(agent) = &mut self.agent {
                    agent.refused(reactor, id);
                }
                true
            }
            // What crosses with the last message on its way out is too late and does no harm.
            (State::Closing, _) => true,
            (State::Fresh, _) => self.fail(
                reactor,
                failure(FailureKind::Protocol, "the first message must say which protocol it speaks"),
            ),
            (State::Greeted, _) => {
                self.fail(reactor, failure(FailureKind::Request, "there is no process yet"))
            }
            // A second start or greeting: the other side has lost count, and so has its process.
            (State::Running(_), ToGuest::Hello { .. } | ToGuest::Start(_)) => false,
        }
    }

    fn hello(&mut self, reactor: &mut Reactor, provisioned: &Result<Ready, String>, protocol: u16) -> bool {
        if protocol != PROTOCOL {
            let text = format!("the guest speaks protocol {PROTOCOL}, not {protocol}");
            return self.fail(reactor, failure(FailureKind::Protocol, text));
        }
        match provisioned {
            Err(text) => self.fail(reactor, failure(FailureKind::Provision, text.clone())),
            Ok(ready) => {
                self.state = State::Greeted;
                self.set_deadline(reactor, Some(START));
                let (shell, warnings) = (ready.user.shell.clone(), ready.warnings.clone());
                self.channel.queue(&FromGuest::Hello { protocol: PROTOCOL, shell, warnings }).is_ok()
            }
        }
    }

    fn start(
        &mut self,
        reactor: &mut Reactor,
        base: &Base,
        request: Box<Start>,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), Failure> {
        let lacking = |what: &str, error: std::io::Error| {
            failure(FailureKind::Resources, format!("{what} could not be had: {error}"))
        };
        start::check_descriptors(&descriptors)?;
        let identity = start::identity(base, request.run_as);
        let uid = identity.uid;
        if request.agent {
            let directory = Path::new(USER_DIR).join(format!("agent-{}", self.id));
            let agent = Agent::new(directory, uid, identity.gid, self.id, self.key(part::AGENT))
                .map_err(|error| lacking("an agent socket", error))?;
            self.agent = Some(agent);
        }
        if let Some(wanted) = &request.x11 {
            x11::check(wanted).map_err(|text| failure(FailureKind::Request, text))?;
            let system = rustix::system::uname();
            let host = system.nodename().to_string_lossy();
            let directory = x11::directory(USER_DIR, self.id);
            let authority = Authority::new(directory, uid, identity.gid, wanted, &host)
                .map_err(|error| lacking("a file for the X cookie", error))?;
            self.x11 = Some(authority);
        }
        let agent = self.agent.as_ref().map(Agent::path);
        let (mut terminal, mut commands) = (None, None);
        let stdio = match (&request.streams, &descriptors[..]) {
            (Streams::Terminal { window, .. }, _) => {
                let client = descriptors.into_iter().next();
                let client = client
                    .ok_or_else(|| failure(FailureKind::Request, "the terminal's socket is missing"))?;
                rustix::io::ioctl_fionbio(&client, true)
                    .map_err(|error| lacking("the terminal's socket", error.into()))?;
                let pty = pty::open(*window, uid, start::terminal_group(&identity))
                    .map_err(|error| lacking("a terminal", error.into()))?;
                let keys = (self.key(part::MASTER), self.key(part::CLIENT));
                let keeper = match base.keepers.then(Keeper::pipe).transpose() {
                    Ok(Some((keeper, end))) => {
                        commands = Some(end);
                        Some(keeper)
                    }
                    Ok(None) => None,
                    Err(errno) => return Err(lacking("a terminal", errno.into())),
                };
                let terminal = terminal.insert(Terminal::new(pty, client, keys, keeper));
                let slave = terminal.slave().try_clone().map_err(|error| lacking("a terminal", error))?;
                vec![slave]
            }
            (Streams::Pipes, _) => descriptors,
        };
        let streams = match &stdio[..] {
            [slave] => [slave.as_fd(); 3],
            three => start::three(three)
                .ok_or_else(|| failure(FailureKind::Request, "the standard streams are missing"))?,
        };
        let mut command = start::command(base, &request, identity, agent, self.x11.as_ref(), streams)?;
        command.keeper = commands.as_ref().map(AsFd::as_fd);
        let child = spawn(&command).map_err(|error| lacking("a process", error))?;
        drop(command);
        self.set_deadline(reactor, None);
        let watched = reactor.add(&child.report, self.key(part::REPORT), Interest::READ);
        let mut process =
            Process { pid: child.pid, uid, request, report: Some(child.report), terminal, exit: None };
        if let Some(terminal) = &mut process.terminal {
            terminal.pump(reactor);
        }
        self.state = State::Running(process);
        watched.map_err(|error| lacking("an event", error))
    }

    /// The report of the start may have come.
    fn started(&mut self, reactor: &mut Reactor) -> bool {
        match self.outcome() {
            None | Some(Outcome::Pending) => true,
            Some(outcome) => self.tell_start(reactor, outcome),
        }
    }

    /// How the start went, as long as that is not told.
    fn outcome(&self) -> Option<Outcome> {
        match &self.state {
            State::Running(process) => process.report.as_ref().map(outcome),
            _ => None,
        }
    }

    fn tell_start(&mut self, reactor: &mut Reactor, outcome: Outcome) -> bool {
        let State::Running(process) = &mut self.state else { return true };
        if let Some(report) = process.report.take() {
            reactor.remove(&report);
        }
        if let Outcome::Failed(step, errno) = outcome {
            let failure = start::failed(&process.request, step, errno);
            return self.fail(reactor, failure);
        }
        if let Some(agent) = &mut self.agent {
            // Not before: the host gives an agent only to what has started.
            agent.watch(reactor);
        }
        self.channel.queue(&FromGuest::Started { pid: process.pid }).is_ok()
    }

    /// The process has ended.
    pub(crate) fn exited(&mut self, reactor: &mut Reactor, exit: Exit) -> bool {
        // How the start went is known at the latest now, and is told first. What has ended without a word of failure has run,
        // also where somebody still holds the other end of the report.
        let told = match self.outcome() {
            None => true,
            Some(Outcome::Pending) => self.tell_start(reactor, Outcome::Running),
            Some(outcome) => self.tell_start(reactor, outcome),
        };
        if !told {
            return false;
        }
        if let State::Running(process) = &mut self.state {
            process.exit = Some(exit);
            if let Some(terminal) = &mut process.terminal {
                terminal.finish();
            }
        }
        self.pump(reactor) && self.flush(reactor)
    }

    /// Copies the terminal; tells the end once the process has ended and its output is out.
    fn pump(&mut self, reactor: &mut Reactor) -> bool {
        let State::Running(process) = &mut self.state else { return true };
        let complete = process.terminal.as_mut().is_none_or(|terminal| terminal.pump(reactor));
        match process.exit {
            Some(exit) if complete => {
                self.terminal_left = process.terminal.take();
                self.close(reactor, &FromGuest::Exited(exit))
            }
            _ => true,
        }
    }

    fn agents(&mut self, reactor: &mut Reactor) -> bool {
        let Some(agent) = &mut self.agent else { return true };
        agent.accept(reactor).into_iter().all(|id| self.channel.queue(&FromGuest::AgentWanted { id }).is_ok())
    }

    fn fail(&mut self, reactor: &mut Reactor, mut failure: Failure) -> bool {
        failure.text = failure.text.chars().take(1000).collect();
        self.close(reactor, &FromGuest::Failed(failure))
    }

    fn close(&mut self, reactor: &mut Reactor, last: &FromGuest) -> bool {
        if let State::Running(Process { terminal: Some(terminal), .. }) = &mut self.state {
            terminal.release(reactor);
        }
        if let Some(terminal) = &mut self.terminal_left {
            terminal.release(reactor);
        }
        self.state = State::Closing;
        if let Some(agent) = self.agent.take() {
            agent.close(reactor);
        }
        self.x11 = None;
        self.set_deadline(reactor, Some(LINGER));
        self.channel.queue(last).is_ok()
    }

    /// Ends everything on this side; gives the process if it still runs, and whether it has a terminal, which this hangs up.
    pub(crate) fn release(mut self, reactor: &mut Reactor) -> Option<Left> {
        reactor.remove(&self.channel);
        self.set_deadline(reactor, None);
        if let Some(agent) = self.agent.take() {
            agent.close(reactor);
        }
        if let Some(terminal) = &self.terminal_left {
            // Ended with something unread, the socket would take what the client has not fetched yet with it.
            terminal.discard_input();
        }
        let State::Running(mut process) = self.state else { return None };
        if let Some(report) = &process.report {
            reactor.remove(report);
        }
        if let Some(terminal) = &mut process.terminal {
            terminal.release(reactor);
        }
        let running = process.exit.is_none();
        running.then_some(Left { pid: process.pid, uid: process.uid, terminal: process.terminal.is_some() })
    }
}

/// A process whose client has gone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Left {
    pub(crate) pid: i32,
    pub(crate) uid: u32,
    pub(crate) terminal: bool,
}

impl Process {
    /// To the group in the terminal's foreground, or the process's own.
    pub(crate) fn signal(&self, signal: i32) {
        if self.exit.is_some() {
            return;
        }
        if self.terminal.as_ref().is_none_or(|terminal| !terminal.signal(signal, self.uid)) {
            send(Target::Leader(self.pid), signal, self.uid);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use podspawn_wire::{HostChannel, Program, RunAs};
    use rustix::pipe::{PipeFlags, pipe_with};
    use rustix::process::{getgid, getuid};

    use super::*;
    use crate::reactor::Event;

    const PID: i32 = i32::MAX;

    /// A connection whose process was forked, the host's end of it, and the one that the report of the start comes from.
    fn forked(reactor: &mut Reactor) -> (Connection, HostChannel, OwnedFd) {
        let (ours, host) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        host.set_nonblocking(true).unwrap();
        let mut connection = Connection::new(reactor, 1, ours.into()).unwrap();
        connection.set_deadline(reactor, None);
        let (report, tell) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        reactor.add(&report, connection.key(part::REPORT), Interest::READ).unwrap();
        let request = Start {
            program: Program::Argv(vec!["true".into()]),
            run_as: RunAs::User,
            cwd: None,
            env: Vec::new(),
            streams: Streams::Pipes,
            agent: false,
            x11: None,
        };
        connection.state = State::Running(Process {
            pid: PID,
            uid: getuid().as_raw(),
            request: Box::new(request),
            report: Some(report),
            terminal: None,
            exit: None,
        });
        (connection, HostChannel::new(host.into()), tell)
    }

    fn told(host: &mut HostChannel) -> Vec<FromGuest> {
        let _ = host.read().unwrap();
        std::iter::from_fn(|| host.next().unwrap()).collect()
    }

    #[test]
    fn the_end_is_told_after_the_start_also_where_the_report_is_held_open() {
        let mut reactor = Reactor::new().unwrap();
        let (mut connection, mut host, _held) = forked(&mut reactor);
        assert!(connection.exited(&mut reactor, Exit::Code(3)));
        assert_eq!(told(&mut host), [FromGuest::Started { pid: PID }, FromGuest::Exited(Exit::Code(3))]);
    }

    #[test]
    fn an_agent_is_asked_for_after_the_start_is_told() {
        let mut reactor = Reactor::new().unwrap();
        let (mut connection, mut host, tell) = forked(&mut reactor);
        let directory = std::env::temp_dir().join(format!("podspawn-agent-{}", std::process::id()));
        let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
        let agent = Agent::new(directory, uid, gid, 1, connection.key(part::AGENT)).unwrap();
        let _client = UnixStream::connect(agent.path()).unwrap();
        connection.agent = Some(agent);
        drop(tell);
        let mut events = Vec::new();
        let mut messages = Vec::new();
        while messages.len() < 2 {
            reactor.after(Duration::from_secs(10), connection.key(part::KILL));
            reactor.wait(&mut events).unwrap();
            // As they come at worst: the report last.
            for event in events.drain(..).rev() {
                let Event::Ready { key, .. } = event else { panic!("{messages:?} and then nothing") };
                let alive = match key.part {
                    part::REPORT => connection.started(&mut reactor),
                    _ => connection.agents(&mut reactor),
                };
                assert!(alive && connection.flush(&mut reactor));
            }
            messages.extend(told(&mut host));
        }
        assert_eq!(messages, [FromGuest::Started { pid: PID }, FromGuest::AgentWanted { id: 0 }]);
        connection.release(&mut reactor);
    }
}
