//! What the answer to a delivery means.

use hms_core::error::{Fault, Problem, RequestError};
use hms_core::outgoing::CallError;
use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use std::time::Duration;

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is done.
    Done,
    /// It is tried again, not before this time if it is said.
    Again(Option<Duration>),
    /// It is never taken: parked at once.
    Rejected,
    /// The subscriber wants no more events.
    Gone,
    /// It was not tried: nobody has seen it, or it was cut off by the operator.
    NotTried,
}

impl Verdict {
    /// As log and metrics name it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Verdict::Done => "done",
            Verdict::Again(_) => "again",
            Verdict::Rejected => "rejected",
            Verdict::Gone => "gone",
            Verdict::NotTried => "not-tried",
        }
    }
}

/// Of an answer.
pub(crate) fn of_answer(status: StatusCode, headers: &HeaderMap) -> Verdict {
    match status.as_u16() {
        200..=299 => Verdict::Done,
        408 | 409 | 425 | 429 | 500..=599 => Verdict::Again(retry_after(headers)),
        410 => Verdict::Gone,
        _ => Verdict::Rejected,
    }
}

/// `Retry-After` in seconds. A date is not read: whoever answers deliveries has no reason to give
/// one.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

/// Of a window that did not answer.
pub(crate) fn of_failure(error: &RequestError) -> Verdict {
    match error.problem() {
        // The breaker refused it, or the operator has replaced the release.
        Problem::WindowTripped | Problem::DrainDeadline => Verdict::NotTried,
        _ if error.fault() == Fault::Host && error.never_ran() => Verdict::NotTried,
        _ if error.fault() == Fault::Client && error.status() != StatusCode::REQUEST_TIMEOUT => {
            // 499 is nobody's answer.
            match error.status().as_u16() {
                400..=498 => Verdict::Rejected,
                _ => Verdict::Again(None),
            }
        }
        _ => Verdict::Again(None),
    }
}

/// Of a service that did not answer.
pub(crate) fn of_call(error: &CallError) -> Verdict {
    match error {
        // Nobody was asked: there is no permit, or the service is left alone for a time.
        CallError::ConnectionLimit | CallError::TooManyCalls | CallError::Unavailable => {
            Verdict::NotTried
        }
        CallError::RequestBodySize => Verdict::Rejected,
        _ => Verdict::Again(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hms_core::error::TABLE;

    #[test]
    fn status_of_an_answer_decides_its_verdict() {
        let verdict =
            |status: u16| of_answer(StatusCode::from_u16(status).unwrap(), &HeaderMap::new());
        for status in [200, 202, 204] {
            assert_eq!(verdict(status), Verdict::Done);
        }
        for status in [408, 409, 425, 429, 500, 501, 503, 599] {
            assert_eq!(verdict(status), Verdict::Again(None), "{status}");
        }
        for status in [301, 304, 400, 401, 403, 404, 413, 422, 600] {
            assert_eq!(verdict(status), Verdict::Rejected, "{status}");
        }
        assert_eq!(verdict(410), Verdict::Gone);
    }

    #[test]
    fn retry_after_is_read_in_seconds() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, "7".parse().unwrap());
        let verdict = of_answer(StatusCode::SERVICE_UNAVAILABLE, &headers);
        assert_eq!(verdict, Verdict::Again(Some(Duration::from_secs(7))));
        headers.insert(RETRY_AFTER, "soon".parse().unwrap());
        let verdict = of_answer(StatusCode::SERVICE_UNAVAILABLE, &headers);
        assert_eq!(verdict, Verdict::Again(None));
    }

    #[test]
    fn unseen_delivery_was_not_tried() {
        let of = |verdict: Verdict| -> Vec<Problem> {
            let rows = TABLE.iter().map(|row| row.problem);
            let rows =
                rows.filter(|problem| of_failure(&RequestError::new(*problem, "")) == verdict);
            rows.collect()
        };
        let not_tried = of(Verdict::NotTried);
        for problem in [
            Problem::WindowNotDeployed,
            Problem::WindowStopped,
            Problem::WindowTripped,
            Problem::InstanceLimit,
            Problem::StoreUnavailable,
            Problem::DrainDeadline,
        ] {
            assert!(not_tried.contains(&problem), "{problem:?}");
        }
        let again = of(Verdict::Again(None));
        for problem in [
            Problem::InstanceTrapped,
            Problem::InstanceStart,
            Problem::WallTime,
            Problem::CpuTime,
            Problem::NoResponse,
            Problem::Internal,
            Problem::ConnectionEnded,
        ] {
            assert!(again.contains(&problem), "{problem:?}");
        }
        assert!(of(Verdict::Rejected).contains(&Problem::BodyTooLarge));
        assert_eq!(of_call(&CallError::ConnectionRefused), Verdict::Again(None));
        assert_eq!(of_call(&CallError::Unavailable), Verdict::NotTried);
    }
}
