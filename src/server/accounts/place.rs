//! Where an installation keeps what belongs to its accounts.

use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::names::UserName;

/// An installation: its configuration, and the directory that the configuration file lies in.
#[derive(Debug, Clone)]
pub struct Place {
    /// Configuration in force.
    pub config: Config,
    /// Directory of the configuration file.
    pub config_dir: PathBuf,
}

impl Place {
    /// Records of accounts, one file each.
    pub fn accounts(&self) -> PathBuf {
        self.config_dir.join("accounts")
    }

    /// The record of one account.
    pub fn record(&self, user: &UserName) -> PathBuf {
        self.accounts().join(user.as_str())
    }

    /// The key file of one user.
    pub fn key_file(&self, user: &UserName) -> PathBuf {
        self.config.auth.key_dir.join(user.as_str())
    }

    /// Run-time homes.
    pub fn run_homes(&self) -> PathBuf {
        self.config.server.run_dir.join("homes")
    }

    /// The run-time home of one account: the home that sshd sees.
    pub fn run_home(&self, user: &UserName) -> PathBuf {
        self.run_homes().join(user.as_str())
    }

    /// The login shell of accounts that podspawn makes.
    pub fn shell(&self) -> PathBuf {
        self.config.server.lib_dir.join("podspawn-shell")
    }

    /// The home of a user's persistent sessions.
    pub fn persistent_home(&self, user: &UserName) -> PathBuf {
        self.config.state.homes_dir.join(user.as_str())
    }

    /// Drop-ins that the system reads accounts from.
    pub(super) fn userdb(&self) -> &'static Path {
        Path::new("/etc/userdb")
    }
}
