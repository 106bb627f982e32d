//! Configuration as a person writes it, rightly and wrongly.

mod command;
mod files;
mod layers;
mod wrong;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use podspawn::config::{ConfigError, Deployment, Flag, Layers, Sources, load};
use tempfile::TempDir;

/// A place of its own for one test: a home with a configuration file, an environment and flags.
struct Place {
    home: TempDir,
    sources: Sources,
}

impl Place {
    /// A local user without any configuration.
    fn local() -> Self {
        let home =
            tempfile::Builder::new().prefix("podspawn-it-config-").tempdir().expect("a temporary directory");
        std::fs::create_dir(home.path().join(".podspawn")).expect("a directory");
        let sources = Sources {
            deployment: Deployment::Local,
            local_root: home.path().join(".podspawn"),
            home: Some(home.path().to_owned()),
            file: None,
            env: BTreeMap::new(),
            flags: Vec::new(),
        };
        Self { home, sources }
    }

    /// A server whose configuration file says `text`.
    fn server(text: &str) -> Self {
        let mut place = Self::local().file(text);
        place.sources.deployment = Deployment::Server;
        place.sources.file = Some(place.path());
        place
    }

    /// Writes the configuration file.
    fn file(self, text: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.path(), text).expect("a file");
        self
    }

    fn env(mut self, variable: &str, value: &str) -> Self {
        self.sources.env.insert(variable.into(), value.into());
        self
    }

    fn flag(mut self, name: &'static str, key: &'static str, value: &str) -> Self {
        self.sources.flags.push(Flag { name, key, value: value.into() });
        self
    }

    fn path(&self) -> PathBuf {
        self.home.path().join(".podspawn/config.yaml")
    }

    fn load(&self) -> Result<Layers, ConfigError> {
        load(&self.sources)
    }

    fn layers(&self) -> Layers {
        self.load().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The error, with the place's directory written `~`.
    fn error(&self) -> String {
        match self.load() {
            Ok(_) => panic!("accepted"),
            Err(error) => self.tilde(&error.to_string()),
        }
    }

    fn tilde(&self, text: &str) -> String {
        let home: &Path = self.home.path();
        text.replace(&home.display().to_string(), "~")
    }
}
