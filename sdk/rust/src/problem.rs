//! Errors for the client: problem details of RFC 9457.

use crate::Response;
use crate::response::field;
use crate::store::StoreError;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// A refusal or a failure, sent to the client as `application/problem+json`.
///
/// Its `type` is `urn:hms:problem:CODE`. Clients depend on the code, so never change one. The
/// `detail` is a sentence for people: what is wrong, and what to do.
///
/// ```
/// # use hms_window::Problem;
/// let problem = Problem::new(409, "already-paid", "this fee was paid on Monday");
/// assert_eq!(problem.status(), 409);
/// ```
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    headers: HeaderMap,
}

/// The members of RFC 9457, and the request id as an extension, so that a citizen can quote it.
#[derive(Serialize)]
struct Details<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(rename = "request-id", skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

impl Problem {
    /// A problem of your own. An invalid HTTP `status` counts as 500.
    pub fn new(status: u16, code: &'static str, detail: impl Into<String>) -> Self {
        Problem {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code,
            detail: detail.into(),
            headers: HeaderMap::new(),
        }
    }

    /// 400: the request is wrong, and `detail` says where.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(400, "bad-request", detail)
    }

    /// 401: a caller is required, and the request has none.
    pub fn unauthorized() -> Self {
        Self::new(
            401,
            "unauthorized",
            "authentication required: send a token as 'Authorization: Bearer TOKEN'",
        )
        .header(header::WWW_AUTHENTICATE, "Bearer realm=\"hms\"")
    }

    /// 404: it does not exist, or this caller may not know of it.
    pub fn not_found() -> Self {
        Self::new(404, "not-found", "not found")
    }

    /// 405, with the `Allow` header that RFC 9110 requires:
    /// `Problem::method_not_allowed("GET, HEAD, POST")`.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        Self::new(
            405,
            "method-not-allowed",
            format!("allowed methods: {allow}"),
        )
        .header(header::ALLOW, allow)
    }

    /// 412: a condition of the request does not match the current state.
    pub(crate) fn precondition_failed(field: &HeaderName) -> Self {
        Self::new(
            412,
            "precondition-failed",
            format!(
                "the condition in '{field}' does not match the current state: read it again \
                 before you retry"
            ),
        )
    }

    /// 413: the body is larger than `limit` bytes.
    pub fn too_large(limit: u64) -> Self {
        Self::new(
            413,
            "body-too-large",
            format!("the request body is larger than {limit} bytes"),
        )
    }

    /// 422: it will never be accepted as it is. An event that is answered so is parked at once, for
    /// a person to look at, and not tried again.
    pub fn reject(detail: impl Into<String>) -> Self {
        Self::new(422, "rejected", detail)
    }

    /// 500. `cause` goes to the window's log, not to the client.
    pub fn internal(cause: impl fmt::Display) -> Self {
        eprintln!("internal error: {cause}");
        Self::new(
            500,
            "internal",
            "internal error; the window's log has the cause under this request ID",
        )
    }

    /// Says when to try again at the earliest, in whole seconds, rounded up (`Retry-After`). Use it
    /// with a status that is worth another try, such as 429 or 503.
    pub fn retry_after(self, delay: Duration) -> Self {
        let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
        self.header(header::RETRY_AFTER, seconds)
    }

    /// Sets a header of the answer, replacing those with this name. An invalid name or value makes
    /// it a 500.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        match field(name, value) {
            Ok((name, value)) => _ = self.headers.insert(name, value),
            Err(fault) => return Self::internal(fault),
        }
        self
    }

    /// Adds a header and keeps those with this name, for instance a second `WWW-Authenticate`.
    /// Otherwise like [`Problem::header`].
    pub fn append<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        match field(name, value) {
            Ok((name, value)) => _ = self.headers.append(name, value),
            Err(fault) => return Self::internal(fault),
        }
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The answer that carries this problem.
    pub(crate) fn into_response(self, request_id: Option<&str>) -> Response {
        let details = Details {
            kind: format!("urn:hms:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Problem"),
            status: self.status.as_u16(),
            detail: &self.detail,
            request_id,
        };
        // A struct of strings and a number always serialises.
        let json = serde_json::to_vec(&details).unwrap_or_default();
        let mut response = Response::bytes(self.status.as_u16(), "application/problem+json", json);
        // Each of its names takes the place of what is there, with all of its values.
        response.headers_mut().extend(self.headers);
        response
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Problem {}

impl From<StoreError> for Problem {
    /// A full store is 507, an unavailable or contended one 503 (worth a retry), a bad cursor the
    /// client's 400; anything else is the window's own fault.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full(_) => Self::new(507, "store-full", "the window's store is full"),
            StoreError::Unavailable(_) | StoreError::Contended { .. } => {
                eprintln!("{error}");
                Self::new(
                    503,
                    "store-unavailable",
                    "the window's store is unavailable; retry shortly",
                )
                .header(header::RETRY_AFTER, "2")
            }
            StoreError::InvalidCursor => Self::bad_request(error.to_string()),
            StoreError::NotAsExpected { .. } | StoreError::Invalid(_) | StoreError::Other(_) => {
                Self::internal(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(problem: Problem) -> (http::response::Parts, serde_json::Value) {
        let (head, body) = problem.into_response(Some("r-1")).into_parts();
        (
            head,
            serde_json::from_slice(&body.into_bytes().unwrap()).unwrap(),
        )
    }

    #[test]
    fn problem_is_sent_as_rfc_9457_says() {
        let (head, json) = sent(Problem::bad_request("the amount is missing"));
        assert_eq!(head.status, 400);
        assert_eq!(head.headers["content-type"], "application/problem+json");
        assert_eq!(
            json,
            serde_json::json!({
                "type": "urn:hms:problem:bad-request",
                "title": "Bad Request",
                "status": 400,
                "detail": "the amount is missing",
                "request-id": "r-1",
            })
        );
    }

    #[test]
    fn wrong_method_is_told_the_allowed_ones() {
        let (head, json) = sent(Problem::method_not_allowed("GET, HEAD"));
        assert_eq!(head.status, 405);
        assert_eq!(json["detail"], "allowed methods: GET, HEAD");
        assert_eq!(head.headers["allow"], "GET, HEAD");
    }

    #[test]
    fn problem_accepts_headers_like_a_response() {
        let problem = Problem::unauthorized().append("www-authenticate", "Basic realm=\"old\"");
        let (head, _) = sent(problem);
        assert_eq!(head.headers.get_all("www-authenticate").iter().count(), 2);
        let (head, _) = sent(
            Problem::not_found()
                .header("retry-after", 5)
                .header("retry-after", 6),
        );
        let times: Vec<_> = head.headers.get_all("retry-after").iter().collect();
        assert_eq!(times, ["6"]);
        let (head, _) = sent(Problem::not_found().header("x-a", "b\r\nc: d"));
        assert_eq!(head.status, 500);
    }

    #[test]
    fn rejection_is_422_and_a_delay_is_in_whole_seconds() {
        assert_eq!(Problem::reject("no such fee").status(), 422);
        let busy = Problem::new(503, "busy", "later").retry_after(Duration::from_millis(1500));
        let (head, _) = sent(busy);
        assert_eq!(head.headers["retry-after"], "2");
    }

    #[test]
    fn cause_of_an_internal_error_is_not_sent() {
        let (head, json) = sent(StoreError::Other("disk /dev/sda1 says no".into()).into());
        assert_eq!(head.status, 500);
        assert!(!json.to_string().contains("sda1"));
    }

    #[test]
    fn every_store_failure_has_its_status() {
        let status = |error: StoreError| Problem::from(error).status().as_u16();
        assert_eq!(status(StoreError::Full("x".into())), 507);
        assert_eq!(status(StoreError::Unavailable("x".into())), 503);
        assert_eq!(status(StoreError::Contended { key: "x".into() }), 503);
        assert_eq!(status(StoreError::InvalidCursor), 400);
    }
}
