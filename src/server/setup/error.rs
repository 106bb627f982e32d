//! Why a server could not be set up.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::config::ConfigError;
use crate::server::accounts::AccountError;
use crate::server::firewall::FirewallError;
use crate::server::pam::PamError;
use crate::state::StoreError;

/// See the module. Texts fit after "failed to" where they tell of something that was tried; the others stand alone.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SetupError {
    /// Not root.
    #[error("only root may set up this host's sshd")]
    NotRoot,
    /// There is no sshd.
    #[error("find `sshd` in /usr/sbin, /usr/local/sbin, /sbin or /usr/bin")]
    NoSshd,
    /// What is there now is not valid; nothing was changed.
    #[error("sshd does not accept {} as it is: {said}", path.display())]
    Broken {
        /// The configuration file.
        path: PathBuf,
        /// sshd's words.
        said: String,
    },
    /// sshd, or another program, failed.
    #[error("run `{program}`: {said}")]
    Tool {
        /// Which one.
        program: String,
        /// Its own words, or how it ended.
        said: String,
    },
    /// What sshd would make of it is not what was meant; nothing was changed.
    #[error("the new configuration of sshd would not do: {0}; nothing was changed")]
    Rehearsal(String),
    /// What sshd made of it is not what was meant; it was taken back.
    #[error("the new configuration of sshd does not do: {why}; {} is as it was", path.display())]
    RolledBack {
        /// What is wrong.
        why: String,
        /// The file that is what it was.
        path: PathBuf,
    },
    /// The same, and it could not be taken back.
    #[error("the new configuration of sshd does not do: {why}; and {} could not be put back: {source}", path.display())]
    NotRolledBack {
        /// What is wrong.
        why: String,
        /// The file that should have become what it was.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A path would be read as something else.
    #[error("`{}` cannot stand in sshd's configuration: it has to be an absolute path of letters, digits and `/._+-@,:`", .0.display())]
    Name(PathBuf),
    /// sshd would not run it, or somebody could put something in its place.
    #[error("{} must belong to root, and nobody else may write to it (mode {mode:04o}, uid {owner})", path.display())]
    Untrusted {
        /// The file or directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Its mode.
        mode: u32,
    },
    /// The text of a value makes no sense.
    #[error("`{0}` is no value of MaxStartups")]
    MaxStartups(String),
    /// sshd runs, and could not be told.
    #[error("reload {service}: {said}; its configuration is valid and stays")]
    Reload {
        /// The service.
        service: String,
        /// What went wrong.
        said: String,
    },
    /// A file or directory.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Group, accounts, directories.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// PAM's files.
    #[error(transparent)]
    Pam(#[from] PamError),
    /// The state database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Packet filter rules.
    #[error(transparent)]
    Firewall(#[from] FirewallError),
}

impl SetupError {
    /// For `map_err`.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
