//! A delivery as an HTTP request, by the CloudEvents HTTP protocol binding 1.0.2: attributes in
//! `ce-` header fields and the data as the body, or all of it as one JSON document.

mod percent;
mod structured;

use hms_core::body::{self, Body};
use hms_core::headers::{REQUEST_ID, TRACEPARENT};
use hms_core::trace;
use hms_grants::subscription::ContentMode;
use hms_store::StoredEvent;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use percent::encoded;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Marks a request as a delivery of the host: `NAME; attempt=N; round=R`, from 1 and from 0. Nobody
/// else can set it, because fields that begin with `x-hms-` are dropped from whatever comes in.
pub const DELIVERY: HeaderName = HeaderName::from_static("x-hms-delivery");

/// The attribute of an event in a replay: its round. Services do not get [`DELIVERY`], and would
/// else take the event for one that they have. No guest can set it: its name begins with `hms`.
const ROUND: &str = "hmsround";

/// Which delivery it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Which<'a> {
    pub subscription: &'a str,
    /// From 1.
    pub attempt: u32,
    /// 0, or the number of the replay.
    pub round: u64,
}

/// The `source` of the events of a window.
pub(crate) fn source(window: &str) -> String {
    format!("urn:hms:window:{window}")
}

/// RFC 3339, in UTC.
pub(crate) fn time_text(ms: u64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000);
    let text = time.ok().and_then(|time| time.format(&Rfc3339).ok());
    text.unwrap_or_default()
}

/// The attributes of an event of `window`, in the order in which they are sent. Without
/// `datacontenttype`, which has a header field of its own.
pub(crate) fn attributes(window: &str, stored: &StoredEvent) -> Vec<(String, String)> {
    let event = &stored.event;
    let mut all = vec![
        ("specversion".to_owned(), "1.0".to_owned()),
        ("id".to_owned(), stored.id.clone()),
        ("source".to_owned(), source(window)),
        ("type".to_owned(), event.kind.clone()),
        ("time".to_owned(), time_text(stored.time_ms)),
        ("sequence".to_owned(), format!("{:020}", stored.sequence)),
    ];
    let optional = [
        ("subject", &event.subject),
        ("partitionkey", &event.partition_key),
        ("traceparent", &event.traceparent),
    ];
    for (name, value) in optional {
        all.extend(value.clone().map(|value| (name.to_owned(), value)));
    }
    // What the host says comes first: an extension never stands in for it.
    for (name, value) in &event.attributes {
        if !all.iter().any(|(known, _)| known == name) {
            all.push((name.clone(), value.clone()));
        }
    }
    all
}

/// The request of a delivery to `to`, an absolute URI.
///
/// # Errors
/// Why HTTP cannot carry it.
pub(crate) fn request(
    to: Uri,
    which: Which<'_>,
    window: &str,
    stored: &StoredEvent,
    mode: ContentMode,
) -> Result<Request<Body>, String> {
    let mut attributes = attributes(window, stored);
    if which.round > 0 {
        attributes.push((ROUND.to_owned(), which.round.to_string()));
    }
    let mut headers = HeaderMap::new();
    let data = match mode {
        ContentMode::Binary => {
            for (name, value) in &attributes {
                let name = HeaderName::try_from(format!("ce-{name}"));
                let name = name.map_err(|_| "an attribute's name is not one of HTTP".to_owned())?;
                headers.append(name, value_of(&encoded(value))?);
            }
            if !stored.event.content_type.is_empty() {
                headers.insert(CONTENT_TYPE, value_of(&stored.event.content_type)?);
            }
            stored.event.data.clone()
        }
        ContentMode::Structured => {
            let kind = HeaderValue::from_static("application/cloudevents+json; charset=UTF-8");
            headers.insert(CONTENT_TYPE, kind);
            structured::document(&attributes, &stored.event)
        }
    };
    let delivery = format!(
        "{}; attempt={}; round={}",
        which.subscription, which.attempt, which.round
    );
    headers.insert(DELIVERY, value_of(&delivery)?);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(data.len()));
    let id = uuid::Uuid::new_v4().to_string();
    headers.insert(REQUEST_ID, value_of(&id)?);
    let trace = trace::child_of(stored.event.traceparent.as_deref());
    headers.insert(TRACEPARENT, value_of(&trace)?);
    if let Some(authority) = to.authority() {
        headers.insert(HOST, value_of(authority.as_str())?);
    }
    let mut request = Request::new(body::full(data));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = to;
    *request.headers_mut() = headers;
    Ok(request)
}

fn value_of(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::try_from(text).map_err(|_| "a value is not one of an HTTP header".to_owned())
}

#[cfg(test)]
mod tests;
