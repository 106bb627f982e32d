//! The JSON Schema of a Podfile, for editors. Shape and words only: what values mean is checked by podspawn itself.

use serde_json::{Map, Value, json};

use super::fields::{BANGS, FIELDS, Field, Kind};

/// The schema, as JSON Schema draft 7, which every editor's YAML support knows.
pub fn schema() -> Value {
    let mut properties = Map::new();
    for field in FIELDS {
        properties.insert(field.name.to_owned(), described(field));
        if BANGS.contains(&field.name) {
            let mut instead = described(field);
            instead["description"] =
                json!(format!("As `{}`, and what the base says is discarded.", field.name));
            properties.insert(format!("{}!", field.name), instead);
        }
    }
    let both = BANGS.map(|name| json!({ "not": { "required": [name, format!("{name}!")] } }));
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Podfile",
        "description": "What a repository says about its environment; see docs/podfile.md of podspawn.",
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": properties,
        "anyOf": [{ "required": ["base"] }, { "required": ["extends"] }],
        "allOf": both,
    })
}

/// A field's schema with its meaning. Nothing behind a field means that it is not set.
fn described(field: &Field) -> Value {
    let mut schema = of(field.kind);
    if let Some(kind) = schema.get("type").filter(|kind| kind.is_string()).cloned() {
        schema["type"] = json!([kind, "null"]);
    }
    schema["description"] = json!(field.about);
    schema
}

fn of(kind: Kind) -> Value {
    let port = json!({ "type": "integer", "minimum": 1, "maximum": 65535 });
    match kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Words(words) => {
            let mut allowed: Vec<Value> = words.iter().map(|word| json!(word)).collect();
            allowed.extend([json!(""), Value::Null]);
            json!({ "enum": allowed })
        }
        Kind::Memory => {
            json!({ "type": ["string", "integer", "null"], "pattern": "^([0-9]+(\\.[0-9]*)?|\\.[0-9]+)?[kKmMgG]?$" })
        }
        Kind::Cpus => json!({ "type": "number", "minimum": 0 }),
        Kind::Ports => json!({ "type": "array", "items": port }),
        Kind::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::Env => json!({
            "type": "object",
            "propertyNames": { "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" },
            "additionalProperties": { "type": ["string", "number", "boolean"] },
        }),
        Kind::Fields(fields) => keys(fields),
        Kind::Items(fields) => json!({
            "type": "array",
            "items": { "anyOf": [keys(fields), { "type": "string", "pattern": "^!" }] },
        }),
    }
}

fn keys(fields: &[Field]) -> Value {
    let properties: Map<String, Value> =
        fields.iter().map(|field| (field.name.to_owned(), described(field))).collect();
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}
