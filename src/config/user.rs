//! What an administrator decided for one user: a small file of its own, and the layer that it makes.

use std::collections::BTreeMap;
use std::path::Path;

use figment::value::Value;

use super::check;
use super::dotfiles;
use super::error::ConfigError;
use super::layers::{Kind, Layers, Place, document_layer, internal, merge};
use super::schema::Config;
use super::yaml;
use crate::names::quoted;

/// The keys, and those of the configuration that they stand for.
const KEYS: [(&str, &str, &str); 5] = [
    ("image", "defaults", "image"),
    ("cpus", "defaults", "cpus"),
    ("memory", "defaults", "memory"),
    ("shell", "defaults", "shell"),
    ("mode", "session", "mode"),
];

/// The key of the environment.
const ENV: &str = "env";

impl Layers {
    /// Lays a user's file over everything else, and gives the environment that it sets. Zero and empty values change nothing.
    pub fn with_user(
        mut self,
        path: &Path,
        text: &str,
    ) -> Result<(Self, BTreeMap<String, String>), ConfigError> {
        let document = yaml::parse(text).map_err(|bad| {
            let line = bad.line.map_or(String::new(), |line| format!(":{line}"));
            ConfigError::Malformed { place: format!("{}{line}", path.display()), reason: bad.reason }
        })?;
        let mut layer = document_layer(Kind::File(path.to_owned()), document);
        let mut env = BTreeMap::new();
        // The nested form of the mode is accepted as well.
        let mut given: Vec<(Vec<String>, Value)> = Vec::new();
        for (key, value) in std::mem::take(&mut layer.values) {
            match (key.as_str(), value) {
                ("session", Value::Dict(_, section)) => {
                    given
                        .extend(section.into_iter().map(|(key, value)| (vec!["session".into(), key], value)));
                }
                (_, value) => given.push((vec![key], value)),
            }
        }
        for (written, value) in given {
            let path: Vec<&str> = written.iter().map(String::as_str).collect();
            let target = match path[..] {
                [check::DOTFILES] => {
                    // The file's own dotfiles replace all others, wholly.
                    self.dotfiles = dotfiles::read(&layer, &[check::DOTFILES], value)?.or(self.dotfiles);
                    continue;
                }
                [ENV] => {
                    env = environment(&layer, value)?;
                    continue;
                }
                ["session", "mode"] => Some(("session", "mode")),
                [key] => {
                    KEYS.iter().find(|(known, ..)| *known == key).map(|(_, section, key)| (*section, *key))
                }
                _ => None,
            };
            let Some((section, key)) = target else {
                let known: Vec<&str> =
                    KEYS.iter().map(|(known, ..)| *known).chain([ENV, check::DOTFILES]).collect();
                return Err(check::unknown_key(&layer, &written, &known));
            };
            if check::is_zero_or_empty(&value) {
                continue;
            }
            let place = layer.place(&written).cloned();
            let place = place.unwrap_or_else(|| Place { line: None, written: written.join(".") });
            self.by_user.push(format!("{section}.{key}"));
            layer.insert(vec![section.to_owned(), key.to_owned()], value, place);
        }
        if !layer.values.is_empty() {
            check::alone(&self.layers[0], &layer, self.deployment)?;
            self.layers.push(layer);
            self.merged = merge(&self.layers);
            self.config = self.merged.extract::<Config>().map_err(internal)?;
        }
        Ok((self, env))
    }
}

fn environment(layer: &super::layers::Layer, value: Value) -> Result<BTreeMap<String, String>, ConfigError> {
    let at = |key: &str| vec![ENV.to_owned(), key.to_owned()];
    let Value::Dict(_, entries) = value else {
        return match value {
            Value::Empty(..) => Ok(BTreeMap::new()),
            _ => {
                let reason = "expected names and values below it".to_owned();
                Err(check::problem(layer, &[ENV.to_owned()], reason))
            }
        };
    };
    let mut env = BTreeMap::new();
    for (name, value) in entries {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(fits) {
            let reason = format!("{} is not the name of a variable", quoted(&name));
            return Err(check::problem(layer, &at(&name), reason));
        }
        let text = match &value {
            Value::String(_, text) => text.clone(),
            Value::Bool(_, value) => value.to_string(),
            Value::Num(_, number) => match (number.to_i128(), number.to_f64()) {
                (Some(number), _) => number.to_string(),
                (None, Some(number)) => number.to_string(),
                (None, None) => number.to_u128().map(|number| number.to_string()).unwrap_or_default(),
            },
            _ => {
                let reason = "expected a text".to_owned();
                return Err(check::problem(layer, &at(&name), reason));
            }
        };
        if text.contains('\0') {
            return Err(check::problem(layer, &at(&name), "a value cannot hold a zero byte".to_owned()));
        }
        env.insert(name, text);
    }
    Ok(env)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::{Deployment, Mode, Sources, load_text};

    fn with(text: &str) -> Result<(Layers, BTreeMap<String, String>), ConfigError> {
        let sources = Sources {
            deployment: Deployment::Server,
            local_root: PathBuf::from("/root/.podspawn"),
            home: None,
            file: None,
            env: BTreeMap::new(),
            flags: Vec::new(),
        };
        let server = "session:\n  mode: persistent\ndefaults:\n  cpus: 4\n";
        load_text(&sources, Some((Path::new("/etc/podspawn/config.yaml"), server)))
            .unwrap()
            .with_user(Path::new("/etc/podspawn/users/ann.yaml"), text)
    }

    #[test]
    fn a_users_file_wins_over_the_servers_and_says_so() {
        let (layers, env) =
            with("image: debian:12\nmode: destroy-on-disconnect\nenv:\n  EDITOR: nvim\n  N: 3\n").unwrap();
        assert_eq!(layers.config.defaults.image.as_str(), "debian:12");
        assert_eq!(layers.config.session.mode, Mode::DestroyOnDisconnect);
        assert_eq!(env, BTreeMap::from([("EDITOR".into(), "nvim".into()), ("N".into(), "3".into())]));
        let origin = layers.origin("defaults.image").to_string();
        assert!(origin.contains("/etc/podspawn/users/ann.yaml:1"), "{origin}");
    }

    #[test]
    fn a_user_brings_dotfiles_of_their_own() {
        let (layers, _) =
            with("dotfiles:\n  repo: github.com/ann/dotfiles\n  install: make install\n").unwrap();
        let dotfiles = layers.dotfiles.unwrap();
        assert_eq!(dotfiles.repo.as_str(), "https://github.com/ann/dotfiles");
        assert_eq!(dotfiles.install.as_deref(), Some("make install"));
        for (text, expected) in [
            ("dotfiles:\n  repo: /etc\n", "paths of this host are not allowed"),
            ("dotfiles:\n  repos: x\n", "did you mean `dotfiles.repo`?"),
            ("dotfiles:\n  install: x\n", "the key `repo` is missing"),
            ("dotfiles: x\n", "expected the keys `repo` and `install`"),
        ] {
            let error = with(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn zero_and_empty_values_change_nothing_and_the_mode_may_be_nested() {
        let (layers, env) = with("cpus: 0\nimage: ''\nsession:\n  mode: grace-period\n").unwrap();
        assert_eq!(layers.config.defaults.cpus.limit(), Some(4.0));
        assert_eq!(layers.config.session.mode, Mode::GracePeriod);
        assert!(env.is_empty());
        assert_eq!(with("").unwrap().0.config.session.mode, Mode::Persistent);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, expected) in [
            ("imge: x\n", "users/ann.yaml:1: unknown key `imge`; did you mean `image`?"),
            ("mode: forever\n", "users/ann.yaml:1: `mode`"),
            ("env:\n  1A: x\n", "is not the name of a variable"),
            ("security:\n  cap_add: [ALL]\n", "unknown key `security`"),
        ] {
            let error = with(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
