//! How an answer of the admin API is written.

use hms_api::{Changed, Problem};
use hms_core::body::{self, Body};
use hms_core::error::{problem_response, problem_type};
use hms_core::printable::printable;
use hms_windows::{ChangeError, Consent};
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

/// `Retry-After` of a deploy that found the queue full, in seconds: about one compilation.
const RETRY_AFTER_S: u64 = 10;

/// A JSON answer, pretty-printed: people read it in a terminal. Members are in alphabetical order,
/// as everywhere but in problems.
pub(super) fn json(status: StatusCode, answer: &impl Serialize) -> Response<Body> {
    // What this crate answers always serialises.
    let value = serde_json::to_value(answer).unwrap_or_default();
    let mut text = serde_json::to_vec_pretty(&value).unwrap_or_default();
    text.push(b'\n');
    with_type(status, "application/json", text)
}

/// The answer to a change that is in effect: 200 with `durable: true` if it is on disk. Otherwise
/// 202 with `durable: false` and a `warning` that says why not.
pub(super) fn changed(what: impl Serialize, why: Option<&str>) -> Response<Body> {
    let warning = why.map(|why| {
        format!(
            "it is in effect, but not on disk yet: {why}. The host retries; a restart before that \
             succeeds undoes it"
        )
    });
    let status = match why {
        None => StatusCode::OK,
        Some(_) => StatusCode::ACCEPTED,
    };
    let durable = why.is_none();
    json(
        status,
        &Changed {
            what,
            durable,
            warning,
        },
    )
}

/// A line of an answer of several JSON values.
pub(super) fn line(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    format!("{value}\n")
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

/// A refusal in the words of RFC 9457.
pub(super) fn problem(status: StatusCode, code: &str, detail: impl Into<String>) -> Problem {
    Problem {
        kind: problem_type(code),
        title: status.canonical_reason().unwrap_or("Error").into(),
        status: status.as_u16(),
        // It may repeat anything that was sent.
        detail: printable(&detail.into()).into_owned(),
        faults: Vec::new(),
        consent: None,
    }
}

/// The problem that `error` is.
pub(super) fn problem_of(error: &ChangeError) -> Problem {
    let (status, code) = error.parts();
    let mut problem = problem(status, code, error.to_string());
    if let ChangeError::NeedsConsent(_) = error {
        problem.consent = Some(Consent::digest(&error.to_string()));
    }
    problem
}

pub(super) fn change_error(error: &ChangeError) -> Response<Body> {
    if error.parts().0.is_server_error() {
        tracing::error!(%error, "admin: a change failed");
    }
    not_shown(error)
}

/// The same for a request that changes nothing.
pub(super) fn not_shown(error: &ChangeError) -> Response<Body> {
    let mut response = problem_response(error.parts().0, &problem_of(error));
    if let ChangeError::Busy(_) = error {
        let seconds = HeaderValue::from(RETRY_AFTER_S);
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

pub(super) fn refuse(status: StatusCode, code: &str, detail: impl Into<String>) -> Response<Body> {
    problem_response(status, &problem(status, code, detail))
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
