//! Why the gateway itself refused a request, before an upstream could say anything of it.

use hms_core::error::{Cause, Plain, Problem, RequestError};
use http::header;
use std::time::Duration;

/// A request that is refused for what it is, or for how its client sends it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Rejection {
    #[error("{0}")]
    BadRequest(Plain),
    /// The body broke off, or is not what its framing says.
    #[error("the request body ended early or was malformed")]
    BodyBroken(Cause),
    #[error("the request head was not complete within {} s", .limit.as_secs_f32())]
    HeadTooSlow { limit: Duration },
    #[error("no request body data arrived for {} s", .pause.as_secs_f32())]
    BodyStalled { pause: Duration },
    #[error("the request body arrived at less than {bytes_per_s} bytes a second")]
    BodyTooSlow { bytes_per_s: u64 },
    #[error(
        "the body of a request with an Idempotency-Key was not complete within {} s",
        .limit.as_secs_f32()
    )]
    BodyOvertime { limit: Duration },
    #[error("the only supported expectation is 100-continue")]
    ExpectationFailed,
    #[error("no route matches this path")]
    NoRoute,
    #[error("allowed methods: {allow}")]
    MethodNotTaken { allow: String },
    #[error("requests from this client address are not allowed")]
    AddressRefused,
    #[error("cross-origin requests from this origin are not allowed")]
    OriginRefused,
    #[error("the request body is larger than {limit} bytes")]
    BodyTooLarge { limit: u64 },
    #[error("the request header fields are larger than {limit} bytes")]
    HeadersTooLarge { limit: u64 },
    #[error("the request has more than {limit} header fields")]
    TooManyHeaders { limit: usize },
    #[error("the request has too many trailer fields, or they are too large")]
    TrailersTooLarge,
    #[error("the request target is longer than {limit} bytes")]
    TargetTooLong { limit: usize },
    #[error("rate limit exceeded: more than {limit} requests in {period_s} s")]
    RateLimited {
        limit: u64,
        period_s: u64,
        retry_after: Duration,
    },
}

impl From<Rejection> for RequestError {
    fn from(error: Rejection) -> Self {
        let detail = error.to_string();
        let of = |problem| RequestError::new(problem, detail);
        match error {
            Rejection::BadRequest(_) => of(Problem::BadRequest),
            Rejection::BodyBroken(cause) => of(Problem::BodyBroken).with_cause(cause),
            Rejection::HeadTooSlow { .. } => of(Problem::HeadTooSlow),
            Rejection::BodyStalled { .. }
            | Rejection::BodyTooSlow { .. }
            | Rejection::BodyOvertime { .. } => of(Problem::BodyTooSlow),
            Rejection::ExpectationFailed => of(Problem::ExpectationFailed),
            Rejection::NoRoute => of(Problem::NoRoute),
            Rejection::MethodNotTaken { allow } => {
                of(Problem::MethodNotTaken).with_header(header::ALLOW, &allow)
            }
            Rejection::AddressRefused => of(Problem::AddressRefused),
            Rejection::OriginRefused => of(Problem::OriginRefused),
            Rejection::BodyTooLarge { .. } => of(Problem::BodyTooLarge),
            Rejection::HeadersTooLarge { .. } => of(Problem::HeadersTooLarge),
            Rejection::TooManyHeaders { .. } => of(Problem::TooManyHeaders),
            Rejection::TrailersTooLarge => of(Problem::TrailersTooLarge),
            Rejection::TargetTooLong { .. } => of(Problem::TargetTooLong),
            Rejection::RateLimited { retry_after, .. } => {
                of(Problem::RateLimited).with_retry_after(retry_after)
            }
        }
    }
}
