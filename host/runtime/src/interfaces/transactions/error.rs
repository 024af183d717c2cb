//! What a guest is told where nothing was read or committed.

use super::bindings::hms::store::transactions::Error;
use hms_store::{EntryKey, StoreError};

/// Why a call of a guest failed.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) error: Error,
    /// For the operator, where the cause is a limit of the window, its store or its code: the
    /// reason, which is counted, and a sentence for the window's log.
    pub(super) counted: Option<(&'static str, String)>,
}

impl Refusal {
    fn new(error: Error) -> Self {
        Refusal {
            error,
            counted: None,
        }
    }

    fn counted(error: fn(String) -> Error, reason: &'static str, sentence: String) -> Self {
        Refusal {
            error: error(sentence.clone()),
            counted: Some((reason, sentence)),
        }
    }

    /// Somebody was faster. It is no failure, so it is not counted.
    pub(super) fn conflict(places: Vec<EntryKey>) -> Self {
        Self::new(Error::Conflict(
            places.into_iter().map(Into::into).collect(),
        ))
    }

    /// The counter at `at`, whose key is `key`.
    pub(super) fn not_a_number(at: Option<EntryKey>, key: String) -> Self {
        let bucket = String::new();
        let at = at.unwrap_or(EntryKey { bucket, key });
        Self::new(Error::NotANumber(at.into()))
    }

    pub(super) fn invalid(sentence: String) -> Self {
        Self::new(Error::Other(format!("invalid: {sentence}")))
    }

    pub(super) fn too_large(reason: &'static str, sentence: String) -> Self {
        Self::counted(Error::TooLarge, reason, sentence)
    }

    /// `sentence` names the field of the event.
    pub(super) fn event(sentence: String) -> Self {
        Self::counted(Error::EventRefused, "event-refused", sentence)
    }

    /// The host could not make ready what delivers events.
    pub(super) fn cannot_emit(why: String) -> Self {
        tracing::error!(%why, "a window cannot emit events");
        let told = "events cannot be stored at the moment";
        Self::unavailable(told, "events-unavailable")
    }

    fn unavailable(sentence: impl std::fmt::Display, reason: &'static str) -> Self {
        let told = |sentence| Error::Other(format!("store-unavailable: {sentence}"));
        Self::counted(told, reason, sentence.to_string())
    }

    /// Before anything was submitted: nothing was done.
    pub(super) fn of_reading(error: &StoreError) -> Self {
        match error.is_fault() {
            true => {
                log_fault(error);
                Self::unavailable("the store is temporarily unavailable", "store-unavailable")
            }
            false => Self::of_commit(error),
        }
    }

    /// From the store, to which a transaction was given. Paths and faults of the host go only to
    /// the host's log.
    pub(super) fn of_commit(error: &StoreError) -> Self {
        let sentence = error.to_string();
        match error {
            StoreError::StoreFull { .. } => Self::counted(Error::StoreFull, "store-full", sentence),
            StoreError::Busy { .. } => Self::unavailable(sentence, "store-busy"),
            StoreError::Closed => Self::unavailable(sentence, "store-unavailable"),
            StoreError::KeyTooLong { .. } | StoreError::BucketTooLong { .. } => {
                Self::too_large("key-too-long", sentence)
            }
            StoreError::ValueTooLarge { .. } => Self::too_large("value-too-large", sentence),
            StoreError::TooMany { .. }
            | StoreError::BatchTooLarge { .. }
            | StoreError::TransactionTooLong { .. } => Self::too_large("batch-too-large", sentence),
            StoreError::OutboxFull { .. } => {
                Self::counted(Error::OutboxFull, "outbox-full", sentence)
            }
            StoreError::EventTooLarge { .. }
            | StoreError::EventTextTooLong { .. }
            | StoreError::TooManyAttributes { .. }
            | StoreError::EventWithoutType
            | StoreError::NameWithoutTime { .. } => Self::event(sentence),
            StoreError::Io { .. } | StoreError::DiskFull { .. } | StoreError::Corrupt { .. } => {
                log_fault(error);
                let told = "the disk failed during the commit: commit again with the same 'once' \
                            to find out whether it was done";
                Self::counted(Error::Unknown, "commit-unknown", told.into())
            }
            _ if error.is_fault() => {
                log_fault(error);
                Self::unavailable("the store is temporarily unavailable", "store-unavailable")
            }
            _ => Self::invalid(sentence),
        }
    }
}

fn log_fault(error: &StoreError) {
    tracing::error!(%error, "a window's store failed");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault() -> StoreError {
        StoreError::Io {
            path: "/data/windows/a/store.redb".into(),
            reason: "input/output error".into(),
        }
    }

    #[test]
    fn fault_during_a_commit_is_unknown_and_before_it_nothing_was_done() {
        let during = Refusal::of_commit(&fault());
        assert!(matches!(&during.error, Error::Unknown(why) if !why.contains("/data")));
        let before = Refusal::of_reading(&fault());
        assert!(
            matches!(&before.error, Error::Other(why) if why.starts_with("store-unavailable: ")
                && !why.contains("/data"))
        );
    }

    #[test]
    fn bounds_of_the_store_are_told_and_counted() {
        let full = Refusal::of_commit(&StoreError::StoreFull { limit: 7 });
        assert!(matches!(full.error, Error::StoreFull(_)));
        assert_eq!(full.counted.unwrap().0, "store-full");
        let full = Refusal::of_commit(&StoreError::OutboxFull { limit: 7 });
        assert!(matches!(full.error, Error::OutboxFull(_)));
        assert_eq!(full.counted.unwrap().0, "outbox-full");
        let long = Refusal::of_commit(&StoreError::KeyTooLong { len: 9, limit: 8 });
        assert!(matches!(long.error, Error::TooLarge(_)));
        let many = Refusal::of_reading(&StoreError::TooMany { count: 9, limit: 8 });
        assert!(matches!(many.error, Error::TooLarge(_)));
        let empty = Refusal::of_commit(&StoreError::KeyEmpty);
        assert!(matches!(&empty.error, Error::Other(why) if why.starts_with("invalid: ")));
        assert!(empty.counted.is_none());
    }
}
