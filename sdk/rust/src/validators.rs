//! Validators: the entity tag and the time of the last change of a resource (RFC 9110, section
//! 8.8).

use crate::http_date;
use http::HeaderValue;

/// The entity tag and the last change of a resource's current state, either or both.
///
/// [`Request::conditional`](crate::Request::conditional) compares them with the client's, and
/// [`Response::validators`](crate::Response::validators) sends them.
///
/// ```
/// # use hms_window::Validators;
/// let current = Validators::new().strong_tag("v7").last_modified_ms(1_700_000_000_000);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validators {
    pub(crate) tag: Option<Tag>,
    /// In seconds since 1970.
    pub(crate) modified_s: Option<i64>,
}

/// An entity tag as it stands between its quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) weak: bool,
    pub(crate) opaque: String,
}

impl Validators {
    /// Neither. A resource without validators matches `If-Match: *` and no other tag.
    pub fn new() -> Self {
        Self::default()
    }

    /// A strong entity tag, `"TAG"`: answers with the same tag have the same bytes. Use a version
    /// number, a hash or an id, without quotes. Characters that a tag cannot contain are
    /// percent-encoded, so any text works.
    pub fn strong_tag(self, tag: impl AsRef<str>) -> Self {
        self.tagged(tag.as_ref(), false)
    }

    /// A weak entity tag, `W/"TAG"`: answers with the same tag are equivalent. It never matches
    /// `If-Match` or `If-Range`, which require the same bytes.
    pub fn weak_tag(self, tag: impl AsRef<str>) -> Self {
        self.tagged(tag.as_ref(), true)
    }

    /// The last change, in milliseconds since 1970, not in the future. HTTP has only seconds: two
    /// changes in one second look the same, so set a tag as well if that can happen.
    pub fn last_modified_ms(self, ms: u64) -> Self {
        Validators {
            modified_s: i64::try_from(ms / 1000).ok(),
            ..self
        }
    }

    fn tagged(self, tag: &str, weak: bool) -> Self {
        let mut opaque = String::with_capacity(tag.len());
        for byte in tag.bytes() {
            match byte {
                b'%' | b'"' => opaque.push_str(&format!("%{byte:02X}")),
                0x21..=0x7e => opaque.push(char::from(byte)),
                _ => opaque.push_str(&format!("%{byte:02X}")),
            }
        }
        Validators {
            tag: Some(Tag { weak, opaque }),
            ..self
        }
    }

    /// The value of `ETag`.
    pub(crate) fn etag(&self) -> Option<HeaderValue> {
        let tag = self.tag.as_ref()?;
        let weak = if tag.weak { "W/" } else { "" };
        // Of visible ASCII by its making.
        HeaderValue::try_from(format!("{weak}\"{}\"", tag.opaque)).ok()
    }

    /// The value of `Last-Modified`.
    pub(crate) fn last_modified(&self) -> Option<HeaderValue> {
        HeaderValue::try_from(http_date::format(self.modified_s?)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_texts_make_distinct_valid_tags() {
        let etag = |tag: &str| Validators::new().strong_tag(tag).etag().unwrap();
        assert_eq!(etag("v7"), "\"v7\"");
        assert_eq!(etag("a\"b c\r\né%20"), "\"a%22b%20c%0D%0A%C3%A9%2520\"");
        assert_ne!(etag("a b"), etag("a%20b"));
        assert_eq!(Validators::new().weak_tag("").etag().unwrap(), "W/\"\"");
    }

    #[test]
    fn last_modified_is_sent_in_seconds() {
        let told = |ms| Validators::new().last_modified_ms(ms).last_modified();
        assert_eq!(
            told(784_111_777_999).unwrap(),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
        assert!(Validators::new().last_modified().is_none());
    }
}
