//! Conditional requests: RFC 9110, section 13.

use crate::http_date;
use crate::validators::{Tag, Validators};
use http::{HeaderMap, HeaderName, Method, header};

/// The result of a request's conditions: see
/// [`Request::conditional`](crate::Request::conditional). A failed condition is the
/// [`Problem`](crate::Problem) 412 instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conditional {
    /// Do what was requested.
    Proceed,
    /// Do what was requested, and send the whole resource: the client asked for a part of a
    /// version that is no longer current.
    Whole,
    /// Answer 304 without a body: the client has it already.
    NotModified,
}

/// Why a request is not to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// 412: the condition in this field does not hold.
    Failed(HeaderName),
    /// 400: this field cannot be read, and the request would change something.
    Malformed(HeaderName),
}

/// Which tags a field names.
enum Tags {
    /// `*`.
    Any,
    Listed {
        tags: Vec<Tag>,
        /// Something in the list is no entity tag.
        malformed: bool,
    },
}

/// The verdict in the order of section 13.2.2, for what is there now, or for nothing.
///
/// `now_s` gives the time in seconds since 1970. It is asked where a date is read.
pub(crate) fn evaluate(
    method: &Method,
    headers: &HeaderMap,
    current: Option<&Validators>,
    now_s: impl Fn() -> i64,
) -> Result<Conditional, Refusal> {
    // These select nothing and change nothing that has a validator (section 13.2.1).
    if [Method::CONNECT, Method::OPTIONS, Method::TRACE].contains(method) {
        return Ok(Conditional::Proceed);
    }
    let reads = [Method::GET, Method::HEAD].contains(method);
    let modified_s = current.and_then(|current| current.modified_s);
    let tag = current.and_then(|current| current.tag.as_ref());
    // A list that cannot be read names nothing. Where something would be changed that may be the
    // opposite of what was meant.
    let tags = |field: HeaderName| match tags(headers, &field) {
        Some(Tags::Listed {
            malformed: true, ..
        }) if !reads => Err(Refusal::Malformed(field)),
        tags => Ok(tags),
    };

    if let Some(wanted) = tags(header::IF_MATCH)? {
        let holds = match wanted {
            Tags::Any => current.is_some(),
            Tags::Listed { tags, .. } => tag.is_some_and(|tag| tags.iter().any(|t| strong(t, tag))),
        };
        if !holds {
            return Err(Refusal::Failed(header::IF_MATCH));
        }
    } else if let Some(modified_s) = modified_s
        && let Some(date_s) = date(headers, &header::IF_UNMODIFIED_SINCE, &now_s)
        && modified_s > date_s
    {
        return Err(Refusal::Failed(header::IF_UNMODIFIED_SINCE));
    }

    if let Some(known) = tags(header::IF_NONE_MATCH)? {
        let has = match known {
            Tags::Any => current.is_some(),
            Tags::Listed { tags, .. } => tag.is_some_and(|tag| tags.iter().any(|t| weak(t, tag))),
        };
        match (has, reads) {
            (true, true) => return Ok(Conditional::NotModified),
            (true, false) => return Err(Refusal::Failed(header::IF_NONE_MATCH)),
            (false, _) => {}
        }
    } else if reads
        && let Some(modified_s) = modified_s
        && let Some(date_s) = date(headers, &header::IF_MODIFIED_SINCE, &now_s)
        && modified_s <= date_s
    {
        return Ok(Conditional::NotModified);
    }

    let ranged = *method == Method::GET && headers.contains_key(header::RANGE);
    if ranged && headers.contains_key(header::IF_RANGE) && !same(headers, tag, modified_s, &now_s) {
        return Ok(Conditional::Whole);
    }
    Ok(Conditional::Proceed)
}

/// Whether `If-Range` names what is there now, byte for byte (section 13.1.5).
fn same(
    headers: &HeaderMap,
    tag: Option<&Tag>,
    modified_s: Option<i64>,
    now_s: &impl Fn() -> i64,
) -> bool {
    let Some(value) = single(headers, &header::IF_RANGE) else {
        return false;
    };
    if value.starts_with(b"\"") || value.starts_with(b"W/") {
        let named = entity_tag(value).filter(|(_, rest)| rest.is_empty());
        return named.is_some_and(|(named, _)| tag.is_some_and(|tag| strong(&named, tag)));
    }
    let date_s = date(headers, &header::IF_RANGE, now_s);
    // In the second of the change the thing could change again under the same date (section
    // 8.8.2.2).
    date_s.is_some() && date_s == modified_s && date_s.is_some_and(|date_s| date_s < now_s())
}

fn strong(one: &Tag, other: &Tag) -> bool {
    !one.weak && !other.weak && one.opaque == other.opaque
}

fn weak(one: &Tag, other: &Tag) -> bool {
    one.opaque == other.opaque
}

/// The value of a field that has exactly one, without the space around it.
fn single<'a>(headers: &'a HeaderMap, field: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(field).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value.as_bytes().trim_ascii()),
        _ => None,
    }
}

/// The date in a field; nothing where there is not exactly one valid date, which is to be ignored.
fn date(headers: &HeaderMap, field: &HeaderName, now_s: &impl Fn() -> i64) -> Option<i64> {
    http_date::parse(std::str::from_utf8(single(headers, field)?).ok()?, now_s())
}

/// The tags in all fields of that name; nothing where there is none.
fn tags(headers: &HeaderMap, field: &HeaderName) -> Option<Tags> {
    let mut values = headers.get_all(field).iter().peekable();
    values.peek()?;
    let (mut tags, mut malformed, mut stars) = (Vec::new(), false, 0);
    for value in values {
        let mut rest = value.as_bytes().trim_ascii();
        while !rest.is_empty() {
            rest = match (rest, entity_tag(rest)) {
                // An empty element (section 5.6.1.2).
                ([b',', rest @ ..], _) => rest.trim_ascii_start(),
                (_, Some((tag, after))) => match after.trim_ascii_start() {
                    after @ ([] | [b',', ..]) => {
                        tags.push(tag);
                        after
                    }
                    after => {
                        malformed = true;
                        from_comma(after)
                    }
                },
                ([b'*', after @ ..], _) => {
                    stars += 1;
                    after.trim_ascii_start()
                }
                (after, None) => {
                    malformed = true;
                    from_comma(after)
                }
            };
        }
    }
    match (stars, tags.is_empty(), malformed) {
        (1, true, false) => Some(Tags::Any),
        (stars, ..) => Some(Tags::Listed {
            tags,
            malformed: malformed || stars > 0,
        }),
    }
}

fn from_comma(text: &[u8]) -> &[u8] {
    let comma = text.iter().position(|byte| *byte == b',');
    comma
        .and_then(|comma| text.get(comma..))
        .unwrap_or_default()
}

/// The entity tag at the start of `text`, and what follows it. A comma between the quotes is part
/// of the tag, and a backslash is a character like others (section 8.8.3).
fn entity_tag(text: &[u8]) -> Option<(Tag, &[u8])> {
    let (weak, text) = match text.strip_prefix(b"W/") {
        Some(text) => (true, text),
        None => (false, text),
    };
    let text = text.strip_prefix(b"\"")?;
    let end = text.iter().position(|byte| *byte == b'"')?;
    let (opaque, rest) = (text.get(..end)?, text.get(end + 1..)?);
    let allowed = |byte: &u8| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..);
    opaque.iter().all(allowed).then(|| {
        // Ours are ASCII, so a lossy reading makes none of them of another.
        let opaque = String::from_utf8_lossy(opaque).into_owned();
        (Tag { weak, opaque }, rest)
    })
}

#[cfg(test)]
#[path = "conditional_tests.rs"]
mod tests;
