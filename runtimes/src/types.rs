//! What callers hand to an engine and get back from it. No type of an engine's client library appears here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWrite;

use crate::error::{EngineError, Result};

/// Labels of an engine object, and a filter when listing: every pair must match; an empty value matches any value.
pub type Labels = BTreeMap<String, String>;

/// Which engine is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineKind {
    /// Docker with its default OCI runtime.
    Docker,
    /// Podman through the API service of a user (or of root).
    Podman,
    /// Docker with gVisor's `runsc`.
    Gvisor,
}

impl EngineKind {
    /// The name as people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "Docker",
            Self::Podman => "Podman",
            Self::Gvisor => "gVisor",
        }
    }

    /// Why an engine of this kind has `gap`, in one fragment.
    pub(crate) fn gap_reason(self, gap: Gap) -> &'static str {
        match (self, gap) {
            (Self::Gvisor, Gap::PidsLimit) => "the count includes the sandbox's own threads",
            (Self::Gvisor, Gap::SeccompVisible) => "the sandbox's kernel does not show its filter",
            (Self::Gvisor, Gap::CopyIn) => {
                "a running sandbox does not see files that are put in from outside"
            }
            _ => "a rootless engine has no such cgroup controller here",
        }
    }
}

/// Something that an engine cannot do; declared, so that nobody has to find out by failing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gap {
    /// CPU limits are ignored (rootless on cgroup v1).
    CpuLimit,
    /// Memory limits are ignored (rootless on cgroup v1).
    MemoryLimit,
    /// The pids limit is ignored (rootless on cgroup v1), or counts the sandbox's own threads (gVisor).
    PidsLimit,
    /// The seccomp mode is not visible inside (gVisor).
    SeccompVisible,
    /// Copying into a running container is unreliable (gVisor).
    CopyIn,
}

/// What is known of an engine after it answered once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Which engine.
    pub kind: EngineKind,
    /// The engine's version, as it says.
    pub version: String,
    /// API version, as it says.
    pub api_version: String,
    /// Socket path or URL that is spoken to.
    pub endpoint: String,
    /// The engine runs without root's rights on its host.
    pub rootless: bool,
    /// 1 or 2; hybrid counts as 1.
    pub cgroup_version: u8,
    /// The engine runs on this host and its containers are ordinary processes here.
    pub local: bool,
    /// OCI runtimes that the engine knows, by name.
    pub runtimes: Vec<String>,
    /// Where the engine keeps its data, if the engine is local and says where.
    pub data_root: Option<PathBuf>,
    /// What this engine cannot do.
    pub gaps: Vec<Gap>,
}

impl Facts {
    /// Whether a descriptor of this host can be handed to a container's first process: a Linux engine on this host
    /// without a sandboxed kernel. Whether this user may look into the container is probed by the caller.
    pub fn direct_attach(&self) -> bool {
        self.local && self.kind != EngineKind::Gvisor
    }

    /// Takes out of `spec` the limits that this engine declares it cannot enforce, and says so in one line each.
    /// [`crate::Engine::create_container`] refuses a spec that still has them.
    pub fn fit(&self, spec: &mut ContainerSpec) -> Vec<String> {
        let mut lines = Vec::new();
        let mut without = |gap, asked: bool, what: &str| {
            let drop = asked && self.lacks(gap);
            if drop {
                lines.push(format!("{what} limit is not enforced: {}", self.kind.gap_reason(gap)));
            }
            drop
        };
        if without(Gap::CpuLimit, spec.cpus.is_some(), "cpu") {
            spec.cpus = None;
        }
        if without(Gap::MemoryLimit, spec.memory.is_some(), "memory") {
            spec.memory = None;
        }
        // Under gVisor the limit is kept: the engine raises it for the sandbox's own threads.
        let pids = spec.pids_limit.is_some() && self.kind != EngineKind::Gvisor;
        if without(Gap::PidsLimit, pids, "pids") {
            spec.pids_limit = None;
        }
        lines
    }

    /// The declared error if `spec` asks for a limit that this engine cannot enforce.
    pub(crate) fn refuse_gaps(&self, spec: &ContainerSpec) -> Result<()> {
        let refuse = |gap, what: &str| EngineError::Unsupported {
            action: format!("limit {what} of container `{}`", spec.name),
            engine: self.kind.name(),
            reason: self.kind.gap_reason(gap),
        };
        if spec.cpus.is_some() && self.lacks(Gap::CpuLimit) {
            return Err(refuse(Gap::CpuLimit, "cpus"));
        }
        if spec.memory.is_some() && self.lacks(Gap::MemoryLimit) {
            return Err(refuse(Gap::MemoryLimit, "memory"));
        }
        let pids = spec.pids_limit.is_some() && self.kind != EngineKind::Gvisor;
        if pids && self.lacks(Gap::PidsLimit) {
            return Err(refuse(Gap::PidsLimit, "pids"));
        }
        Ok(())
    }

    /// Whether `gap` is declared.
    pub fn lacks(&self, gap: Gap) -> bool {
        self.gaps.contains(&gap)
    }
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
    /// Network to join; the engine's default if none.
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
