//! Values of attributes in header fields (CloudEvents HTTP binding 1.0.2, section 3.1.3.2).

use std::borrow::Cow;
use std::fmt::Write;

/// What stands for itself: printable ASCII but space, `"` and `%`.
fn stands(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e) && byte != b'"' && byte != b'%'
}

/// `value`, with each byte of UTF-8 that does not stand for itself as `%XX`.
pub(super) fn encoded(value: &str) -> Cow<'_, str> {
    if value.bytes().all(stands) {
        return Cow::Borrowed(value);
    }
    let mut text = String::with_capacity(value.len() + 16);
    for byte in value.bytes() {
        match stands(byte) {
            true => text.push(char::from(byte)),
            false => {
                // Writing to a string does not fail.
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn text_beyond_plain_ascii_is_percent_encoded() {
        assert_eq!(encoded("plain/value:1"), "plain/value:1");
        // The example of the specification.
        assert_eq!(encoded("Euro € 😀"), "Euro%20%E2%82%AC%20%F0%9F%98%80");
        assert_eq!(encoded("a\"b%c\r\n"), "a%22b%25c%0D%0A");
        assert_eq!(encoded(""), "");
    }
}
