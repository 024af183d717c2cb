//! Values of attributes and bodies, which `wasi:otel` has as JSON.

use hms_core::trace::Attribute;
use hms_grants::{WindowGrants, mask};
use serde_json::Value;
use std::borrow::Cow;

/// Bytes of an attribute's value that is looked at. 8 KiB: far more than is kept of it.
const MAX_ATTRIBUTE: usize = 8 << 10;

/// Bytes of its text that are kept. 1 KiB: as of a field of a log line.
const MAX_TEXT: usize = 1 << 10;

/// Bytes of a text that is read as JSON. 64 KiB: of a longer one, a line has only the beginning
/// anyway.
const MAX_WORDS: usize = 64 << 10;

/// The value of an attribute, without revealed secrets. None where it is null or too long.
pub(super) fn attribute(granted: &WindowGrants, json: &str) -> Option<Attribute> {
    if json.len() > MAX_ATTRIBUTE {
        return None;
    }
    Some(match serde_json::from_str(json) {
        Ok(Value::Null) => return None,
        Ok(Value::Bool(value)) => Attribute::Bool(value),
        Ok(Value::Number(number)) => match number.as_i64() {
            Some(value) => Attribute::Int(value),
            None => Attribute::Double(number.as_f64()?),
        },
        Ok(Value::String(value)) => text(granted, &value),
        Ok(nested) => text(granted, &nested.to_string()),
        // Some guests pass texts as they are.
        Err(_) => text(granted, json),
    })
}

/// A text as an attribute.
pub(super) fn text(granted: &WindowGrants, text: &str) -> Attribute {
    Attribute::Text(short(granted, text).into())
}

/// What is kept of a text, without revealed secrets.
pub(super) fn short(granted: &WindowGrants, text: &str) -> String {
    let kept = text.get(..text.floor_char_boundary(MAX_ATTRIBUTE));
    let mut masked = mask::masked(granted, kept.unwrap_or_default()).into_owned();
    masked.truncate(masked.floor_char_boundary(MAX_TEXT));
    masked
}

/// Bytes that an attribute takes beside its texts: its place, and what the allocator adds to them.
/// Without it empty attributes would cost nothing, and a record could have thousands.
const PLACE: usize = 64;

/// Bytes that a record needs for an attribute.
pub(super) fn bytes(key: &str, value: &Attribute) -> usize {
    let text = match value {
        Attribute::Text(text) => text.len(),
        Attribute::Int(_) | Attribute::Double(_) | Attribute::Bool(_) => 0,
    };
    PLACE + key.len() + text
}

/// A value as words of a line of the log, which masks secrets itself.
pub(super) fn words(json: &str) -> Cow<'_, str> {
    let read = (json.len() <= MAX_WORDS).then(|| serde_json::from_str(json));
    match read {
        Some(Ok(Value::String(text))) => Cow::Owned(text),
        Some(Ok(other)) => Cow::Owned(other.to_string()),
        Some(Err(_)) | None => Cow::Borrowed(json),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hms_grants::Secret;

    /// Grants that reveal a secret which JSON escapes.
    fn granted() -> WindowGrants {
        let mut granted = WindowGrants::default();
        granted.grants.reveal.insert("key".into());
        let value = Secret::new(b"sk\"live\"42".to_vec());
        granted.secrets.insert("key".into(), value);
        granted
    }

    #[test]
    fn values_are_read_as_json_or_else_as_they_are() {
        let text = |text: &str| Some(Attribute::Text(text.into()));
        for (json, wanted) in [
            ("\"EUR\"", text("EUR")),
            ("EUR", text("EUR")),
            ("", text("")),
            ("-7", Some(Attribute::Int(-7))),
            ("1.5", Some(Attribute::Double(1.5))),
            (
                "18446744073709551615",
                Some(Attribute::Double(u64::MAX as f64)),
            ),
            ("true", Some(Attribute::Bool(true))),
            ("null", None),
            ("[1, \"a\"]", text("[1,\"a\"]")),
            ("{base64}:AAEC", text("{base64}:AAEC")),
        ] {
            assert_eq!(attribute(&granted(), json), wanted, "{json}");
        }
    }

    #[test]
    fn revealed_secrets_are_masked_also_where_json_escapes_them() {
        for json in [
            r#""key sk\"live\"42""#,
            r#""key sk\u0022live\u002242""#,
            r#"["key sk\"live\"42"]"#,
        ] {
            let Some(Attribute::Text(text)) = attribute(&granted(), json) else {
                panic!("{json}");
            };
            assert!(text.contains("key ***") && !text.contains("live"), "{text}");
        }
    }

    #[test]
    fn long_values_are_cut_and_longer_ones_are_not_kept() {
        let value = |length: usize| attribute(&granted(), &format!("\"{}\"", "é".repeat(length)));
        let Some(Attribute::Text(text)) = value(1000) else {
            panic!("it is kept");
        };
        assert_eq!(text.len(), MAX_TEXT);
        assert_eq!(value(MAX_ATTRIBUTE), None);
    }

    #[test]
    fn words_of_a_line_are_those_of_a_text() {
        assert_eq!(words("\"two\\nlines\""), "two\nlines");
        assert_eq!(words("plain"), "plain");
        assert_eq!(words("{\"a\": 1}"), "{\"a\":1}");
    }
}
