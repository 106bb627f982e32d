//! What can go wrong with projects and the checkouts of machines.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::attach::EnterError;
use super::context::LocalError;
use super::environment::EnvironmentError;
use super::git::GitError;
use super::interrupts::Stopped;
use super::machine::MachineError;
use crate::config::ConfigError;
use crate::podfile::PodfileError;
use crate::session::SessionError;
use crate::spec::ResolveError;
use crate::state::StoreError;

/// See the module. Texts are lower-case fragments.
#[derive(Debug, Error)]
pub enum ProjectError {
    /// No project of that name is registered.
    #[error("there is no project `{0}`")]
    Unknown(String),
    /// A project of that name is registered.
    #[error("the project `{0}` is registered already")]
    Registered(String),
    /// The configuration file names it, and not the registry.
    #[error("the project `{name}` stands in the configuration file, not in `{}`", file.display())]
    Configured {
        /// The project.
        name: String,
        /// The registry.
        file: PathBuf,
    },
    /// An account that is needed is not known to the system.
    #[error("there is no account `{0}`")]
    NoAccount(String),
    /// The machine has the checkout of another project or branch.
    #[error("the machine `{name}` is bound to {what} `{has}`")]
    Bound {
        /// The machine.
        name: String,
        /// `the project` or `the branch`.
        what: &'static str,
        /// Which.
        has: String,
    },
    /// A machine of that name exists that is not made of a project.
    #[error("the name `{0}` is in use")]
    InUse(String),
    /// There is a directory where the checkout is going to be.
    #[error("`{}` exists and belongs to no machine", .0.display())]
    Occupied(PathBuf),
    /// No machine of that name has a checkout.
    #[error("there is no machine `{0}` that was made of a project")]
    NoWorkspace(String),
    /// Its checkout was not made to the end, or is gone.
    #[error("the checkout of the machine `{0}` is missing")]
    NoCheckout(String),
    /// The machine has to be stopped first.
    #[error("the machine `{0}` has not been stopped")]
    NotStopped(String),
    /// The checkout has changes that would be lost.
    #[error("the checkout of the machine `{name}` has uncommitted changes: {}", changes.join(", "))]
    Dirty {
        /// The machine.
        name: String,
        /// Some of them, neutralised.
        changes: Vec<String>,
    },
    /// The image has no git.
    #[error("the image `{0}` has no `git`")]
    NoGit(String),
    /// git, inside a container, said no.
    #[error("{action}: {}", said.join("; "))]
    Inside {
        /// What was to be done.
        action: String,
        /// Its last lines, neutralised.
        said: Vec<String>,
    },
    /// Files of this host.
    #[error("{action} `{}`: {source}", path.display())]
    Files {
        /// What was to be done.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// git on this host.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The registry of projects.
    #[error(transparent)]
    Registry(#[from] ConfigError),
    /// What the Podfile of the checkout makes of it.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// What the machine would be like.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The machine.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// What ran in it.
    #[error(transparent)]
    Enter(#[from] EnterError),
}

impl ProjectError {
    /// For `map_err`.
    pub(super) fn files(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Files { action, path, source }
    }
}

impl From<SessionError> for ProjectError {
    fn from(error: SessionError) -> Self {
        Self::Machine(error.into())
    }
}

impl From<PodfileError> for ProjectError {
    fn from(error: PodfileError) -> Self {
        Self::Environment(error.into())
    }
}

impl From<StoreError> for ProjectError {
    fn from(error: StoreError) -> Self {
        Self::Machine(SessionError::from(error).into())
    }
}

impl From<LocalError> for ProjectError {
    fn from(error: LocalError) -> Self {
        Self::Machine(error.into())
    }
}

impl From<Stopped> for ProjectError {
    fn from(stopped: Stopped) -> Self {
        Self::Machine(stopped.into())
    }
}
