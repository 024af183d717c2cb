//! One stored answer, and the answers made of it.

use super::directives::HMS_CACHE_CONTROL;
use super::memory::Mark;
use super::plan::{Plan, date};
use crate::upstream::Source;
use bytes::Bytes;
use hms_core::body::{self, Body};
use hms_core::headers::clean_answer;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// What an entry takes beside its key, its fields and its body: this value, its place in the table
/// with the room that the table has to spare, and what the allocator adds. Rather too much.
const OVERHEAD: usize = size_of::<Stored>() + 256;

/// The same of each field.
const FIELD_OVERHEAD: usize = 160;

/// A complete answer. Its buffers are its own: what it was read from is not kept.
#[derive(Debug)]
pub(super) struct Stored {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    /// `Last-Modified`.
    modified: Option<SystemTime>,
    plan: Plan,
    /// When it came.
    came: Instant,
    pub(super) source: Source,
    pub(super) release: Option<u64>,
    pub(super) mark: Mark,
}

/// Where an answer is from, and when it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) source: Source,
    pub(super) release: Option<u64>,
    /// Set before the upstream was asked.
    pub(super) mark: Mark,
    /// When the head of the answer came, by both clocks.
    pub(super) came: Instant,
    pub(super) now: SystemTime,
}

impl Stored {
    /// Of an answer without what belongs to one connection or one request.
    pub(super) fn new(
        status: StatusCode,
        headers: &HeaderMap,
        body: Vec<u8>,
        plan: Plan,
        from: Arrival,
    ) -> Stored {
        let mut kept = copied(headers);
        clean_answer(&mut kept);
        kept.remove(HMS_CACHE_CONTROL);
        kept.remove(header::AGE);
        if !kept.contains_key(header::DATE)
            && let Ok(now) = HeaderValue::try_from(httpdate::fmt_http_date(from.now))
        {
            kept.insert(header::DATE, now);
        }
        Stored {
            status,
            modified: date(&kept, &header::LAST_MODIFIED),
            headers: kept,
            body: Bytes::from(body.into_boxed_slice()),
            plan,
            came: from.came,
            source: from.source,
            release: from.release,
            mark: from.mark,
        }
    }

    /// Bytes that it takes.
    pub(super) fn weight(&self) -> usize {
        let fields = self.headers.iter();
        let fields = fields
            .map(|(name, value)| FIELD_OVERHEAD + name.as_str().len() + value.len())
            .sum::<usize>();
        let vary = self.plan.vary.len() * size_of::<HeaderName>();
        OVERHEAD + fields + vary + self.body.len()
    }

    /// RFC 9111 section 4.2.3, `current_age`.
    fn age(&self, now: Instant) -> Duration {
        self.plan.age + now.saturating_duration_since(self.came)
    }

    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.age(now) < self.plan.lifetime
    }

    /// Whether callers that say who they are may get it.
    pub(super) fn is_open(&self) -> bool {
        self.plan.open
    }

    /// The answer to a GET or HEAD with `headers`: 304 where the client has it already.
    pub(super) fn answer(&self, headers: &HeaderMap, now: Instant) -> Response<Body> {
        let unmodified = self.is_unmodified(headers);
        let mut response = Response::new(match unmodified {
            true => body::empty(),
            false => body::full(self.body.clone()),
        });
        *response.status_mut() = match unmodified {
            true => StatusCode::NOT_MODIFIED,
            false => self.status,
        };
        let mut headers = self.headers.clone();
        if unmodified {
            for name in OF_CONTENT {
                headers.remove(name);
            }
        }
        headers.insert(header::AGE, HeaderValue::from(self.age(now).as_secs()));
        *response.headers_mut() = headers;
        response
    }

    /// RFC 9111 section 4.3.2, and RFC 9110 section 13.2.2.
    fn is_unmodified(&self, headers: &HeaderMap) -> bool {
        if !self.status.is_success() {
            return false;
        }
        if headers.contains_key(header::IF_NONE_MATCH) {
            let tag = self.headers.get(header::ETAG);
            let mut lines = headers.get_all(header::IF_NONE_MATCH).iter();
            return lines.any(|line| names_tag(line.as_bytes(), tag.map(HeaderValue::as_bytes)));
        }
        let since = date(headers, &header::IF_MODIFIED_SINCE);
        since
            .zip(self.modified)
            .is_some_and(|(since, at)| at <= since)
    }
}

/// They say something about a body that a 304 does not have (RFC 9110 section 15.4.5).
const OF_CONTENT: [HeaderName; 4] = [
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
];

/// Whether a line of `If-None-Match` names the entity tag `own`, by the weak comparison (RFC 9110
/// section 8.8.3.2).
fn names_tag(line: &[u8], own: Option<&[u8]>) -> bool {
    let opaque = |tag| <[u8]>::strip_prefix(tag, b"W/").unwrap_or(tag);
    let own = own.map(opaque);
    let mut rest = line.trim_ascii();
    if rest == b"*" {
        return true;
    }
    loop {
        rest = rest.trim_ascii_start();
        while let Some(next) = rest.strip_prefix(b",") {
            rest = next.trim_ascii_start();
        }
        rest = opaque(rest);
        // A tag may contain a comma, so it ends with its quote.
        let Some(inner) = rest.strip_prefix(b"\"") else {
            return false;
        };
        let Some(end) = inner.iter().position(|byte| *byte == b'"') else {
            return false;
        };
        let (tag, behind) = rest.split_at(end + 2);
        if own == Some(tag) {
            return true;
        }
        rest = behind;
    }
}

/// The same fields in buffers of their own: a value from the network is a part of the buffer that
/// it was read into.
fn copied(headers: &HeaderMap) -> HeaderMap {
    let mut copies = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_str().as_bytes());
        let value = HeaderValue::from_bytes(value.as_bytes());
        if let (Ok(name), Ok(value)) = (name, value) {
            copies.append(name, value);
        }
    }
    copies
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn if_none_match_is_compared_weakly_and_tag_by_tag() {
        for (line, own, expected) in [
            ("\"a\"", Some("\"a\""), true),
            ("W/\"a\"", Some("\"a\""), true),
            ("\"a\"", Some("W/\"a\""), true),
            ("\"b\", \"a\"", Some("\"a\""), true),
            ("\"b\" ,, W/\"a\"", Some("\"a\""), true),
            ("\"b,\\\", \"a\"", Some("\"a\""), true),
            ("\"x\"a\"", Some("\"a\""), false),
            ("\"b, \"", Some("\"a\""), false),
            ("\"ab\"", Some("\"a\""), false),
            ("a", Some("\"a\""), false),
            ("\"a", Some("\"a\""), false),
            ("\"a\"", None, false),
            ("", Some("\"a\""), false),
            (" * ", None, true),
        ] {
            let own = own.map(str::as_bytes);
            assert_eq!(names_tag(line.as_bytes(), own), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn tag_is_found_in_a_list_if_it_is_a_member(
            tags in prop::collection::vec("[a-c, ]{0,2}", 0..4),
            own in "[a-c, ]{0,2}",
        ) {
            let line = tags.iter().map(|tag| format!("W/\"{tag}\"")).collect::<Vec<_>>();
            let own_tag = format!("\"{own}\"");
            let found = names_tag(line.join(" , ").as_bytes(), Some(own_tag.as_bytes()));
            prop_assert_eq!(found, tags.contains(&own));
        }
    }
}
