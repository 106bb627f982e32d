//! A Podfile after `extends`, merging and defaults: every value in it is valid.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

pub use crate::config::Dotfiles;
use crate::config::Mode;
use crate::names::{BranchName, GitUrl, ImageRef, ServiceName, UserName, VolumeName};

/// What a repository says about its environment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Podfile {
    /// Prefix of the names of `dev` sessions; none for the directory's name.
    pub name: Option<String>,
    /// What the image is built on.
    pub base: Base,
    /// Branch of machines of the project; none for the repository's default.
    pub branch: Option<BranchName>,
    /// Packages in the order of the file, `name` or `name@version`.
    pub packages: Vec<String>,
    /// Absolute path of the login shell; none for the configured one.
    pub shell: Option<String>,
    /// Environment: static values, and dynamic ones that contain `${PODSPAWN_USER}` or `${PODSPAWN_PROJECT}`.
    pub env: BTreeMap<String, String>,
    /// The user's configuration files.
    pub dotfiles: Option<Dotfiles>,
    /// Repositories that are cloned inside.
    pub repos: Vec<Repo>,
    /// Companion containers, in start order.
    pub services: Vec<Service>,
    /// Ports of the session.
    pub ports: Ports,
    /// Limits that it asks for.
    pub resources: Resources,
    /// Hooks.
    pub hooks: Hooks,
    /// Commands of the image's build, run by root.
    pub extra_commands: Vec<String>,
    /// How `dev` brings the directory in.
    pub mount: MountWay,
    /// What happens when the last connection ends; none for the configured mode.
    pub mode: Option<Mode>,
    /// Absolute path of the checkout inside; none for `/workspace/<name>`.
    pub workspace: Option<String>,
    /// Directory where shells start, if it is not the checkout.
    pub start_dir: Option<String>,
    /// Named volumes of the session's own container.
    pub volumes: Vec<VolumeUse>,
    /// Name of the account inside; none for the owner's.
    pub user: Option<UserName>,
}

/// What an image is built on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Base {
    /// An image.
    Image(ImageRef),
    /// A Dockerfile of the repository (a devcontainer's `build`).
    Build(BuildBase),
}

/// A Dockerfile of the repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BuildBase {
    /// The Dockerfile, relative to the context.
    pub dockerfile: String,
    /// The context: a directory of this host inside the repository.
    pub context: PathBuf,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// Stage to stop at.
    pub target: Option<String>,
}

/// A repository that is cloned inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Repo {
    /// The repository.
    pub url: GitUrl,
    /// Absolute path inside; none for git's choice below the home.
    pub path: Option<String>,
    /// Branch; none for the repository's default.
    pub branch: Option<BranchName>,
}

/// A companion container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Service {
    /// Its name, also its host name on the session's network.
    pub name: ServiceName,
    /// Its image.
    pub image: ImageRef,
    /// TCP ports that it listens on: waited for, shown, never published.
    pub ports: Vec<u16>,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// Its named volumes.
    pub volumes: Vec<VolumeUse>,
}

/// A named volume and where it is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VolumeUse {
    /// The volume, of one user and one project.
    pub name: VolumeName,
    /// Absolute path inside.
    pub target: String,
}

/// Ports of a session.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Ports {
    /// TCP ports inside.
    pub expose: Vec<u16>,
    /// What `dev` does with them.
    pub strategy: PortStrategy,
}

/// What `dev` publishes on the host's loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PortStrategy {
    /// The Podfile's and `--ports`; the next free host port is taken.
    #[default]
    Auto,
    /// Only `--ports`.
    Manual,
    /// The Podfile's and `--ports`, under their own number or not at all.
    Expose,
}

/// Limits that a Podfile asks for.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Resources {
    /// CPUs.
    pub cpus: Option<f64>,
    /// Bytes.
    pub memory: Option<u64>,
}

/// How `dev` brings the directory in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountWay {
    /// As a bind mount.
    #[default]
    Bind,
    /// As a copy that is made once.
    Copy,
    /// Not at all.
    None,
}

/// Commands that run inside, as the session's user.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Hooks {
    /// Once for each container.
    pub create: Vec<Hook>,
    /// Each time the container starts.
    pub boot: Vec<Hook>,
    /// For each connection.
    pub start: Vec<Hook>,
}

/// One hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hook {
    /// As its file calls it: `on_create`, `postCreateCommand`.
    pub name: String,
    /// What is run.
    pub command: HookCommand,
    /// Absolute path of the directory inside that it runs in; none for the home.
    pub dir: Option<String>,
}

/// What a hook runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookCommand {
    /// `sh -c` with the whole text.
    Script(String),
    /// An argument vector, no shell in between.
    Argv(Vec<String>),
    /// All at the same time, each under its name.
    Parallel(Vec<(String, HookCommand)>),
}

impl HookCommand {
    /// Whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Script(text) => text.trim().is_empty(),
            Self::Argv(argv) => argv.is_empty(),
            Self::Parallel(commands) => commands.iter().all(|(_, command)| command.is_empty()),
        }
    }
}

/// Whether a value is set when the container is made, rather than in the image.
pub fn is_dynamic(value: &str) -> bool {
    value.contains("${PODSPAWN_USER}") || value.contains("${PODSPAWN_PROJECT}")
}
