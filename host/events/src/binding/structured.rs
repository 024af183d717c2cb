//! An event as one JSON document (CloudEvents JSON event format 1.0.2).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hms_store::NewEvent;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::collections::BTreeMap;

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    attributes: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

/// The document. Data of a JSON media type stands in it as it is, to the last digit of a number;
/// text as a string, and the rest as `data_base64`.
pub(super) fn document(attributes: &[(String, String)], event: &NewEvent) -> Vec<u8> {
    let attributes = attributes.iter();
    let attributes = attributes.map(|(name, value)| (name.as_str(), value.as_str()));
    let mut attributes: BTreeMap<&str, &str> = attributes.collect();
    if !event.content_type.is_empty() {
        attributes.insert("datacontenttype", &event.content_type);
    }
    let data = data(event);
    let encoded = data.is_none() && !event.data.is_empty();
    let document = Document {
        attributes,
        data,
        data_base64: encoded.then(|| STANDARD.encode(&event.data)),
    };
    // Its keys are strings, and all else are texts that were read as such.
    serde_json::to_vec(&document).unwrap_or_default()
}

/// The data as JSON. None: there are none, or they are in base64.
fn data(event: &NewEvent) -> Option<Box<RawValue>> {
    if event.data.is_empty() {
        return None;
    }
    let kind = event.content_type.to_ascii_lowercase();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if is_json(kind)
        && let Ok(value) = serde_json::from_slice(&event.data)
    {
        return Some(value);
    }
    // A document without a media type has JSON data, so text of no type is no string there.
    let text = std::str::from_utf8(&event.data).ok();
    let text = text.filter(|_| kind.starts_with("text/"))?;
    to_raw_value(text).ok()
}

fn is_json(kind: &str) -> bool {
    kind.is_empty() || kind == "application/json" || kind.ends_with("+json") || kind == "text/json"
}
