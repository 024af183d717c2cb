//! How an answer of the admin API is written.

use hms_core::body::{self, Body};
use hms_core::error::{problem_response, problem_type};
use hms_windows::ChangeError;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use serde_json::Value;

/// `Retry-After` of a deploy that found the queue full, in seconds: about one compilation.
const RETRY_AFTER_S: u64 = 10;

/// A JSON answer, pretty-printed: people read it in a terminal.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    with_type(status, "application/json", text)
}

/// Gives an object one member more.
pub(super) fn set(object: &mut Value, name: &str, member: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), member);
    }
}

/// The answer to a change that is in effect: 200 with `durable: true` if it is on disk. Otherwise
/// 202 with `durable: false` and a `warning` that says why not.
pub(super) fn changed(mut value: Value, why: Option<&str>) -> Response<Body> {
    set(&mut value, "durable", why.is_none().into());
    let Some(why) = why else {
        return json(StatusCode::OK, &value);
    };
    let warning = format!(
        "it is in effect, but not on disk yet: {why}. The host retries; a restart before that \
         succeeds undoes it"
    );
    set(&mut value, "warning", warning.into());
    json(StatusCode::ACCEPTED, &value)
}

pub(super) fn text(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    with_type(status, kind, text.into_bytes())
}

fn with_type(status: StatusCode, kind: &'static str, bytes: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(body::full(bytes));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// The members of RFC 9457 that the admin API sends.
#[derive(Serialize)]
pub(super) struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: String,
}

impl Problem {
    pub(super) fn of(error: &ChangeError) -> Self {
        let (status, code) = error.parts();
        Problem {
            kind: problem_type(code),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: error.to_string(),
        }
    }
}

pub(super) fn change_error(error: &ChangeError) -> Response<Body> {
    if error.parts().0.is_server_error() {
        tracing::error!(%error, "admin: a change failed");
    }
    not_shown(error)
}

/// The same for a request that changes nothing.
pub(super) fn not_shown(error: &ChangeError) -> Response<Body> {
    let mut response = problem_response(error.parts().0, &Problem::of(error));
    if let ChangeError::Busy(_) = error {
        let seconds = HeaderValue::from(RETRY_AFTER_S);
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

pub(super) fn refuse(status: StatusCode, code: &str, detail: impl Into<String>) -> Response<Body> {
    problem_response(
        status,
        &Problem {
            kind: problem_type(code),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
        },
    )
}

/// 405 with the allowed methods.
pub(super) fn method_not_allowed(allowed: &'static str) -> Response<Body> {
    let detail = format!("allowed methods: {allowed}");
    let mut response = refuse(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail);
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}
