//! Reads header fields as bytes.
//!
//! A value may contain bytes beyond ASCII (RFC 9110 section 5.5, `obs-text`). A reader that accepts
//! only text would skip such a line, with everything that others wrote on it. One byte from a
//! client would then decide what is read. Here every line is seen.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The members of a list field (RFC 9110 section 5.6.1), over all its lines in order, trimmed.
/// Includes empty members. Quotes have no meaning: this is for fields whose members are tokens.
pub fn members<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl DoubleEndedIterator<Item = &'a [u8]> + use<'a> {
    let lines = headers.get_all(name).iter();
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
}

/// The value of a field that may occur only once. None if it is missing or repeated.
pub fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::CONNECTION;
    use proptest::prelude::*;

    #[test]
    fn duplicate_field_has_no_single_value() {
        let mut headers = HeaderMap::new();
        assert_eq!(only(&headers, &CONNECTION), None);
        headers.append(CONNECTION, "a".parse().unwrap());
        assert_eq!(only(&headers, &CONNECTION).unwrap(), "a");
        headers.append(CONNECTION, "a".parse().unwrap());
        assert_eq!(only(&headers, &CONNECTION), None);
    }

    proptest! {
        /// Whatever stands beside a member, it is found, from either end.
        #[test]
        fn no_byte_hides_a_list_member(
            lines in prop::collection::vec("[\\t -~\u{80}-\u{ff}]{0,20}", 0..5),
            at in 0usize..5,
        ) {
            let mut headers = HeaderMap::new();
            let at = at.min(lines.len());
            for (i, line) in lines.iter().enumerate() {
                // Each character is one byte, as it came over the wire.
                let mut bytes: Vec<u8> = line.chars().map(|c| c as u8).collect();
                if i == at {
                    bytes.extend(b", member");
                }
                headers.append(CONNECTION, HeaderValue::from_bytes(&bytes).unwrap());
            }
            let found: Vec<&[u8]> = members(&headers, &CONNECTION).collect();
            prop_assert_eq!(found.contains(&&b"member"[..]), at < lines.len());
            let mut back: Vec<&[u8]> = members(&headers, &CONNECTION).rev().collect();
            back.reverse();
            prop_assert_eq!(found, back);
        }
    }
}
