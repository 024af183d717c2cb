//! `compression`: answers are compressed on their way out, for clients that ask for it (RFC 9110
//! section 8.4).
//!
//! `accept_encoding` reads what the client wants; what may be compressed is decided here; `encoder` does it as
//! the answer streams.

mod accept_encoding;
mod encoder;
#[cfg(test)]
mod tests;
mod types;

use crate::plugins::{Exchange, Plugin, Setup};
use crate::request::fields::members;
use accept_encoding::AcceptEncoding;
use encoder::Compressed;
use hms_core::body::{self, Body};
use hms_core::framing;
use hms_manifest::{Field, Kind, Map};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;
use std::sync::Arc;
use tokio::sync::Semaphore;
use types::MediaRange;

/// Answers that are compressed at once; others are sent as they are meanwhile. 1,024, at about a
/// megabyte each.
const MAX_AT_ONCE: usize = 1024;

/// Below a network packet nothing is gained.
const DEFAULT_MIN_BYTES: u64 = 1 << 10;

/// Media types that one rule names.
const MAX_TYPES: usize = 64;

/// What is text. `text/event-stream` is not among `text/*` here: see [`types`].
const DEFAULT_TYPES: [&str; 6] = [
    "text/*",
    "application/json",
    "application/problem+json",
    "application/javascript",
    "application/xml",
    "image/svg+xml",
];

/// Digests of the bytes as the upstream sent them (RFC 9530, and the older ones).
const DIGESTS: [&str; 4] = ["content-digest", "repr-digest", "digest", "content-md5"];

const FIELDS: &[Field] = &[
    Field {
        name: "min-size",
        kind: Kind::Size(0..=1 << 30),
        doc: "Bytes below which an answer of known length is sent as it is. Default: 1KiB.",
    },
    Field {
        name: "types",
        kind: Kind::Texts(MAX_TYPES, "[application/json, \"text/*\"]"),
        doc: "Media types of answers that are compressed. Default: text/* but for text/event-stream, JSON, problem+json, JavaScript, XML, SVG.",
    },
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    min_bytes: u64,
    types: Vec<MediaRange>,
}

impl Plugin for Rule {
    const NAME: &'static str = "compression";
    const DOC: &'static str =
        "Answers are compressed on their way out, with br or gzip, for clients that ask for it.";
    const FIELDS: &'static [Field] = FIELDS;

    type Shared = Compressor;
    type Notes = AcceptEncoding;

    fn shared(_: &Setup<'_>) -> Compressor {
        Compressor::default()
    }

    fn read(map: &Map<'_>) -> Option<Rule> {
        Some(Rule::parse(map))
    }

    fn note(&self, head: &Parts) -> AcceptEncoding {
        AcceptEncoding::read(&head.headers)
    }

    fn response(
        &self,
        compressor: &Compressor,
        exchange: &Exchange,
        response: Response<Body>,
    ) -> Response<Body> {
        let accept_encoding = exchange.notes.compression;
        compressor.compress(self, accept_encoding, &exchange.method, response)
    }
}

impl Rule {
    fn parse(map: &Map<'_>) -> Rule {
        let default = || {
            let types = DEFAULT_TYPES.iter();
            types
                .filter_map(|text| MediaRange::parse(text).ok())
                .collect()
        };
        Rule {
            min_bytes: map.size("min-size").unwrap_or(DEFAULT_MIN_BYTES),
            types: map.each("types", MediaRange::parse).unwrap_or_else(default),
        }
    }

    /// Whether the answer to a request of `method` may be sent compressed to some client. That to
    /// HEAD, and one of 304, say of themselves what GET's, and 200, would (RFC 9110 sections 9.3.2
    /// and 15.4.5): what is not known of their body is taken as it is most often.
    fn admits(
        &self,
        response: &Response<Body>,
        accept_encoding: AcceptEncoding,
        method: &Method,
    ) -> bool {
        let headers = response.headers();
        let unmodified = response.status() == StatusCode::NOT_MODIFIED;
        let length = match *method == Method::HEAD || unmodified {
            true => told_length(headers).or(length(response).filter(|length| *length > 0)),
            false => length(response),
        };
        if !(unmodified || has_body(response.status())) || !is_whole(headers) || length == Some(0) {
            return false;
        }
        let untyped = unmodified && !headers.contains_key(header::CONTENT_TYPE);
        // A client that takes nothing as it is would not be served better by that.
        accept_encoding.only_coded
            || (length.is_none_or(|length| length >= self.min_bytes)
                && (untyped || self.types.iter().any(|range| range.has(headers))))
    }
}

/// The answers that are compressed just now.
pub struct Compressor {
    places: Arc<Semaphore>,
}

impl Default for Compressor {
    fn default() -> Self {
        Compressor {
            places: Arc::new(Semaphore::new(MAX_AT_ONCE)),
        }
    }
}

impl Compressor {
    /// The answer to a request of `method`, compressed where `rule`, the answer and the client's
    /// `accept_encoding` admit it.
    fn compress(
        &self,
        rule: &Rule,
        accept_encoding: AcceptEncoding,
        method: &Method,
        mut response: Response<Body>,
    ) -> Response<Body> {
        if !rule.admits(&response, accept_encoding, method) {
            return response;
        }
        vary(response.headers_mut());
        let Some(coding) = accept_encoding.coding else {
            return response;
        };
        let unmodified = response.status() == StatusCode::NOT_MODIFIED;
        let bodyless = unmodified || *method == Method::HEAD;
        let place = match bodyless {
            true => None,
            false => match self.places.clone().try_acquire_owned() {
                Ok(place) => Some(place),
                Err(_) => return response,
            },
        };
        let headers = response.headers_mut();
        if !unmodified {
            headers.insert(header::CONTENT_ENCODING, coding.name());
        }
        headers.remove(header::CONTENT_LENGTH);
        // Ranges would be of other bytes each time.
        headers.remove(header::ACCEPT_RANGES);
        weaken(headers);
        response.map(|body| match place {
            Some(place) => Compressed::new(body, coding, place).boxed_unsync(),
            None => body::empty(),
        })
    }
}

fn length(response: &Response<Body>) -> Option<u64> {
    let exact = response.body().size_hint().exact();
    exact.or_else(|| told_length(response.headers()))
}

fn told_length(headers: &HeaderMap) -> Option<u64> {
    framing::length(headers).ok().flatten()
}

fn has_body(status: StatusCode) -> bool {
    let bodyless = [
        StatusCode::NO_CONTENT,
        StatusCode::RESET_CONTENT,
        StatusCode::NOT_MODIFIED,
    ];
    !status.is_informational()
        && !bodyless.contains(&status)
        && status != StatusCode::PARTIAL_CONTENT
}

/// Whether the body is all of it and not coded, and nobody said that it must stay as it is.
fn is_whole(headers: &HeaderMap) -> bool {
    let no_transform = members(headers, &header::CACHE_CONTROL)
        .any(|directive| directive.eq_ignore_ascii_case(b"no-transform"));
    !headers.contains_key(header::CONTENT_RANGE)
        && !headers.contains_key(header::CONTENT_ENCODING)
        && !no_transform
        && !DIGESTS.iter().any(|name| headers.contains_key(*name))
}

/// Says that the answer depends on what the client takes: also on those that are sent as they are,
/// for caches.
fn vary(headers: &mut HeaderMap) {
    let said = members(headers, &header::VARY)
        .any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"));
    if !said {
        const ACCEPT_ENCODING: HeaderName = header::ACCEPT_ENCODING;
        headers.append(header::VARY, ACCEPT_ENCODING.into());
    }
}

/// A strong validator names these very bytes (RFC 9110 section 8.8.1), and they are others now.
fn weaken(headers: &mut HeaderMap) {
    let Some(strong) = headers.get(header::ETAG) else {
        return;
    };
    if strong.as_bytes().starts_with(b"W/") {
        return;
    }
    match HeaderValue::from_bytes(&[b"W/", strong.as_bytes()].concat()) {
        Ok(weak) => drop(headers.insert(header::ETAG, weak)),
        Err(_) => drop(headers.remove(header::ETAG)),
    }
}
