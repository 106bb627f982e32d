//! Everything that shapes one session, as one immutable value.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use crate::config::{Mode, SeccompChoice};
use crate::names::{ImageRef, ServiceName, SessionKey};
use crate::podfile::Podfile;
pub use crate::podfile::{BuildBase, Dotfiles, Hook, HookCommand, Hooks, Repo};

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

/// A named volume of the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VolumeMount {
    /// The engine's name of it.
    pub name: String,
    /// Absolute path inside.
    pub target: String,
}

/// A container beside the session's own, on the same network, under the same hardening and limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceSpec {
    /// Its name, also its host name on the session's network.
    pub name: ServiceName,
    /// Its image.
    pub image: ImageRef,
    /// TCP ports that it listens on: it is ready when they accept, unless its image has a health check.
    pub ports: Vec<u16>,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// Its volumes, which outlive the session.
    pub volumes: Vec<VolumeMount>,
}

/// A TCP port of the session, published on the host's loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PortBinding {
    /// Port inside.
    pub container: u16,
    /// Port on 127.0.0.1.
    pub host: u16,
}

/// How to make an image that is not in a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recipe {
    /// The image that it begins with, which is pulled; none if [`Recipe::base_build`] makes it.
    pub base: Option<ImageRef>,
    /// A Dockerfile of the repository that is built first, under [`Recipe::base_tag`].
    pub base_build: Option<BuildBase>,
    /// Name of what `base_build` makes.
    pub base_tag: Option<ImageRef>,
    /// The Dockerfile; its context contains nothing else.
    pub dockerfile: String,
    /// What is installed, for people.
    pub packages: Vec<String>,
}

impl Recipe {
    /// What a line of a build's output begins with that says which command has begun.
    pub const STEP_MARK: &str = "podspawn-step: ";
    /// The same for a part of the packages: behind it stand `tools`, `runtime <entry>` or `packages <entries>`.
    pub const PART_MARK: &str = "podspawn-part: ";
}

/// Files that are copied in once, when the container is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CopySpec {
    /// Host directory; symlinks stay symlinks.
    pub source: PathBuf,
    /// `.git` comes along; otherwise it is left out.
    pub with_git: bool,
    /// Absolute path inside.
    pub target: String,
}

/// What happens inside a new container before anybody works in it, and at each connection.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Setup {
    /// Cloned to `~/dotfiles`.
    pub dotfiles: Option<Dotfiles>,
    /// Cloned after that.
    pub repos: Vec<Repo>,
    /// Hooks.
    pub hooks: Hooks,
}

impl Setup {
    /// What a Podfile says; the user's own dotfiles come before its.
    pub fn of(podfile: Podfile, user_dotfiles: Option<Dotfiles>) -> Self {
        let Podfile { dotfiles, repos, hooks, .. } = podfile;
        Self { dotfiles: user_dotfiles.or(dotfiles), repos, hooks }
    }

    /// Whether a new container is ready as it is: what runs for each connection does not count.
    pub fn is_empty(&self) -> bool {
        self.dotfiles.is_none() && self.repos.is_empty() && self.hooks.create.is_empty()
    }
}

/// What a Podfile adds to a session.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Environment {
    /// How to make the image where the engine does not have it; none pulls it.
    pub recipe: Option<Recipe>,
    /// Named volumes.
    pub volumes: Vec<VolumeMount>,
    /// Files that are copied in.
    pub copy: Option<CopySpec>,
    /// Directory where shells and commands start; none for the home.
    pub start_dir: Option<String>,
    /// Published ports.
    pub ports: Vec<PortBinding>,
    /// Companion containers, in start order.
    pub services: Vec<ServiceSpec>,
    /// What happens inside before anybody works there.
    pub setup: Setup,
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
    /// What a Podfile adds.
    pub environment: Environment,
    /// Host directory of the persistent home, for [`Mode::Persistent`].
    pub persistent_home: Option<PathBuf>,
    /// How many sessions there may be.
    pub limits: Limits,
    /// The network's bridge is one of those that the host's packet filter keeps away from the host's own addresses.
    pub guarded_network: bool,
}
