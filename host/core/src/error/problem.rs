//! The table of failures: one row for each, whose columns say what everybody asks of it.
//!
//! Breaker, canary, retries, idempotency, access log, metrics and docs/errors.md read the columns.
//! None of them has a list of failures of its own, so whoever adds a row decides for all of them.
//! One exception: events name the two failures after which a delivery was no attempt.

use http::StatusCode;

/// Who has to change something for the failure to go away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The client, by what it sent, or left undone.
    Client,
    /// The release that served the request. Counts for its breaker and against it in a canary.
    Window,
    /// Where the route leads, or an issuer of tokens. Counts against no release.
    Upstream,
    /// This host: its load, its disk, or what its operator decided.
    Host,
}

impl Fault {
    /// As logs, metrics and docs name it.
    pub const fn name(self) -> &'static str {
        match self {
            Fault::Client => "client",
            Fault::Window => "window",
            Fault::Upstream => "upstream",
            Fault::Host => "host",
        }
    }
}

/// Whether the upstream may have done something with the request. Where that is in doubt it may:
/// what was done twice cannot be undone, and what was not done shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ran {
    /// No upstream was asked, and none will be: another target changes nothing.
    Refused,
    /// This target did nothing. Another may serve the request.
    NotHere,
    /// It was on its way, or an instance had it.
    Perhaps,
}

/// What `Retry-After` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// There is none: to repeat the request unchanged does not help, or may do harm.
    No,
    /// So many seconds.
    Seconds(u64),
    /// The error knows for how long.
    Known,
}

/// 2 s: a window is usually closed for a swap, or for a moment of load.
const SHORTLY: RetryAfter = RetryAfter::Seconds(2);
/// 1 s: the first request is at work, and usually about to end.
const AT_ONCE: RetryAfter = RetryAfter::Seconds(1);
/// 60 s: expired keys are removed once a minute.
const NEXT_SWEEP: RetryAfter = RetryAfter::Seconds(60);
const NO: RetryAfter = RetryAfter::No;
const KNOWN: RetryAfter = RetryAfter::Known;

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The failure that the row is about.
    pub problem: Problem,
    /// The last part of the problem's `type`. Clients script against it. Two rows have the same one
    /// where clients need not tell them apart.
    pub code: &'static str,
    /// The HTTP status. 499, as nginx writes it, is only in the log.
    pub status: u16,
    /// The problem's `title`: the same for every occurrence (RFC 9457).
    pub title: &'static str,
    /// Whose fault it is. Breakers, canaries and the access log read it.
    pub fault: Fault,
    /// Whether the upstream may have acted on the request. Retries read it.
    pub ran: Ran,
    /// What the answer's `Retry-After` says.
    pub retry_after: RetryAfter,
}

macro_rules! table {
    ($(
        $(#[$doc:meta])*
        $problem:ident: $code:literal, $status:literal, $title:literal, $fault:ident, $ran:ident, $retry:ident;
    )*) => {
        /// Every failure that a request can meet.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Problem {
            $(
                #[doc = concat!("`", $code, "`: ", $title, ".")]
                $(#[$doc])*
                $problem,
            )*
        }

        /// The table.
        pub const TABLE: &[Row] = &[$(Problem::$problem.row()),*];

        impl Problem {
            /// Its row.
            pub const fn row(self) -> Row {
                match self {
                    $(Problem::$problem => Row {
                        problem: self,
                        code: $code,
                        status: $status,
                        title: $title,
                        fault: Fault::$fault,
                        ran: Ran::$ran,
                        retry_after: $retry,
                    },)*
                }
            }
        }
    };
}

#[rustfmt::skip]
table! {
    // The request itself.
    BadRequest: "bad-request", 400, "Bad request", Client, Refused, NO;
    /// The body broke off, or is not what its framing says.
    BodyBroken: "bad-request", 400, "Bad request", Client, Perhaps, NO;
    HeadTooSlow: "head-too-slow", 408, "Request timeout", Client, Refused, NO;
    BodyTooSlow: "body-too-slow", 408, "Request timeout", Client, Perhaps, NO;
    ExpectationFailed: "expectation-failed", 417, "Expectation failed", Client, Refused, NO;
    NoRoute: "no-route", 404, "Not found", Client, Refused, NO;
    MethodNotAllowed: "method-not-allowed", 405, "Method not allowed", Client, Refused, NO;
    AddressRefused: "address-refused", 403, "Address not allowed", Client, Refused, NO;
    OriginRefused: "origin-refused", 403, "Origin not allowed", Client, Refused, NO;
    BodyTooLarge: "body-too-large", 413, "Request body too large", Client, Refused, NO;
    /// As `BodyTooLarge`, found out when an instance was at work on it already.
    BodyOverrun: "body-too-large", 413, "Request body too large", Client, Perhaps, NO;
    HeadersTooLarge: "headers-too-large", 431, "Request headers too large", Client, Refused, NO;
    TooManyHeaders: "too-many-headers", 431, "Too many request headers", Client, Refused, NO;
    /// Behind the body, so an instance may be at work on it.
    TrailersTooLarge: "trailers-too-large", 431, "Request trailers too large", Client, Perhaps, NO;
    TargetTooLong: "target-too-long", 414, "Request target too long", Client, Refused, NO;
    RateLimited: "rate-limited", 429, "Too many requests", Client, Refused, KNOWN;

    // Who is asking.
    Unauthorized: "unauthorized", 401, "Authentication required", Client, Refused, NO;
    InsufficientScope: "insufficient-scope", 403, "Insufficient scope", Client, Refused, NO;
    /// The issuer's keys could not be fetched.
    KeysUnavailable: "keys-unavailable", 503, "Token verification keys unavailable", Upstream, Refused, SHORTLY;

    // The way to the upstream.
    WindowNotDeployed: "window-not-deployed", 503, "Window not deployed", Host, NotHere, SHORTLY;
    /// Its grants say that only other windows call it, and a route leads there nevertheless. As
    /// where there is no route: to the client nothing is there, so it is what asks for something
    /// else.
    WindowInternal: "window-internal", 404, "Not found", Client, Refused, NO;
    WindowStopped: "window-stopped", 503, "Window stopped", Host, NotHere, SHORTLY;
    /// Its breaker refused the request, so no release is told of it.
    WindowTripped: "window-tripped", 503, "Window temporarily closed", Window, NotHere, KNOWN;
    StoreUnavailable: "store-unavailable", 503, "Store unavailable", Host, NotHere, SHORTLY;
    /// Its address is not allowed.
    UpstreamRefused: "upstream-refused", 502, "Upstream address not allowed", Upstream, NotHere, NO;
    UpstreamUnreachable: "upstream-unreachable", 502, "Upstream unreachable", Upstream, NotHere, NO;
    /// The request was on its way, so nobody knows what the upstream did with it.
    UpstreamBroken: "upstream-unreachable", 502, "Upstream unreachable", Upstream, Perhaps, NO;
    UpstreamTimeout: "upstream-timeout", 504, "Upstream timeout", Upstream, Perhaps, NO;
    /// The same at every service.
    ServicesFull: "services-full", 503, "Too many upstream requests", Host, Refused, SHORTLY;

    // What the instance did.
    InstanceLimit: "instance-limit", 503, "All instances busy", Host, NotHere, SHORTLY;
    InstanceStart: "instance-start", 500, "Instance failed to start", Window, NotHere, NO;
    InstanceTrapped: "instance-trapped", 500, "Instance failed", Window, Perhaps, NO;
    /// A function that `--trap-unknown` linked.
    UnknownImportCalled: "unknown-import-called", 500, "Function not provided", Window, Perhaps, NO;
    MemoryLimit: "memory-limit", 500, "Memory limit exceeded", Window, Perhaps, NO;
    CpuTime: "cpu-time", 504, "CPU time limit exceeded", Window, Perhaps, NO;
    WallTime: "wall-time", 504, "Instance timeout", Window, Perhaps, NO;
    HostCalls: "host-calls", 500, "Too many host calls", Window, Perhaps, NO;
    HostCallTooLarge: "host-call-too-large", 500, "Host call too large", Window, Perhaps, NO;
    HandleLimit: "handle-limit", 500, "Too many handles", Window, Perhaps, NO;
    ResponseTooLarge: "response-too-large", 502, "Response too large", Window, Perhaps, NO;
    ResponseHeadersTooLarge: "response-headers-too-large", 502, "Response headers too large", Window, Perhaps, NO;
    /// A window's response that HTTP cannot carry.
    ResponseInvalid: "response-invalid", 502, "Invalid response", Window, Perhaps, NO;
    NoResponse: "no-response", 502, "No response", Window, Perhaps, NO;
    /// The operator gave the release only so much time.
    DrainDeadline: "drain-deadline", 503, "Release replaced", Host, Perhaps, NO;

    // How a response ends.
    /// A service's response that HTTP cannot carry.
    ServiceResponseInvalid: "response-invalid", 502, "Invalid response", Upstream, Perhaps, NO;
    /// A quiet stream may have nothing to say, so it counts against no release.
    StreamIdle: "stream-idle", 504, "Stream idle", Upstream, Perhaps, NO;
    ReaderTooSlow: "reader-too-slow", 408, "Client too slow", Client, Perhaps, NO;
    /// The body of the response broke off, and nothing else is known.
    UpstreamBrokeOff: "upstream-broke-off", 502, "Response incomplete", Upstream, Perhaps, NO;
    /// The client went away, or the host ended, before the response was complete.
    ConnectionEnded: "connection-ended", 499, "Connection ended", Client, Perhaps, NO;

    // Idempotency keys.
    IdempotencyKeyMissing: "idempotency-key-missing", 400, "Idempotency-Key missing", Client, Refused, NO;
    IdempotencyRunning: "idempotency-running", 409, "Request in progress", Client, Refused, AT_ONCE;
    IdempotencyKeyReused: "idempotency-key-reused", 422, "Idempotency-Key reused", Client, Refused, NO;
    IdempotencyUnknown: "idempotency-unknown", 409, "Outcome unknown", Host, Refused, NO;
    IdempotencyAnswerNotKept: "idempotency-answer-not-kept", 409, "Response not stored", Host, Refused, NO;
    IdempotencyFull: "idempotency-full", 503, "Idempotency keys full", Host, Refused, SHORTLY;
    /// The caller's own share is used up.
    IdempotencyShare: "idempotency-full", 429, "Idempotency quota exceeded", Client, Refused, NEXT_SWEEP;
    IdempotencyUnavailable: "idempotency-unavailable", 503, "Idempotency keys unavailable", Host, Refused, SHORTLY;

    /// It may have happened anywhere.
    Internal: "internal", 500, "Internal error", Host, Perhaps, NO;
}

impl Problem {
    /// The stable name: the last part of the problem's `type`, and the reason in logs and metrics.
    pub const fn code(self) -> &'static str {
        self.row().code
    }

    /// The HTTP status that the failure is answered with.
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Whose fault it is.
    pub const fn fault(self) -> Fault {
        self.row().fault
    }

    /// Whether the upstream surely did nothing with the request, so that it may be sent again as if
    /// for the first time.
    pub const fn never_ran(self) -> bool {
        !matches!(self.row().ran, Ran::Perhaps)
    }
}
