//! A JSON Schema (draft 2020-12) of manifests, for editors. Made from the tables that manifests are
//! read with, so the two cannot part.

use super::FIELDS;
use super::node::{Field, Kind};
use super::upstream;
use crate::plugins;
use hms_core::units::{Size, Time};
use serde_json::{Map, Value, json};

/// The schema of a manifest.
#[expect(
    clippy::indexing_slicing,
    reason = "of an object, where it puts a member"
)]
pub fn schema() -> Value {
    let mut schema = object(FIELDS, &["uri", "upstream"]);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("A route of HMS-SVC");
    schema
}

#[expect(
    clippy::indexing_slicing,
    reason = "of an object, where it puts a member"
)]
fn object(fields: &[Field], required: &[&str]) -> Value {
    let properties: Map<String, Value> = fields
        .iter()
        .map(|field| {
            let mut value = kind(&field.kind);
            value["description"] = json!(field.doc);
            (field.name.to_string(), value)
        })
        .collect();
    let mut object = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

fn kind(kind: &Kind) -> Value {
    match kind {
        Kind::Number(bounds) => {
            json!({ "type": "integer", "minimum": bounds.start(), "maximum": bounds.end() })
        }
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Text(example) => json!({ "type": "string", "examples": [example] }),
        Kind::Choice(words) => json!({ "enum": words }),
        Kind::Texts(at_most, _) => json!({
            "type": "array", "items": { "type": "string" }, "minItems": 1, "maxItems": at_most,
        }),
        Kind::TextMap(_) => {
            json!({ "type": "object", "additionalProperties": { "type": "string" } })
        }
        Kind::Time(_) => json!({ "type": "string", "pattern": Time::PATTERN }),
        Kind::Seconds(bounds) => json!({ "anyOf": [
            { "type": "integer", "minimum": bounds.start(), "maximum": bounds.end() },
            { "type": "string", "pattern": Time::PATTERN_OF_SECONDS },
        ] }),
        Kind::Size(_) => json!({ "type": ["string", "integer"], "pattern": Size::PATTERN }),
        Kind::Map(fields) => object(fields, &[]),
        Kind::Own("plugins") => plugins_schema(),
        Kind::Own("upstream") => {
            json!({ "anyOf": [url(), object(upstream::FIELDS, &["targets"])] })
        }
        Kind::Own("targets") => json!({
            "type": "array",
            "items": { "anyOf": [url(), object(upstream::TARGET, &["url"])] },
            "minItems": 1,
        }),
        Kind::Own(schema) => serde_json::from_str(schema).unwrap_or_else(|_| json!({})),
    }
}

fn url() -> Value {
    json!({ "type": "string", "pattern": "^(https?|h2c)://" })
}

/// A list; of each its name alone, or a mapping of the name to its settings.
#[expect(
    clippy::indexing_slicing,
    reason = "of an object, where it puts a member"
)]
fn plugins_schema() -> Value {
    let bare: Vec<&str> = plugins::ALL
        .iter()
        .filter(|plugin| plugin.required.is_empty())
        .map(|plugin| plugin.name)
        .collect();
    let mut entries = vec![json!({ "enum": bare })];
    for plugin in plugins::ALL {
        let mut settings = object(plugin.fields, plugin.required);
        if plugin.required.is_empty() {
            settings["type"] = json!(["object", "null"]);
        }
        entries.push(json!({
            "type": "object",
            "description": plugin.doc,
            "properties": { plugin.name: settings },
            "required": [plugin.name],
            "additionalProperties": false,
        }));
    }
    json!({ "type": ["array", "null"], "items": { "anyOf": entries } })
}
