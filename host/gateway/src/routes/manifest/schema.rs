//! A JSON Schema of manifests, for editors, made from the tables that manifests are read with.

use super::FIELDS;
use super::upstream;
use crate::plugins;
use hms_manifest::object;
use serde_json::{Value, json};

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

pub(super) fn upstream() -> Value {
    json!({ "anyOf": [url(), object(upstream::FIELDS, &["targets"])] })
}

pub(super) fn targets() -> Value {
    json!({
        "type": "array",
        "items": { "anyOf": [url(), object(upstream::TARGET, &["url"])] },
        "minItems": 1,
    })
}

fn url() -> Value {
    json!({ "type": "string", "pattern": "^(https?|h2c)://" })
}

/// A list; of each its name alone, or a mapping of the name to its settings.
#[expect(
    clippy::indexing_slicing,
    reason = "of an object, where it puts a member"
)]
pub(super) fn plugins() -> Value {
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
