//! What a guest is told of a call that failed: the error of WASI HTTP, the same in both
//! generations.

use hms_core::body::BodyError;
use hms_core::outgoing::CallError;
use wasmtime_wasi_http::Error;

/// Why there is no answer.
pub(super) fn of(error: CallError) -> Error {
    match error {
        CallError::Denied => Error::HttpRequestDenied,
        CallError::UriInvalid(_) => Error::HttpRequestUriInvalid,
        CallError::AddressProhibited => Error::DestinationIpProhibited,
        CallError::DnsError => Error::DnsError {
            rcode: None,
            info_code: None,
        },
        CallError::ConnectionRefused => Error::ConnectionRefused,
        CallError::ConnectionTerminated => Error::ConnectionTerminated,
        CallError::ConnectionLimit | CallError::TooManyCalls => Error::ConnectionLimitReached,
        CallError::ConnectTimeout => Error::ConnectionTimeout,
        CallError::ResponseTimeout => Error::HttpResponseTimeout,
        CallError::ReadTimeout => Error::ConnectionReadTimeout,
        CallError::Certificate(_) => Error::TlsCertificateError,
        CallError::Tls(_) => Error::TlsProtocolError,
        CallError::RequestBodySize => Error::HttpRequestBodySize(None),
        CallError::ResponseBodySize => Error::HttpResponseBodySize(None),
        CallError::ResponseHeadSize => Error::HttpResponseHeaderSectionSize(None),
        CallError::Protocol => Error::HttpProtocolError,
        CallError::LoopDetected => Error::LoopDetected,
        CallError::Unavailable => Error::DestinationUnavailable,
        CallError::Internal => Error::InternalError(None),
    }
}

/// Why the body of an answer ends before its end.
pub(super) fn of_body(error: BodyError) -> Error {
    match error.downcast::<CallError>() {
        Ok(error) => of(*error),
        Err(_) => Error::HttpResponseIncomplete,
    }
}
