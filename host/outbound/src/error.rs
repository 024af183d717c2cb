//! Why a call failed: for the guest, for the log, and for whoever decides whether to try again.

use hms_core::outgoing::CallError;
use hms_net::client::{Cause, NotAllowed, SendError, Unresolved, find, is_shortage};
use std::error::Error;
use std::io;

/// Bytes of what TLS says of its failure.
const MAX_WORDS: usize = 256;

/// Why a try failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// As the guest sees it.
    pub(crate) error: CallError,
    pub(crate) stage: Stage,
    /// For the log.
    pub(crate) cause: Option<String>,
    /// The address that is not allowed, if that is why.
    pub(crate) prohibited: Option<NotAllowed>,
    /// All windows together have as many connections as they may.
    pub(crate) host_full: bool,
}

/// How far a try came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing was sent, it would be the same again, and the service has no part in it.
    NotSent,
    /// There was no connection.
    NoConnection,
    /// The service says that it has not looked at it.
    Refused,
    /// As `Refused`, because it closed the connection, which is nothing unusual.
    LeftOver,
    /// Nobody knows what the service did with it.
    Unclear,
    /// There was no time left for another.
    TooLate,
}

impl Failure {
    pub(crate) fn new(error: CallError, stage: Stage) -> Failure {
        Failure {
            error,
            stage,
            cause: None,
            prohibited: None,
            host_full: false,
        }
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Failure {
        let cause = Some(error.to_string());
        let host_full = matches!(error, SendError::TooManyConnections { of_all: true });
        let prohibited = match &error {
            SendError::NotAllowed(address) => Some(*address),
            _ => None,
        };
        let (error, stage) = match &error {
            SendError::NotAllowed(_) => (CallError::AddressProhibited, Stage::NotSent),
            SendError::TooManyConnections { .. } => (CallError::ConnectionLimit, Stage::NotSent),
            SendError::NoTrustStore => {
                let words = "the host trusts no certificate authority";
                (CallError::Tls(words.into()), Stage::NotSent)
            }
            SendError::Connect(cause) => match unconnected(cause) {
                // Who resolves names is asked by this host, not by the service.
                error @ (CallError::Certificate(_) | CallError::Tls(_) | CallError::DnsError) => {
                    (error, Stage::NotSent)
                }
                error if is_shortage(&**cause) => (error, Stage::NotSent),
                error => (error, Stage::NoConnection),
            },
            SendError::Refused(_) => (CallError::Unavailable, Stage::Refused),
            SendError::LeftOver(_) => (CallError::ConnectionTerminated, Stage::LeftOver),
            SendError::Broken(cause) => (broken(&**cause), Stage::Unclear),
        };
        Failure {
            error,
            stage,
            cause,
            prohibited,
            host_full,
        }
    }
}

/// Why there is no connection.
fn unconnected(cause: &Cause) -> CallError {
    let cause: &(dyn Error + 'static) = &**cause;
    if find::<Unresolved>(cause).is_some() {
        return CallError::DnsError;
    }
    if let Some(tls) = find::<rustls::Error>(cause) {
        let words = tls.to_string().chars().take(MAX_WORDS).collect();
        return match tls {
            rustls::Error::InvalidCertificate(_) => CallError::Certificate(words),
            _ => CallError::Tls(words),
        };
    }
    match find_io(cause) {
        Some(io::ErrorKind::ConnectionRefused) => CallError::ConnectionRefused,
        Some(io::ErrorKind::TimedOut) => CallError::ConnectTimeout,
        Some(io::ErrorKind::InvalidData) => CallError::Tls("TLS failed".into()),
        Some(_) => CallError::ConnectionTerminated,
        None => CallError::Unavailable,
    }
}

/// Why an exchange or an answer broke off.
pub(crate) fn broken(cause: &(dyn Error + 'static)) -> CallError {
    match find::<hyper::Error>(cause) {
        Some(error) if error.is_parse() || error.is_parse_status() => CallError::Protocol,
        _ => CallError::ConnectionTerminated,
    }
}

/// The kind of the innermost `io::Error`.
fn find_io(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let found = find::<io::Error>(error)?;
    let inner = found.get_ref().and_then(|held| find_io(held));
    inner.or(Some(found.kind()))
}

/// What an error is called in logs and metrics: as WASI HTTP names it, or one word more exactly.
pub(crate) fn code(error: &CallError) -> &'static str {
    match error {
        CallError::Denied => "request-denied",
        CallError::UriInvalid(_) => "uri-invalid",
        CallError::AddressProhibited => "address-prohibited",
        CallError::DnsError => "dns-error",
        CallError::ConnectionRefused => "connection-refused",
        CallError::ConnectionTerminated => "connection-terminated",
        CallError::ConnectionLimit => "connection-limit",
        CallError::TooManyCalls => "too-many-calls",
        CallError::ConnectTimeout => "connect-timeout",
        CallError::ResponseTimeout => "response-timeout",
        CallError::ReadTimeout => "read-timeout",
        CallError::Certificate(_) => "tls-certificate",
        CallError::Tls(_) => "tls",
        CallError::RequestBodySize => "request-body-size",
        CallError::ResponseBodySize => "response-body-size",
        CallError::ResponseHeadSize => "response-head-size",
        CallError::Protocol => "protocol",
        CallError::LoopDetected => "loop-detected",
        CallError::Unavailable => "unavailable",
        CallError::Internal => "internal",
    }
}
