//! A user's own configuration files, as configuration names them.

use figment::value::Value;
use serde::Serialize;

use super::check;
use super::error::ConfigError;
use super::layers::Layer;
use crate::names::{GitUrl, quoted};

/// A repository of configuration files, cloned to `~/dotfiles`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dotfiles {
    /// The repository.
    pub repo: GitUrl,
    /// Run there with `sh -c`.
    pub install: Option<String>,
}

/// Longest install command, in bytes.
const MAX_INSTALL: usize = 16 * 1024;

/// Reads `dotfiles` at `path` of a layer. Nothing and no keys mean none.
pub(super) fn read(layer: &Layer, path: &[&str], value: Value) -> Result<Option<Dotfiles>, ConfigError> {
    let at = |key: Option<&str>| path.iter().copied().chain(key).map(str::to_owned).collect::<Vec<_>>();
    let entries = match value {
        Value::Empty(..) => return Ok(None),
        Value::Dict(_, entries) if entries.is_empty() => return Ok(None),
        Value::Dict(_, entries) => entries,
        _ => {
            let reason = "expected the keys `repo` and `install` below it".to_owned();
            return Err(check::problem(layer, &at(None), reason));
        }
    };
    let mut repo = None;
    let mut install = None;
    for (key, value) in entries {
        let path = at(Some(&key));
        let text = |expected: &str| match &value {
            Value::String(_, text) => Ok(text.clone()),
            _ => Err(check::problem(layer, &path, format!("expected {expected}"))),
        };
        match key.as_str() {
            "repo" => {
                let parsed = text("the address of a repository")?.parse::<GitUrl>();
                repo = Some(parsed.map_err(|error| check::problem(layer, &path, error.to_string()))?);
            }
            "install" => {
                let text = text("a command")?;
                if text.len() > MAX_INSTALL
                    || text.contains(|c: char| c.is_control() && c != '\n' && c != '\t')
                {
                    let reason = format!("{} is too long or contains control characters", quoted(&text));
                    return Err(check::problem(layer, &path, reason));
                }
                install = Some(text).filter(|text| !text.trim().is_empty());
            }
            _ => return Err(check::unknown_key(layer, &path, &["repo", "install"])),
        }
    }
    match repo {
        Some(repo) => Ok(Some(Dotfiles { repo, install })),
        None => Err(check::problem(layer, &at(None), "the key `repo` is missing below it".into())),
    }
}
