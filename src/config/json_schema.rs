//! The JSON Schema of a configuration file, for editors: made of the example that holds every key, its comments included.

use std::collections::BTreeMap;

use figment::value::{Dict, Value};
use serde_json::{Map, Value as Json, json};

use super::layers::DEFAULTS;
use super::words::{AccountWay, EngineChoice, Forwarding, Mode, ProfileName};
use super::{ByteSize, TimeSpan, yaml};

/// What stands behind a key that is no plain value of its default's type.
const SPECIAL: [(&str, Special); 17] = [
    ("profile", Special::Profile),
    ("runtime", Special::Engine),
    ("accounts", Special::Account),
    ("server.forwarding", Special::Forwarding),
    ("session.mode", Special::Mode),
    ("session.grace_period", Special::Time),
    ("session.max_lifetime", Special::Time),
    ("defaults.cpus", Special::Cpus),
    ("defaults.memory", Special::Memory),
    ("resources.max_cpus", Special::Cpus),
    ("resources.max_memory", Special::Memory),
    ("security.tmpfs", Special::Texts),
    ("local.cpus", Special::Cpus),
    ("local.memory", Special::Memory),
    ("local.grace_period", Special::Time),
    ("local.max_lifetime", Special::Time),
    ("local.mode", Special::Mode),
];

#[derive(Debug, Clone, Copy)]
enum Special {
    Profile,
    Engine,
    Account,
    Forwarding,
    Mode,
    Time,
    Cpus,
    Memory,
    Texts,
}

/// The schema, as JSON Schema draft 7.
pub fn schema() -> Json {
    // What stands behind `#` at the end of the example are keys too.
    let commented: String = DEFAULTS
        .split_once("# Only in ~/.podspawn/config.yaml:")
        .map(|(_, rest)| {
            let lines = rest.lines().filter_map(|line| line.strip_prefix("# "));
            lines
                .filter(|line| line.starts_with("  ") || line.ends_with(':'))
                .map(|line| format!("{line}\n"))
                .collect()
        })
        .unwrap_or_default();
    let notes = notes(DEFAULTS);
    let mut properties = Map::new();
    for text in [DEFAULTS, &commented] {
        // Both are part of this program, and a test reads them.
        let document = yaml::parse(text).unwrap_or_default();
        properties.extend(keys(&document.values, "", &notes));
    }
    properties.insert("servers".into(), servers());
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Configuration of podspawn",
        "description": "/etc/podspawn/config.yaml on a server, ~/.podspawn/config.yaml for local commands (there alone: `local`, `servers`).",
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": properties,
    })
}

/// The section that no example shows: there is no default for it.
fn servers() -> Json {
    let long = json!({
        "type": "object",
        "required": ["host"],
        "additionalProperties": false,
        "properties": { "host": { "type": "string" }, "mode": { "enum": ["ephemeral", "persistent"] } },
    });
    json!({
        "type": ["object", "null"],
        "description": "Which server a `.pod` name leads to.",
        "additionalProperties": false,
        "properties": {
            "default": { "type": ["string", "null"] },
            "mappings": {
                "type": ["object", "null"],
                "propertyNames": { "pattern": "\\.pod$" },
                "additionalProperties": { "anyOf": [{ "type": "string" }, long] },
            },
        },
    })
}

fn keys(values: &Dict, above: &str, notes: &BTreeMap<String, String>) -> Map<String, Json> {
    let entry = |(name, value): (&String, &Value)| {
        let key = format!("{above}{name}");
        let mut schema = match SPECIAL.iter().find(|(special, _)| *special == key) {
            Some((_, special)) => of(*special),
            None => plain(value, &key, notes),
        };
        if let Some(note) = notes.get(&key) {
            schema["description"] = json!(note);
        }
        (name.clone(), schema)
    };
    values.iter().map(entry).collect()
}

/// A value of the type that its default has, or nothing.
fn plain(value: &Value, key: &str, notes: &BTreeMap<String, String>) -> Json {
    match value {
        Value::Dict(_, dict) => json!({
            "type": ["object", "null"],
            "additionalProperties": false,
            "properties": keys(dict, &format!("{key}."), notes),
        }),
        Value::Array(..) => json!({ "type": ["array", "null"], "items": { "type": "string" } }),
        Value::Bool(..) => json!({ "type": ["boolean", "null"] }),
        Value::Num(..) => json!({ "type": ["integer", "null"], "minimum": 0 }),
        _ => json!({ "type": ["string", "null"] }),
    }
}

fn of(special: Special) -> Json {
    let words = |words: Vec<&str>| {
        let words: Vec<Json> =
            words.into_iter().map(|word| json!(word)).chain([json!(""), Json::Null]).collect();
        json!({ "enum": words })
    };
    match special {
        Special::Profile => words(ProfileName::all().map(ProfileName::as_str).collect()),
        Special::Engine => words(EngineChoice::all().map(EngineChoice::as_str).collect()),
        Special::Account => words(AccountWay::all().map(AccountWay::as_str).collect()),
        Special::Forwarding => words(Forwarding::all().map(Forwarding::as_str).collect()),
        Special::Mode => words(Mode::all().map(Mode::as_str).collect()),
        Special::Time => json!({
            "type": ["string", "null"],
            "pattern": "^(([0-9]+(\\.[0-9]*)?|\\.[0-9]+)(ns|us|ms|s|m|h))*$",
            "examples": [TimeSpan::from_secs(60).to_string()],
        }),
        Special::Cpus => json!({ "type": ["number", "null"], "minimum": 0 }),
        Special::Memory => json!({
            "type": ["string", "integer", "null"],
            "pattern": "^([0-9]+(\\.[0-9]*)?|\\.[0-9]+)?[kKmMgG]?$",
            "examples": [ByteSize::from_bytes(2 << 30).to_string()],
        }),
        Special::Texts => json!({ "type": ["object", "null"], "additionalProperties": { "type": "string" } }),
    }
}

/// The comment right above each key of the example, on one line.
fn notes(text: &str) -> BTreeMap<String, String> {
    let mut notes = BTreeMap::new();
    let (mut section, mut comment) = (String::new(), Vec::new());
    for line in text.lines() {
        let bare = line.trim_start();
        if let Some(words) = bare.strip_prefix('#') {
            comment.push(words.trim());
            continue;
        }
        if let Some((name, rest)) = bare.split_once(':') {
            let key = if bare.len() < line.len() { format!("{section}.{name}") } else { name.to_owned() };
            if bare.len() == line.len() && rest.trim().is_empty() {
                section = name.to_owned();
            }
            if !comment.is_empty() {
                notes.insert(key, comment.join(" "));
            }
        }
        comment.clear();
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_special_key_is_in_the_schema() {
        let schema = schema();
        for (key, _) in SPECIAL {
            let mut at = &schema["properties"];
            let mut parts = key.split('.').peekable();
            while let Some(part) = parts.next() {
                at = &at[part];
                if parts.peek().is_some() {
                    at = &at["properties"];
                }
            }
            assert!(at.is_object(), "{key}");
        }
    }

    #[test]
    fn keys_carry_their_comments() {
        let schema = schema();
        assert_eq!(
            schema["properties"]["auth"]["properties"]["key_dir"]["description"],
            "One file of public keys for each container user."
        );
        assert_eq!(
            schema["properties"]["session"]["description"].as_str().map(|text| &text[..23]),
            Some("How long sessions live.")
        );
        assert_eq!(schema["properties"]["local"]["properties"]["image"]["type"], json!(["string", "null"]));
    }
}
