//! The root helper of one `sudo` call: a process of its own, started by the first process with the connection as standard
//! input, leader of the session that the command's terminal belongs to.
//!
//! It makes the terminal and hands its other end to `sudo`, starts the command, reports how it stops and ends, and passes
//! signals on. The bytes of the terminal never come here.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use podspawn_wire::{Exit, Window};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Access;
use rustix::process::{Pid, Resource, WaitOptions, WaitStatus, getrlimit, setrlimit};
use rustix::termios::{
    OptionalActions, OutputModes, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr, tcsetpgrp,
};

use super::plan::{Directory, Plan, look_up, plan};
use super::protocol::{Channel, FromHelper, Request, Terminal, ToHelper};
use super::signals::{self, Signals};
use super::{NOT_ALLOWED, keys};
use crate::database::Database;
use crate::pty::Pty;
use crate::signal::{Target, send};
use crate::{pty, spawn};

/// How long `sudo` has to say what it wants, in seconds.
const REQUEST_DEADLINE: u64 = 10;

/// Serves the connection on standard input; the argument is the user id, besides root's, that may call.
pub fn main(args: &[OsString]) -> ExitCode {
    spawn::close_inherited();
    let allowed = args.first().and_then(|arg| arg.to_str()?.parse().ok()).unwrap_or(0);
    match serve(allowed) {
        Ok(()) => ExitCode::SUCCESS,
        // Who would read a line has just gone away.
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve(allowed: u32) -> io::Result<()> {
    // Above the standard streams, which the command's own replace.
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let deadline = Some(std::time::Duration::from_secs(REQUEST_DEADLINE));
    rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Recv, deadline)?;
    let channel = Channel::new(socket);
    channel.expect_signed()?;
    let Some((ToHelper::Request(request), attached)) = channel.receive_signed()? else {
        return Ok(());
    };
    rustix::net::sockopt::set_socket_timeout(&channel, rustix::net::sockopt::Timeout::Recv, None)?;
    let refuse = |text: String| channel.send(&FromHelper::Refused(text), &[]);
    // The first process has looked at who connected; gVisor tells it its own ids there, but checks those of a message.
    let Some(caller) = attached.sender.filter(|(uid, _)| *uid == 0 || *uid == allowed) else {
        return refuse(NOT_ALLOWED.into());
    };
    let Some(given) = Given::sort(&request, attached.descriptors) else {
        return refuse("the request does not carry what it names".into());
    };
    match prepare(&channel, &request, caller, &given) {
        Ok(Some(running)) => running.attend(&channel),
        Ok(None) => Ok(()),
        Err(text) => refuse(text),
    }
}

/// The descriptors of a request.
struct Given {
    directory: OwnedFd,
    terminal: Option<OwnedFd>,
    /// None where the stream is the terminal.
    streams: [Option<OwnedFd>; 3],
}

impl Given {
    fn sort(request: &Request, descriptors: Vec<OwnedFd>) -> Option<Self> {
        let mut descriptors = descriptors.into_iter();
        let directory = descriptors.next()?;
        let terminal = match request.terminal {
            Some(_) => Some(descriptors.next()?),
            None => None,
        };
        let mut streams = [None, None, None];
        for (index, stream) in streams.iter_mut().enumerate() {
            if !request.terminal.is_some_and(|terminal| terminal.streams[index]) {
                *stream = Some(descriptors.next()?);
            }
        }
        descriptors.next().is_none().then_some(Self { directory, terminal, streams })
    }
}

/// A command that was started.
struct Running {
    pid: Pid,
    /// Who it began as, for signals where root alone may not send them.
    uid: u32,
    signals: Signals,
    /// The command's end of its terminal.
    slave: Option<OwnedFd>,
    /// The group that had the terminal when the command stopped.
    foreground: Pid,
    background: bool,
}

/// Starts what is asked for, or answers it. The error is a line for the user.
fn prepare(
    channel: &Channel,
    request: &Request,
    caller: (u32, u32),
    given: &Given,
) -> Result<Option<Running>, String> {
    let failed = |what: &str, error: io::Error| format!("{what}: {}", describe(&error));
    // Relative paths are the caller's.
    rustix::process::fchdir(&given.directory)
        .map_err(|error| failed("cannot enter the working directory", error.into()))?;
    let image_path = image_path();
    let executable = |path: &[u8]| {
        rustix::fs::access(path, Access::EXEC_OK).is_ok()
            && rustix::fs::stat(path)
                .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file())
    };
    if request.run.list {
        let found = look_up(request, image_path.as_deref(), executable)?;
        channel.send(&FromHelper::Found(found), &[]).map_err(|error| failed("cannot answer", error))?;
        return Ok(None);
    }
    let plan = plan(request, caller, &Database::read(), image_path.as_deref(), executable)?;
    if let Directory::Required(path) = &plan.directory {
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        rustix::fs::open(path.as_slice(), flags, rustix::fs::Mode::empty())
            .map_err(|error| failed(&format!("cannot change to `{}`", path.escape_ascii()), error.into()))?;
    }
    // From here on nothing but the descriptor tells of signals; SIGTTOU is blocked so that the helper, which is never in
    // the terminal's foreground, may still say who is.
    let signals =
        Signals::receive(&[libc::SIGCHLD, libc::SIGHUP, libc::SIGTERM, libc::SIGINT, libc::SIGTTOU])
            .map_err(|error| failed("cannot receive signals", error))?;
    let (terminal, keys_dead) = match (&given.terminal, request.terminal) {
        (Some(theirs), Some(wanted)) => {
            let (terminal, keys_dead) = open_terminal(theirs.as_fd(), wanted, &plan, &signals)
                .map_err(|error| failed("cannot make a terminal", error))?;
            (Some(terminal), keys_dead)
        }
        _ => (None, false),
    };
    let slave = terminal.as_ref().map(|terminal| terminal.slave.as_fd());
    let foreground = request.terminal.is_some_and(|terminal| terminal.at_once(keys_dead));
    let pid = start(&plan, request, given, slave, foreground)?;
    let master: Vec<BorrowedFd<'_>> = terminal.iter().map(|terminal| terminal.master.as_fd()).collect();
    // A caller that is gone by now is noticed by the loop that follows.
    let _ = channel.send(&FromHelper::Started { pid: pid.as_raw_nonzero().get(), keys_dead }, &master);
    Ok(Some(Running {
        pid,
        uid: plan.identity.uid,
        signals,
        slave: terminal.map(|terminal| terminal.slave),
        foreground: pid,
        background: request.run.background,
    }))
}

/// `PATH` as the image has it: the first process's environment, which this one was given.
fn image_path() -> Option<String> {
    std::env::vars_os().find(|(name, _)| name == "PATH").and_then(|(_, value)| value.into_string().ok())
}

/// A terminal like the caller's, controlling this process's session, and whether its keys are dead.
fn open_terminal(
    theirs: BorrowedFd<'_>,
    wanted: Terminal,
    plan: &Plan,
    signals: &Signals,
) -> io::Result<(Pty, bool)> {
    let size = tcgetwinsize(theirs)?;
    let window = Window { rows: size.ws_row, cols: size.ws_col };
    let terminal = pty::open(window, plan.identity.uid, plan.identity.gid)?;
    rustix::process::ioctl_tiocsctty(&terminal.slave)?;
    let keys_dead = keys::dead(&terminal, signals)?;
    let mut modes = tcgetattr(theirs)?;
    if !wanted.at_once(keys_dead) {
        // What comes out passes through the caller's terminal as it is, which does its own output processing.
        modes.output_modes.remove(OutputModes::OPOST);
    }
    tcsetattr(&terminal.slave, OptionalActions::Now, &modes)?;
    Ok((terminal, keys_dead))
}

fn start(
    plan: &Plan,
    request: &Request,
    given: &Given,
    slave: Option<BorrowedFd<'_>>,
    foreground: bool,
) -> Result<Pid, String> {
    let attempt = |program: &[u8], argv: &[Vec<u8>]| -> io::Result<Pid> {
        let mut command = Command::new(OsStr::from_bytes(program));
        command.arg0(OsStr::from_bytes(&argv[0]));
        command.args(argv[1..].iter().map(|arg| OsStr::from_bytes(arg)));
        command.env_clear();
        command.envs(
            plan.env.iter().map(|(name, value)| (OsStr::from_bytes(name), OsString::from_vec(value.clone()))),
        );
        let stream = |index: usize| -> io::Result<Stdio> {
            match (&given.streams[index], slave) {
                (Some(stream), _) => Ok(Stdio::from(stream.try_clone()?)),
                (None, Some(slave)) => Ok(Stdio::from(slave.try_clone_to_owned()?)),
                (None, None) => Err(io::Error::from(rustix::io::Errno::BADF)),
            }
        };
        command.stdin(stream(0)?).stdout(stream(1)?).stderr(stream(2)?);
        let identity = plan.identity.clone();
        let directory = plan.directory.clone();
        let terminal = if foreground { slave.map(|slave| slave.as_raw_fd()) } else { None };
        let (ignored, umask, open_files) = (request.ignored, request.umask, request.open_files);
        let become_command = move || -> io::Result<()> {
            // A group of its own: its parent is in the same session, so that the kernel lets it be stopped by a key.
            rustix::process::setpgid(None, None)?;
            if let Some(terminal) = terminal {
                // SAFETY: ignoring runs no code of ours; without it the new group would be stopped for taking the terminal.
                unsafe { libc::signal(libc::SIGTTOU, libc::SIG_IGN) };
                // SAFETY: the parent keeps the descriptor open across the fork.
                let terminal = unsafe { BorrowedFd::borrow_raw(terminal) };
                tcsetpgrp(terminal, rustix::process::getpid())?;
            }
            limit_open_files(open_files);
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask & 0o777 | 0o022));
            // SAFETY: this is the child.
            unsafe { spawn::become_user(&identity) }.map_err(io::Error::from_raw_os_error)?;
            match &directory {
                Directory::Callers => {}
                Directory::Required(path) => rustix::process::chdir(path.as_slice())?,
                // As a login does it: the command runs all the same.
                Directory::Wanted(path) => drop(rustix::process::chdir(path.as_slice())),
            }
            signals::reset(ignored);
            Ok(())
        };
        // SAFETY: this process has one thread, so that its memory is consistent in the child.
        unsafe { command.pre_exec(become_command) };
        let child = command.spawn()?;
        i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    };
    let outcome = match attempt(&plan.program, &plan.argv) {
        // A script without a first line that names its interpreter.
        Err(error) if error.raw_os_error() == Some(libc::ENOEXEC) => {
            let argv = [&[b"sh".to_vec(), plan.program.clone()], &plan.argv[1..]].concat();
            attempt(b"/bin/sh", &argv)
        }
        other => other,
    };
    outcome.map_err(|error| format!("cannot run `{}`: {}", plan.program.escape_ascii(), describe(&error)))
}

/// As the caller has it, which the first process, where this one comes from, may not; never above the hard limit.
fn limit_open_files(wanted: Option<u64>) {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = match (wanted, limit.maximum) {
        (Some(wanted), Some(maximum)) => Some(wanted.min(maximum)),
        (wanted, maximum) => wanted.or(maximum),
    };
    // Within the hard limit it cannot fail.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Without the number, which says nothing to a person.
fn describe(error: &io::Error) -> String {
    error.to_string().split(" (os error").next().unwrap_or_default().to_lowercase()
}

impl Running {
    /// Until the command ends or `sudo` goes away.
    fn attend(mut self, channel: &Channel) -> io::Result<()> {
        if self.background {
            // Nobody waits: the first process takes the command over.
            return Ok(());
        }
        loop {
            let mut ready = [PollFd::new(channel, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
            match poll(&mut ready, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let heard = !ready[0].revents().is_empty();
            while self.signals.next().is_some() {
                // All that matters is that a child changed; that the terminal hung up is seen on the connection.
            }
            if let Some(exit) = self.child_changed(channel)? {
                return channel.send(&FromHelper::Exited(exit), &[]);
            }
            if heard {
                match channel.receive()? {
                    Some((ToHelper::Signal(signal), _)) => self.signal(signal),
                    Some((ToHelper::Key(signal), _)) => self.key(signal),
                    Some((ToHelper::Continue { foreground }, _)) => self.go_on(foreground),
                    Some((ToHelper::Request(_), _)) => return Err(io::ErrorKind::InvalidData.into()),
                    None => {
                        self.signal(libc::SIGHUP);
                        self.signal(libc::SIGCONT);
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Reports stops; returns how the command ended, if it did.
    fn child_changed(&mut self, channel: &Channel) -> io::Result<Option<Exit>> {
        let options = WaitOptions::NOHANG | WaitOptions::UNTRACED;
        while let Some((_, status)) = rustix::process::waitpid(Some(self.pid), options)? {
            if let Some(exit) = exit(status) {
                return Ok(Some(exit));
            }
            if let Some(signal) = status.stopping_signal() {
                if let Some(slave) = &self.slave {
                    // Whoever of the command had the terminal gets it back.
                    self.foreground = match tcgetpgrp(slave) {
                        Ok(group) if group != rustix::process::getpgrp() => group,
                        _ => self.pid,
                    };
                }
                channel.send(&FromHelper::Stopped(signal), &[])?;
            }
        }
        Ok(None)
    }

    fn go_on(&self, foreground: bool) {
        if let Some(slave) = &self.slave {
            let group = if foreground { self.foreground } else { rustix::process::getpgrp() };
            // Fails only where that group is gone, and then the terminal is nobody's.
            let _ = tcsetpgrp(slave, group);
        }
        self.signal(libc::SIGCONT);
    }

    fn key(&self, signal: i32) {
        let group = self.slave.as_ref().and_then(|slave| tcgetpgrp(slave).ok());
        if let Some(group) = group.filter(|group| *group != rustix::process::getpgrp()) {
            send(Target::Group(group.as_raw_nonzero().get()), signal, self.uid);
        }
    }

    fn signal(&self, signal: i32) {
        send(Target::Group(self.pid.as_raw_nonzero().get()), signal, self.uid);
    }
}

fn exit(status: WaitStatus) -> Option<Exit> {
    let code = |value: i32| u8::try_from(value).unwrap_or(u8::MAX);
    if let Some(status) = status.exit_status() {
        return Some(Exit::Code(code(status)));
    }
    status.terminating_signal().map(|signal| Exit::Signal(code(signal)))
}
