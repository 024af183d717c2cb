//! `compression`: compresses answers for clients that ask for it (RFC 9110 section 8.4).
//!
//! `accept_encoding` reads what the client accepts; this file decides what may be compressed;
//! `encoder` does it as the answer streams.

mod accept_encoding;
mod encoder;
#[cfg(test)]
mod tests;
mod types;

use crate::plugins::{Exchange, Plugin, Setup};
use accept_encoding::AcceptEncoding;
use encoder::Compressed;
use hms_core::body::{self, Body};
use hms_core::fields::members;
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

/// Answers compressed at once; beyond that, answers are sent uncompressed. 1,024, at about a
/// megabyte each.
const MAX_AT_ONCE: usize = 1024;

/// Below the size of a network packet nothing is gained.
const DEFAULT_MIN_BYTES: u64 = 1 << 10;

/// Media types that one rule names.
const MAX_TYPES: usize = 64;

/// Text types. `text/event-stream` is not covered by `text/*` here: see [`types`].
const DEFAULT_TYPES: [&str; 6] = [
    "text/*",
    "application/json",
    "application/problem+json",
    "application/javascript",
    "application/xml",
    "image/svg+xml",
];

/// Digests of the bytes that the upstream sent (RFC 9530 and its predecessors).
const DIGESTS: [&str; 4] = ["content-digest", "repr-digest", "digest", "content-md5"];

const FIELDS: &[Field] = &[
    Field {
        name: "min-size",
        kind: Kind::Size(0..=1 << 30),
        doc: "Answers of known length below this size are not compressed. Default: 1KiB.",
    },
    Field {
        name: "types",
        kind: Kind::Texts(MAX_TYPES, "[application/json, \"text/*\"]"),
        doc: "Media types to compress. Default: text/* except text/event-stream, JSON, problem+json, JavaScript, XML, SVG.",
    },
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    min_bytes: u64,
    types: Vec<MediaRange>,
}

impl Plugin for Rule {
    const NAME: &'static str = "compression";
    const DOC: &'static str = "Compresses answers with br or gzip for clients that accept it.";
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

    /// Whether the answer to a request of `method` may be sent compressed to some client. Answers
    /// to HEAD and answers of 304 have the fields that those to GET and of 200 would have (RFC 9110
    /// sections 9.3.2 and 15.4.5): what is unknown about their body is assumed to be the usual
    /// case.
    fn admits(
        &self,
        response: &Response<Body>,
        accept_encoding: AcceptEncoding,
        method: &Method,
    ) -> bool {
        let headers = response.headers();
        let unmodified = response.status() == StatusCode::NOT_MODIFIED;
        let length = match *method == Method::HEAD || unmodified {
            true => declared_length(headers).or(length(response).filter(|length| *length > 0)),
            false => length(response),
        };
        if !(unmodified || has_body(response.status())) || !is_whole(headers) || length == Some(0) {
            return false;
        }
        let untyped = unmodified && !headers.contains_key(header::CONTENT_TYPE);
        // A client that does not accept an uncompressed answer would not be served better by one.
        accept_encoding.only_coded
            || (length.is_none_or(|length| length >= self.min_bytes)
                && (untyped || self.types.iter().any(|range| range.has(headers))))
    }
}

/// The answers being compressed now.
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
    /// The answer to a request of `method`, compressed if `rule`, the answer and the client's
    /// `accept_encoding` allow it.
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
    exact.or_else(|| declared_length(response.headers()))
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
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

/// Whether the body is complete and uncoded, and nothing forbids a transformation.
fn is_whole(headers: &HeaderMap) -> bool {
    let no_transform = members(headers, &header::CACHE_CONTROL)
        .any(|directive| directive.eq_ignore_ascii_case(b"no-transform"));
    !headers.contains_key(header::CONTENT_RANGE)
        && !headers.contains_key(header::CONTENT_ENCODING)
        && !no_transform
        && !DIGESTS.iter().any(|name| headers.contains_key(*name))
}

/// Declares that the answer depends on what the client accepts. Set on uncompressed answers too,
/// for caches.
fn vary(headers: &mut HeaderMap) {
    let said = members(headers, &header::VARY)
        .any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"));
    if !said {
        const ACCEPT_ENCODING: HeaderName = header::ACCEPT_ENCODING;
        headers.append(header::VARY, ACCEPT_ENCODING.into());
    }
}

/// A strong validator names exact bytes (RFC 9110 section 8.8.1), and these have changed.
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
