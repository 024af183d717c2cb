//! Why a call has no answer: the errors of WASI HTTP, in the few kinds that an author tells apart.

use crate::{Problem, grant};
use http::Method;
use std::fmt;
use wasip3::http::types::{ErrorCode, Scheme};

/// What went wrong, to branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchErrorKind {
    /// The operator has not granted it.
    Denied,
    /// A call loop, or a call chain that is too long.
    Loop,
    /// It took too long.
    Timeout,
    /// More calls at once, more calls of this request or more bytes than this window may have.
    Limit,
    /// Nobody accepts connections there.
    Refused,
    /// It has no address, or cannot be reached.
    Unavailable,
    /// TLS with the service failed.
    Tls,
    /// The connection broke, or what came is not HTTP.
    Broken,
    /// The request cannot be sent as it was made: a fault of this window.
    Invalid,
    /// The answer is not what [`Response::read_json`](crate::Response::read_json) or a limit asks
    /// for.
    Unexpected,
    /// Anything else.
    Other,
}

/// Why there is no answer, or none to the end. It reads as a sentence that says what to do, for the
/// log or an operator.
///
/// ```no_run
/// # use hms_window::{FetchErrorKind, Problem, Request, Response, fetch};
/// # async fn ask(request: Request) -> Result<Response, Problem> {
/// match fetch(request).await {
///     Ok(answer) => Ok(answer),
///     Err(error) if error.kind() == FetchErrorKind::Timeout => {
///         Err(Problem::new(504, "archive-slow", "the archive is slow today; try again later"))
///     }
///     Err(error) => {
///         eprintln!("the archive: {error}");
///         Err(Problem::new(502, "archive", "the archive cannot be reached"))
///     }
/// }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchError {
    kind: FetchErrorKind,
    target: String,
    what: String,
    may_have_arrived: bool,
}

impl FetchError {
    /// What went wrong.
    pub fn kind(&self) -> FetchErrorKind {
        self.kind
    }

    /// Whether the service may have seen the request. If not, even a request that must not be done
    /// twice can be sent again.
    pub fn may_have_arrived(&self) -> bool {
        self.may_have_arrived
    }

    /// This window has made a request that cannot be sent.
    pub(crate) fn invalid(target: &str, what: String) -> Self {
        FetchError {
            kind: FetchErrorKind::Invalid,
            target: target.to_owned(),
            what,
            may_have_arrived: false,
        }
    }

    pub(crate) fn unexpected(target: &Target, what: String) -> Self {
        FetchError {
            kind: FetchErrorKind::Unexpected,
            target: target.name.clone(),
            what,
            may_have_arrived: true,
        }
    }

    pub(crate) fn of(target: &Target, code: ErrorCode) -> Self {
        let (kind, may_have_arrived, what) = said(target, code);
        FetchError {
            kind,
            target: target.name.clone(),
            what,
            may_have_arrived,
        }
    }
}

/// Its kind, whether the request may have arrived, and the sentence.
fn said(target: &Target, code: ErrorCode) -> (FetchErrorKind, bool, String) {
    use ErrorCode as Code;
    use FetchErrorKind as Kind;
    let (kind, may_have_arrived, what) = match code {
        Code::HttpRequestDenied => {
            let what = format!(
                "the host refuses it, and this window's log says why. If nothing grants it, ask \
                 the operator to add to this window's file in windows/: {}",
                target.grant
            );
            return (Kind::Denied, false, what);
        }
        Code::DestinationIpProhibited => (
            Kind::Denied,
            false,
            "its address is not of the public internet: ask the operator to add its network to \
             the entry in windows/NAME.yaml, as in 'private: [10.1.0.0/16]'",
        ),
        Code::LoopDetected => (
            Kind::Loop,
            false,
            "call loop, or call chain more than 4 deep: leave out the call that leads back",
        ),
        Code::ConnectionTimeout | Code::DnsTimeout => (
            Kind::Timeout,
            false,
            "no connection in time: try again later, or allow more time to connect",
        ),
        Code::HttpResponseTimeout => (
            Kind::Timeout,
            true,
            "no answer in time: try again later if that is safe, or allow more time",
        ),
        Code::ConnectionReadTimeout | Code::ConnectionWriteTimeout => (
            Kind::Timeout,
            true,
            "the transfer stalled: try again later if that is safe, or allow more time between \
             bytes",
        ),
        Code::ConnectionLimitReached => (
            Kind::Limit,
            false,
            "this window or this request has reached its call limit: make fewer calls, try again \
             shortly, or ask the operator to raise the limit",
        ),
        Code::HttpRequestBodySize(_) => (
            Kind::Limit,
            true,
            "the body of the request is larger than this window may send: send less, or ask the \
             operator to raise the limit",
        ),
        Code::HttpResponseBodySize(_) => (
            Kind::Limit,
            true,
            "the body of the answer is larger than this window may receive: ask for less, or ask \
             the operator to raise the limit",
        ),
        Code::ConnectionRefused => (
            Kind::Refused,
            false,
            "it refuses connections: check its port, and that it runs",
        ),
        Code::DnsError(_) | Code::DestinationNotFound => (
            Kind::Unavailable,
            false,
            "its name has no address: check how it is spelt",
        ),
        Code::DestinationUnavailable | Code::DestinationIpUnroutable => (
            Kind::Unavailable,
            false,
            "it cannot be reached now: try again later",
        ),
        Code::TlsProtocolError | Code::TlsCertificateError | Code::TlsAlertReceived(_) => (
            Kind::Tls,
            false,
            "TLS failed: check that its certificate is valid for its name; one of a private \
             authority needs 'ca: FILE' in windows/NAME.yaml",
        ),
        Code::ConnectionTerminated | Code::HttpResponseIncomplete => (
            Kind::Broken,
            true,
            "the connection broke before the end: try again later if that is safe",
        ),
        Code::HttpRequestUriInvalid | Code::HttpRequestUriTooLong => {
            (Kind::Invalid, false, "its URL cannot be sent: check it")
        }
        Code::HttpRequestMethodInvalid => (Kind::Invalid, false, "its method cannot be sent"),
        Code::InternalError(cause) => {
            let what = cause.unwrap_or_else(|| "the host could not make the call".into());
            return (Kind::Other, true, what);
        }
        code @ (Code::HttpRequestHeaderSectionSize(_)
        | Code::HttpRequestHeaderSize(_)
        | Code::HttpRequestTrailerSectionSize(_)
        | Code::HttpRequestTrailerSize(_)
        | Code::HttpRequestLengthRequired) => {
            return (Kind::Invalid, true, format!("{code}"));
        }
        code @ (Code::HttpProtocolError
        | Code::HttpUpgradeFailed
        | Code::HttpResponseHeaderSectionSize(_)
        | Code::HttpResponseHeaderSize(_)
        | Code::HttpResponseTrailerSectionSize(_)
        | Code::HttpResponseTrailerSize(_)
        | Code::HttpResponseTransferCoding(_)
        | Code::HttpResponseContentCoding(_)) => {
            return (
                Kind::Broken,
                true,
                format!("its answer is not valid HTTP ({code})"),
            );
        }
        code => return (Kind::Other, true, format!("{code}")),
    };
    (kind, may_have_arrived, what.to_owned())
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.target, self.what)
    }
}

impl std::error::Error for FetchError {}

impl From<FetchError> for Problem {
    /// 504 for a timeout, 503 with `Retry-After` at a limit of calls, 508 for a loop, 500 for what
    /// this window or its grants have wrong, and 502 for the rest. The sentence goes to the
    /// window's log, not to the client.
    fn from(error: FetchError) -> Self {
        use FetchErrorKind as Kind;
        let (status, code, detail) = match error.kind {
            Kind::Denied | Kind::Invalid => return Problem::internal(error),
            Kind::Timeout => (
                504,
                "service-timeout",
                "a service that this needs did not answer in time; retry later",
            ),
            Kind::Limit => (503, "service-limit", "too much is going on; retry shortly"),
            Kind::Loop => (508, "loop-detected", "services call each other in a loop"),
            _ => (
                502,
                "service-failed",
                "a service that this needs is not available; retry later",
            ),
        };
        eprintln!("{error}");
        let problem = Problem::new(status, code, detail);
        match error.kind {
            Kind::Limit => problem.header(http::header::RETRY_AFTER, "2"),
            _ => problem,
        }
    }
}

/// Where a request goes, in the words of an error.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    name: String,
    /// What would allow it.
    grant: String,
}

impl Target {
    pub(crate) fn service(scheme: &Scheme, authority: &str, method: &Method, path: &str) -> Self {
        let scheme = match scheme {
            Scheme::Https => "https",
            _ => "http",
        };
        Target {
            name: format!("{scheme}://{authority}"),
            grant: grant::of_service(scheme, authority, method, path),
        }
    }

    pub(crate) fn window(window: &str) -> Self {
        Target {
            name: format!("the window '{}'", window.escape_debug()),
            grant: grant::of_window(window),
        }
    }

    /// What a middleware has asked.
    pub(crate) fn next() -> Self {
        Target {
            name: "the next handler".into(),
            grant: String::new(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: ErrorCode) -> FetchError {
        let (scheme, host) = (Scheme::Https, "api.card.example");
        let target = Target::service(&scheme, host, &Method::POST, "/v1/charges");
        FetchError::of(&target, code)
    }

    #[test]
    fn refused_call_says_the_line_that_would_allow_it() {
        let denied = error(ErrorCode::HttpRequestDenied);
        assert_eq!(denied.kind(), FetchErrorKind::Denied);
        let text = denied.to_string();
        assert!(
            text.ends_with(
                r#": outbound: [{to: "https://api.card.example", methods: ["POST"], paths: ["/v1/charges"]}]"#
            ),
            "{text}"
        );
        let denied = FetchError::of(&Target::window("docs"), ErrorCode::HttpRequestDenied);
        assert!(denied.to_string().ends_with(": calls: [docs]"), "{denied}");
    }

    #[test]
    fn request_that_never_left_can_be_sent_again() {
        for (code, kind, may_have_arrived) in [
            (ErrorCode::ConnectionRefused, FetchErrorKind::Refused, false),
            (ErrorCode::ConnectionTimeout, FetchErrorKind::Timeout, false),
            (
                ErrorCode::HttpResponseTimeout,
                FetchErrorKind::Timeout,
                true,
            ),
            (
                ErrorCode::ConnectionTerminated,
                FetchErrorKind::Broken,
                true,
            ),
            (ErrorCode::TlsCertificateError, FetchErrorKind::Tls, false),
            (
                ErrorCode::ConnectionLimitReached,
                FetchErrorKind::Limit,
                false,
            ),
            (ErrorCode::LoopDetected, FetchErrorKind::Loop, false),
            (ErrorCode::InternalError(None), FetchErrorKind::Other, true),
        ] {
            let error = error(code);
            let seen = (error.kind(), error.may_have_arrived());
            assert_eq!(seen, (kind, may_have_arrived), "{error}");
        }
    }

    #[test]
    fn client_reads_nothing_of_where_a_call_went() {
        for (code, status) in [
            (ErrorCode::HttpRequestDenied, 500),
            (ErrorCode::HttpResponseTimeout, 504),
            (ErrorCode::ConnectionLimitReached, 503),
            (ErrorCode::LoopDetected, 508),
            (ErrorCode::TlsProtocolError, 502),
        ] {
            let problem = Problem::from(error(code));
            assert_eq!(problem.status(), status);
            assert!(!problem.to_string().contains("card"), "{problem}");
        }
    }
}
