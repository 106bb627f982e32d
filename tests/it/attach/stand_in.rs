//! A guest played by the test: it listens where a guest would, and does what the test tells it.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use podspawn::session::GuestAddress;
use podspawn::session::attach::{AttachError, AttachRequest, attach_direct};
use podspawn::state::FirstProcess;
use podspawn::system::process::{boot_id, start_time};
use podspawn_wire::{
    Exit, FromGuest, GUEST_SOCKET, GuestChannel, PROTOCOL, Program, Received, RunAs, Start, ToGuest,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tempfile::TempDir;

/// Longer than any bound that is tested.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The directory that a guest's socket would be in.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::Builder::new().prefix("podspawn-attach-").tempdir().expect("a temporary directory"))
    }

    pub fn socket(&self) -> PathBuf {
        self.0.path().join(GUEST_SOCKET)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// How this process would be attached to, if it were a container's first.
    pub fn address(&self) -> GuestAddress {
        self.address_of(std::process::id() as i32)
    }

    /// The same with another first process.
    pub fn address_of(&self, pid: i32) -> GuestAddress {
        let start_time = start_time(pid).expect("read /proc").expect("a process");
        GuestAddress {
            container_id: "none".into(),
            process: Some(FirstProcess { pid, start_time, boot_id: boot_id().expect("a boot id") }),
            socket_dir: Some(self.0.path().to_str().expect("text").to_owned()),
        }
    }

    /// Listens, and plays the guest for the first who connects.
    pub fn guest<T: Send + 'static>(&self, play: impl FnOnce(Guest) -> T + Send + 'static) -> JoinHandle<T> {
        let listener = UnixListener::bind(self.socket()).expect("bind");
        std::thread::spawn(move || play(Guest::new(listener.accept().expect("accept").0)))
    }
}

/// The guest's end of one connection.
pub struct Guest {
    pub channel: GuestChannel,
}

impl Guest {
    fn new(socket: UnixStream) -> Self {
        Self { channel: GuestChannel::new(socket.into()) }
    }

    /// Waits for a message; none at the end.
    pub fn hear(&mut self) -> Option<(ToGuest, Vec<OwnedFd>)> {
        loop {
            if let Some(message) = self.channel.next().expect("a message") {
                return Some(message);
            }
            wait(&self.channel, PollFlags::IN);
            // A host that is gone with something unread resets the connection.
            if !matches!(self.channel.read(), Ok(Received::Some | Received::Nothing)) {
                return None;
            }
        }
    }

    /// Says something; false once nobody listens.
    pub fn say(&mut self, message: &FromGuest) -> bool {
        if self.channel.queue(message).is_err() {
            return false;
        }
        loop {
            match self.channel.flush() {
                Ok(true) => return true,
                Ok(false) => wait(&self.channel, PollFlags::OUT),
                Err(_) => return false,
            }
        }
    }

    pub fn greet(&mut self) {
        assert!(matches!(self.hear(), Some((ToGuest::Hello { protocol: PROTOCOL }, _))));
        assert!(self.say(&FromGuest::Hello {
            protocol: PROTOCOL,
            shell: "/bin/sh".into(),
            warnings: vec![]
        }));
    }

    /// Greets, and says that the process was started.
    pub fn start(&mut self) -> (Start, Vec<OwnedFd>) {
        self.greet();
        let Some((ToGuest::Start(start), descriptors)) = self.hear() else { panic!("a request") };
        assert!(self.say(&FromGuest::Started { pid: 7 }));
        (*start, descriptors)
    }

    pub fn exit(&mut self, exit: Exit) {
        self.say(&FromGuest::Exited(exit));
    }
}

pub fn wait(fd: impl AsFd, flags: PollFlags) {
    let limit = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    loop {
        match poll(&mut [PollFd::new(&fd, flags)], Some(&limit)) {
            Ok(0) => panic!("nothing happened in {PATIENCE:?}"),
            Ok(_) => return,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => panic!("poll: {errno}"),
        }
    }
}

/// What an attach with pipes came to.
pub struct Attached {
    pub outcome: Result<Exit, AttachError>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub took: Duration,
}

/// Attaches with this input and collects the output.
pub fn attach(address: &GuestAddress, stdin: Option<OwnedFd>) -> Attached {
    attach_as(address, stdin, |_| {})
}

/// The same, with changes to the request.
pub fn attach_as(
    address: &GuestAddress,
    stdin: Option<OwnedFd>,
    change: impl FnOnce(&mut AttachRequest<'_>),
) -> Attached {
    attach_with(stdin, |request| {
        change(request);
        attach_direct(address, request)
    })
}

/// Attaches in whatever way, with this input, and collects the output.
pub fn attach_with(
    stdin: Option<OwnedFd>,
    attach: impl FnOnce(&mut AttachRequest<'_>) -> Result<Exit, AttachError>,
) -> Attached {
    let (mut out, stdout) = std::io::pipe().expect("a pipe");
    let (mut err, stderr) = std::io::pipe().expect("a pipe");
    let collect = |source: &mut std::io::PipeReader| {
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes).expect("read a pipe");
        bytes
    };
    std::thread::scope(|scope| {
        let out = scope.spawn(move || collect(&mut out));
        let err = scope.spawn(move || collect(&mut err));
        let mut request = request(stdout.as_fd(), stderr.as_fd());
        request.stdin = stdin.as_ref().map(AsFd::as_fd);
        let begun = Instant::now();
        let outcome = attach(&mut request);
        let took = begun.elapsed();
        drop((stdout, stderr));
        let (stdout, stderr) = (out.join().expect("no panic"), err.join().expect("no panic"));
        Attached { outcome, stdout, stderr, took }
    })
}

/// A request for nothing in particular.
pub fn request<'a>(
    stdout: std::os::fd::BorrowedFd<'a>,
    stderr: std::os::fd::BorrowedFd<'a>,
) -> AttachRequest<'a> {
    AttachRequest {
        program: Program::Argv(vec!["true".into()]),
        run_as: RunAs::User,
        cwd: None,
        env: Vec::new(),
        terminal: None,
        agent: None,
        stdin: None,
        stdout,
        stderr,
        own_pipes: false,
        x11: None,
    }
}

/// A pipe's read end that has this content and then ends.
pub fn input(content: &[u8]) -> OwnedFd {
    let (read, mut write) = std::io::pipe().expect("a pipe");
    let content = content.to_owned();
    std::thread::spawn(move || std::io::Write::write_all(&mut write, &content));
    read.into()
}

/// Everything until the end.
pub fn read_all(fd: OwnedFd) -> Vec<u8> {
    let mut bytes = Vec::new();
    File::from(fd).read_to_end(&mut bytes).expect("read");
    bytes
}
