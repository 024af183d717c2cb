//! How a failure looks to its client: problem+json (RFC 9457).

use super::RequestError;
use super::problem::RetryAfter;
use crate::body::{self, Body};
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

/// The members of RFC 9457 that we send, and the request id as an extension.
#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(rename = "request-id", skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

impl RequestError {
    /// The answer as problem+json. `request_id` is repeated in it, so that a client can quote it.
    pub fn response(&self, request_id: Option<&str>) -> Response<Body> {
        self.answer(request_id).map(body::full)
    }

    /// [`RequestError::response`], with its body as bytes.
    pub fn answer(&self, request_id: Option<&str>) -> Response<Vec<u8>> {
        let row = self.problem().row();
        let problem = Problem {
            kind: problem_type(row.code),
            title: row.title,
            status: row.status,
            detail: self.detail(),
            request_id,
        };
        let mut response = problem_bytes(self.status(), &problem);
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_s() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some((name, value)) = self.header() {
            headers.insert(name, value.clone());
        }
        response
    }

    /// Rounded up: a client that waits this long must not be refused again.
    fn retry_after_s(&self) -> Option<u64> {
        match self.problem().row().retry_after {
            RetryAfter::No => None,
            RetryAfter::Seconds(seconds) => Some(seconds),
            RetryAfter::Known => {
                let known = self.retry_after()?;
                let seconds = known.as_millis().div_ceil(1000).max(1);
                Some(u64::try_from(seconds).unwrap_or(u64::MAX))
            }
        }
    }
}

/// The `type` of a problem: a URN, because it names the problem and need not lead anywhere.
pub fn problem_type(code: &str) -> String {
    format!("urn:hms:problem:{code}")
}

/// The media type of problems (RFC 9457 section 3).
pub const PROBLEM: &str = "application/problem+json";

/// A problem+json answer with `problem` as its body.
pub fn problem_response(status: StatusCode, problem: &impl Serialize) -> Response<Body> {
    problem_bytes(status, problem).map(body::full)
}

fn problem_bytes(status: StatusCode, problem: &impl Serialize) -> Response<Vec<u8>> {
    // A struct of strings and numbers always serialises.
    let json = serde_json::to_vec(problem).unwrap_or_default();
    let mut response = Response::new(json);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
    response
}
