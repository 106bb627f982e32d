//! The stub: what a container user's login is on the host.
//!
//! It runs as the SSH user and holds no privilege. It hands its streams to the broker, is handed a connection to the
//! container's guest and the lease that counts it, and waits for the end. It opens no database and no engine.

use std::cell::{Cell, RefCell};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use podspawn_wire::broker::{
    BROKER_PROTOCOL, BROKER_SOCKET, ClientChannel, FromBroker, RUN_DIR, Spawn, ToBroker, Way,
};
use podspawn_wire::{Exit, HostChannel, Received, RunAs, WireError};
use thiserror::Error;

use super::installation::maintenance;
use super::{route, xauth};
use crate::names::{NameError, ProjectName};
use crate::session::attach::{Aside, AttachError, AttachRequest, Prepared, attach_relay, passed_on};
use crate::system::accounts::{self, Passwd};
use crate::system::{Host, readiness, terminal};

/// File name of the login shell of container users, a link to this program.
pub const SHELL_NAME: &str = "podspawn-shell";

/// How long the broker may take to take a request.
const SEND: Duration = Duration::from_secs(10);

/// A process that was ended by a signal may have been ended with its container, which the broker sees a moment later.
const LAST_WORD: Duration = Duration::from_secs(1);

/// The signals that a container which is stopped sends to its processes.
const OF_A_STOP: [u8; 3] = [libc::SIGHUP as u8, libc::SIGTERM as u8, libc::SIGKILL as u8];

/// Longest command line that fits into a request beside everything else, in bytes.
const LONGEST_COMMAND: usize = 48 * 1024;

/// What the forced command says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StubArgs {
    /// `--user`.
    pub user: Option<String>,
    /// `--project`.
    pub project: Option<String>,
    /// `--socket`: where the broker listens. None: where the account's own installation has it.
    pub socket: Option<PathBuf>,
    /// A command line that came with the login shell's `-c` and is no forced command.
    pub command: Option<String>,
}

impl Default for StubArgs {
    fn default() -> Self {
        let socket = Some(Path::new(RUN_DIR).join(BROKER_SOCKET));
        Self { user: None, project: None, socket, command: None }
    }
}

/// Recognises the stub from a process's arguments, before any parser is built: `podspawn spawn …`, or the login shell.
/// An argument that is not known is an error.
pub fn recognise(args: &[OsString]) -> Option<Result<StubArgs, StubError>> {
    let program = Path::new(args.first()?).file_name()?.to_str()?;
    if program.trim_start_matches('-') == SHELL_NAME {
        return Some(shell(&args[1..]));
    }
    (args.get(1)? == OsStr::new("spawn")).then(|| spawn(args[2..].iter().map(|arg| arg.to_str())))
}

/// `[-l] [-c TEXT]`: the login shell runs the forced command of sshd, and of everything else makes what the user asks
/// their container for, as `su -c` does.
fn shell(args: &[OsString]) -> Result<StubArgs, StubError> {
    let mut args = args.iter().map(|arg| arg.to_str());
    match args.next() {
        None | Some(Some("-l" | "-i" | "--login")) => Ok(StubArgs { socket: None, ..StubArgs::default() }),
        Some(Some("-c")) => {
            let text = args.next().flatten().ok_or(StubError::Usage)?;
            let mut words = text.split_ascii_whitespace();
            let program = words.next().map(Path::new).and_then(Path::file_name).and_then(OsStr::to_str);
            if program == Some("podspawn") && words.next() == Some("spawn") {
                return spawn(words.map(Some));
            }
            Ok(StubArgs { command: Some(text.to_owned()), socket: None, ..StubArgs::default() })
        }
        Some(_) => Err(StubError::Usage),
    }
}

fn spawn<'a>(mut args: impl Iterator<Item = Option<&'a str>>) -> Result<StubArgs, StubError> {
    let mut stub = StubArgs::default();
    while let Some(arg) = args.next() {
        let arg = arg.ok_or(StubError::Usage)?;
        let (flag, joined) = match arg.split_once('=') {
            Some((flag, value)) => (flag, Some(value)),
            None => (arg, None),
        };
        let value = joined.or_else(|| args.next().flatten()).ok_or(StubError::Usage)?.to_owned();
        match flag {
            "--user" => stub.user = Some(value),
            "--project" => stub.project = Some(value),
            "--socket" if value.starts_with('/') => stub.socket = Some(value.into()),
            _ => return Err(StubError::Usage),
        }
    }
    Ok(stub)
}

/// Why a login came to nothing.
#[derive(Debug, Error)]
pub enum StubError {
    /// The arguments are not those of a forced command.
    #[error("usage: podspawn spawn --user <name> [--project <project>] [--socket <path>]")]
    Usage,
    /// A text that came from the client is not UTF-8.
    #[error("the command is not UTF-8 text")]
    NotText,
    /// The command line does not fit into a request.
    #[error("the command line has {0} bytes, at most {LONGEST_COMMAND} are possible")]
    TooLong(usize),
    /// What the client asks for cannot be a project.
    #[error(transparent)]
    Project(#[from] NameError),
    /// Nobody listens at the broker's socket.
    #[error("podspawn's broker cannot be reached: {0}")]
    NoBroker(#[source] std::io::Error),
    /// Nobody listens because root works on what the broker would open.
    #[error("this server is being worked on, and takes no new connections")]
    Maintenance,
    /// The connection to the broker.
    #[error("podspawn's broker does not answer: {0}")]
    Broker(#[source] WireError),
    /// The broker said no.
    #[error("{text}")]
    Failed {
        /// Why.
        text: String,
        /// What to do about it.
        hints: Vec<String>,
    },
    /// The session was ended under the process.
    #[error("{text}")]
    Ended {
        /// Why.
        text: String,
        /// The person has read it already, between what their program wrote.
        told: bool,
    },
    /// Between here and the container.
    #[error(transparent)]
    Attach(#[from] AttachError),
}

/// Tells the person what the broker says.
pub trait Tell {
    /// Something takes time.
    fn progress(&self, text: &str);
    /// Nothing of that follows.
    fn over(&self);
    /// Something that the person should know. `raw`: their terminal is in raw mode.
    fn notice(&self, text: &str, raw: bool);
}

/// The three streams that sshd started this process with.
#[derive(Debug, Clone, Copy)]
pub struct Streams<'a> {
    /// Standard input.
    pub stdin: BorrowedFd<'a>,
    /// Standard output.
    pub stdout: BorrowedFd<'a>,
    /// Standard error.
    pub stderr: BorrowedFd<'a>,
}

/// Serves one channel of an SSH connection to its end.
pub fn run(args: &StubArgs, host: &Host, streams: Streams<'_>, tell: &dyn Tell) -> Result<Exit, StubError> {
    let original = match &args.command {
        Some(command) => Some(command.as_str()),
        None => text_of(host, "SSH_ORIGINAL_COMMAND")?,
    };
    if let Some(length) = original.map(str::len).filter(|length| *length > LONGEST_COMMAND) {
        return Err(StubError::TooLong(length));
    }
    let variable = || text_of(host, "PODSPAWN_PROJECT");
    let project = match &args.project {
        Some(project) => Some(project.clone()),
        None => route::project(variable()?),
    };
    // The broker looks at it again; here so that one that is longer than a request is refused for what it is.
    if let Some(project) = &project {
        let _: ProjectName = project.parse()?;
    }
    let Streams { stdin, stdout, stderr } = streams;
    let has_terminal = terminal::is_terminal(stdin);
    let x11 = host.var("DISPLAY").and_then(|display| xauth::take(&host.home()?.join(".Xauthority"), display));
    let request = AttachRequest {
        program: route::program(original),
        run_as: RunAs::User,
        cwd: None,
        env: passed_on(host.vars()),
        terminal: has_terminal.then(|| host.var("TERM").unwrap_or("dumb").to_owned()),
        agent: host.path_var("SSH_AUTH_SOCK").filter(|socket| is_of_sshd(socket, host)).map(Path::to_owned),
        stdin: Some(stdin),
        stdout,
        stderr,
        own_pipes: true,
        x11,
    };
    let mut prepared = Prepared::new(&request)?;
    let start = prepared.request();
    let spawn = Spawn {
        user: args.user.clone(),
        project,
        program: start.program,
        streams: start.streams,
        env: start.env,
        agent: start.agent,
        x11: start.x11,
        interactive: has_terminal && terminal::is_terminal(stderr),
        original: original.unwrap_or_default().to_owned(),
    };
    let socket = match &args.socket {
        Some(socket) => socket.clone(),
        None => socket_of(accounts::user_by_uid(host.uid()).ok().flatten().as_ref()),
    };
    let mut broker = connect(&socket)?;
    let message = ToBroker::Spawn { protocol: BROKER_PROTOCOL, spawn: Box::new(spawn) };
    broker.send(&message, prepared.take_passed(), Instant::now() + SEND).map_err(StubError::Broker)?;
    let served = wait(&mut broker, &mut prepared, tell);
    tell.over();
    let served = served?;
    for notice in &served.notices {
        tell.notice(notice, false);
    }
    // Held until this process ends, however it does.
    let _lease = served.lease;
    let broker = Rc::new(RefCell::new(broker));
    let end = Rc::new(TheEnd::default());
    let word = || BrokersWord::new(broker.clone(), end.clone(), tell);
    let outcome = match served.way {
        Way::Direct => prepared.with_aside(Box::new(word())).go_on(HostChannel::new(served.connection)),
        Way::Relay => {
            drop(prepared);
            attach_relay(served.connection, &request, &mut word())
        }
    };
    let status = match &outcome {
        Ok(exit) => exit.status(),
        Err(error) => error.status().unwrap_or(1),
    };
    // A broker that is gone meanwhile finds out by the lease.
    let _ = broker.borrow_mut().send(&ToBroker::Ended { status }, Vec::new(), Instant::now() + SEND);
    // What it said last may be why the container is gone.
    let mut word = word();
    word.listen(false);
    match outcome {
        Ok(Exit::Signal(signal)) if OF_A_STOP.contains(&signal) && word.is_the_end(LAST_WORD) => {
            Err(end.reason().unwrap_or(AttachError::Stopped.into()))
        }
        Ok(exit) => Ok(exit),
        // The container's end may be seen here before the broker's word for it is.
        Err(error @ (AttachError::Stopped | AttachError::Lost)) => match word.is_the_end(LAST_WORD) {
            true => Err(end.reason().unwrap_or(AttachError::Stopped.into())),
            false => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

fn text_of<'a>(host: &'a Host, name: &str) -> Result<Option<&'a str>, StubError> {
    host.var_os(name).map(|value| value.to_str().ok_or(StubError::NotText)).transpose()
}

/// Whether sshd has made a socket for the agent of this user's client: an sshd that accepts every variable passes on what the
/// client says, which may be any socket of this host. It lies in a directory of the user's own that nobody else looks into, which
/// up to OpenSSH 10.0 is `/tmp/ssh-<random>` and then `~/.ssh/agent`. Nobody makes one of these names but sshd.
fn is_of_sshd(socket: &Path, host: &Host) -> bool {
    let (Some(directory), Some(name)) = (socket.parent(), socket.file_name().and_then(OsStr::to_str)) else {
        return false;
    };
    let random = directory.to_str().and_then(|directory| directory.strip_prefix("/tmp/ssh-"));
    let old = random.is_some_and(|random| !random.is_empty() && !random.contains('/'))
        && name.starts_with("agent.");
    let new = host.home().is_some_and(|home| directory == home.join(".ssh/agent"))
        && name.starts_with("s.")
        // One that the user has started on this host.
        && name.split('.').nth(2) != Some("agent");
    let facts = |path: &Path| path.symlink_metadata().ok().filter(|facts| facts.uid() == host.uid());
    (old || new)
        && facts(directory).is_some_and(|facts| facts.is_dir() && facts.mode() & 0o077 == 0)
        && facts(socket).is_some_and(|facts| facts.file_type().is_socket())
}

/// The socket of the installation that made an account, in whose run-time directory its home lies.
fn socket_of(account: Option<&Passwd>) -> PathBuf {
    let ours = account.filter(|account| Path::new(&account.shell).file_name() == Some(SHELL_NAME.as_ref()));
    let homes = ours.and_then(|account| Path::new(&account.home).parent());
    let homes = homes.filter(|homes| homes.file_name() == Some("homes".as_ref()));
    let own = homes.and_then(Path::parent).map(|directory| directory.join(BROKER_SOCKET));
    // One that existed before has our shell, and a home elsewhere: nobody's socket is there, or not a broker's.
    let is_brokers = |socket: &PathBuf| {
        let facts = socket.parent().and_then(|directory| directory.metadata().ok());
        socket.exists() && facts.is_some_and(|facts| facts.mode() & 0o022 == 0)
    };
    own.filter(is_brokers).unwrap_or_else(|| Path::new(RUN_DIR).join(BROKER_SOCKET))
}

fn connect(socket: &Path) -> Result<ClientChannel, StubError> {
    let stream = UnixStream::connect(socket).map_err(|error| match maintenance(socket).exists() {
        true => StubError::Maintenance,
        false => StubError::NoBroker(error),
    })?;
    Ok(ClientChannel::new(stream.into()))
}

/// What the broker gave.
struct Served {
    way: Way,
    connection: OwnedFd,
    lease: OwnedFd,
    notices: Vec<String>,
}

/// Waits for the broker's last answer.
fn wait(
    broker: &mut ClientChannel,
    prepared: &mut Prepared<'_>,
    tell: &dyn Tell,
) -> Result<Served, StubError> {
    loop {
        while let Some((message, descriptors)) = broker.next().map_err(StubError::Broker)? {
            match message {
                FromBroker::Progress(text) => tell.progress(&text),
                FromBroker::Notice(text) => tell.notice(&text, false),
                FromBroker::Failed { text, hints } => return Err(StubError::Failed { text, hints }),
                FromBroker::Attached { way, notices } => {
                    let [connection, lease] = <[OwnedFd; 2]>::try_from(descriptors)
                        .map_err(|_| StubError::Broker(WireError::Descriptors))?;
                    return Ok(Served { way, connection, lease, notices });
                }
                FromBroker::Over
                | FromBroker::Ending(_)
                | FromBroker::Network { .. }
                | FromBroker::NoNetwork { .. }
                | FromBroker::Answer(_)
                | FromBroker::Done => return Err(StubError::Broker(WireError::Malformed)),
            }
        }
        prepared.wait_for(broker.as_fd())?;
        if broker.read().map_err(StubError::Broker)? == Received::End {
            return Err(StubError::Broker(WireError::Closed));
        }
    }
}

/// What the broker has said of the session's end.
#[derive(Default)]
struct TheEnd {
    /// The container is gone.
    over: Cell<bool>,
    /// Why it goes, and whether the person has read that.
    why: RefCell<Option<(String, bool)>>,
}

impl TheEnd {
    fn reason(&self) -> Option<StubError> {
        self.why.take().map(|(text, told)| StubError::Ended { text, told })
    }
}

/// Passes on what the broker says while a process runs.
struct BrokersWord<'a> {
    broker: Rc<RefCell<ClientChannel>>,
    /// The same connection, to be watched; none once it has ended.
    watched: Option<OwnedFd>,
    end: Rc<TheEnd>,
    tell: &'a dyn Tell,
}

impl<'a> BrokersWord<'a> {
    fn new(broker: Rc<RefCell<ClientChannel>>, end: Rc<TheEnd>, tell: &'a dyn Tell) -> Self {
        let watched = broker.borrow().as_fd().try_clone_to_owned().ok();
        Self { broker, watched, end, tell }
    }

    /// Listens for at most that long whether the container is gone.
    fn is_the_end(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while !self.end.over.get()
            && let Some(watched) = &self.watched
            && readiness::readable_by(watched.as_fd(), deadline)
        {
            self.listen(false);
        }
        self.end.over.get()
    }
}

impl Aside for BrokersWord<'_> {
    fn watched(&self) -> Option<BorrowedFd<'_>> {
        self.watched.as_ref().map(AsFd::as_fd)
    }

    fn is_over(&self) -> bool {
        self.end.over.get()
    }

    fn listen(&mut self, raw: bool) {
        let mut broker = self.broker.borrow_mut();
        loop {
            match broker.read() {
                Ok(Received::Some) => {}
                Ok(Received::Nothing) => return,
                Ok(Received::End) | Err(_) => break,
            }
            while let Ok(Some((message, _))) = broker.next() {
                match message {
                    FromBroker::Notice(text) => self.tell.notice(&text, raw),
                    // Said at once where a program that fills the screen would hide what comes after it.
                    FromBroker::Ending(text) => {
                        if raw {
                            self.tell.notice(&text, raw);
                        }
                        self.end.why.replace(Some((text, raw)));
                    }
                    FromBroker::Over => self.end.over.set(true),
                    // Nothing else is said to a stub that is served.
                    _ => {}
                }
            }
        }
        // It is gone, and the process goes on without it.
        self.watched = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recognised(args: &[&str]) -> Option<StubArgs> {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        recognise(&args).map(|stub| stub.unwrap())
    }

    #[test]
    fn the_forced_command_is_recognised_by_itself_and_behind_the_login_shell() {
        let expected = StubArgs { user: Some("ann".into()), ..StubArgs::default() };
        for args in [
            &["/usr/local/bin/podspawn", "spawn", "--user", "ann"][..],
            &["podspawn", "spawn", "--user=ann"],
            &["podspawn-shell", "-c", "/usr/local/bin/podspawn spawn --user ann"],
            &["-podspawn-shell", "-c", "/x/podspawn spawn --user=ann"],
        ] {
            assert_eq!(recognised(args).as_ref(), Some(&expected), "{args:?}");
        }
        let elsewhere = recognised(&["podspawn", "spawn", "--socket", "/x/broker.sock"]).unwrap();
        assert_eq!(elsewhere.socket.as_deref(), Some(Path::new("/x/broker.sock")));
    }

    #[test]
    fn the_login_shell_asks_the_container_whatever_it_is_given() {
        for (args, command) in [
            (&["-podspawn-shell"][..], None),
            (&["/x/podspawn-shell", "-l"], None),
            (&["podspawn-shell", "-c", "cat /etc/shadow"], Some("cat /etc/shadow")),
            (&["podspawn-shell", "-c", "podspawn list"], Some("podspawn list")),
        ] {
            let stub = recognised(args).unwrap();
            assert_eq!((stub.command.as_deref(), stub.user, stub.socket), (command, None, None), "{args:?}");
        }
    }

    #[test]
    fn an_accounts_own_installation_is_where_its_home_is() {
        let account = |home: &str, shell: &str| Passwd {
            name: "ann".into(),
            uid: 1000,
            gid: 1000,
            home: home.into(),
            shell: shell.into(),
        };
        let usual = Path::new(RUN_DIR).join(BROKER_SOCKET);
        assert_eq!(socket_of(None), usual);
        // Those that existed before have a home of their own.
        assert_eq!(socket_of(Some(&account("/srv/homes/ann", "/bin/bash"))), usual);
        assert_eq!(socket_of(Some(&account("/home/ann", "/srv/lib/podspawn-shell"))), usual);
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join(BROKER_SOCKET);
        std::fs::write(&socket, "").unwrap();
        let home = dir.path().join("homes/ann");
        let made = account(home.to_str().unwrap(), "/srv/lib/podspawn-shell");
        assert_eq!(socket_of(Some(&made)), socket);
    }

    #[test]
    fn other_commands_are_none_of_the_stubs() {
        for args in [&["podspawn"][..], &["podspawn", "list"], &["podspawn", "run", "spawn"], &[]] {
            assert_eq!(recognised(args), None, "{args:?}");
        }
    }

    #[test]
    fn what_is_no_forced_command_is_refused() {
        for args in [
            &["podspawn", "spawn", "--user"][..],
            &["podspawn", "spawn", "--config", "/x"],
            &["podspawn", "spawn", "ann"],
            &["podspawn", "spawn", "--socket", "x"],
            &["podspawn-shell", "/etc/passwd"],
            &["podspawn-shell", "-c"],
        ] {
            let args: Vec<OsString> = args.iter().map(OsString::from).collect();
            assert!(recognise(&args).unwrap().is_err(), "{args:?}");
        }
    }
}
