//! An event as one JSON document (CloudEvents JSON event format 1.0.2).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hms_store::NewEvent;
use serde_json::{Map, Value};

/// The document. Data of a JSON media type stands in it as it is, text as a string, and the rest as
/// `data_base64`.
pub(super) fn document(attributes: &[(String, String)], event: &NewEvent) -> Vec<u8> {
    let mut all = Map::new();
    for (name, value) in attributes {
        all.insert(name.clone(), Value::String(value.clone()));
    }
    if !event.content_type.is_empty() {
        let kind = Value::String(event.content_type.clone());
        all.insert("datacontenttype".to_owned(), kind);
    }
    if !event.data.is_empty() {
        let (name, data) = data(event);
        all.insert(name.to_owned(), data);
    }
    Value::Object(all).to_string().into_bytes()
}

fn data(event: &NewEvent) -> (&'static str, Value) {
    let kind = event.content_type.to_ascii_lowercase();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let text = std::str::from_utf8(&event.data).ok();
    if is_json(kind)
        && let Ok(value) = serde_json::from_slice(&event.data)
    {
        return ("data", value);
    }
    // A document without a media type has JSON data, so text of no type is no string there.
    match text.filter(|_| kind.starts_with("text/")) {
        Some(text) => ("data", Value::String(text.to_owned())),
        None => ("data_base64", Value::String(STANDARD.encode(&event.data))),
    }
}

fn is_json(kind: &str) -> bool {
    kind.is_empty() || kind == "application/json" || kind.ends_with("+json") || kind == "text/json"
}
