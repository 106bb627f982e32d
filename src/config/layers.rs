//! The layers of configuration, lowest first: built-in defaults, what is different for local commands, the deployment
//! profile, the configuration file, environment variables, flags.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider, Source};

use super::check;
use super::deployment::Deployment;
use super::dotfiles::Dotfiles;
use super::error::ConfigError;
use super::file;
use super::origin::Origin;
use super::projects::Projects;
use super::schema::Config;
use super::servers::Servers;
use super::words::ProfileName;
use super::yaml::{self, Document, KeyPath};

/// The server's configuration file.
pub const SERVER_CONFIG: &str = "/etc/podspawn/config.yaml";
/// Every key with its default: the lowest layer.
pub const DEFAULTS: &str = include_str!("../../config.example.yaml");

const VARIABLE_PREFIX: &str = "PODSPAWN_";

/// What the layers are read from. Captured by the caller: nothing here looks at the environment.
#[derive(Debug, Clone)]
pub struct Sources {
    /// For whom the command works.
    pub deployment: Deployment,
    /// `~/.podspawn`: the state of local commands and their configuration file.
    pub local_root: PathBuf,
    /// Home of the invoking user, for paths that begin with `~/`.
    pub home: Option<PathBuf>,
    /// File named by `--config`; it must exist. None for the place's own, which need not.
    pub file: Option<PathBuf>,
    /// The environment; variables that are no configuration are passed over. Empty for programs that must not be
    /// configured by it.
    pub env: BTreeMap<String, String>,
    /// Flags that stand for keys.
    pub flags: Vec<Flag>,
}

/// A command-line flag that stands for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The flag as typed, such as `--runtime`.
    pub name: &'static str,
    /// The key, such as `runtime` or `log.file`.
    pub key: &'static str,
    /// Its value.
    pub value: String,
}

/// The merged configuration, and where each value came from.
#[derive(Debug, Clone)]
pub struct Layers {
    /// For whom the command works.
    pub deployment: Deployment,
    /// The values in force.
    pub config: Config,
    /// Servers that `.pod` names lead to.
    pub servers: Servers,
    /// Projects that the configuration file itself names.
    pub projects: Projects,
    pub(super) merged: Figment,
    pub(super) layers: Vec<Layer>,
    /// Keys that a user's own file decides.
    pub(super) by_user: Vec<String>,
    /// The user's own dotfiles: `local.dotfiles`, or what a user's own file says.
    pub dotfiles: Option<Dotfiles>,
}

/// One layer.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) kind: Kind,
    pub(super) values: Dict,
    /// Where each key stands, and how it is written there.
    pub(super) places: BTreeMap<KeyPath, Place>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Default,
    Local,
    Profile(ProfileName),
    File(PathBuf),
    Env,
    Flags,
}

/// Where a key of a layer stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Line in a file, counted from 1.
    pub(super) line: Option<u64>,
    /// The key as written there: `local.image` for `defaults.image`; the variable or the flag.
    pub(super) written: String,
}

/// Reads and checks every layer and merges them.
pub fn load(sources: &Sources) -> Result<Layers, ConfigError> {
    let path = match (&sources.file, sources.deployment) {
        (Some(path), _) => path.clone(),
        (None, Deployment::Server) => PathBuf::from(SERVER_CONFIG),
        (None, Deployment::Local) => sources.local_root.join("config.yaml"),
    };
    match file::read(&path)? {
        Some(text) => load_text(sources, Some((&path, &text))),
        None if sources.file.is_some() => Err(ConfigError::Missing { path }),
        None => load_text(sources, None),
    }
}

/// The same with the text of the configuration file at hand; `sources.file` is not looked at. Reads nothing.
pub fn load_text(sources: &Sources, file: Option<(&Path, &str)>) -> Result<Layers, ConfigError> {
    let mut layers = vec![defaults()?];
    if sources.deployment == Deployment::Local {
        layers.push(local_paths(&sources.local_root));
        layers.push(profile(ProfileName::Local)?);
    }
    let mut servers = Servers::default();
    let mut projects = Projects::default();
    let mut given = Vec::new();
    if let Some((path, text)) = file {
        let document = yaml::parse(text).map_err(|bad| {
            let line = bad.line.map_or(String::new(), |line| format!(":{line}"));
            ConfigError::Malformed { place: format!("{}{line}", path.display()), reason: bad.reason }
        })?;
        let mut layer = document_layer(Kind::File(path.to_owned()), document);
        if sources.deployment == Deployment::Local {
            servers = check::servers(&mut layer)?;
        }
        projects = check::projects(&mut layer, sources.deployment)?;
        given.push(layer);
    }
    let mut dotfiles = None;
    given.push(variables(&sources.env));
    given.push(flags(&sources.flags));
    for layer in &mut given {
        if sources.deployment == Deployment::Local
            && let Some(own) = check::move_local_section(layer)?
        {
            dotfiles = Some(own);
        }
        expand_home(&mut layer.values, sources.home.as_deref());
    }
    given.retain(|layer| !layer.values.is_empty());
    for layer in &given {
        check::alone(&layers[0], layer, sources.deployment)?;
    }

    let chosen = merge(layers.iter().chain(&given)).extract::<Config>().map_err(internal)?.profile;
    if let Some(chosen) = chosen.filter(|name| !layers.iter().any(|layer| layer.kind == Kind::Profile(*name)))
    {
        layers.push(profile(chosen)?);
    }
    layers.append(&mut given);
    let merged = merge(&layers);
    let config = merged.extract::<Config>().map_err(internal)?;
    Ok(Layers {
        deployment: sources.deployment,
        config,
        servers,
        projects,
        merged,
        layers,
        by_user: Vec::new(),
        dotfiles,
    })
}

impl Layers {
    /// Whether a user's own file decides `key`: what an administrator decided for one user stands above a repository.
    pub fn is_by_user(&self, key: &str) -> bool {
        self.by_user.iter().any(|known| known == key)
    }

    /// Where the value of `key` (such as `session.mode`) came from.
    pub fn origin(&self, key: &str) -> Origin {
        let source = self.merged.find_metadata(key).and_then(|metadata| metadata.source.as_ref());
        let index = source.and_then(Source::custom).and_then(|index| index.parse::<usize>().ok());
        match index.and_then(|index| self.layers.get(index)) {
            Some(layer) => layer.origin(key),
            None => Origin::Default,
        }
    }
}

impl Layer {
    fn origin(&self, key: &str) -> Origin {
        let path: KeyPath = key.split('.').map(str::to_owned).collect();
        let place = self.place(&path);
        let written =
            |place: Option<&Place>| place.map_or_else(|| key.to_owned(), |place| place.written.clone());
        match &self.kind {
            Kind::Default => Origin::Default,
            Kind::Local => Origin::Local,
            Kind::Profile(name) => Origin::Profile(*name),
            Kind::File(file) => {
                let line = place.and_then(|place| place.line);
                Origin::File { path: file.clone(), line, key: written(place) }
            }
            Kind::Env => Origin::Env(written(place)),
            Kind::Flags => Origin::Flag(written(place)),
        }
    }

    /// The place of a key, or of the nearest key above it, or of one below it.
    pub(super) fn place(&self, path: &[String]) -> Option<&Place> {
        let above = (1..=path.len()).rev().find_map(|length| self.places.get(&path[..length]));
        above.or_else(|| self.places.iter().find(|(key, _)| key.starts_with(path)).map(|(_, place)| place))
    }
}

/// A layer as figment takes it: its number is the source, by which [`Layers::origin`] finds it again.
struct Numbered<'a>(usize, &'a Layer);

impl Provider for Numbered<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::from("layer", Source::Custom(self.0.to_string()))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.1.values.clone())]))
    }
}

pub(super) fn merge<'a>(layers: impl IntoIterator<Item = &'a Layer>) -> Figment {
    layers
        .into_iter()
        .enumerate()
        .fold(Figment::new(), |figment, (index, layer)| figment.merge(Numbered(index, layer)))
}

/// Every layer was checked alone, so that merging them cannot fail for a reason that a user could act on.
pub(super) fn internal(error: figment::Error) -> ConfigError {
    let reason = error.kind.to_string();
    ConfigError::Value { place: "merged configuration".into(), key: error.path.join("."), reason }
}

pub(super) fn document_layer(kind: Kind, document: Document) -> Layer {
    let places = document
        .lines
        .into_iter()
        .map(|(path, line)| {
            let written = path.join(".");
            (path, Place { line: Some(line).filter(|line| *line > 0), written })
        })
        .collect();
    Layer { kind, values: document.values, places }
}

fn built_in(kind: Kind, text: &str) -> Result<Layer, ConfigError> {
    let document = yaml::parse(text)
        .map_err(|bad| ConfigError::Malformed { place: format!("built-in {kind:?}"), reason: bad.reason })?;
    Ok(document_layer(kind, document))
}

/// The lowest layer.
pub(super) fn defaults() -> Result<Layer, ConfigError> {
    built_in(Kind::Default, DEFAULTS)
}

/// The layer of a deployment profile.
pub(super) fn profile(name: ProfileName) -> Result<Layer, ConfigError> {
    let text = match name {
        ProfileName::DockerHost => include_str!("../../profiles/docker-host.yaml"),
        ProfileName::RootlessPodman => include_str!("../../profiles/rootless-podman.yaml"),
        ProfileName::HardenedGvisor => include_str!("../../profiles/hardened-gvisor.yaml"),
        ProfileName::Local => include_str!("../../profiles/local.yaml"),
    };
    built_in(Kind::Profile(name), text)
}

fn local_paths(root: &Path) -> Layer {
    let path = |name: &str| Value::from(root.join(name).to_string_lossy().into_owned());
    let state = [("db_path", "state.db"), ("lock_dir", "locks"), ("homes_dir", "homes")]
        .map(|(key, name)| (key.to_owned(), path(name)));
    let values = Dict::from([
        ("state".to_owned(), Value::from(Dict::from(state))),
        ("projects_file".to_owned(), path("projects.yaml")),
    ]);
    Layer { kind: Kind::Local, values, places: BTreeMap::new() }
}

/// `PODSPAWN_<SECTION>__<KEY>`; other variables are no configuration. An empty one counts as not set.
fn variables(env: &BTreeMap<String, String>) -> Layer {
    let mut layer = Layer { kind: Kind::Env, values: Dict::new(), places: BTreeMap::new() };
    for (variable, text) in env {
        let Some((section, key)) =
            variable.strip_prefix(VARIABLE_PREFIX).and_then(|name| name.split_once("__"))
        else {
            continue;
        };
        let path: KeyPath = std::iter::once(section).chain(key.split("__")).map(str::to_lowercase).collect();
        if path.iter().any(String::is_empty) || text.is_empty() {
            continue;
        }
        layer.insert(path, typed(text), Place { line: None, written: variable.clone() });
    }
    layer
}

fn flags(flags: &[Flag]) -> Layer {
    let mut layer = Layer { kind: Kind::Flags, values: Dict::new(), places: BTreeMap::new() };
    for flag in flags {
        let path = flag.key.split('.').map(str::to_owned).collect();
        let place = Place { line: None, written: flag.name.to_owned() };
        layer.insert(path, Value::from(flag.value.clone()), place);
    }
    layer
}

impl Layer {
    pub(super) fn insert(&mut self, path: KeyPath, value: Value, place: Place) {
        let (last, sections) = path.split_last().expect("a path has at least one key");
        let mut dict = &mut self.values;
        for section in sections {
            let next = dict.entry(section.clone()).or_insert_with(|| Value::from(Dict::new()));
            if next.as_dict().is_none() {
                *next = Value::from(Dict::new());
            }
            let Value::Dict(_, inner) = next else { unreachable!("it was made a dictionary") };
            dict = inner;
        }
        dict.insert(last.clone(), value);
        self.places.insert(path, place);
    }
}

/// The value of a variable: what YAML makes of it if that is a number, a truth value, a list or a mapping, else the text.
fn typed(text: &str) -> Value {
    let parsed = yaml::parse(&format!("value: {text}\n")).ok().and_then(|mut document| {
        (document.values.len() == 1).then(|| document.values.remove("value")).flatten()
    });
    match parsed {
        None | Some(Value::String(..) | Value::Char(..) | Value::Empty(..)) => Value::from(text.to_owned()),
        Some(value) => value,
    }
}

/// Replaces `~/` at the beginning of paths on the host.
fn expand_home(values: &mut Dict, home: Option<&Path>) {
    let Some(home) = home else { return };
    let expand = |value: Option<&mut Value>| {
        if let Some(Value::String(_, text)) = value
            && let Some(rest) = text.strip_prefix("~/")
        {
            *text = home.join(rest).to_string_lossy().into_owned();
        }
    };
    expand(values.get_mut("projects_file"));
    for (section, keys) in [
        ("state", &["db_path", "lock_dir", "homes_dir"][..]),
        ("log", &["file", "audit_log"]),
        ("security", &["seccomp_profile"]),
    ] {
        let Some(Value::Dict(_, dict)) = values.get_mut(section) else { continue };
        for key in keys {
            expand(dict.get_mut(*key));
        }
    }
}
