//! One Podfile as it is written: everything optional, nothing checked but its shape, each value with its place.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::error::PodfileError;
use crate::config::Origin;
use crate::names::printable;

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The file, or what stands for one.
    pub(super) file: Arc<PathBuf>,
    /// The line, counted from 1, where it is known.
    pub(super) line: Option<u64>,
    /// The whole key as written there, neutralised.
    pub(super) key: String,
}

impl Place {
    /// `file:line`.
    pub(super) fn shown(&self) -> String {
        let file = printable(&self.file.to_string_lossy());
        self.line.map_or(file.clone(), |line| format!("{file}:{line}"))
    }

    pub(super) fn origin(&self) -> Origin {
        Origin::File { path: self.file.as_ref().clone(), line: self.line, key: self.key.clone() }
    }

    /// An error of the value here.
    pub(super) fn wrong(&self, reason: impl Into<String>) -> PodfileError {
        PodfileError::Value { place: self.shown(), key: self.key.clone(), reason: reason.into() }
    }
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// A list that a child changes: `removed` is taken out of what lies below, then `items` are added. With `reset` nothing
/// below counts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct List<T> {
    pub(super) reset: bool,
    pub(super) removed: BTreeMap<String, Place>,
    pub(super) items: Vec<T>,
    /// Where it was changed last.
    pub(super) place: Option<Place>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { reset: false, removed: BTreeMap::new(), items: Vec::new(), place: None }
    }
}

/// An environment that a child changes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Env {
    pub(super) reset: bool,
    /// None removes the variable from what lies below.
    pub(super) entries: BTreeMap<String, At<Option<String>>>,
}

/// A hook: the text of each layer, lowest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Script {
    pub(super) reset: bool,
    pub(super) parts: Vec<At<String>>,
}

/// `dotfiles`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RawDotfiles {
    pub(super) repo: Option<At<String>>,
    pub(super) install: Option<At<String>>,
}

/// An item of `repos`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RawRepo {
    pub(super) url: At<String>,
    /// The address as it is compared.
    pub(super) key: String,
    pub(super) path: Option<At<String>>,
    pub(super) branch: Option<At<String>>,
}

/// An item of `services`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RawService {
    pub(super) name: At<String>,
    pub(super) image: Option<At<String>>,
    pub(super) ports: Vec<At<u16>>,
    pub(super) env: BTreeMap<String, At<String>>,
    pub(super) volumes: Vec<At<String>>,
    pub(super) place: Place,
}

/// A whole Podfile. Texts that are empty are none.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Layer {
    pub(super) base: Option<At<String>>,
    pub(super) extends: Option<At<String>>,
    pub(super) name: Option<At<String>>,
    pub(super) branch: Option<At<String>>,
    pub(super) packages: List<At<String>>,
    pub(super) shell: Option<At<String>>,
    pub(super) env: Env,
    pub(super) dotfiles: Option<At<RawDotfiles>>,
    pub(super) repos: List<RawRepo>,
    pub(super) services: List<RawService>,
    pub(super) expose: List<At<u16>>,
    pub(super) strategy: Option<At<String>>,
    pub(super) cpus: Option<At<f64>>,
    pub(super) memory: Option<At<String>>,
    pub(super) on_create: Script,
    pub(super) on_start: Script,
    pub(super) extra_commands: List<At<String>>,
    pub(super) mount: Option<At<String>>,
    pub(super) mode: Option<At<String>>,
    pub(super) workspace: Option<At<String>>,
}
