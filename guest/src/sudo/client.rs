//! The `sudo` that a user calls: hands the request and its descriptors to the root helper, then stands in for the command
//! towards its own shell: it passes signals on, stops when the command stops, and ends as the command ends.

mod terminal;

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use podspawn_wire::{Exit, USER_DIR};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use self::terminal::Screen;
use super::options::{self, Invocation, USAGE};
use super::protocol::{Channel, FromHelper, Request, Run, ToHelper};
use super::signals::{self, Received, Signals};
use crate::database::Database;

/// Signals that are passed on to the command; the first few also concern the terminal.
const PASSED_ON: [i32; 9] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGTSTP,
    libc::SIGCONT,
];

/// How a call ends.
enum End {
    /// As the command did.
    Command(Exit),
    /// With a line for the user.
    Refused(String),
    /// With an answer.
    Answered(Vec<u8>),
    /// The helper went away.
    Lost,
}

/// Runs `sudo` with the arguments after its name.
pub fn main(args: &[OsString]) -> ExitCode {
    let args: Vec<Vec<u8>> = args.iter().map(|arg| arg.as_bytes().to_vec()).collect();
    match options::parse(&args) {
        Ok(Invocation::Help) => print(USAGE.as_bytes()),
        Ok(Invocation::Version) => {
            print(format!("sudo of podspawn {}\n", env!("CARGO_PKG_VERSION")).as_bytes())
        }
        Ok(Invocation::Forget) => ExitCode::SUCCESS,
        Ok(Invocation::Validate) => check(|| ExitCode::SUCCESS),
        Ok(Invocation::List) => check(list),
        Ok(Invocation::Run(run)) => conclude(execute(run)),
        Err(text) => {
            complain(&text);
            let _ = io::stderr().write_all(USAGE.as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn complain(text: &str) {
    // With standard error gone the status still tells.
    let _ = writeln!(io::stderr(), "sudo: {text}");
}

fn print(bytes: &[u8]) -> ExitCode {
    match io::stdout().write_all(bytes) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Asks whether the caller may use it, by a look-up of something that is always there.
fn check(granted: impl FnOnce() -> ExitCode) -> ExitCode {
    let run = Run { command: vec![b"/".to_vec()], list: true, ..Run::default() };
    match execute(run) {
        // `/` is no command: who is told so was let in.
        Ok(End::Answered(_)) => granted(),
        Ok(End::Refused(text)) if text.ends_with("command not found") => granted(),
        other => conclude(other),
    }
}

fn list() -> ExitCode {
    let uid = rustix::process::getuid().as_raw();
    let accounts = Database::read();
    let user = accounts.user_name(uid).unwrap_or_else(|| format!("#{uid}"));
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    print(
        format!("User {user} may run the following commands on {host}:\n    (ALL : ALL) NOPASSWD: ALL\n")
            .as_bytes(),
    )
}

fn conclude(end: io::Result<End>) -> ExitCode {
    match end {
        Ok(End::Command(Exit::Code(code))) => ExitCode::from(code),
        Ok(End::Command(Exit::Signal(signal))) => {
            // So that the caller's shell sees what it would have seen without `sudo`.
            signals::die(i32::from(signal));
            ExitCode::from(signal.saturating_add(128))
        }
        Ok(End::Answered(bytes)) => print(&[&bytes[..], b"\n"].concat()),
        Ok(End::Refused(text)) => {
            complain(&text);
            ExitCode::FAILURE
        }
        Ok(End::Lost) => {
            complain("the root helper of this container went away");
            ExitCode::FAILURE
        }
        Err(error) => {
            complain(&format!("cannot speak to the root helper of this container: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn connect() -> io::Result<Channel> {
    let path = format!("{USER_DIR}/{}", super::SOCKET);
    Ok(Channel::new(OwnedFd::from(UnixStream::connect(path)?)))
}

fn execute(run: Run) -> io::Result<End> {
    let channel = match connect() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Ok(End::Refused(super::NOT_ALLOWED.into()));
        }
        other => other?,
    };
    let (list, background) = (run.list, run.background);
    let screen = if list || background { None } else { Screen::open() };
    // Before anything can come: what arrives from now on is kept for the loop.
    let ignored = signals::ignored();
    let mut wanted = PASSED_ON.to_vec();
    if screen.is_some() {
        // Blocked, the two stop nobody: who may use the terminal is found out by asking.
        wanted.extend([libc::SIGWINCH, libc::SIGTTIN, libc::SIGTTOU]);
    }
    let signals = Signals::receive(&wanted)?;

    let directory = rustix::fs::open(".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut descriptors = vec![directory.as_fd()];
    let terminal = screen.as_ref().map(Screen::terminal);
    descriptors.extend(screen.as_ref().map(AsFd::as_fd));
    let streams: [BorrowedFd<'_>; 3] =
        [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    for (index, stream) in streams.into_iter().enumerate() {
        if !terminal.is_some_and(|terminal| terminal.streams[index]) {
            descriptors.push(stream);
        }
    }
    let umask = rustix::process::umask(Mode::empty());
    rustix::process::umask(umask);
    let request = Request {
        run,
        env: std::env::vars_os().map(|(name, value)| (name.into_vec(), value.into_vec())).collect(),
        umask: umask.as_raw_mode(),
        ignored,
        open_files: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
        groups: rustix::process::getgroups()?.iter().map(|group| group.as_raw()).collect(),
        terminal,
    };
    channel.send_signed(&ToHelper::Request(Box::new(request)), &descriptors)?;
    let (pid, keys_dead, master) = match channel.receive()? {
        Some((FromHelper::Started { pid, keys_dead }, mut descriptors)) => {
            (pid, keys_dead, descriptors.pop())
        }
        Some((FromHelper::Refused(text), _)) => return Ok(End::Refused(text)),
        Some((FromHelper::Found(text), _)) => return Ok(End::Answered(text)),
        Some((FromHelper::Stopped(_) | FromHelper::Exited(_), _)) => {
            return Err(io::ErrorKind::InvalidData.into());
        }
        None => return Ok(End::Lost),
    };
    if background {
        return Ok(End::Command(Exit::Code(0)));
    }
    let screen = match (screen, master) {
        (Some(screen), Some(master)) => {
            let foreground = terminal.is_some_and(|terminal| terminal.at_once(keys_dead));
            Some(screen.attach(master, foreground, keys_dead)?)
        }
        (None, None) => None,
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    Call { channel, signals, pid, screen }.attend()
}

/// A command that runs.
struct Call {
    channel: Channel,
    signals: Signals,
    pid: i32,
    screen: Option<terminal::Attached>,
}

impl Call {
    fn attend(mut self) -> io::Result<End> {
        loop {
            let (heard, signalled) = self.wait()?;
            if signalled {
                while let Some(received) = self.signals.next() {
                    self.signalled(received);
                }
            }
            if !heard {
                continue;
            }
            match self.channel.receive::<FromHelper>()? {
                Some((FromHelper::Stopped(signal), _)) => self.stopped(signal),
                Some((FromHelper::Exited(exit), _)) => {
                    if let Some(screen) = &mut self.screen {
                        screen.finish();
                    }
                    return Ok(End::Command(exit));
                }
                Some((FromHelper::Refused(text), _)) => return Ok(End::Refused(text)),
                Some((FromHelper::Started { .. } | FromHelper::Found(_), _)) => {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                None => return Ok(End::Lost),
            }
        }
    }

    /// Waits for something to do, and copies what the terminals have.
    fn wait(&mut self) -> io::Result<(bool, bool)> {
        let mut ready =
            vec![PollFd::new(&self.channel, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
        let mut places = [None; 2];
        if let Some(screen) = &self.screen {
            for (place, interest) in places.iter_mut().zip(screen.interests()) {
                if let Some(interest) = interest {
                    *place = Some(ready.len());
                    ready.push(interest);
                }
            }
        }
        match poll(&mut ready, None) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok((false, false)),
            Err(error) => return Err(error.into()),
        }
        let events: Vec<PollFlags> = ready.iter().map(PollFd::revents).collect();
        drop(ready);
        if let Some(screen) = &mut self.screen {
            let [caller, command] =
                places.map(|place| place.map_or(PollFlags::empty(), |index| events[index]));
            let keys = screen.copy(caller, command);
            for signal in keys {
                self.tell(&ToHelper::Key(signal));
            }
        }
        Ok((!events[0].is_empty(), !events[1].is_empty()))
    }

    fn signalled(&mut self, received: Received) {
        match received.signal {
            libc::SIGWINCH => self.resize(),
            libc::SIGCONT => self.go_on(),
            libc::SIGTTIN | libc::SIGTTOU => {}
            // What the command itself sends to its `sudo` would come back to it.
            _ if received.sender == self.pid => {}
            signal => self.tell(&ToHelper::Signal(signal)),
        }
    }

    /// The command has stopped: so does this program, unless all it lacked is the terminal and that is there.
    fn stopped(&mut self, signal: i32) {
        let waits_for_terminal = matches!(signal, libc::SIGTTIN | libc::SIGTTOU);
        if let Some(screen) = &mut self.screen {
            if waits_for_terminal {
                screen.want();
                if screen.is_foreground() {
                    return self.go_on();
                }
            }
            screen.leave();
        }
        signals::stop_group(signal);
        self.go_on();
    }

    fn go_on(&mut self) {
        self.resize();
        let foreground = self.screen.as_mut().is_some_and(terminal::Attached::enter);
        self.tell(&ToHelper::Continue { foreground });
    }

    fn resize(&self) {
        if let Some(screen) = &self.screen {
            screen.resize();
            if screen.keys_dead() {
                self.tell(&ToHelper::Key(libc::SIGWINCH));
            }
        }
    }

    /// A helper that cannot be told any more is found gone by the next read.
    fn tell(&self, message: &ToHelper) {
        let _ = self.channel.send(message, &[]);
    }
}
