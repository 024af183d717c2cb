//! Records as the spans of OpenTelemetry, with its semantic conventions for HTTP.

use super::proto::{KeyValue, Kind, Message, Resource, Scope, StatusCode, Value};
use super::wire::{bytes, fixed32, fixed64, message, number, number_attribute, text_attribute};
use hms_core::trace::{
    Attribute, Finished, Recorded, Role, SpanDetails, SpanKind, SpanLog, Used, What,
};
use http::Method;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The conventions that the attributes follow.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.37.0";

/// Bits of a span's flags: its trace's own, and that it is known whether its parent is remote, and
/// that it is.
const SAMPLED: u32 = 1;
const KNOWS_REMOTE: u32 = 1 << 8;
const REMOTE: u32 = 1 << 9;

/// Fields of the messages of opentelemetry-proto, as [`super::proto`] has them.
mod field {
    pub(super) const RESOURCE_SPANS: u32 = 1;
    pub(super) const RESOURCE: u32 = 1;
    pub(super) const SCOPE_SPANS: u32 = 2;
    pub(super) const SCHEMA_URL: u32 = 3;
    pub(super) const SCOPE: u32 = 1;
    pub(super) const SPANS: u32 = 2;

    pub(super) const TRACE_ID: u32 = 1;
    pub(super) const SPAN_ID: u32 = 2;
    pub(super) const PARENT_SPAN_ID: u32 = 4;
    pub(super) const NAME: u32 = 5;
    pub(super) const KIND: u32 = 6;
    pub(super) const START: u32 = 7;
    pub(super) const END: u32 = 8;
    pub(super) const ATTRIBUTES: u32 = 9;
    pub(super) const DROPPED_ATTRIBUTES: u32 = 10;
    pub(super) const DROPPED_EVENTS: u32 = 12;
    pub(super) const LINKS: u32 = 13;
    pub(super) const DROPPED_LINKS: u32 = 14;
    pub(super) const STATUS: u32 = 15;
    pub(super) const FLAGS: u32 = 16;

    pub(super) const LINK_FLAGS: u32 = 6;
    pub(super) const STATUS_MESSAGE: u32 = 2;
    pub(super) const STATUS_CODE: u32 = 3;
}

/// One request with `spans`, as [`append`] has written them.
pub(super) fn request(resource: &[KeyValue], spans: &[u8]) -> Vec<u8> {
    let resource = Resource {
        attributes: resource.to_vec(),
    };
    let mut body = Vec::with_capacity(spans.len() + 1024);
    message(&mut body, field::RESOURCE_SPANS, |body| {
        bytes(body, field::RESOURCE, &resource.encode_to_vec());
        message(body, field::SCOPE_SPANS, |body| {
            bytes(body, field::SCOPE, &Scope::host().encode_to_vec());
            body.extend_from_slice(spans);
        });
        bytes(body, field::SCHEMA_URL, SCHEMA.as_bytes());
    });
    body
}

/// Appends the spans of a record: the whole, and its parts.
pub(super) fn append(into: &mut Vec<u8>, log: &SpanLog) {
    let Some(finished) = log.finished() else {
        return;
    };
    message(into, field::SPANS, |into| whole(into, log, finished));
    for span in log.spans() {
        message(into, field::SPANS, |into| part(into, log, finished, &span));
    }
}

fn whole(into: &mut Vec<u8>, log: &SpanLog, finished: &Finished) {
    let (start, outline) = (log.start(), &finished.outline);
    let method = known(&outline.method);
    ids(into, log, start.context.span_id);
    if let Some(parent) = start.parent {
        bytes(into, field::PARENT_SPAN_ID, &parent.to_be_bytes());
    }
    let (first, second) = match (outline.what, &outline.route, &outline.upstream) {
        (What::Request, Some(route), _) => (method, Some(&**route)),
        (What::Request, None, _) => (method, None),
        (What::Delivery, Some(subscription), _) => ("deliver", Some(&**subscription)),
        (what, _, window) => (what.name(), window.as_deref()),
    };
    message(into, field::NAME, |into| {
        into.extend_from_slice(first.as_bytes());
        if let Some(second) = second {
            into.push(b' ');
            into.extend_from_slice(second.as_bytes());
        }
    });
    let kind = match outline.what {
        What::Request => Kind::Server,
        What::Delivery => Kind::Consumer,
        What::Deploy => Kind::Internal,
    };
    kind_and_times(into, log, kind, Duration::ZERO, finished.duration);
    text(into, "hms.request_id", &outline.request_id);
    if outline.what == What::Request {
        text(into, "http.request.method", method);
        if method == OTHER {
            let original = outline.method.as_str();
            text(into, "http.request.method_original", original);
        }
        text(into, "url.path", &outline.path);
        text(into, "url.scheme", outline.scheme);
        if let Some(route) = &outline.route {
            text(into, "http.route", route);
        }
    }
    status_code(into, outline.status);
    if let Some(upstream) = &outline.upstream {
        let name = match outline.window {
            true => "hms.window",
            false => "hms.service",
        };
        text(into, name, upstream);
    }
    if let Some(release) = outline.release {
        int(into, "hms.release", release);
    }
    if outline.is_failed() {
        let status = outline.status.to_string();
        text(into, ERROR_TYPE, outline.error.unwrap_or(&status));
        status_of(into, StatusCode::Error, "");
    }
    if log.left_out() > 0 {
        int(into, "hms.spans_left_out", log.left_out().into());
    }
    if let Some(link) = start.link {
        message(into, field::LINKS, |into| {
            bytes(into, field::TRACE_ID, &link.trace_id.to_be_bytes());
            bytes(into, field::SPAN_ID, &link.span_id.to_be_bytes());
            let flags = u32::from(link.sampled) | KNOWS_REMOTE | REMOTE;
            fixed32(into, field::LINK_FLAGS, flags);
        });
    }
    let flags = match start.parent {
        Some(_) => SAMPLED | KNOWS_REMOTE | REMOTE,
        None => SAMPLED | KNOWS_REMOTE,
    };
    fixed32(into, field::FLAGS, flags);
}

fn part(into: &mut Vec<u8>, log: &SpanLog, finished: &Finished, span: &Recorded) {
    ids(into, log, span.span_id);
    let parent = match span.parent {
        Some(index) => log.id_of(index),
        None => log.start().context.span_id,
    };
    bytes(into, field::PARENT_SPAN_ID, &parent.to_be_bytes());
    let call = match (span.kind, span.detail.as_deref()) {
        (SpanKind::Call | SpanKind::Upstream, Some(detail)) => {
            let (method, origin) = detail.split_once(' ').unwrap_or(("", detail));
            let method = Method::try_from(method).map_or(OTHER, |method| known(&method));
            Some((method, origin))
        }
        _ => None,
    };
    let name = match (call, span.kind, span.detail.as_deref()) {
        (Some((method, _)), ..) => method,
        (None, SpanKind::Own, Some(own)) => own,
        _ => span.kind.name(),
    };
    bytes(into, field::NAME, name.as_bytes());
    let details = span.details.as_deref();
    let kind = match details.map(|details| details.role) {
        Some(Role::Server) => Kind::Server,
        Some(Role::Client) => Kind::Client,
        Some(Role::Producer) => Kind::Producer,
        Some(Role::Consumer) => Kind::Consumer,
        None if span.kind.is_client() => Kind::Client,
        Some(Role::Internal) | None => Kind::Internal,
    };
    let ended = span.ended.unwrap_or(finished.duration).max(span.begun);
    kind_and_times(into, log, kind, span.begun, ended);
    match (call, span.kind, span.detail.as_deref()) {
        (Some((method, origin)), ..) => {
            text(into, "http.request.method", method);
            text(into, "url.full", origin);
            server(into, origin);
        }
        (None, SpanKind::Own, _) | (None, _, None) => {}
        (None, _, Some(window)) => text(into, "hms.window", window),
    }
    if let Some(Used { cpu, memory_bytes }) = span.used {
        let cpu_ms = u64::try_from(cpu.as_millis()).unwrap_or(u64::MAX);
        int(into, "hms.cpu_ms", cpu_ms);
        int(into, "hms.memory_peak", memory_bytes);
    }
    status_code(into, span.status.unwrap_or(0));
    // For a client, 4xx is an error too.
    let from = if span.kind.is_client() { 400 } else { 500 };
    let failed = span.failed || span.status.is_some_and(|status| status >= from);
    if let Some(details) = details {
        said(into, details, failed);
    } else if failed {
        let status = span.status.map(|status| status.to_string());
        text(into, ERROR_TYPE, status.as_deref().unwrap_or(OTHER));
        status_of(into, StatusCode::Error, "");
    }
    fixed32(into, field::FLAGS, SAMPLED | KNOWS_REMOTE);
}

fn ids(into: &mut Vec<u8>, log: &SpanLog, span_id: u64) {
    let trace_id = log.start().context.trace_id;
    bytes(into, field::TRACE_ID, &trace_id.to_be_bytes());
    bytes(into, field::SPAN_ID, &span_id.to_be_bytes());
}

fn kind_and_times(into: &mut Vec<u8>, log: &SpanLog, kind: Kind, begun: Duration, ended: Duration) {
    number(into, field::KIND, kind as u64);
    fixed64(into, field::START, nanos(log.started_at(), begun));
    fixed64(into, field::END, nanos(log.started_at(), ended));
}

fn text(into: &mut Vec<u8>, name: &str, value: &str) {
    text_attribute(into, field::ATTRIBUTES, name, value);
}

fn int(into: &mut Vec<u8>, name: &str, value: u64) {
    number_attribute(into, field::ATTRIBUTES, name, value);
}

/// The status of an answer; 0: there is none.
fn status_code(into: &mut Vec<u8>, status: u16) {
    if status > 0 {
        int(into, "http.response.status_code", status.into());
    }
}

fn status_of(into: &mut Vec<u8>, code: StatusCode, why: &str) {
    message(into, field::STATUS, |into| {
        if !why.is_empty() {
            bytes(into, field::STATUS_MESSAGE, why.as_bytes());
        }
        number(into, field::STATUS_CODE, code as u64);
    });
}

/// What a guest says of its own span.
fn said(into: &mut Vec<u8>, details: &SpanDetails, failed: bool) {
    for (name, value) in &details.attributes {
        let value = match value {
            Attribute::Text(value) => {
                text(into, name, value);
                continue;
            }
            Attribute::Int(value) => Value::Int(*value),
            Attribute::Double(value) => Value::Double(*value),
            Attribute::Bool(value) => Value::Bool(*value),
        };
        let attribute = KeyValue::of(name, value);
        bytes(into, field::ATTRIBUTES, &attribute.encode_to_vec());
    }
    for (field, count) in [
        (field::DROPPED_ATTRIBUTES, details.dropped_attributes),
        (field::DROPPED_EVENTS, details.dropped_events),
        (field::DROPPED_LINKS, details.dropped_links),
    ] {
        if count > 0 {
            number(into, field, count.into());
        }
    }
    if failed {
        if !details
            .attributes
            .iter()
            .any(|(name, _)| **name == *ERROR_TYPE)
        {
            text(into, ERROR_TYPE, OTHER);
        }
        let why = details.failure.as_deref().unwrap_or_default();
        status_of(into, StatusCode::Error, why);
    } else if details.succeeded {
        status_of(into, StatusCode::Ok, "");
    }
}

/// The attribute that says why something failed.
const ERROR_TYPE: &str = "error.type";

/// The name for a method that is none of HTTP's, and for errors without a code.
const OTHER: &str = "_OTHER";

/// The method, if it is one of the conventions': a client can make up any other.
fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = [
        "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE",
    ];
    let found = KNOWN.into_iter().find(|known| *known == method.as_str());
    found.unwrap_or(OTHER)
}

/// The address and the port of an origin.
fn server(into: &mut Vec<u8>, origin: &str) {
    let Ok(uri) = origin.parse::<http::Uri>() else {
        return;
    };
    let usual = match uri.scheme_str() {
        Some("https") => 443,
        _ => 80,
    };
    if let Some(host) = uri.host() {
        text(into, "server.address", host);
    }
    int(into, "server.port", uri.port_u16().unwrap_or(usual).into());
}

fn nanos(started: SystemTime, after: Duration) -> u64 {
    let since = started.duration_since(UNIX_EPOCH).unwrap_or_default() + after;
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
