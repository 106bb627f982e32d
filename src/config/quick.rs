//! A server's configuration for programs that sshd waits for: the same values and the same errors as [`load`], without the
//! environment, without origins, and without reading the defaults from their file again.
//!
//! [`load`]: super::load

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::Serialized;

use super::deployment::Deployment;
use super::error::ConfigError;
use super::file;
use super::layers::{self, SERVER_CONFIG, Sources, load_text, merge};
use super::schema::Config;
use super::yaml;

/// Reads a server's configuration file: the one that was named, which must exist, or the usual one.
pub fn load_server(named: Option<&Path>) -> Result<Config, ConfigError> {
    let path = named.unwrap_or(Path::new(SERVER_CONFIG));
    match file::read(path)? {
        Some(text) => load_server_text(path, &text),
        None if named.is_some() => Err(ConfigError::Missing { path: path.to_owned() }),
        None => Ok(Config::default()),
    }
}

/// The same with the text at hand.
pub(super) fn load_server_text(path: &Path, text: &str) -> Result<Config, ConfigError> {
    if let Some(config) = plain(text) {
        return Ok(config);
    }
    // What is wrong is told by the one place that knows how to tell it.
    let sources = Sources {
        deployment: Deployment::Server,
        local_root: PathBuf::new(),
        // Commands on a server are root's.
        home: Some("/root".into()),
        file: None,
        env: BTreeMap::new(),
        flags: Vec::new(),
    };
    load_text(&sources, Some((path, text))).map(|layers| layers.config)
}

/// The configuration, if there is nothing wrong with the text.
fn plain(text: &str) -> Option<Config> {
    let values = yaml::parse(text).ok()?.values;
    if values.is_empty() {
        return Some(Config::default());
    }
    let defaults = || Figment::from(Serialized::defaults(Config::default()));
    let given = || Serialized::defaults(&values);
    let config: Config = defaults().merge(given()).extract().ok()?;
    match config.profile {
        None => Some(config),
        Some(name) => {
            let profile = layers::profile(name).ok()?;
            defaults().merge(merge([&profile])).merge(given()).extract().ok()
        }
    }
}
