//! What callers hand to an engine and get back from it. No type of an engine's client library appears here.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWrite;

use crate::error::Result;
pub use crate::facts::{EngineKind, Facts, Gap};

/// Labels of an engine object, and a filter when listing: every pair must match; an empty value matches any value.
pub type Labels = BTreeMap<String, String>;

/// Whether an object with labels `have` is one of those that `want` selects.
pub(crate) fn has_labels(have: &Labels, want: &Labels) -> bool {
    want.iter().all(|(key, value)| have.get(key).is_some_and(|v| value.is_empty() || v == value))
}

/// An image that the engine has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// Content id, `sha256:…`.
    pub id: String,
    /// Environment that the image sets, `NAME=value`.
    pub env: Vec<String>,
    /// Size in bytes.
    pub size: u64,
    /// `amd64`, `arm64`, …
    pub architecture: String,
}

/// A step of a pull or a build, for whoever waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// One line of output (a build's output; a pull's status without numbers).
    Line(String),
    /// A layer's transfer.
    Layer {
        /// Short layer id.
        id: String,
        /// `Downloading`, `Extracting`, `Pull complete`, …
        status: String,
        /// Bytes done, if known.
        current: Option<u64>,
        /// Bytes in all, if known.
        total: Option<u64>,
    },
}

/// Receives progress; must not block for long.
pub type ProgressSink<'a> = &'a mut (dyn FnMut(Progress) + Send);

/// A build from a context in memory.
#[derive(Debug, Clone)]
pub struct BuildSpec {
    /// Tag of the result, `name:tag`.
    pub tag: String,
    /// Path of the Dockerfile inside the context.
    pub dockerfile: String,
    /// The context as a plain (uncompressed) tar archive.
    pub context_tar: Bytes,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// Stage to stop at, if not the last.
    pub target: Option<String>,
    /// Labels on the image.
    pub labels: Labels,
    /// Which of an engine's builders.
    pub builder: Builder,
}

/// Which of an engine's builders makes an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Builder {
    /// The one that the engine itself prefers.
    #[default]
    Engines,
    /// The classic one, where an engine has two.
    Classic,
}

/// A bind mount, a named volume or a tmpfs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mount {
    /// A path of the engine's host.
    Bind {
        /// Absolute path on the engine's host.
        source: PathBuf,
        /// Absolute path inside.
        target: String,
        /// Not writable inside.
        read_only: bool,
    },
    /// A named volume; it must exist.
    Volume {
        /// The volume's name.
        name: String,
        /// Absolute path inside.
        target: String,
        /// Not writable inside.
        read_only: bool,
    },
    /// A file system in memory.
    Tmpfs {
        /// Absolute path inside.
        target: String,
        /// Mount options as in `mount -o`, such as `size=64k,mode=0700`; empty for the engine's defaults.
        options: String,
    },
}

/// Which seccomp filter a container gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub enum Seccomp {
    /// The engine's own default.
    #[default]
    Default,
    /// None at all.
    Unconfined,
    /// A profile's JSON text. Engines that want a path get a file written for them.
    Profile(String),
}

/// A port published on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    /// TCP port inside.
    pub container: u16,
    /// Address and port on the host; port 0 lets the engine choose.
    pub host: SocketAddr,
}

/// Everything that shapes a container.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Name, unique in the engine.
    pub name: String,
    /// Image reference or id; must be present.
    pub image: String,
    /// Replaces the image's entrypoint if not empty.
    pub entrypoint: Vec<String>,
    /// Arguments; replaces the image's command if not empty or if `entrypoint` is set.
    pub command: Vec<String>,
    /// `NAME=value`, on top of the image's.
    pub env: Vec<String>,
    /// User inside (`0`, `1000:1000`, a name); the image's if none.
    pub user: Option<String>,
    /// Working directory; the image's if none.
    pub working_dir: Option<String>,
    /// Host name inside.
    pub hostname: Option<String>,
    /// Labels.
    pub labels: Labels,
    /// Network to join, `none` for no network at all; the engine's default if it is not set.
    pub network: Option<String>,
    /// Further names on that network.
    pub aliases: Vec<String>,
    /// Mounts.
    pub mounts: Vec<Mount>,
    /// Published TCP ports.
    pub ports: Vec<PublishedPort>,
    /// Capabilities taken away, without `CAP_`; `ALL` allowed.
    pub cap_drop: Vec<String>,
    /// Capabilities given back, without `CAP_`.
    pub cap_add: Vec<String>,
    /// Set the no-new-privileges flag.
    pub no_new_privileges: bool,
    /// Processes and threads; none for no limit.
    pub pids_limit: Option<i64>,
    /// CPUs as a hard quota; none for no limit.
    pub cpus: Option<f64>,
    /// Memory in bytes; none for no limit.
    pub memory: Option<u64>,
    /// Read-only root file system.
    pub readonly_rootfs: bool,
    /// Seccomp filter.
    pub seccomp: Seccomp,
    /// OCI runtime by name; the engine's default if none.
    pub runtime: Option<String>,
    /// Keep the container's standard input open.
    pub open_stdin: bool,
    /// Signal that ends it, such as `SIGTERM`; the image's if none.
    pub stop_signal: Option<String>,
    /// User and group inside that the account of a rootless Podman is to be, so that files of that account belong to them:
    /// ids inside are shifted for it. Not for other engines.
    pub map_owner: Option<(u32, u32)>,
    /// Names with an address each, for those that do not ask the engine's name service or cannot rely on it.
    pub hosts: Vec<(String, String)>,
    /// Its IPv4 address on its network, kept for its life; the engine's choice if none. Only Podman takes one on a network
    /// whose subnet the engine has chosen.
    pub address: Option<Ipv4Addr>,
}

/// Result of creating a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Full id.
    pub id: String,
    /// What the engine wants the caller to know (such as limits that it ignores).
    pub warnings: Vec<String>,
}

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContainerState {
    /// Made, never started.
    Created,
    /// Running (also paused or restarting: the processes exist).
    Running,
    /// Ended.
    Exited,
}

/// What the health check of a running container's image says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// It has not succeeded yet, nor failed often enough.
    Starting,
    /// It succeeds.
    Healthy,
    /// It has failed as often as it may.
    Unhealthy,
}

/// A container as the engine describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerInfo {
    /// Full id.
    pub id: String,
    /// Name without a leading slash.
    pub name: String,
    /// Image reference as given at creation.
    pub image: String,
    /// State.
    pub state: ContainerState,
    /// Pid of the first process as the engine's host sees it; none unless running.
    pub pid: Option<i32>,
    /// Exit status, if it ended.
    pub exit_code: Option<i64>,
    /// Whether the kernel ended it for lack of memory.
    pub oom_killed: bool,
    /// Seconds since the epoch.
    pub created_at: i64,
    /// Labels.
    pub labels: Labels,
    /// Address on each network, by network name.
    pub addresses: BTreeMap<String, String>,
    /// Host bindings that are in force.
    pub ports: Vec<PublishedPort>,
    /// What its image's health check said last; none if the image has no check.
    #[serde(default)]
    pub health: Option<Health>,
}

/// A line of a container listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSummary {
    /// Full id.
    pub id: String,
    /// Name without a leading slash.
    pub name: String,
    /// State.
    pub state: ContainerState,
    /// Seconds since the epoch.
    pub created_at: i64,
    /// Labels.
    pub labels: Labels,
}

/// A network to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSpec {
    /// Name. Engines may allow two of one name: the caller holds a lock.
    pub name: String,
    /// Labels.
    pub labels: Labels,
    /// Name of the bridge interface on the engine's host (at most 15 bytes), if it matters.
    pub bridge_name: Option<String>,
    /// No way out.
    pub internal: bool,
}

/// A network as listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkInfo {
    /// Full id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: Labels,
    /// Seconds since the epoch, if the engine says.
    pub created_at: Option<i64>,
    /// Its first subnet, such as `10.89.0.0/24`, if the engine says.
    pub subnet: Option<String>,
}

/// A named volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeInfo {
    /// Name, unique in the engine.
    pub name: String,
    /// Labels.
    pub labels: Labels,
}

/// A command to run in a running container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExecSpec {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// `NAME=value`, on top of the container's.
    pub env: Vec<String>,
    /// User inside; the container's if none.
    pub user: Option<String>,
    /// Working directory; the container's if none.
    pub working_dir: Option<String>,
    /// Connect standard input.
    pub stdin: bool,
    /// Give it a terminal (then everything arrives as [`ExecOutput::Stdout`]).
    pub tty: Option<WindowSize>,
}

/// Size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecOutput {
    /// Standard output, or everything if there is a terminal.
    Stdout(Bytes),
    /// Standard error.
    Stderr(Bytes),
}

/// A running exec. Dropping `input` (after `shutdown`) half-closes standard input; the process goes on.
pub struct ExecSession {
    /// The engine's id of the exec.
    pub id: String,
    /// Towards standard input.
    pub input: std::pin::Pin<Box<dyn AsyncWrite + Send>>,
    /// Output until the process has closed it.
    pub output: BoxStream<'static, Result<ExecOutput>>,
}

/// A running exec as the connection that carries it.
#[derive(Debug)]
pub struct RawExec {
    /// The engine's id of the exec.
    pub id: String,
    /// A connected unix stream socket in non-blocking mode. What is written is standard input; what comes is framed output,
    /// of which nothing has been read. [`crate::carried`] takes it apart.
    pub connection: OwnedFd,
}

/// How a process ended. An engine reports death by signal n as 128+n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitCode(pub i64);

/// Something that happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub action: EventAction,
    /// Full container id.
    pub container: String,
    /// Container name, if the engine says.
    pub name: Option<String>,
    /// Exit status for `Died`.
    pub exit_code: Option<i64>,
}

/// Kinds of events that podspawn waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventAction {
    /// Made.
    Created,
    /// Started.
    Started,
    /// Its first process ended.
    Died,
    /// Gone.
    Removed,
}

/// Options of [`crate::Engine::logs`].
#[derive(Debug, Clone, Copy, Default)]
pub struct LogOptions {
    /// Go on as new output arrives.
    pub follow: bool,
    /// Only this many last lines.
    pub tail: Option<u64>,
}

/// How long an engine call may take before it is given up; pulls, builds, waits and streams have their own limits.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// How long an engine may take to say what it is when it is first spoken to.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
