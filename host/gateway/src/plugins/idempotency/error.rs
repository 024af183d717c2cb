//! Why a request with an idempotency key, or without one, is refused.

use hms_core::error::{Problem, RequestError};

/// A request that is not done, or not repeated.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub enum IdempotencyError {
    #[error(
        "this route requires an Idempotency-Key on POST and PATCH: send a new one, such as a UUID \
         in quotes, with each new request"
    )]
    KeyMissing,
    #[error("the first request with this Idempotency-Key is still in progress; retry shortly")]
    Running,
    #[error(
        "this Idempotency-Key was used for a different request: send a new key with each new \
         request, and the same one only to repeat a request unchanged"
    )]
    KeyReused,
    #[error(
        "the host stopped while the first request with this Idempotency-Key was in progress, so \
         its outcome is unknown: check whether it took effect before you send it with a new key"
    )]
    Unknown,
    #[error(
        "the first request with this Idempotency-Key was completed, but its response was not \
         stored, because it was too large or there was no room: check its result, and do not send \
         it again"
    )]
    AnswerNotKept,
    #[error(
        "the host cannot store more idempotency keys, so the request was not processed; retry \
         shortly"
    )]
    Full,
    /// The caller's own share of `what` is used up.
    #[error(
        "this caller's quota of {what} for idempotency keys is used up: send fewer requests at \
         once, or retry later"
    )]
    Share { what: &'static str },
    /// The file of keys cannot be used.
    #[error("idempotency keys are unavailable, so the request was not processed; retry shortly")]
    Unavailable,
}

impl From<IdempotencyError> for RequestError {
    fn from(error: IdempotencyError) -> Self {
        let problem = match error {
            IdempotencyError::KeyMissing => Problem::IdempotencyKeyMissing,
            IdempotencyError::Running => Problem::IdempotencyRunning,
            IdempotencyError::KeyReused => Problem::IdempotencyKeyReused,
            IdempotencyError::Unknown => Problem::IdempotencyUnknown,
            IdempotencyError::AnswerNotKept => Problem::IdempotencyAnswerNotKept,
            IdempotencyError::Full => Problem::IdempotencyFull,
            IdempotencyError::Share { .. } => Problem::IdempotencyShare,
            IdempotencyError::Unavailable => Problem::IdempotencyUnavailable,
        };
        RequestError::new(problem, error.to_string())
    }
}
