//! The schemas that editors use: they accept what podspawn accepts, and know the same keys.

use std::path::Path;

use podspawn::config::{DEFAULTS, yaml};
use serde_json::{Value, json};

use crate::harness::Env;

fn schema(of: &str) -> Value {
    let run = Env::without_engine().podspawn(["schema", of]).run().ok();
    serde_json::from_str(&run.out()).expect("JSON")
}

fn document(text: &str) -> Value {
    serde_json::to_value(yaml::parse(text).unwrap_or_else(|bad| panic!("{text}: {}", bad.reason)).values)
        .expect("JSON")
}

/// What is wrong with a value, by the part of JSON Schema that the schemas use; patterns are left to editors.
fn findings(schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    let types: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let is = |kind: &&str| match *kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        other => panic!("{at}: the type {other}"),
    };
    if !types.is_empty() && !types.iter().any(is) {
        found.push(format!("{at}: {value} is not one of {types:?}"));
    }
    if let Some(words) = schema["enum"].as_array().filter(|words| !words.contains(value)) {
        found.push(format!("{at}: {value} is not among {words:?}"));
    }
    if let (Some(least), Some(number)) = (schema["minimum"].as_f64(), value.as_f64())
        && number < least
    {
        found.push(format!("{at}: {number} is less than {least}"));
    }
    for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(key).is_none() {
            found.push(format!("{at}: {key} is missing"));
        }
    }
    if let Some(any) = schema["anyOf"].as_array()
        && any.iter().all(|each| !findings(each, value, at).is_empty())
    {
        found.push(format!("{at}: none of what is allowed"));
    }
    for each in schema["allOf"].as_array().into_iter().flatten() {
        found.extend(findings(each, value, at));
    }
    if let Some(not) = schema.get("not")
        && findings(not, value, at).is_empty()
    {
        found.push(format!("{at}: what is not allowed"));
    }
    for (name, below) in value.as_object().into_iter().flatten() {
        let at = format!("{at}.{name}");
        match (schema["properties"].get(name), &schema["additionalProperties"]) {
            (Some(known), _) => found.extend(findings(known, below, &at)),
            (None, Value::Bool(false)) => found.push(format!("{at}: unknown")),
            (None, Value::Object(_)) => found.extend(findings(&schema["additionalProperties"], below, &at)),
            (None, _) => {}
        }
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        if schema["items"].is_object() {
            found.extend(findings(&schema["items"], item, &format!("{at}.{index}")));
        }
    }
    found
}

#[test]
fn the_examples_fit_the_schema_of_podfiles() {
    let schema = schema("podfile");
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/podfiles");
    let mut count = 0;
    for entry in std::fs::read_dir(examples).expect("examples") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("text");
        assert_eq!(findings(&schema, &document(&text), ""), Vec::<String>::new(), "{}", path.display());
        count += 1;
    }
    assert!(count >= 3);
}

#[test]
fn the_schema_of_podfiles_refuses_what_podspawn_refuses() {
    let schema = schema("podfile");
    for good in [
        "extends: x\npackages!: [a]\nservices: ['!db']\n",
        "base: x\nresources: {memory: 1024, cpus: 0.5}\nenv: {A: 1}\n",
    ] {
        assert_eq!(findings(&schema, &document(good), ""), Vec::<String>::new(), "{good}");
    }
    for bad in [
        "packages: [a]\n",
        "base: x\npakages: [a]\n",
        "base: 5\n",
        "base: x\nmode: ephemeral\n",
        "base: x\nports: {expose: [0]}\n",
        "base: x\nshell!: /bin/sh\n",
        "extends: x\nenv: {}\nenv!: {}\n",
        "base: x\nservices: [{name: a, image: b, privileged: true}]\n",
    ] {
        assert_ne!(findings(&schema, &document(bad), ""), Vec::<String>::new(), "{bad}");
    }
}

#[test]
fn the_example_of_every_key_fits_the_schema_of_the_configuration_and_is_all_of_it() {
    let schema = schema("config");
    let mut example = document(DEFAULTS);
    assert_eq!(findings(&schema, &example, ""), Vec::<String>::new());
    // The two sections that the example shows as comments, or not at all.
    let dotfiles = json!({ "repo": "x", "install": "x" });
    let local = json!({
        "image": "x", "shell": "x", "cpus": 4, "memory": "8g", "grace_period": "5m", "max_lifetime": "24h",
        "mode": "persistent", "dotfiles": dotfiles,
    });
    example["local"] = local;
    example["servers"] = json!({ "default": "x", "mappings": { "gpu.pod": { "host": "x" }, "a.pod": "x" } });
    assert_eq!(findings(&schema, &example, ""), Vec::<String>::new());
    let keys = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&schema["properties"]), keys(&example));
    for (name, below) in schema["properties"].as_object().expect("keys") {
        if let Some(properties) = below.get("properties") {
            assert_eq!(keys(properties), keys(&example[name]), "{name}");
        }
    }
    for bad in
        ["sesion: {}\n", "session: {mode: x}\n", "security: {pids_limit: many}\n", "local: {imagee: x}\n"]
    {
        assert_ne!(findings(&schema, &document(bad), ""), Vec::<String>::new(), "{bad}");
    }
}

#[test]
fn the_schemas_in_the_tree_are_those_of_the_program() {
    for of in ["podfile", "config"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/schema/{of}.json"));
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        let run = Env::without_engine().podspawn(["schema", of]).run().ok();
        assert!(kept == run.out(), "{} is old: `podspawn schema {of}` writes it anew", path.display());
    }
}
