//! JSON Schemas (draft 2020-12) of documents, for editors. Made from the tables that documents are
//! read with, so the two cannot part.

use super::node::{Field, Kind};
use hms_core::units::{Lifetime, Size, Time};
use serde_json::{Map, Value, json};

/// The schema of a mapping of `fields`, of which those `required` must be there.
#[expect(
    clippy::indexing_slicing,
    reason = "of an object, where it puts a member"
)]
pub fn object(fields: &[Field], required: &[&str]) -> Value {
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
        Kind::Lifetime(_) => json!({ "type": "string", "pattern": Lifetime::PATTERN }),
        Kind::Seconds(bounds) => json!({ "anyOf": [
            { "type": "integer", "minimum": bounds.start(), "maximum": bounds.end() },
            { "type": "string", "pattern": Time::PATTERN_OF_SECONDS },
        ] }),
        Kind::Size(_) => json!({ "type": ["string", "integer"], "pattern": Size::PATTERN }),
        Kind::Map(fields) => object(fields, &[]),
        Kind::Own(schema) => schema(),
    }
}
