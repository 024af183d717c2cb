//! Messages of protobuf that are written as they are said, without one being built before: those
//! that each request makes many of.

use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

/// A field with bytes, or a text.
pub(super) fn bytes(into: &mut Vec<u8>, tag: u32, value: &[u8]) {
    encode_key(tag, WireType::LengthDelimited, into);
    encode_varint(value.len() as u64, into);
    into.extend_from_slice(value);
}

/// A field with a number: of `int64`, `uint32` and enumerations.
pub(super) fn number(into: &mut Vec<u8>, tag: u32, value: u64) {
    encode_key(tag, WireType::Varint, into);
    encode_varint(value, into);
}

/// A field of `fixed64`.
pub(super) fn fixed64(into: &mut Vec<u8>, tag: u32, value: u64) {
    encode_key(tag, WireType::SixtyFourBit, into);
    into.extend_from_slice(&value.to_le_bytes());
}

/// A field of `fixed32`.
pub(super) fn fixed32(into: &mut Vec<u8>, tag: u32, value: u32) {
    encode_key(tag, WireType::ThirtyTwoBit, into);
    into.extend_from_slice(&value.to_le_bytes());
}

/// A field with the message that `write` appends.
pub(super) fn message(into: &mut Vec<u8>, tag: u32, write: impl FnOnce(&mut Vec<u8>)) {
    encode_key(tag, WireType::LengthDelimited, into);
    // Room for a length of one byte. A longer message is moved by the rest.
    let at = into.len();
    into.push(0);
    let begin = into.len();
    write(into);
    let length = into.len().saturating_sub(begin) as u64;
    let mut prefix = [0; 10];
    let width = encoded_len_varint(length).min(prefix.len());
    encode_varint(length, &mut prefix.as_mut_slice());
    let prefix = prefix.iter().take(width).copied();
    into.splice(at..begin, prefix);
}

/// An attribute with a text.
pub(super) fn text_attribute(into: &mut Vec<u8>, tag: u32, name: &str, value: &str) {
    message(into, tag, |into| {
        bytes(into, KEY, name.as_bytes());
        message(into, VALUE, |into| bytes(into, TEXT, value.as_bytes()));
    });
}

/// An attribute with a number; beyond `i64`, the largest.
pub(super) fn number_attribute(into: &mut Vec<u8>, tag: u32, name: &str, value: u64) {
    message(into, tag, |into| {
        bytes(into, KEY, name.as_bytes());
        let value = value.min(i64::MAX as u64);
        message(into, VALUE, |into| number(into, INT, value));
    });
}

/// Fields of `KeyValue` and of `AnyValue`.
const KEY: u32 = 1;
const VALUE: u32 = 2;
const TEXT: u32 = 1;
const INT: u32 = 3;

#[cfg(test)]
mod tests {
    use super::super::proto::{KeyValue, Link, Message, ResourceSpans, Span};
    use super::*;

    #[test]
    fn messages_of_any_length_are_read_as_they_were_written() {
        for length in [0, 1, 90, 110, 127, 128, 129, 16_383, 16_384, 2_097_152] {
            let long = "x".repeat(length);
            let mut written = Vec::new();
            bytes(&mut written, 5, long.as_bytes());
            fixed64(&mut written, 7, u64::MAX);
            number(&mut written, 6, 3);
            text_attribute(&mut written, 9, "name", &long);
            number_attribute(&mut written, 9, "number", u64::MAX);
            message(&mut written, 13, |into| {
                bytes(into, 1, long.as_bytes());
                fixed32(into, 6, 7);
            });
            let wanted = Span {
                name: long.clone(),
                kind: 3,
                start_time_unix_nano: u64::MAX,
                attributes: vec![
                    KeyValue::text("name", long.clone()),
                    KeyValue::int("number", i64::MAX),
                ],
                links: vec![Link {
                    trace_id: long.into_bytes(),
                    flags: 7,
                    ..Link::default()
                }],
                ..Span::default()
            };
            assert_eq!(Span::decode(written.as_slice()), Ok(wanted), "{length}");
        }
    }

    #[test]
    fn empty_message_is_there() {
        let mut written = Vec::new();
        message(&mut written, 2, |_| {});
        let read = ResourceSpans::decode(written.as_slice()).unwrap();
        assert_eq!(read.scope_spans.len(), 1);
    }
}
