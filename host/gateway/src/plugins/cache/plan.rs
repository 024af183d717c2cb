//! Whether an answer is stored, and what must hold for those who get it (RFC 9111 section 3).

use super::directives::{self, Directives, Seconds};
use crate::request::headers::{REQUEST_ID, TRACEPARENT, TRACESTATE};
use hms_core::fields::{members, only};
use hms_core::headers::HOP_BY_HOP;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName};
use std::time::{Duration, SystemTime};

/// Names in one `Vary`. Answers with more are not stored: no two clients are likely to agree.
const MAX_VARY: usize = 16;

/// The statuses that are cacheable by default (RFC 9110 section 15.1), without 206.
const STATUSES: [StatusCode; 11] = [
    StatusCode::OK,
    StatusCode::NON_AUTHORITATIVE_INFORMATION,
    StatusCode::NO_CONTENT,
    StatusCode::MULTIPLE_CHOICES,
    StatusCode::MOVED_PERMANENTLY,
    StatusCode::PERMANENT_REDIRECT,
    StatusCode::NOT_FOUND,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::GONE,
    StatusCode::URI_TOO_LONG,
    StatusCode::NOT_IMPLEMENTED,
];

/// How an answer is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// How long it is fresh, from when it was made.
    pub(super) lifetime: Duration,
    /// How old it was when it came.
    pub(super) age: Duration,
    /// Whether callers that say who they are may get it.
    pub(super) open: bool,
    /// The fields of the request on which it depends: in lower case, sorted, each once.
    pub(super) vary: Box<[HeaderName]>,
}

/// What the plan depends on beside the answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances {
    /// Whether the request says who asks.
    pub(super) says_who: bool,
    /// When the answer came, by the clock of the host.
    pub(super) now: SystemTime,
    /// How long the upstream took for it.
    pub(super) took: Duration,
}

impl Plan {
    /// For an answer with this head to a GET. None: it is not stored.
    pub(super) fn of(
        status: StatusCode,
        headers: &HeaderMap,
        circumstances: &Circumstances,
    ) -> Option<Plan> {
        let unfit = [header::SET_COOKIE, header::CONTENT_RANGE, header::TRAILER];
        if !STATUSES.contains(&status) || unfit.iter().any(|name| headers.contains_key(name)) {
            return None;
        }
        let (directives, targeted) = Directives::read(headers);
        let lifetime = lifetime(&directives, targeted, headers, circumstances.now)?;
        let open = directives.opens || matches!(directives.s_maxage, Seconds::Are(_));
        let age = age(headers, circumstances)?;
        if directives.forbids || lifetime <= age || (circumstances.says_who && !open) {
            return None;
        }
        Some(Plan {
            lifetime,
            age,
            open,
            vary: vary(headers)?,
        })
    }
}

/// Section 4.2.1. None if the answer does not say it, or says it in no way that can be read.
fn lifetime(
    directives: &Directives,
    targeted: bool,
    headers: &HeaderMap,
    now: SystemTime,
) -> Option<Duration> {
    match (directives.s_maxage, directives.max_age) {
        (Seconds::Are(seconds), _) | (Seconds::Unsaid, Seconds::Are(seconds)) => {
            Some(Duration::from_secs(seconds))
        }
        (Seconds::Unsaid, Seconds::Unsaid) if !targeted => {
            let expires = date(headers, &header::EXPIRES)?;
            let made = match headers.contains_key(header::DATE) {
                true => date(headers, &header::DATE)?,
                false => now,
            };
            expires.duration_since(made).ok()
        }
        _ => None,
    }
}

/// Section 4.2.3, `corrected_initial_age`. None if the answer says when it was made, and it cannot
/// be read.
fn age(headers: &HeaderMap, circumstances: &Circumstances) -> Option<Duration> {
    let made = match headers.contains_key(header::DATE) {
        true => date(headers, &header::DATE)?,
        false => circumstances.now,
    };
    let apparent = circumstances.now.duration_since(made).unwrap_or_default();
    // Of several values the first is used (section 5.1).
    let told = headers.get(header::AGE).map(|age| age.as_bytes());
    let told = told.and_then(|age| age.split(|byte| *byte == b',').next());
    let told = match directives::number(told.map(<[u8]>::trim_ascii)) {
        Seconds::Are(seconds) => seconds,
        Seconds::Unsaid | Seconds::Wrong => 0,
    };
    Some(apparent.max(Duration::from_secs(told) + circumstances.took))
}

/// A field that is a date, if it is there once and can be read.
pub(super) fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let text = only(headers, name)?.to_str().ok()?;
    httpdate::parse_http_date(text).ok()
}

/// The names in `Vary`. None if it has what no other request can have the same of, or what cannot
/// be told here.
fn vary(headers: &HeaderMap) -> Option<Box<[HeaderName]>> {
    let mut names = Vec::new();
    for name in members(headers, &header::VARY).filter(|name| !name.is_empty()) {
        let name = HeaderName::from_bytes(name).ok().filter(is_known)?;
        // It is in the key.
        if name != header::HOST {
            names.push(name);
        }
    }
    names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    (names.len() <= MAX_VARY).then(|| names.into_boxed_slice())
}

/// Whether the field is the same here as at the upstream, and not another for each request.
fn is_known(name: &HeaderName) -> bool {
    let each = [REQUEST_ID, TRACEPARENT, TRACESTATE];
    let of_the_way = [header::TRAILER, header::EXPECT, header::CONTENT_LENGTH];
    name.as_str() != "*"
        && !each.contains(name)
        && !of_the_way.contains(name)
        && !HOP_BY_HOP.contains(name)
}

/// Whether a GET or HEAD with `headers` may be answered from what is stored, and its answer stored.
/// A part of a body is not made here, and preconditions for a change are the upstream's to judge.
pub(super) fn is_plain(headers: &HeaderMap) -> bool {
    let conditions = [
        header::RANGE,
        header::IF_RANGE,
        header::IF_MATCH,
        header::IF_UNMODIFIED_SINCE,
    ];
    !conditions.iter().any(|name| headers.contains_key(name))
}

/// Whether the client asks that the answer be stored nowhere (section 5.2.1.5).
pub(super) fn wants_no_store(headers: &HeaderMap) -> bool {
    members(headers, &header::CACHE_CONTROL).any(|it| it.eq_ignore_ascii_case(b"no-store"))
}
