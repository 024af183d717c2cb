//! Records as the spans of OpenTelemetry, with its semantic conventions for HTTP.

use super::proto::{
    KeyValue, Kind, Link, Resource, ResourceSpans, Scope, ScopeSpans, Span, Status, StatusCode,
    TracesRequest,
};
use hms_core::trace::{Finished, Recorded, SpanKind, SpanLog, What};
use http::Method;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The conventions that the attributes follow.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.37.0";

/// Bits of a span's flags: its trace's own, and that it is known whether its parent is remote, and
/// that it is.
const SAMPLED: u32 = 1;
const KNOWS_REMOTE: u32 = 1 << 8;
const REMOTE: u32 = 1 << 9;

/// One request with all spans of these records.
pub(super) fn request(resource: &[KeyValue], records: &[Arc<SpanLog>]) -> TracesRequest {
    let spans = records.iter().flat_map(|log| spans(log)).collect();
    TracesRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: resource.to_vec(),
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(Scope::host()),
                spans,
            }],
            schema_url: SCHEMA.into(),
        }],
    }
}

/// The whole, and its parts.
fn spans(log: &SpanLog) -> Vec<Span> {
    let Some(finished) = log.finished() else {
        return Vec::new();
    };
    let recorded: Vec<Recorded> = log.spans().collect();
    let mut spans = Vec::with_capacity(recorded.len() + 1);
    spans.push(whole(log, finished));
    spans.extend(
        recorded
            .iter()
            .map(|span| part(log, finished, span, &recorded)),
    );
    spans
}

fn whole(log: &SpanLog, finished: &Finished) -> Span {
    let (start, outline) = (log.start(), &finished.outline);
    let method = known(&outline.method);
    let name = match (outline.what, &outline.route, &outline.upstream) {
        (What::Request, Some(route), _) => format!("{method} {route}"),
        (What::Request, None, _) => method.to_owned(),
        (What::Delivery, Some(subscription), _) => format!("deliver {subscription}"),
        (what, _, Some(window)) => format!("{} {window}", what.name()),
        (what, _, None) => what.name().to_owned(),
    };
    let kind = match outline.what {
        What::Request => Kind::Server,
        What::Delivery => Kind::Consumer,
        What::Deploy => Kind::Internal,
    };
    let mut attributes = vec![KeyValue::text("hms.request_id", &*outline.request_id)];
    if outline.what == What::Request {
        attributes.push(KeyValue::text("http.request.method", method));
        if method == OTHER {
            let original = outline.method.as_str();
            attributes.push(KeyValue::text("http.request.method_original", original));
        }
        attributes.push(KeyValue::text("url.path", &*outline.path));
        attributes.push(KeyValue::text("url.scheme", outline.scheme));
        if let Some(route) = &outline.route {
            attributes.push(KeyValue::text("http.route", &**route));
        }
    }
    if outline.status > 0 {
        attributes.push(KeyValue::int("http.response.status_code", outline.status));
    }
    if let Some(upstream) = &outline.upstream {
        let name = match outline.window {
            true => "hms.window",
            false => "hms.service",
        };
        attributes.push(KeyValue::text(name, &**upstream));
    }
    if let Some(release) = outline.release {
        attributes.push(KeyValue::int("hms.release", release));
    }
    let failed = outline.is_failed();
    if failed {
        let status = outline.status.to_string();
        attributes.push(KeyValue::text(
            "error.type",
            outline.error.unwrap_or(&status),
        ));
    }
    if log.left_out() > 0 {
        attributes.push(KeyValue::int("hms.spans_left_out", log.left_out()));
    }
    let links = start.link.iter().map(|link| Link {
        trace_id: link.trace_id.to_be_bytes().to_vec(),
        span_id: link.span_id.to_be_bytes().to_vec(),
        flags: u32::from(link.sampled) | KNOWS_REMOTE | REMOTE,
    });
    let parent = start.parent.map(|parent| parent.to_be_bytes().to_vec());
    let flags = match parent {
        Some(_) => SAMPLED | KNOWS_REMOTE | REMOTE,
        None => SAMPLED | KNOWS_REMOTE,
    };
    Span {
        trace_id: start.context.trace_id.to_be_bytes().to_vec(),
        span_id: start.context.span_id.to_be_bytes().to_vec(),
        parent_span_id: parent.unwrap_or_default(),
        name,
        kind: kind.into(),
        start_time_unix_nano: nanos(log.started_at(), Duration::ZERO),
        end_time_unix_nano: nanos(log.started_at(), finished.duration),
        attributes,
        links: links.collect(),
        status: failed.then(error),
        flags,
    }
}

fn part(log: &SpanLog, finished: &Finished, span: &Recorded, all: &[Recorded]) -> Span {
    let context = log.start().context;
    let parent = span.parent.and_then(|index| {
        let parent = all.iter().find(|other| other.index == index)?;
        Some(parent.span_id)
    });
    let mut attributes = Vec::new();
    let mut name = span.kind.name().to_owned();
    match (span.kind, span.detail.as_deref()) {
        (SpanKind::Call | SpanKind::Upstream, Some(detail)) => {
            let (method, origin) = detail.split_once(' ').unwrap_or(("", detail));
            let method = Method::try_from(method).map_or(OTHER, |method| known(&method));
            name = method.to_owned();
            attributes.push(KeyValue::text("http.request.method", method));
            attributes.push(KeyValue::text("url.full", origin));
            attributes.extend(server(origin));
        }
        (SpanKind::Own, Some(own)) => name = own.to_owned(),
        (_, Some(window)) => attributes.push(KeyValue::text("hms.window", window)),
        (_, None) => {}
    }
    if let Some(used) = span.used {
        let cpu_ms = u64::try_from(used.cpu.as_millis()).unwrap_or(u64::MAX);
        attributes.push(KeyValue::int("hms.cpu_ms", cpu_ms));
        attributes.push(KeyValue::int("hms.memory_peak", used.memory_bytes));
    }
    if let Some(status) = span.status {
        attributes.push(KeyValue::int("http.response.status_code", status));
    }
    // For a client, 4xx is an error too.
    let from = if span.kind.is_client() { 400 } else { 500 };
    let failed = span.failed || span.status.is_some_and(|status| status >= from);
    if failed {
        let status = span.status.map(|status| status.to_string());
        attributes.push(KeyValue::text(
            "error.type",
            status.unwrap_or_else(|| OTHER.into()),
        ));
    }
    let kind = match span.kind.is_client() {
        true => Kind::Client,
        false => Kind::Internal,
    };
    let ended = span.ended.unwrap_or(finished.duration).max(span.begun);
    Span {
        trace_id: context.trace_id.to_be_bytes().to_vec(),
        span_id: span.span_id.to_be_bytes().to_vec(),
        parent_span_id: parent.unwrap_or(context.span_id).to_be_bytes().to_vec(),
        name,
        kind: kind.into(),
        start_time_unix_nano: nanos(log.started_at(), span.begun),
        end_time_unix_nano: nanos(log.started_at(), ended),
        attributes,
        links: Vec::new(),
        status: failed.then(error),
        flags: SAMPLED | KNOWS_REMOTE,
    }
}

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
fn server(origin: &str) -> Vec<KeyValue> {
    let Ok(uri) = origin.parse::<http::Uri>() else {
        return Vec::new();
    };
    let usual = match uri.scheme_str() {
        Some("https") => 443,
        _ => 80,
    };
    let host = uri
        .host()
        .map(|host| KeyValue::text("server.address", host));
    let port = KeyValue::int("server.port", uri.port_u16().unwrap_or(usual));
    host.into_iter().chain([port]).collect()
}

fn error() -> Status {
    Status {
        message: String::new(),
        code: StatusCode::Error.into(),
    }
}

fn nanos(started: SystemTime, after: Duration) -> u64 {
    let since = started.duration_since(UNIX_EPOCH).unwrap_or_default() + after;
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
