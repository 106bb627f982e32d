//! Where the parts of a server lie, and its configuration as it stands now.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use podspawn_wire::broker::BROKER_SOCKET;

use crate::config::{self, Config, ConfigError, Deployment, Layers, SERVER_CONFIG, Sources, yaml};
use crate::names::UserName;
use crate::system::files::{TrustError, open_trusted, read_trusted};

/// A server's configuration file, and what lies beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    config_file: PathBuf,
    named: bool,
}

impl Installation {
    /// The installation of a configuration file; none for the usual one, which need not exist.
    pub fn new(config_file: Option<PathBuf>) -> Self {
        let named = config_file.is_some();
        Self { config_file: config_file.unwrap_or_else(|| SERVER_CONFIG.into()), named }
    }

    /// The configuration file, if it is not the usual one.
    pub fn config_flag(&self) -> Option<&Path> {
        (self.config_file != Path::new(SERVER_CONFIG)).then_some(&self.config_file)
    }

    /// Reads the configuration, whatever the environment says.
    pub fn load(&self) -> Result<Layers, ConfigError> {
        config::load(&Sources {
            deployment: Deployment::Server,
            local_root: PathBuf::from("/root/.podspawn"),
            home: None,
            file: self.named.then(|| self.config_file.clone()),
            env: BTreeMap::new(),
            flags: Vec::new(),
        })
    }

    /// The configuration with what the administrator decided for one user on top, and the environment that this sets. A
    /// user's file that somebody else than root could have written is an error.
    pub fn load_for(&self, user: &UserName) -> Result<(Layers, BTreeMap<String, String>), ConfigError> {
        let layers = self.load()?;
        let path = self.user_file(user);
        let text = match read_trusted(&path, 0, yaml::MAX_BYTES as u64) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|_| ConfigError::Read {
                path: path.clone(),
                reason: "it is not UTF-8 text".into(),
            })?,
            Err(TrustError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok((layers, BTreeMap::new()));
            }
            Err(error) => return Err(ConfigError::Read { path, reason: error.to_string() }),
        };
        layers.with_user(&path, &text)
    }

    /// Whether what the administrator decided for one user is hidden from this process's account.
    pub fn hides_file_of(&self, user: &UserName) -> bool {
        matches!(
            open_trusted(&self.user_file(user), 0),
            Err(TrustError::Io { source, .. }) if source.kind() == std::io::ErrorKind::PermissionDenied
        )
    }

    /// What the administrator decided for one user.
    pub fn user_file(&self, user: &UserName) -> PathBuf {
        self.beside("users").join(format!("{user}.yaml"))
    }

    /// A file or directory beside the configuration file.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.config_file.with_file_name(name)
    }
}

/// Where the broker listens.
pub fn socket(config: &Config) -> PathBuf {
    config.server.run_dir.join(BROKER_SOCKET)
}

/// Root's mark beside a broker's socket: nobody who comes starts a broker, because root works on what it would open.
pub fn maintenance(socket: &Path) -> PathBuf {
    socket.with_file_name("maintenance")
}

/// The directory of state.
pub fn state_dir(config: &Config) -> &Path {
    config.state.db_path.parent().unwrap_or(Path::new("/"))
}
