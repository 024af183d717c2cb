//! Media types in a rule: `application/json`, or `text/*`.

use http::{HeaderMap, HeaderValue, header};

/// Its events would be compressed one by one, which gains nothing, and proxies would delay them. So
/// no wildcard includes it: it is compressed only if named.
const EVENTS: (&str, &str) = ("text", "event-stream");

/// One media type, or all with the same beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MediaRange {
    kind: String,
    /// None for any.
    subtype: Option<String>,
}

impl MediaRange {
    /// # Errors
    /// What was expected.
    pub(super) fn parse(text: &str) -> Result<MediaRange, String> {
        let lower = text.to_ascii_lowercase();
        match lower.split_once('/') {
            Some((kind, "*")) if is_token(kind) => Ok(MediaRange {
                kind: kind.into(),
                subtype: None,
            }),
            Some((kind, subtype)) if is_token(kind) && is_token(subtype) => Ok(MediaRange {
                kind: kind.into(),
                subtype: Some(subtype.into()),
            }),
            _ => Err(format!(
                "'{text}' is not a media type without parameters, such as application/json or \
                 text/*"
            )),
        }
    }

    /// Whether the content has this type, by its `Content-Type` without parameters.
    pub(super) fn has(&self, headers: &HeaderMap) -> bool {
        let content = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        // Parameters may have any bytes; a type is ASCII.
        let essence = content.and_then(|content| content.split(|byte| *byte == b';').next());
        let essence = essence.and_then(|essence| std::str::from_utf8(essence.trim_ascii()).ok());
        let Some((kind, subtype)) = essence.and_then(|essence| essence.split_once('/')) else {
            return false;
        };
        let is = |(one, other): (&str, &str)| {
            kind.eq_ignore_ascii_case(one) && subtype.eq_ignore_ascii_case(other)
        };
        match &self.subtype {
            Some(named) => is((&self.kind, named)),
            None => kind.eq_ignore_ascii_case(&self.kind) && !is(EVENTS),
        }
    }
}

/// RFC 9110 section 5.6.2, without `*`, which means any here.
fn is_token(text: &str) -> bool {
    let marks = b"!#$%&'+-.^_`|~";
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || marks.contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_range_matches_in_any_spelling_and_events_only_by_name() {
        for (range, content, expected) in [
            ("text/*", "text/html; charset=utf-8", true),
            ("text/*", "TEXT/Plain", true),
            ("text/*", "text/event-stream", false),
            (
                "Text/Event-Stream",
                "text/event-stream; charset=utf-8",
                true,
            ),
            ("text/*", "textual/html", false),
            ("application/json", "application/json;charset=utf-8", true),
            ("application/json", "application/json; a=\u{e9}", true),
            ("application/json", "application/json-seq", false),
            ("application/json", "", false),
            ("application/json", "json", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, content.parse().unwrap());
            let range = MediaRange::parse(range).unwrap();
            assert_eq!(range.has(&headers), expected, "{range:?} {content}");
        }
        assert!(!MediaRange::parse("text/*").unwrap().has(&HeaderMap::new()));
    }

    #[test]
    fn invalid_media_type_is_rejected() {
        for text in [
            "",
            "text",
            "*/*",
            "text/",
            "/json",
            "text/html; a=b",
            "text/h*",
            "a/b/c",
        ] {
            assert!(MediaRange::parse(text).is_err(), "{text}");
        }
    }
}
