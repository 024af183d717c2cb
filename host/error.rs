//! Every failure a client can meet, and the only map from failure to status and problem+json (RFC
//! 9457).
//!
//! What a client reads is made of this program's own words. Words of others, of guests, services
//! and the system, are a [`Cause`], which cannot be displayed: only the log and operators have
//! them.

mod words;

pub use words::{Cause, Plain};

use crate::body::{self, Body};
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use std::borrow::Cow;
use std::time::Duration;

/// A failure on the way of a request. [`RequestError::response`] is what its client sees.
///
/// The variant names are for us; what clients script against is [`RequestError::code`].
#[derive(Debug, Clone, thiserror::Error)]
pub enum RequestError {
    // The request itself.
    #[error("{0}")]
    BadRequest(Plain),
    /// The body broke off, or is not what its framing says.
    #[error("the request's body did not come to its end")]
    BodyBroken(Cause),
    /// As [`RequestError::HeadersTooLarge`], for what stands behind the body.
    #[error("the request's trailer fields are more or larger than they may be")]
    TrailersTooLarge,
    #[error("the request's head was not there within {} s", .limit.as_secs_f32())]
    HeadTooSlow { limit: Duration },
    #[error("{0}")]
    BodyTooSlow(String),
    #[error("the only expectation that is met is 100-continue")]
    ExpectationFailed,
    #[error("no route leads to this path")]
    NoRoute,
    #[error("the routes to this path take {allow}")]
    MethodNotTaken { allow: String },
    #[error("this client's address may not come in here")]
    AddressRefused,
    #[error("pages of this origin may not use this route")]
    OriginRefused,
    #[error("the request body is larger than {limit} bytes")]
    BodyTooLarge { limit: u64 },
    /// As [`RequestError::BodyTooLarge`], found out when an instance was at work on it already.
    #[error("the request body is larger than {limit} bytes")]
    BodyOverrun { limit: u64 },
    #[error("the request's header fields are larger than {limit} bytes")]
    HeadersTooLarge { limit: u64 },
    #[error("the request target is longer than {limit} bytes")]
    TargetTooLong { limit: usize },
    #[error("the request has more than {limit} header fields")]
    TooManyHeaders { limit: usize },

    // Who is asking.
    #[error("{reason}")]
    Unauthorized {
        reason: &'static str,
        token_sent: bool,
    },
    #[error("the token has no scope that admits this method here: it needs {needed}")]
    Forbidden { needed: String },
    #[error("no scope of this route admits {method}")]
    NoScopeForMethod { method: String },
    #[error("the keys that tokens are checked with cannot be had just now")]
    KeysUnavailable,
    #[error("more than {limit} requests in {period_s} s")]
    RateLimited {
        limit: u64,
        period_s: u64,
        retry_after: Duration,
    },

    // The way to the upstream.
    #[error("the window that answers here has no release deployed")]
    WindowNotDeployed { window: String },
    #[error("the window that answers here is closed")]
    WindowStopped { window: String },
    #[error("the window that answers here is closed for a moment, because it keeps failing")]
    WindowTripped {
        window: String,
        retry_after: Duration,
    },
    #[error("the host may not reach the upstream at its address")]
    UpstreamRefused(Cause),
    #[error("the upstream cannot be reached")]
    UpstreamUnreachable(Cause),
    /// The request was on its way, so nobody knows what the upstream did with it.
    #[error("the upstream did not answer to the end")]
    UpstreamBroken(Cause),
    #[error("the upstream did not answer within {} s", .limit.as_secs_f32())]
    UpstreamTimeout { limit: Duration },
    #[error(
        "as many requests as may be are with services just now, or as many of this client's address"
    )]
    ServicesFull,
    #[error("the host is shutting down")]
    ShuttingDown,

    // What the instance did.
    #[error("all instances of this window are at work and its queue is full")]
    InstanceLimit,
    #[error("the instance could not be started")]
    InstanceStart(Cause),
    #[error("the instance failed before it answered")]
    InstanceTrapped,
    #[error("the instance asked for more than its {limit} bytes of memory")]
    MemoryLimit { limit: u64 },
    #[error("the instance used up its {} s of CPU time", .limit.as_secs_f32())]
    CpuTime { limit: Duration },
    #[error("the instance made more than {limit} calls a second to the host")]
    HostCalls { limit: u64 },
    #[error("the instance wanted to move more in one call to the host than it may")]
    HostCallTooLarge,
    #[error("the instance held more handles or subtasks at once than it may")]
    HandleLimit,
    #[error("the instance did not answer within {} s", .limit.as_secs_f32())]
    WallTime { limit: Duration },
    /// Once it had begun, nothing of it or of its request moved for so long.
    #[error("nothing of the answer came for {} s", .limit.as_secs_f32())]
    StreamIdle { limit: Duration },
    /// Its client held an instance by reading too slowly.
    #[error("the client took the answer too slowly")]
    ReaderTooSlow,
    #[error("the answer is larger than {limit} bytes")]
    ResponseTooLarge { limit: u64 },
    #[error("the answer's header fields are larger than they may be")]
    ResponseHeadersTooLarge,
    #[error("the instance ended without an answer")]
    NoResponse(Cause),
    /// An answer that HTTP cannot carry.
    #[error("the upstream's answer is not one that HTTP can carry")]
    ResponseInvalid(Cause),

    #[error("the release was replaced, and the time to finish on it has passed")]
    DrainDeadline,

    // The window's store.
    #[error("the window that answers here is closed, because its store cannot be used just now")]
    StoreUnavailable { window: String },

    // Idempotency keys.
    #[error(
        "this route needs an Idempotency-Key on POST and PATCH: send a new one for each thing to be done, as a UUID in quotes"
    )]
    IdempotencyKeyMissing,
    #[error("the first request with this Idempotency-Key is still at work: ask again shortly")]
    IdempotencyRunning,
    #[error(
        "this Idempotency-Key was used for another request: send a new key with each new request, and the same one only to repeat it unchanged"
    )]
    IdempotencyKeyReused,
    #[error(
        "the host ended while the first request with this Idempotency-Key was at work, so its outcome is unknown: look whether it was done before you send it with a new key"
    )]
    IdempotencyUnknown,
    #[error(
        "the first request with this Idempotency-Key was answered, and its answer was not kept, because it was too large or there was no room: look at what it made; do not send it again"
    )]
    IdempotencyAnswerNotKept,
    #[error(
        "the host keeps as many idempotency keys as it can, and does nothing without that: ask again shortly"
    )]
    IdempotencyFull,
    #[error(
        "this caller has its share of {what} for idempotency keys, which becomes free as they end or expire: send fewer at once, or ask again later"
    )]
    IdempotencyShare { what: &'static str },
    #[error("the host's file of idempotency keys cannot be used just now, so nothing is done")]
    IdempotencyUnavailable,

    #[error("an internal error; the host's log has it under this request id")]
    Internal(Cause),
}

/// The members of RFC 9457 that we send, and the request id as an extension.
#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: String,
    #[serde(rename = "request-id", skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

/// How long a client may wait before it asks a closed or busy window again, in seconds. Short,
/// because a window is usually closed for a swap or for a moment of load.
const RETRY_AFTER_S: u64 = 2;

/// How long a caller may wait whose share of what all share is used up, in seconds. A minute:
/// expired keys are removed once a minute.
const SHARE_RETRY_AFTER_S: u64 = 60;

impl RequestError {
    /// Something that cannot be, with what was said of it.
    pub fn internal(error: impl std::fmt::Display) -> Self {
        RequestError::Internal(Cause::of(error))
    }

    /// What only the log and operators may read: words of others, and names of windows.
    pub fn cause(&self) -> Option<Cow<'_, str>> {
        match self {
            RequestError::BodyBroken(cause)
            | RequestError::UpstreamRefused(cause)
            | RequestError::UpstreamUnreachable(cause)
            | RequestError::UpstreamBroken(cause)
            | RequestError::InstanceStart(cause)
            | RequestError::NoResponse(cause)
            | RequestError::ResponseInvalid(cause)
            | RequestError::Internal(cause) => Some(Cow::Borrowed(cause.private())),
            RequestError::WindowNotDeployed { window }
            | RequestError::WindowStopped { window }
            | RequestError::WindowTripped { window, .. }
            | RequestError::StoreUnavailable { window } => {
                Some(Cow::Owned(format!("window '{window}'")))
            }
            _ => None,
        }
    }

    /// The failure with its cause, for operators. Never for a client of the gateway.
    pub fn in_full(&self) -> String {
        match self.cause() {
            Some(cause) => format!("{self}: {cause}"),
            None => self.to_string(),
        }
    }

    /// The stable name of this failure: the last part of the problem's `type`, and the reason in
    /// logs and metrics.
    pub fn code(&self) -> &'static str {
        self.parts().1
    }

    /// The HTTP status that this failure is answered with.
    pub fn status(&self) -> StatusCode {
        self.parts().0
    }

    fn parts(&self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            RequestError::BadRequest(_) | RequestError::BodyBroken(_) => {
                (S::BAD_REQUEST, "bad-request", "Bad request")
            }
            RequestError::HeadTooSlow { .. } => {
                (S::REQUEST_TIMEOUT, "head-too-slow", "Request too slow")
            }
            RequestError::BodyTooSlow(_) => {
                (S::REQUEST_TIMEOUT, "body-too-slow", "Request too slow")
            }
            RequestError::ExpectationFailed => (
                S::EXPECTATION_FAILED,
                "expectation-failed",
                "Expectation failed",
            ),
            RequestError::NoRoute => (S::NOT_FOUND, "no-route", "No such route"),
            RequestError::MethodNotTaken { .. } => (
                S::METHOD_NOT_ALLOWED,
                "method-not-taken",
                "Method not allowed",
            ),
            RequestError::AddressRefused => (S::FORBIDDEN, "address-refused", "Address refused"),
            RequestError::OriginRefused => (S::FORBIDDEN, "origin-refused", "Origin refused"),
            RequestError::BodyTooLarge { .. } | RequestError::BodyOverrun { .. } => {
                (S::PAYLOAD_TOO_LARGE, "body-too-large", "Body too large")
            }
            RequestError::TargetTooLong { .. } => {
                (S::URI_TOO_LONG, "target-too-long", "Target too long")
            }
            RequestError::TooManyHeaders { .. } => (
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "too-many-headers",
                "Too many headers",
            ),
            RequestError::Unauthorized { .. } => {
                (S::UNAUTHORIZED, "unauthorized", "Authentication required")
            }
            RequestError::NoScopeForMethod { .. } => {
                (S::FORBIDDEN, "insufficient-scope", "Scope missing")
            }
            RequestError::Forbidden { .. } => (S::FORBIDDEN, "insufficient-scope", "Scope missing"),
            RequestError::KeysUnavailable => (
                S::SERVICE_UNAVAILABLE,
                "keys-unavailable",
                "Keys unavailable",
            ),
            RequestError::RateLimited { .. } => {
                (S::TOO_MANY_REQUESTS, "rate-limited", "Too many requests")
            }
            RequestError::WindowNotDeployed { .. } => (
                S::SERVICE_UNAVAILABLE,
                "window-not-deployed",
                "Window not deployed",
            ),
            RequestError::WindowStopped { .. } => {
                (S::SERVICE_UNAVAILABLE, "window-stopped", "Window closed")
            }
            RequestError::WindowTripped { .. } => {
                (S::SERVICE_UNAVAILABLE, "window-tripped", "Window closed")
            }
            RequestError::UpstreamRefused(_) => {
                (S::BAD_GATEWAY, "upstream-refused", "Upstream refused")
            }
            RequestError::UpstreamUnreachable(_) => (
                S::BAD_GATEWAY,
                "upstream-unreachable",
                "Upstream unreachable",
            ),
            RequestError::UpstreamBroken(_) => (
                S::BAD_GATEWAY,
                "upstream-unreachable",
                "Upstream unreachable",
            ),
            RequestError::UpstreamTimeout { .. } => {
                (S::GATEWAY_TIMEOUT, "upstream-timeout", "Upstream too slow")
            }
            RequestError::ServicesFull => (
                S::SERVICE_UNAVAILABLE,
                "services-full",
                "Too many requests at services",
            ),
            RequestError::ShuttingDown => {
                (S::SERVICE_UNAVAILABLE, "shutting-down", "Shutting down")
            }
            RequestError::InstanceLimit => (
                S::SERVICE_UNAVAILABLE,
                "instance-limit",
                "All instances at work",
            ),
            RequestError::InstanceStart(_) => (
                S::INTERNAL_SERVER_ERROR,
                "instance-start",
                "Instance could not start",
            ),
            RequestError::InstanceTrapped => (
                S::INTERNAL_SERVER_ERROR,
                "instance-trapped",
                "Instance failed",
            ),
            RequestError::MemoryLimit { .. } => (
                S::INTERNAL_SERVER_ERROR,
                "memory-limit",
                "Memory limit reached",
            ),
            RequestError::CpuTime { .. } => (S::GATEWAY_TIMEOUT, "cpu-time", "CPU time used up"),
            RequestError::HostCalls { .. } => (
                S::INTERNAL_SERVER_ERROR,
                "host-calls",
                "Too many host calls",
            ),
            RequestError::HostCallTooLarge => (
                S::INTERNAL_SERVER_ERROR,
                "host-call-too-large",
                "Host call too large",
            ),
            RequestError::HandleLimit => {
                (S::INTERNAL_SERVER_ERROR, "handle-limit", "Too many handles")
            }
            RequestError::WallTime { .. } => (S::GATEWAY_TIMEOUT, "wall-time", "Instance too slow"),
            RequestError::StreamIdle { .. } => {
                (S::GATEWAY_TIMEOUT, "stream-idle", "Answer went quiet")
            }
            RequestError::ReaderTooSlow => {
                (S::REQUEST_TIMEOUT, "reader-too-slow", "Reader too slow")
            }
            RequestError::HeadersTooLarge { .. } => (
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "headers-too-large",
                "Headers too large",
            ),
            RequestError::TrailersTooLarge => (
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "trailers-too-large",
                "Trailers too large",
            ),
            RequestError::ResponseTooLarge { .. } => {
                (S::BAD_GATEWAY, "response-too-large", "Answer too large")
            }
            RequestError::ResponseHeadersTooLarge => (
                S::BAD_GATEWAY,
                "response-headers-too-large",
                "Answer's headers too large",
            ),
            RequestError::NoResponse(_) => (S::BAD_GATEWAY, "no-response", "No answer"),
            RequestError::ResponseInvalid(_) => {
                (S::BAD_GATEWAY, "response-invalid", "Answer not valid")
            }
            RequestError::DrainDeadline => {
                (S::SERVICE_UNAVAILABLE, "drain-deadline", "Release replaced")
            }
            RequestError::StoreUnavailable { .. } => (
                S::SERVICE_UNAVAILABLE,
                "store-unavailable",
                "Store unavailable",
            ),
            RequestError::IdempotencyKeyMissing => (
                S::BAD_REQUEST,
                "idempotency-key-missing",
                "Idempotency-Key missing",
            ),
            RequestError::IdempotencyRunning => {
                (S::CONFLICT, "idempotency-running", "Still at work")
            }
            RequestError::IdempotencyKeyReused => (
                S::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "Idempotency-Key reused",
            ),
            RequestError::IdempotencyUnknown => {
                (S::CONFLICT, "idempotency-unknown", "Outcome unknown")
            }
            RequestError::IdempotencyAnswerNotKept => (
                S::CONFLICT,
                "idempotency-answer-not-kept",
                "Answer not kept",
            ),
            RequestError::IdempotencyFull => (
                S::SERVICE_UNAVAILABLE,
                "idempotency-full",
                "No room for the key",
            ),
            RequestError::IdempotencyShare { .. } => (
                S::TOO_MANY_REQUESTS,
                "idempotency-full",
                "Share of keys used up",
            ),
            RequestError::IdempotencyUnavailable => (
                S::SERVICE_UNAVAILABLE,
                "idempotency-unavailable",
                "Keys unavailable",
            ),
            RequestError::Internal(_) => (S::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
        }
    }

    /// Whether the upstream surely did nothing with the request, so that it may be sent again as if
    /// for the first time. Where that is in doubt it is not so: what was done twice cannot be
    /// undone, and what was not done shows.
    ///
    /// Every variant is named, so that whoever adds one decides.
    pub fn never_ran(&self) -> bool {
        match self {
            // Refused before any upstream was asked.
            RequestError::BadRequest(_)
            | RequestError::HeadTooSlow { .. }
            | RequestError::ExpectationFailed
            | RequestError::NoRoute
            | RequestError::MethodNotTaken { .. }
            | RequestError::AddressRefused
            | RequestError::OriginRefused
            | RequestError::BodyTooLarge { .. }
            | RequestError::HeadersTooLarge { .. }
            | RequestError::TargetTooLong { .. }
            | RequestError::TooManyHeaders { .. }
            | RequestError::Unauthorized { .. }
            | RequestError::Forbidden { .. }
            | RequestError::NoScopeForMethod { .. }
            | RequestError::KeysUnavailable
            | RequestError::RateLimited { .. }
            | RequestError::IdempotencyKeyMissing
            | RequestError::IdempotencyRunning
            | RequestError::IdempotencyKeyReused
            | RequestError::IdempotencyUnknown
            | RequestError::IdempotencyAnswerNotKept
            | RequestError::IdempotencyFull
            | RequestError::IdempotencyShare { .. }
            | RequestError::IdempotencyUnavailable
            | RequestError::ShuttingDown => true,
            // The window was closed, or had no instance for it.
            RequestError::WindowNotDeployed { .. }
            | RequestError::WindowStopped { .. }
            | RequestError::WindowTripped { .. }
            | RequestError::StoreUnavailable { .. }
            | RequestError::InstanceLimit
            | RequestError::ServicesFull
            | RequestError::InstanceStart(_) => true,
            // There was no connection that it could have gone by.
            RequestError::UpstreamRefused(_) | RequestError::UpstreamUnreachable(_) => true,
            // It was on its way, or an instance had it.
            RequestError::UpstreamBroken(_)
            | RequestError::UpstreamTimeout { .. }
            | RequestError::InstanceTrapped
            | RequestError::MemoryLimit { .. }
            | RequestError::CpuTime { .. }
            | RequestError::HostCalls { .. }
            | RequestError::HostCallTooLarge
            | RequestError::HandleLimit
            | RequestError::WallTime { .. }
            | RequestError::StreamIdle { .. }
            | RequestError::ReaderTooSlow
            | RequestError::ResponseTooLarge { .. }
            | RequestError::ResponseHeadersTooLarge
            | RequestError::NoResponse(_)
            | RequestError::ResponseInvalid(_)
            | RequestError::TrailersTooLarge
            | RequestError::BodyBroken(_)
            | RequestError::BodyTooSlow(_)
            | RequestError::BodyOverrun { .. }
            | RequestError::DrainDeadline => false,
            // It may have happened anywhere.
            RequestError::Internal(_) => false,
        }
    }

    fn retry_after_s(&self) -> Option<u64> {
        match self {
            RequestError::RateLimited { retry_after, .. }
            | RequestError::WindowTripped { retry_after, .. } => {
                // Rounded up: a client that waits this long must not be refused again.
                Some(retry_after.as_millis().div_ceil(1000).max(1) as u64)
            }
            RequestError::WindowStopped { .. }
            | RequestError::WindowNotDeployed { .. }
            | RequestError::InstanceLimit
            | RequestError::ServicesFull
            | RequestError::KeysUnavailable
            | RequestError::StoreUnavailable { .. }
            | RequestError::IdempotencyFull
            | RequestError::IdempotencyUnavailable
            | RequestError::ShuttingDown => Some(RETRY_AFTER_S),
            RequestError::IdempotencyRunning => Some(1),
            RequestError::IdempotencyShare { .. } => Some(SHARE_RETRY_AFTER_S),
            _ => None,
        }
    }

    /// RFC 6750 section 3: bare when no token came (section 3.1 wants no error code then), with an
    /// error code when one came and did not do, and with the scopes that would do where they are
    /// missing.
    fn challenge(&self) -> Option<String> {
        match self {
            RequestError::Unauthorized {
                token_sent: false, ..
            } => Some("Bearer realm=\"hms\"".into()),
            RequestError::Unauthorized { reason, .. } => Some(format!(
                "Bearer realm=\"hms\", error=\"invalid_token\", error_description=\"{}\"",
                quotable(reason)
            )),
            RequestError::NoScopeForMethod { .. } => {
                Some("Bearer realm=\"hms\", error=\"insufficient_scope\"".into())
            }
            RequestError::Forbidden { needed } => Some(format!(
                "Bearer realm=\"hms\", error=\"insufficient_scope\", scope=\"{}\"",
                quotable(needed)
            )),
            _ => None,
        }
    }

    /// The answer as problem+json. `request_id` is repeated in it, so that a citizen can quote it.
    pub fn response(&self, request_id: Option<&str>) -> Response<Body> {
        self.answer(request_id).map(body::full)
    }

    /// [`RequestError::response`], with its body as bytes.
    pub fn answer(&self, request_id: Option<&str>) -> Response<Vec<u8>> {
        let (status, code, title) = self.parts();
        let problem = Problem {
            kind: problem_type(code),
            title,
            status: status.as_u16(),
            detail: self.to_string(),
            request_id,
        };
        let mut response = problem_bytes(status, &problem);
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_s() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let RequestError::MethodNotTaken { allow } = self
            && let Ok(value) = HeaderValue::try_from(allow)
        {
            headers.insert(header::ALLOW, value);
        }
        if let Some(challenge) = self.challenge()
            && let Ok(value) = HeaderValue::try_from(challenge)
        {
            headers.insert(header::WWW_AUTHENTICATE, value);
        }
        response
    }
}

/// What may stand between the quotes of a challenge (RFC 6750 section 3): printable ASCII but for
/// `"` and `\`.
fn quotable(text: &str) -> String {
    text.chars()
        .filter(|c| matches!(c, ' ' | '!' | '#'..='[' | ']'..='~'))
        .collect()
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

#[cfg(test)]
mod tests;
