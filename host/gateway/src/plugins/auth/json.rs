//! JSON without duplicate members. RFC 8725's reason: two readers of one token must not see
//! two tokens, and which of two members counts is each parser's own choice (RFC 8259 section 4).

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Reads one JSON object.
///
/// # Errors
///
/// For what is not a JSON object, and for a duplicate member in it or anywhere within.
/// serde_json bounds the depth.
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, Flaw> {
    match serde_json::from_slice(bytes) {
        Ok(Strict(Value::Object(object))) => Ok(object),
        Err(error) if error.to_string().starts_with(TWICE) => Err(Flaw::Twice),
        _ => Err(Flaw::Shape),
    }
}

/// What is wrong with a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    Shape,
    Twice,
}

const TWICE: &str = "a member twice";

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = list.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Strict(value))) = map.next_entry::<String, _>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom(TWICE));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn duplicate_member_is_found_at_any_depth_and_in_any_spelling() {
        for text in [
            r#"{"a": 1, "a": 1}"#,
            r#"{"a": 1, "b": 2, "\u0061": 3}"#,
            r#"{"a": [{"b": null, "b": null}]}"#,
        ] {
            assert_eq!(object(text.as_bytes()), Err(Flaw::Twice), "{text}");
        }
        for text in ["", "1", "[]", "{", r#"{"a": 1} {}"#, &"[".repeat(10_000)] {
            assert_eq!(object(text.as_bytes()), Err(Flaw::Shape));
        }
    }

    proptest! {
        #[test]
        fn parser_agrees_with_serde_json(names in proptest::collection::btree_set(".{0,4}", 0..5), n in any::<i64>(), x in any::<f64>()) {
            let mut plain = Map::new();
            for name in names {
                plain.insert(name.clone(), serde_json::json!([n, x, {"in": name, "flag": true, "none": null}]));
            }
            let text = Value::Object(plain).to_string();
            let read: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(Value::Object(object(text.as_bytes()).unwrap()), read);
        }

        #[test]
        fn json_parser_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = object(&bytes);
        }
    }
}
