//! The messages themselves.
//!
//! On a connection to the guest the host speaks first: [`ToGuest::Hello`], answered by [`FromGuest::Hello`] once the guest
//! has finished provisioning (or by [`FromGuest::Failed`]). Then one [`ToGuest::Start`] with its descriptors, answered by
//! [`FromGuest::Started`]; from then on only resize, signal and agent messages go in and agent requests and the exit come
//! out. End of file from the host means that the client is gone.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Version of the protocol; both sides refuse another one.
pub const PROTOCOL: u16 = 2;

/// Longest message, in bytes, framing not counted.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// Most descriptors that come with one message.
pub const MAX_DESCRIPTORS: usize = 3;

/// Most agent connections open at once on one connection.
pub const MAX_AGENTS: usize = 16;

/// Where the guest listens, inside the container.
pub const GUEST_DIR: &str = "/run/podspawn";
/// Name of the guest's socket in [`GUEST_DIR`].
pub const GUEST_SOCKET: &str = "guest.sock";
/// Directory of the sockets that the session's user may reach (agent, sudo).
pub const USER_DIR: &str = "/run/podspawn-user";
/// Where the guest's program is mounted.
pub const GUEST_PROGRAM: &str = "/.podspawn/guest";

/// What the guest is told when it starts, as JSON in its second argument (`guest init '<json>'`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitConfig {
    /// [`PROTOCOL`] of the side that wrote it.
    pub protocol: u16,
    /// The session's user.
    pub user: User,
    /// Offer `sudo` to the session's user.
    pub sudo: bool,
    /// The container runs with no-new-privileges, so that a setuid `sudo` cannot work.
    pub no_new_privileges: bool,
    /// The root file system is read-only: account files are prepared from outside.
    pub readonly_rootfs: bool,
    /// Directories to make and give to the user (such as `/workspace`), if they do not exist.
    pub user_dirs: Vec<String>,
    /// Mount points of volumes: given to the user while they are root's and empty, as a new volume is.
    pub volume_dirs: Vec<String>,
    /// Limit on the processes of each account that the guest sets itself where the engine's limit cannot count (gVisor).
    pub nproc_limit: Option<u64>,
    /// Owner that the guest's socket is given, where the host side that connects is not root.
    pub socket_uid: Option<u32>,
    /// Environment of every process started, on top of the image's; `NAME`, value.
    pub env: Vec<(String, String)>,
}

/// An account inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Login name.
    pub name: String,
    /// User id, never 0.
    pub uid: u32,
    /// Group id, never 0.
    pub gid: u32,
    /// Absolute path of the home directory.
    pub home: String,
    /// Absolute path of the shell; the guest falls back to `/bin/sh` where it does not exist.
    pub shell: String,
}

/// Size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Window {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Program {
    /// The user's shell without a command.
    Shell {
        /// As a login shell (profile files are read).
        login: bool,
    },
    /// `sh -c` with one command line.
    CommandLine(String),
    /// An argument vector, no shell in between.
    Argv(Vec<String>),
    /// The image's SFTP server, else the guest's own.
    Sftp,
}

/// Who runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunAs {
    /// The session's user.
    User,
    /// Root of the container.
    Root,
}

/// Where the process's standard streams come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Streams {
    /// Three descriptors come with the message: standard input, output, error.
    Pipes,
    /// One descriptor comes with the message, an end of a socket pair; the guest makes a terminal and copies.
    Terminal {
        /// `TERM`.
        term: String,
        /// First size.
        window: Window,
    },
}

/// The way to the client's X server: a display that listens in the container's network, and the key to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct X11 {
    /// `DISPLAY`, such as `localhost:10.0`.
    pub display: String,
    /// Name of the authentication protocol, such as `MIT-MAGIC-COOKIE-1`.
    pub protocol: String,
    /// Its secret.
    pub cookie: Vec<u8>,
}

/// Asks for a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// What to run.
    pub program: Program,
    /// Who runs it.
    pub run_as: RunAs,
    /// Working directory; the home if none. One that does not exist is an error.
    pub cwd: Option<String>,
    /// Further environment of this process; `NAME`, value.
    pub env: Vec<(String, String)>,
    /// Standard streams.
    pub streams: Streams,
    /// Offer an agent socket for the time of this connection.
    pub agent: bool,
    /// Pass on X11 for the time of this connection.
    pub x11: Option<X11>,
}

/// From the host to the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToGuest {
    /// First message.
    Hello {
        /// [`PROTOCOL`].
        protocol: u16,
    },
    /// Starts the one process of this connection; comes with descriptors as [`Streams`] says.
    Start(Box<Start>),
    /// The client's window changed.
    Resize(Window),
    /// Sends a signal to the process's foreground group (terminal) or group (none).
    Signal(i32),
    /// An agent connection is ready; comes with one descriptor, a connected unix stream socket.
    AgentOpened {
        /// The number that the guest gave it.
        id: u32,
    },
    /// An agent connection cannot be had.
    AgentRefused {
        /// The number that the guest gave it.
        id: u32,
    },
}

impl ToGuest {
    /// How many descriptors must come with the message, no more and no fewer.
    pub fn descriptors(&self) -> usize {
        match self {
            Self::Start(start) => match start.streams {
                Streams::Pipes => 3,
                Streams::Terminal { .. } => 1,
            },
            Self::AgentOpened { .. } => 1,
            Self::Hello { .. } | Self::Resize(_) | Self::Signal(_) | Self::AgentRefused { .. } => 0,
        }
    }
}

/// From the guest to the host. Never carries descriptors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromGuest {
    /// Answer to the first message: provisioning is done.
    Hello {
        /// [`PROTOCOL`].
        protocol: u16,
        /// Shell in force (after falling back).
        shell: String,
        /// Things that could not be had and do not matter enough to fail, one line each.
        warnings: Vec<String>,
    },
    /// The process runs; its pid as the container sees it.
    Started {
        /// Pid inside.
        pid: i32,
    },
    /// The process ended and its output is complete; the last message.
    Exited(Exit),
    /// A program inside wants to speak to the agent.
    AgentWanted {
        /// Number to use in the answer.
        id: u32,
    },
    /// The request cannot be carried out; the last message.
    Failed(Failure),
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// With a status, 0 to 255.
    Code(u8),
    /// By a signal.
    Signal(u8),
}

impl Exit {
    /// The status a shell would show: the code, or 128 + signal.
    pub fn status(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => signal.saturating_add(128),
        }
    }
}

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure.
    pub kind: FailureKind,
    /// A lower-case fragment for people; untrusted text.
    pub text: String,
}

/// Kinds of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// The other side speaks another protocol version.
    Protocol,
    /// The user or a directory could not be provisioned.
    Provision,
    /// The program does not exist (status 127).
    NotFound,
    /// The program cannot be executed (status 126).
    NotExecutable,
    /// The working directory does not exist.
    WorkingDirectory,
    /// No process, terminal or descriptor could be had.
    Resources,
    /// The request made no sense here.
    Request,
}

/// A frame of the relay: the same conversation plus the streams' bytes, inside one byte pipe in each direction.
/// Every stream has a window, so that a stopped reader never holds up control messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Frame<'a, Control> {
    /// A message of the conversation.
    Control(Control),
    /// Bytes of a stream.
    Data {
        /// Which stream.
        stream: StreamId,
        /// At most [`MAX_DATA`], never more than the window allows.
        #[serde(borrow, with = "crate::frame::byte_string")]
        bytes: Cow<'a, [u8]>,
    },
    /// End of a stream.
    End {
        /// Which stream.
        stream: StreamId,
    },
    /// The receiver has room for this many further bytes. From the sender, with 0: it would like a window of
    /// [`WIDE_WINDOW`]. A receiver that has none to give is silent.
    Window {
        /// Which stream.
        stream: StreamId,
        /// Bytes.
        bytes: u32,
    },
}

impl<Control> Frame<'_, Control> {
    /// The same with bytes of its own.
    pub fn into_owned(self) -> Frame<'static, Control> {
        match self {
            Self::Control(message) => Frame::Control(message),
            Self::Data { stream, bytes } => Frame::Data { stream, bytes: bytes.into_owned().into() },
            Self::End { stream } => Frame::End { stream },
            Self::Window { stream, bytes } => Frame::Window { stream, bytes },
        }
    }
}

/// First window of every stream of a relay, in bytes.
pub const STREAM_WINDOW: u32 = 1024 * 1024;

/// Window of a stream whose sender has asked for it, in bytes: as much as keeps a relay in a sandboxed kernel busy, where each
/// turn is dear.
pub const WIDE_WINDOW: u32 = 4 * STREAM_WINDOW;

/// Most bytes in one [`Frame::Data`]: with what stands before them they fit into a message.
pub const MAX_DATA: usize = 60 * 1024;

/// A stream of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum StreamId {
    /// Standard input, or the terminal's input.
    Stdin,
    /// Standard output, or the terminal's output.
    Stdout,
    /// Standard error.
    Stderr,
    /// An agent connection, towards the container.
    AgentIn(u32),
    /// An agent connection, from the container.
    AgentOut(u32),
}
