//! The last check of an answer, whoever made it. Each possible answer has one outcome, the same
//! over HTTP/1 and HTTP/2. hyper would leave some to debug assertions, and send others unchanged.

use hms_core::body::{self, Body};
use hms_core::error::{Problem, RequestError};
use hms_core::framing;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body::Body as _;

/// The answer to a request of `method`, or a failure if HTTP cannot carry it.
pub fn checked(method: &Method, response: Response<Body>) -> Result<Response<Body>, RequestError> {
    let bytes = response.body().size_hint().exact();
    match framing::check(method, response.status(), response.headers(), bytes) {
        Ok(()) => Ok(response),
        Err(why) => {
            let sentence = "the upstream's response cannot be sent over HTTP";
            Err(RequestError::new(Problem::ServiceResponseInvalid, sentence).with_cause(why))
        }
    }
}

/// The answer with the body that it may have, and the length that its head announces.
///
/// An answer without content loses the content fields of its upstream. HEAD keeps the length that
/// GET has.
pub fn framed(method: &Method, mut response: Response<Body>) -> (Response<Body>, Option<u64>) {
    let status = response.status();
    if status.is_informational() {
        return (response, None);
    }
    if !framing::is_bodyless(method, status) {
        let length = framing::length(response.headers()).ok().flatten();
        return (response, length);
    }
    let bytes = response.body().size_hint().exact().filter(|size| *size > 0);
    let headers = response.headers_mut();
    headers.remove(header::TRAILER);
    let told = framing::length(headers);
    match status {
        // They have none (RFC 9110 sections 8.6 and 15.3.6).
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT => {
            headers.remove(header::CONTENT_LENGTH);
        }
        _ if told.is_err() => {
            headers.remove(header::CONTENT_LENGTH);
        }
        StatusCode::NOT_MODIFIED => {}
        _ => {
            if let (Ok(None), Some(bytes)) = (told, bytes) {
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
            }
        }
    }
    (response.map(|_| body::empty()), None)
}
