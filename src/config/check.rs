//! Checks one layer at a time, so that every error can name the file and line, the variable or the flag.

use figment::error::{Actual, Kind as Wrong};
use figment::value::Value;

use super::deployment::Deployment;
use super::dotfiles::{self, Dotfiles};
use super::error::ConfigError;
use super::layers::{Kind, Layer, Place, merge};
use super::projects::Projects;
use super::schema::Config;
use super::servers::Servers;
use super::words::nearest;
use super::yaml::KeyPath;
use crate::names::{printable, quoted};

/// The section of short forms for local commands: its keys, and the keys they stand for.
const LOCAL: [(&str, &str, &str); 7] = [
    ("image", "defaults", "image"),
    ("shell", "defaults", "shell"),
    ("cpus", "defaults", "cpus"),
    ("memory", "defaults", "memory"),
    ("grace_period", "session", "grace_period"),
    ("max_lifetime", "session", "max_lifetime"),
    ("mode", "session", "mode"),
];
/// The key of a user's own dotfiles.
pub(super) const DOTFILES: &str = "dotfiles";
/// Sections that only the file of local commands has.
const ONLY_LOCAL: [&str; 2] = ["local", "servers"];

/// Checks that `layer` over the defaults is a valid configuration.
pub(super) fn alone(defaults: &Layer, layer: &Layer, deployment: Deployment) -> Result<(), ConfigError> {
    match merge([defaults, layer]).extract::<Config>() {
        Ok(_) => Ok(()),
        Err(error) => Err(explain(layer, &error.path, &error.kind, deployment)),
    }
}

/// Takes the section `servers` out of the layer and reads it.
pub(super) fn servers(layer: &mut Layer) -> Result<Servers, ConfigError> {
    match layer.values.remove("servers") {
        None => Ok(Servers::default()),
        Some(value) => value.deserialize::<Servers>().map_err(|error| {
            let path = [vec!["servers".to_owned()], error.path].concat();
            explain(layer, &path, &error.kind, Deployment::Local)
        }),
    }
}

/// Takes the section `projects` out of the layer and reads it.
pub(super) fn projects(layer: &mut Layer, deployment: Deployment) -> Result<Projects, ConfigError> {
    match layer.values.remove("projects") {
        None => Ok(Projects::default()),
        Some(value) => value.deserialize::<Projects>().map_err(|error| {
            let path = [vec!["projects".to_owned()], error.path].concat();
            explain(layer, &path, &error.kind, deployment)
        }),
    }
}

/// Reads a whole file of projects.
pub(super) fn projects_alone(mut layer: Layer) -> Result<Projects, ConfigError> {
    let values = std::mem::take(&mut layer.values);
    Value::from(values)
        .deserialize::<Projects>()
        .map_err(|error| explain(&layer, &error.path, &error.kind, Deployment::Server))
}

/// Puts the keys of `local` where they belong, and gives the dotfiles that it names. Zero and empty values change nothing.
pub(super) fn move_local_section(layer: &mut Layer) -> Result<Option<Dotfiles>, ConfigError> {
    let Some(section) = layer.values.remove("local") else { return Ok(None) };
    let mut own = None;
    let at = |key: &str| vec!["local".to_owned(), key.to_owned()];
    let Value::Dict(_, entries) = section else {
        let reason = format!("expected keys below it, found {}", describe(&section));
        return Err(problem(layer, &["local".to_owned()], reason));
    };
    for (key, value) in entries {
        if key == DOTFILES {
            own = dotfiles::read(layer, &["local", DOTFILES], value)?;
            continue;
        }
        let Some((_, section, target)) = LOCAL.iter().find(|(known, ..)| *known == key) else {
            let known: Vec<&str> = LOCAL.iter().map(|(known, ..)| *known).chain([DOTFILES]).collect();
            return Err(unknown_key(layer, &at(&key), &known));
        };
        if is_zero_or_empty(&value) {
            continue;
        }
        let place = layer.place(&at(&key)).cloned();
        let place = place.unwrap_or_else(|| Place { line: None, written: format!("local.{key}") });
        if layer.values.get(*section).is_some_and(|section| section.as_dict().is_none()) {
            // The section itself is wrong: that is what the check will say.
            continue;
        }
        layer.insert(vec![(*section).to_owned(), (*target).to_owned()], value, place);
    }
    Ok(own)
}

pub(super) fn is_zero_or_empty(value: &Value) -> bool {
    match value {
        Value::String(_, text) => text.is_empty() || text == "0",
        Value::Num(_, number) => number.to_f64() == Some(0.0) || number.to_u128() == Some(0),
        _ => false,
    }
}

fn explain(layer: &Layer, path: &[String], wrong: &Wrong, deployment: Deployment) -> ConfigError {
    let reason = match wrong {
        Wrong::UnknownField(_, known) => {
            let mut known = known.to_vec();
            let top = path.len() == 1;
            if let (true, Kind::File(_)) = (top, &layer.kind) {
                known.push("projects");
                if deployment == Deployment::Local {
                    known.extend(ONLY_LOCAL);
                }
            }
            return unknown_key(layer, path, &known);
        }
        Wrong::Message(message) => message.clone(),
        Wrong::MissingField(field) => format!("the key `{field}` is missing below it"),
        Wrong::InvalidType(actual, expected) if expected.starts_with("struct ") => {
            format!("expected keys below it, found {}", found(actual))
        }
        Wrong::InvalidType(actual, expected) | Wrong::InvalidValue(actual, expected) => {
            format!("expected {expected}, found {}", found(actual))
        }
        other => other.to_string(),
    };
    problem(layer, path, reason)
}

pub(super) fn problem(layer: &Layer, path: &[String], reason: String) -> ConfigError {
    let (place, key) = locate(layer, path);
    ConfigError::Value { place, key, reason }
}

pub(super) fn unknown_key(layer: &Layer, path: &[String], known: &[&str]) -> ConfigError {
    let (place, key) = locate(layer, path);
    let (last, above) = path.split_last().map_or(("", &[][..]), |(last, above)| (last.as_str(), above));
    let whole = |name: &str| {
        let key = [above.to_vec(), vec![name.to_owned()]].concat();
        if layer.kind == Kind::Env && key.len() >= 2 {
            format!("PODSPAWN_{}", key.join("__").to_uppercase())
        } else {
            key.join(".")
        }
    };
    let guess = if layer.kind == Kind::Env && path.len() == 1 {
        // A variable whose section is wrong.
        nearest(last, known).map(|name| format!("; did you mean `PODSPAWN_{}__…`?", name.to_uppercase()))
    } else if ONLY_LOCAL.contains(&last) && above.is_empty() {
        Some("; this section belongs into ~/.podspawn/config.yaml".to_owned())
    } else {
        nearest(last, known).map(|name| format!("; did you mean `{}`?", whole(name)))
    };
    let guess = guess.unwrap_or_else(|| format!(" (known here: {})", known.join(", ")));
    ConfigError::UnknownKey { place, key, guess }
}

/// Where it stands and what it is called there.
fn locate(layer: &Layer, path: &[String]) -> (String, String) {
    let key: KeyPath = path.iter().map(|part| printable(part)).collect();
    let place = layer.place(path);
    let written = place.map_or_else(|| key.join("."), |place| place.written.clone());
    match &layer.kind {
        Kind::File(file) => {
            let line = place.and_then(|place| place.line).map_or(String::new(), |line| format!(":{line}"));
            // A key below the one whose place is known keeps its own name.
            let shown = if layer.places.contains_key(path) { printable(&written) } else { key.join(".") };
            (format!("{}{line}", file.display()), shown)
        }
        Kind::Env => (format!("environment variable {written}"), key.join(".")),
        Kind::Flags => (format!("flag {written}"), key.join(".")),
        Kind::Default | Kind::Local | Kind::Profile(_) => {
            (format!("built-in {:?}", layer.kind), key.join("."))
        }
    }
}

fn found(actual: &Actual) -> String {
    match actual {
        Actual::Bool(value) => format!("`{value}`"),
        Actual::Unsigned(number) => format!("the number {number}"),
        Actual::Signed(number) => format!("the number {number}"),
        Actual::Float(number) => format!("the number {number}"),
        Actual::Str(text) => format!("the text {}", quoted(text)),
        Actual::Seq => "a list".into(),
        Actual::Map => "keys below it".into(),
        other => printable(&other.to_string()),
    }
}

fn describe(value: &Value) -> &'static str {
    match value {
        Value::String(..) | Value::Char(..) => "a text",
        Value::Bool(..) => "true or false",
        Value::Num(..) => "a number",
        Value::Empty(..) => "nothing",
        Value::Dict(..) => "keys",
        Value::Array(..) => "a list",
    }
}
