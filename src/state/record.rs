//! What the store holds about one session.

use crate::names::SessionKey;
use crate::spec::{Kind, Mode};

/// Seconds and nanoseconds since the epoch, UTC.
pub type Timestamp = jiff::Timestamp;

/// Where a session is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Being made; objects may exist. In no table, count or metric.
    Creating,
    /// In use, or waiting for its first connection.
    Running,
    /// Nobody is connected; goes at `grace_expiry`.
    GracePeriod,
    /// Being removed; reconcile finishes it off.
    Destroying,
}

/// Kinds of things that a session owns outside the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    /// A container.
    Container,
    /// A network.
    Network,
    /// A named volume that goes with the session.
    Volume,
    /// A directory on this host that goes with the session.
    Directory,
}

/// Something that a session owns: recorded by name before it is made, by id after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// What it is.
    pub kind: ObjectKind,
    /// Engine name, or absolute path of a directory.
    pub name: String,
    /// The engine's id, once known.
    pub id: Option<String>,
}

/// The container's first process on this host: identifies a running container without asking the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstProcess {
    /// Pid on this host.
    pub pid: i32,
    /// Start time in clock ticks since boot (`/proc/<pid>/stat`, field 22).
    pub start_time: u64,
    /// `/proc/sys/kernel/random/boot_id` at that time.
    pub boot_id: String,
}

/// How connections get into a session's container; probed once when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttachWay {
    /// Descriptors are passed to the guest's socket.
    Direct,
    /// The guest's relay runs through the engine's exec.
    Engine,
}

/// How far the setup inside a container has come: dotfiles, repositories, `on_create`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetupState {
    /// It has not come to its end: whoever connects next does it, or waits for who is at it.
    Pending,
    /// It is done, or there is none.
    Done,
    /// It came to its end, and `on_create` failed.
    Failed,
}

/// A row of the table `sessions`.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionRecord {
    /// Time-ordered unique id (UUID version 7).
    pub id: String,
    /// Owner and name.
    pub key: SessionKey,
    /// What was made.
    pub kind: Kind,
    /// Status.
    pub status: Status,
    /// The engine's id of the container; empty while creating.
    pub container_id: String,
    /// Container name.
    pub container_name: String,
    /// Image reference.
    pub image: String,
    /// Network id; empty while creating.
    pub network_id: String,
    /// Ids of services, in start order.
    pub service_ids: Vec<String>,
    /// Mode in force for its whole life.
    pub mode: Mode,
    /// Grace period in force, in seconds.
    pub grace_seconds: i64,
    /// Shell in force.
    pub shell: String,
    /// Account name inside.
    pub account: String,
    /// Made at.
    pub created_at: Timestamp,
    /// Last connect or disconnect.
    pub last_activity: Timestamp,
    /// Deadline; none for machines and persistent sessions.
    pub max_lifetime: Option<Timestamp>,
    /// Set in [`Status::GracePeriod`] only.
    pub grace_expiry: Option<Timestamp>,
    /// How to get in.
    pub attach: AttachWay,
    /// Directory on this host where the guest's socket is bind-mounted, if not reached through `/proc`.
    pub socket_dir: Option<String>,
    /// First process, where the engine is local.
    pub process: Option<FirstProcess>,
    /// Somebody has attached to it; else it only lends its network to forwarding, and is in no count, table or limit.
    pub attached: bool,
    /// Directory inside where shells and commands start; none for the home.
    pub start_dir: Option<String>,
    /// How far the setup inside has come.
    pub setup: SetupState,
    /// Engine that made it: kind and endpoint, as `docker unix:///var/run/docker.sock`.
    pub engine: String,
}
