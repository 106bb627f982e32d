//! Everything that shapes one session, as one immutable value.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use crate::config::{Mode, SeccompChoice};
use crate::names::{ImageRef, SessionKey};

/// Whether the session is a local machine (lives until `stop`, whatever its mode's grace) or a server session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Made by `create`: lives until `stop` or `rm`; no grace, no lifetime.
    Machine,
    /// Made by `run`: goes with its shell.
    Throwaway,
    /// Follows its mode: grace period and maximum lifetime apply.
    Session,
}

/// Account inside the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Login name.
    pub name: String,
    /// User id; never 0.
    pub uid: u32,
    /// Group id; never 0.
    pub gid: u32,
    /// Home directory.
    pub home: String,
    /// Shell, absolute.
    pub shell: String,
}

/// Hard limits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Resources {
    /// CPUs; none for no limit.
    pub cpus: Option<f64>,
    /// Bytes; none for no limit.
    pub memory: Option<u64>,
    /// Processes and threads; none for no limit.
    pub pids_limit: Option<i64>,
}

/// How many sessions there may be, this one included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Limits {
    /// Of one owner; none for no limit.
    pub max_per_user: Option<u32>,
    /// In all; none for no limit.
    pub max_containers: Option<u32>,
}

/// What the container may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Security {
    /// Capabilities taken away, without `CAP_`.
    pub cap_drop: Vec<String>,
    /// Capabilities given back, without `CAP_`.
    pub cap_add: Vec<String>,
    /// No gains through setuid programs.
    pub no_new_privileges: bool,
    /// Read-only root file system.
    pub readonly_rootfs: bool,
    /// Further tmpfs mounts: path → mount options.
    pub tmpfs: BTreeMap<String, String>,
    /// OCI runtime; none for the engine's default.
    pub runtime: Option<String>,
    /// Seccomp filter.
    #[serde(rename = "seccomp_profile")]
    pub seccomp: SeccompChoice,
}

/// A bind mount that the invoking user or the administrator asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostMount {
    /// Host directory.
    pub source: PathBuf,
    /// Absolute path inside.
    pub target: String,
    /// Not writable inside.
    pub read_only: bool,
}

/// One session, completely: nothing downstream reads configuration again.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionSpec {
    /// Owner and name.
    pub key: SessionKey,
    /// Machine, throw-away machine or session.
    pub kind: Kind,
    /// Host name inside.
    pub hostname: String,
    /// Image reference.
    pub image: ImageRef,
    /// Account inside.
    pub account: Account,
    /// Limits.
    pub resources: Resources,
    /// Security options.
    pub security: Security,
    /// What happens when the last connection ends.
    pub mode: Mode,
    /// How long after that a session is kept.
    pub grace_period: Duration,
    /// How long a session may live in all.
    pub max_lifetime: Duration,
    /// Environment on top of the image's.
    pub env: BTreeMap<String, String>,
    /// Host directories.
    pub mounts: Vec<HostMount>,
    /// Host directory of the persistent home, for [`Mode::Persistent`].
    pub persistent_home: Option<PathBuf>,
    /// How many sessions there may be.
    pub limits: Limits,
    /// The network's bridge is one of those that the host's packet filter keeps away from the host's own addresses.
    pub guarded_network: bool,
}
