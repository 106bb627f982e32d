//! A small client of the wire for both ways: through the socket with descriptors, and through the engine with frames.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use podspawn_wire::{
    Decoder, Exit, Failure, Frame, FromGuest, HostChannel, MAX_DATA, PROTOCOL, Program, RunAs, SendWindow,
    Start, StreamId, Streams, ToGuest, Window, encode,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;

use crate::support::{Engine, Machine};

/// How a machine is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Direct,
    Engine,
}

/// The ways that exist for an engine.
pub fn ways(engine: Engine) -> &'static [Way] {
    match engine {
        Engine::Gvisor => &[Way::Engine],
        _ => &[Way::Direct, Way::Engine],
    }
}

/// Longest wait for anything.
const LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub enum Heard {
    Out(Vec<u8>),
    Err(Vec<u8>),
    Control(FromGuest),
    /// The window of standard input has grown.
    Room,
    OutEnd,
    ErrEnd,
    Closed,
}

enum Link {
    Direct {
        channel: HostChannel,
        stdin: Option<OwnedFd>,
        terminal: bool,
    },
    Engine {
        child: Child,
        frames: Option<Sender<Frame<'static, ToGuest>>>,
        window: Arc<(Mutex<SendWindow>, Condvar)>,
    },
}

/// One conversation.
pub struct Session {
    link: Link,
    heard: Receiver<Heard>,
    tell: Sender<Heard>,
    pub out: Vec<u8>,
    pub err: Vec<u8>,
    pub controls: Vec<FromGuest>,
    open_outputs: u8,
}

/// How a process went.
#[derive(Debug)]
pub struct Ran {
    pub exit: Exit,
    pub out: String,
    pub err: String,
}

/// A request with the defaults of a plain command.
pub fn sh(line: &str) -> Start {
    start(Program::CommandLine(line.into()))
}

pub fn start(program: Program) -> Start {
    let streams = Streams::Pipes;
    Start { program, run_as: RunAs::User, cwd: None, env: vec![], streams, agent: false, x11: None }
}

/// The same on a terminal.
pub fn on_terminal(program: Program, rows: u16, cols: u16) -> Start {
    let streams = Streams::Terminal { term: "xterm-256color".into(), window: Window { rows, cols } };
    Start { streams, ..start(program) }
}

/// Path of the guest's socket on this host.
pub fn socket(machine: &Machine) -> PathBuf {
    format!("/proc/{}/root/run/podspawn/guest.sock", machine.pid()).into()
}

/// A connection to the guest's socket as soon as it is there.
pub fn connect(machine: &Machine) -> UnixStream {
    let path = socket(machine);
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&watch, path.parent().unwrap(), inotify::WatchFlags::MOVED_TO).unwrap();
    loop {
        match UnixStream::connect(&path) {
            Ok(socket) => return socket,
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}"),
        }
        let limit = LIMIT.try_into().unwrap();
        assert_eq!(poll(&mut [PollFd::new(&watch, PollFlags::IN)], Some(&limit)).unwrap(), 1, "no guest");
        rustix::io::read(&watch, &mut [0; 1024]).unwrap();
    }
}

impl Session {
    /// Connects and greets.
    pub fn open(machine: &Machine, way: Way) -> Self {
        let mut session = Self::connect(machine, way);
        session.send(ToGuest::Hello { protocol: PROTOCOL });
        session.pull_until(|session| !session.controls.is_empty());
        match session.controls.remove(0) {
            FromGuest::Hello { protocol: PROTOCOL, .. } => session,
            other => panic!("greeted by {other:?}"),
        }
    }

    /// Connects and says nothing.
    pub fn connect(machine: &Machine, way: Way) -> Self {
        let (tell, heard) = channel();
        let link = match way {
            Way::Direct => {
                let socket = connect(machine);
                let reader = HostChannel::new(socket.try_clone().unwrap().into());
                let tell = tell.clone();
                thread::spawn(move || read_messages(reader, &tell));
                Link::Direct { channel: HostChannel::new(socket.into()), stdin: None, terminal: false }
            }
            Way::Engine => engine_link(machine, &tell),
        };
        Self { link, heard, tell, out: vec![], err: vec![], controls: vec![], open_outputs: 0 }
    }

    pub fn send(&mut self, message: ToGuest) {
        self.send_with(message, vec![]);
    }

    pub fn send_with(&mut self, message: ToGuest, descriptors: Vec<OwnedFd>) {
        match &mut self.link {
            Link::Direct { channel, .. } => {
                channel.send(&message, descriptors, Instant::now() + LIMIT).unwrap();
            }
            Link::Engine { frames, .. } => send_frame(frames, Frame::Control(message)),
        }
    }

    /// Asks for a process; its streams are read from now on.
    pub fn start(&mut self, start: Start) {
        let terminal_wanted = matches!(start.streams, Streams::Terminal { .. });
        self.open_outputs = if terminal_wanted { 1 } else { 2 };
        let message = ToGuest::Start(Box::new(start));
        if !matches!(self.link, Link::Direct { .. }) {
            return self.send(message);
        }
        let descriptors: Vec<OwnedFd>;
        let input: OwnedFd;
        if terminal_wanted {
            let (ours, theirs) = UnixStream::pair().unwrap();
            self.listen(ours.try_clone().unwrap(), Heard::Out, Heard::OutEnd);
            (input, descriptors) = (ours.into(), vec![theirs.into()]);
        } else {
            let ((stdin, ours), (out, stdout), (err, stderr)) =
                (std::io::pipe().unwrap(), std::io::pipe().unwrap(), std::io::pipe().unwrap());
            for end in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
                rustix::fs::fchmod(end, 0o666.into()).unwrap();
            }
            self.listen(out, Heard::Out, Heard::OutEnd);
            self.listen(err, Heard::Err, Heard::ErrEnd);
            (input, descriptors) = (ours.into(), vec![stdin.into(), stdout.into(), stderr.into()]);
        }
        self.send_with(message, descriptors);
        if let Link::Direct { stdin, terminal, .. } = &mut self.link {
            *stdin = Some(input);
            *terminal = terminal_wanted;
        }
    }

    fn listen(&self, mut from: impl Read + Send + 'static, data: fn(Vec<u8>) -> Heard, end: Heard) {
        let tell = self.tell.clone();
        thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(got @ 1..) = from.read(&mut buffer) {
                if tell.send(data(buffer[..got].to_vec())).is_err() {
                    return;
                }
            }
            let _ = tell.send(end);
        });
    }

    /// Writes to standard input or the terminal.
    pub fn write(&mut self, mut bytes: &[u8]) {
        match &mut self.link {
            Link::Direct { stdin, .. } => {
                let stdin = stdin.as_ref().unwrap();
                while !bytes.is_empty() {
                    let wrote = rustix::io::write(stdin, bytes).unwrap();
                    bytes = &bytes[wrote..];
                }
            }
            Link::Engine { frames, window, .. } => {
                for piece in bytes.chunks(MAX_DATA) {
                    let (lock, granted) = &**window;
                    let mut left = lock.lock().unwrap();
                    while left.left() < piece.len() {
                        left = granted.wait(left).unwrap();
                    }
                    left.spend(piece.len());
                    drop(left);
                    send_frame(frames, Frame::Data { stream: StreamId::Stdin, bytes: piece.to_vec().into() });
                }
            }
        }
    }

    /// Asks for a wider window of standard input; through the engine only.
    pub fn ask_for_room(&self) {
        if let Link::Engine { frames, .. } = &self.link {
            send_frame(frames, Frame::Window { stream: StreamId::Stdin, bytes: 0 });
        }
    }

    /// Bytes of standard input that may be sent now.
    pub fn room(&self) -> usize {
        match &self.link {
            Link::Direct { .. } => 0,
            Link::Engine { window, .. } => window.0.lock().unwrap().left(),
        }
    }

    /// Ends standard input.
    pub fn end_input(&mut self) {
        match &mut self.link {
            Link::Direct { stdin, terminal: false, .. } => *stdin = None,
            Link::Direct { stdin, .. } => {
                rustix::net::shutdown(stdin.as_ref().unwrap(), rustix::net::Shutdown::Write).unwrap();
            }
            Link::Engine { frames, .. } => send_frame(frames, Frame::End { stream: StreamId::Stdin }),
        }
    }

    /// Takes in what comes until a condition holds.
    pub fn pull_until(&mut self, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !done(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(left) {
                Ok(Heard::Out(bytes)) => self.out.extend(bytes),
                Ok(Heard::Err(bytes)) => self.err.extend(bytes),
                Ok(Heard::Control(message)) => {
                    let last = matches!(message, FromGuest::Exited(_) | FromGuest::Failed(_));
                    self.controls.push(message);
                    if let (true, Link::Engine { frames, .. }) = (last, &mut self.link) {
                        // Ends this side: whatever was sent now could cost what comes last.
                        frames.take();
                    }
                }
                Ok(Heard::Room) => {}
                Ok(Heard::OutEnd | Heard::ErrEnd) => self.open_outputs -= 1,
                Ok(ended @ Heard::Closed) => self.give_up(&format!("{ended:?}")),
                Err(error) => self.give_up(&error.to_string()),
            }
        }
    }

    fn give_up(&self, why: &str) -> ! {
        let last =
            |bytes: &[u8]| String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(500)..]).into_owned();
        panic!(
            "{why}; heard {:?}, {} bytes of output, the last {:?}, errors {:?}",
            self.controls,
            self.out.len(),
            last(&self.out),
            last(&self.err)
        )
    }

    /// Waits until the output holds a text (terminals: without what came before the last call).
    pub fn expect(&mut self, text: &str) -> String {
        let has = |out: &[u8]| String::from_utf8_lossy(out).find(text).map(|at| at + text.len());
        self.pull_until(|session| has(&session.out).is_some());
        let until = has(&self.out).unwrap();
        let came: Vec<u8> = self.out.drain(..until.min(self.out.len())).collect();
        String::from_utf8_lossy(&came).into_owned()
    }

    /// Waits for the process to run; its pid inside.
    pub fn started(&mut self) -> i32 {
        self.pull_until(|session| !session.controls.is_empty());
        match self.controls.remove(0) {
            FromGuest::Started { pid } => pid,
            other => panic!("not started: {other:?}"),
        }
    }

    /// Waits for the exit; the output that came before it is in `out` and `err`.
    pub fn exited(&mut self) -> Exit {
        self.pull_until(|session| matches!(session.controls.last(), Some(FromGuest::Exited(_))));
        match self.controls.last() {
            Some(FromGuest::Exited(exit)) => *exit,
            _ => unreachable!(),
        }
    }

    /// Waits for the exit of a process whose start has been seen.
    pub fn finish_started(mut self) -> Exit {
        let exit = self.exited();
        self.pull_until(|session| session.open_outputs == 0);
        exit
    }

    /// Waits for the exit and the end of all output.
    pub fn finish(mut self) -> Ran {
        self.started();
        let exit = self.exited();
        self.pull_until(|session| session.open_outputs == 0);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { exit, out: text(&self.out), err: text(&self.err) }
    }

    pub fn failed(mut self) -> Failure {
        self.pull_until(|session| !session.controls.is_empty());
        match self.controls.remove(0) {
            FromGuest::Failed(failure) => failure,
            other => panic!("not refused: {other:?}"),
        }
    }

    /// The client dies.
    pub fn vanish(mut self) {
        match &mut self.link {
            Link::Direct { channel, stdin, .. } => {
                // The reading threads hold copies: dying closes those too.
                let _ = rustix::net::shutdown(&*channel, rustix::net::Shutdown::Both);
                if let Some(stdin) = stdin {
                    let _ = rustix::net::shutdown(&*stdin, rustix::net::Shutdown::Both);
                }
            }
            Link::Engine { child, .. } => {
                child.kill().unwrap();
                child.wait().unwrap();
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Self::Engine { child, frames, .. } = self {
            frames.take();
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn read_messages(mut reader: HostChannel, tell: &Sender<Heard>) {
    while let Ok(message) = reader.receive(None) {
        if tell.send(Heard::Control(message)).is_err() {
            return;
        }
    }
    let _ = tell.send(Heard::Closed);
}

fn send_frame(frames: &Option<Sender<Frame<'static, ToGuest>>>, frame: Frame<'static, ToGuest>) {
    // A relay that has ended is noticed by what it says last.
    if let Some(frames) = frames {
        let _ = frames.send(frame);
    }
}

/// Frames on their way in. A thread of its own: the engine may stop taking them until what comes out has been read.
fn write_frames(mut stdin: ChildStdin) -> Sender<Frame<'static, ToGuest>> {
    let (sender, frames) = channel();
    thread::spawn(move || {
        for frame in frames {
            if stdin.write_all(&encode(&frame, 0).unwrap()).is_err() {
                return;
            }
        }
    });
    sender
}

fn engine_link(machine: &Machine, tell: &Sender<Heard>) -> Link {
    let args = ["exec", "-i", "-u", "0", &machine.name, "/.podspawn/guest", "relay"];
    let mut child =
        machine.engine.command(&args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let frames = write_frames(child.stdin.take().unwrap());
    let window = Arc::new((Mutex::new(SendWindow::to_be_widened()), Condvar::new()));
    let mut stdout = child.stdout.take().unwrap();
    let (mut to_relay, granted, tell) = (Some(frames.clone()), window.clone(), tell.clone());
    thread::spawn(move || {
        let mut decoder = Decoder::new();
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(got @ 1..) = stdout.read(&mut buffer) {
            decoder.push(&buffer[..got]);
            while let Some((frame, _)) = decoder.next::<Frame<'_, FromGuest>>().unwrap() {
                let heard = match frame {
                    Frame::Control(message) => {
                        if matches!(message, FromGuest::Exited(_) | FromGuest::Failed(_)) {
                            to_relay = None;
                        }
                        Heard::Control(message)
                    }
                    Frame::Data { stream, bytes } => {
                        let size = bytes.len() as u32;
                        send_frame(&to_relay, Frame::Window { stream, bytes: size });
                        let bytes = bytes.into_owned();
                        if stream == StreamId::Stdout { Heard::Out(bytes) } else { Heard::Err(bytes) }
                    }
                    Frame::End { stream: StreamId::Stdout } => Heard::OutEnd,
                    Frame::End { stream: StreamId::Stderr } => Heard::ErrEnd,
                    Frame::Window { stream: StreamId::Stdin, bytes } => {
                        granted.0.lock().unwrap().grant(bytes).unwrap();
                        granted.1.notify_all();
                        Heard::Room
                    }
                    Frame::End { .. } | Frame::Window { .. } => continue,
                };
                if tell.send(heard).is_err() {
                    return;
                }
            }
        }
        let _ = tell.send(Heard::Closed);
    });
    Link::Engine { child, frames: Some(frames), window }
}

impl Machine {
    /// Runs a process to its end.
    pub fn run(&self, way: Way, start: Start) -> Ran {
        let mut session = Session::open(self, way);
        session.start(start);
        session.end_input();
        session.finish()
    }

    /// Runs a command line to its end and gives what it wrote, without white space around it.
    pub fn sh(&self, line: &str) -> String {
        let way = ways(self.engine)[0];
        let ran = self.run(way, sh(line));
        assert_eq!(ran.exit, Exit::Code(0), "{line}: {}{}", ran.out, ran.err);
        ran.out.trim().to_owned()
    }

    /// The same as root.
    pub fn root(&self, line: &str) -> String {
        let way = ways(self.engine)[0];
        let ran = self.run(way, Start { run_as: RunAs::Root, ..sh(line) });
        assert_eq!(ran.exit, Exit::Code(0), "{line}: {}{}", ran.out, ran.err);
        ran.out.trim().to_owned()
    }
}
