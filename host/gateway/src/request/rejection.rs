//! Why the gateway itself refuses a request, before an upstream is asked.

use hms_core::error::{Cause, Plain, Problem, RequestError};
use http::header;
use std::time::Duration;

/// A request that is refused for its content, or for how its client sends it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Rejection {
    /// The request breaks a rule of HTTP. Says which.
    #[error("{0}")]
    BadRequest(Plain),
    /// The body broke off, or does not match its framing.
    #[error("the request body ended early or was malformed")]
    BodyBroken(Cause),
    /// The head was not complete in time.
    #[error("the request head was not complete within {} s", .limit.as_secs_f32())]
    HeadTooSlow {
        /// From its first byte to its last.
        limit: Duration,
    },
    /// The client stopped sending.
    #[error("no request body data arrived for {} s", .pause.as_secs_f32())]
    BodyStalled {
        /// The longest pause allowed.
        pause: Duration,
    },
    /// The client sends more slowly than the limits allow.
    #[error("the request body arrived at less than {bytes_per_s} bytes a second")]
    BodyTooSlow {
        /// The least rate allowed.
        bytes_per_s: u64,
    },
    /// A body that must be read first was not complete in time.
    #[error(
        "the body of a request with an Idempotency-Key was not complete within {} s",
        .limit.as_secs_f32()
    )]
    BodyOvertime {
        /// From the head to the end of the body.
        limit: Duration,
    },
    /// `Expect` names something else than `100-continue`.
    #[error("the only supported expectation is 100-continue")]
    ExpectationFailed,
    /// No manifest claims the host and path.
    #[error("no route matches this path")]
    NoRoute,
    /// Routes match the path, but none has this method.
    #[error("allowed methods: {allow}")]
    MethodNotAllowed {
        /// The methods that the routes have, for `Allow`.
        allow: String,
    },
    /// The `ip-allow` plugin refuses the client's address.
    #[error("requests from this client address are not allowed")]
    AddressRefused,
    /// The `cors` plugin refuses the origin.
    #[error("cross-origin requests from this origin are not allowed")]
    OriginRefused,
    /// The body exceeds the limit of the host or of the route.
    #[error("the request body is larger than {limit} bytes")]
    BodyTooLarge {
        /// Bytes allowed.
        limit: u64,
    },
    /// The names and values of the fields exceed the limit.
    #[error("the request header fields are larger than {limit} bytes")]
    HeadersTooLarge {
        /// Bytes allowed.
        limit: u64,
    },
    /// There are too many fields.
    #[error("the request has more than {limit} header fields")]
    TooManyHeaders {
        /// Fields allowed.
        limit: usize,
    },
    /// The trailers exceed what the head's limits leave.
    #[error("the request has too many trailer fields, or they are too large")]
    TrailersTooLarge,
    /// The target exceeds the limit.
    #[error("the request target is longer than {limit} bytes")]
    TargetTooLong {
        /// Bytes allowed.
        limit: usize,
    },
    /// The caller has used up the rate limit of the route.
    #[error("rate limit exceeded: more than {limit} requests in {period_s} s")]
    RateLimited {
        /// Requests allowed in one period.
        limit: u64,
        /// Length of the period, in seconds.
        period_s: u64,
        /// Time until the next request would be admitted.
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
            Rejection::MethodNotAllowed { allow } => {
                of(Problem::MethodNotAllowed).with_header(header::ALLOW, &allow)
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
