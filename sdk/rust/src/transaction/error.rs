//! Why a transaction failed.

use crate::{Problem, StoreError};
use std::fmt;

/// Why nothing was committed; only for [`TransactionError::Unknown`] that is not certain. In a
/// handler, `?` turns it into the right [`Problem`].
#[derive(Debug)]
pub enum TransactionError {
    /// The store refused it, is full or unavailable, or too many instances change the same keys at
    /// once.
    Store(StoreError),
    /// The outbox is full: subscribers are slower than this window, or fail.
    OutboxFull(String),
    /// An event breaks a rule. The text names the field.
    EventRefused(String),
    /// The host's disk failed during the commit: it may or may not be there. With
    /// [`Transaction::once`](crate::Transaction::once), do it again.
    Unknown(String),
    /// It was done before: see [`Committed::into_value`](crate::Committed::into_value).
    Repeated,
    /// What ran in the transaction refused.
    Refused(Problem),
}

impl fmt::Display for TransactionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TransactionError::Store(error) => error.fmt(f),
            TransactionError::OutboxFull(text) => write!(f, "the outbox: {text}"),
            TransactionError::EventRefused(text) => write!(f, "the event: {text}"),
            TransactionError::Unknown(text) => write!(f, "the store: {text}"),
            TransactionError::Repeated => f.write_str("this was done before"),
            TransactionError::Refused(problem) => problem.fmt(f),
        }
    }
}

impl std::error::Error for TransactionError {}

impl From<StoreError> for TransactionError {
    fn from(error: StoreError) -> Self {
        TransactionError::Store(error)
    }
}

impl From<Problem> for TransactionError {
    fn from(problem: Problem) -> Self {
        TransactionError::Refused(problem)
    }
}

impl From<TransactionError> for Problem {
    /// A full outbox is 507, an unknown outcome 503 (worth a retry), a repeated transaction 409, an
    /// event that is refused the window's own fault. What ran in the transaction refuses as it
    /// says, and the store as elsewhere.
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Store(error) => error.into(),
            TransactionError::Refused(problem) => problem,
            TransactionError::OutboxFull(_) => {
                Problem::new(507, "outbox-full", "the window's outbox is full")
            }
            TransactionError::Unknown(_) => {
                eprintln!("{error}");
                Problem::new(
                    503,
                    "outcome-unknown",
                    "it is not known whether this was done: check before you retry",
                )
                .header("retry-after", "2")
            }
            TransactionError::Repeated => Problem::new(409, "done-before", "this was done before"),
            TransactionError::EventRefused(_) => Problem::internal(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_of_a_transaction_has_its_status() {
        let status = |error: TransactionError| Problem::from(error).status().as_u16();
        let text = || "x".to_owned();
        assert_eq!(status(TransactionError::OutboxFull(text())), 507);
        assert_eq!(status(TransactionError::Unknown(text())), 503);
        assert_eq!(status(TransactionError::Repeated), 409);
        assert_eq!(status(TransactionError::EventRefused(text())), 500);
        assert_eq!(status(StoreError::Full(text()).into()), 507);
        assert_eq!(status(Problem::not_found().into()), 404);
    }
}
