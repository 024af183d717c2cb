//! The log of events in a store: what its owner has emitted, in order, and what waits for its time.
//!
//! An event is appended in the transaction that emits it. One with a time to come waits beside the
//! log, and [`Store::promote_due`](crate::Store::promote_due) appends it when the time has come.
//! Nothing here knows who reads the log; readers keep their own position.

use super::{StoreError, StoreLimits};
use std::sync::Arc;

/// What an event counts in addition to its texts and data: its id, times, and share of the file.
/// It keeps many empty events from being free.
const EVENT_OVERHEAD_BYTES: u64 = 256;

/// An event to be emitted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewEvent {
    /// The `type` of CloudEvents.
    pub kind: String,
    /// What it is about, if said.
    pub subject: Option<String>,
    /// What its order is by, where that is not the subject.
    pub partition_key: Option<String>,
    /// Media type of `data`. Empty: there is none.
    pub content_type: String,
    /// The payload.
    pub data: Vec<u8>,
    /// Extension attributes: name and value.
    pub attributes: Vec<(String, String)>,
    /// The trace of the request that emitted it.
    pub traceparent: Option<String>,
    /// Not before this time, in milliseconds since the epoch.
    pub not_before_ms: Option<u64>,
    /// Replaces the waiting event of the same name. Names only events with `not_before_ms`.
    pub name: Option<String>,
}

impl NewEvent {
    /// The bytes that count against [`LogBounds::max_bytes`]: all texts and the data, and 256.
    pub fn cost(&self) -> u64 {
        self.text_bytes() + self.data.len() as u64
    }

    /// The cost without the data.
    pub(super) fn text_bytes(&self) -> u64 {
        let texts = [
            &self.subject,
            &self.partition_key,
            &self.traceparent,
            &self.name,
        ];
        let texts = texts.into_iter().flatten().map(String::len);
        let bytes: usize = texts.sum::<usize>()
            + self.kind.len()
            + self.content_type.len()
            + self.attribute_bytes();
        bytes as u64 + EVENT_OVERHEAD_BYTES
    }

    fn attribute_bytes(&self) -> usize {
        let lens = self
            .attributes
            .iter()
            .map(|(name, value)| name.len() + value.len());
        lens.sum()
    }

    /// Whether it waits, if it is emitted at `now_ms`, and until when.
    pub fn waits_until(&self, now_ms: u64) -> Option<u64> {
        self.not_before_ms.filter(|due| *due > now_ms)
    }
}

impl StoreLimits {
    /// The rules for an event.
    pub(super) fn check_event(&self, event: &NewEvent) -> Result<(), StoreError> {
        if event.kind.is_empty() {
            return Err(StoreError::EventWithoutType);
        }
        if let (Some(name), None) = (&event.name, event.not_before_ms) {
            let name = name.chars().take(self.max_event_text_bytes).collect();
            return Err(StoreError::NameWithoutTime { name });
        }
        let texts = [
            ("type", Some(&event.kind)),
            ("subject", event.subject.as_ref()),
            ("partition key", event.partition_key.as_ref()),
            ("content type", Some(&event.content_type)),
            ("trace", event.traceparent.as_ref()),
            ("name", event.name.as_ref()),
        ];
        for (what, text) in texts {
            self.check_event_text(what, text.map_or("", String::as_str))?;
        }
        let (count, limit) = (event.attributes.len(), self.max_attributes);
        if count > limit {
            return Err(StoreError::TooManyAttributes { count, limit });
        }
        let (what, len) = ("list of attributes", event.attribute_bytes());
        let limit = self.max_attribute_bytes;
        if len > limit {
            return Err(StoreError::EventTextTooLong { what, len, limit });
        }
        let (len, limit) = (event.data.len(), self.max_event_bytes);
        if len > limit {
            return Err(StoreError::EventTooLarge { len, limit });
        }
        Ok(())
    }

    pub(super) fn check_event_text(
        &self,
        what: &'static str,
        text: &str,
    ) -> Result<(), StoreError> {
        let (len, limit) = (text.len(), self.max_event_text_bytes);
        if len > limit {
            return Err(StoreError::EventTextTooLong { what, len, limit });
        }
        Ok(())
    }
}

/// An event of the log, or one that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its place in the log, from 1 and without gaps. 0: it waits.
    pub sequence: u64,
    /// Unlike that of any other event, also of a store of the same name that was removed. Kept from
    /// the transaction on.
    pub id: String,
    /// When it was emitted, in milliseconds since the epoch; of one that waited, when it became
    /// due.
    pub time_ms: u64,
    /// As it was emitted.
    pub event: NewEvent,
}

/// A part of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventsPage {
    /// In order.
    pub events: Vec<StoredEvent>,
    /// Whether the log goes on after the last of these.
    pub more: bool,
}

/// Where the log of a store stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogState {
    /// Sequence of the oldest event that is kept. 0: none is.
    pub first: u64,
    /// Sequence of the newest event ever appended. 0: there was none.
    pub last: u64,
    /// Bytes of the log and of what waits, as counted against
    /// [`LogBounds::max_bytes`].
    pub bytes: u64,
    /// How many events wait for their time.
    pub waiting: u64,
    /// When the next of those is due, in milliseconds since the epoch.
    pub next_due_ms: Option<u64>,
}

/// Bounds of the log of one store, which can be changed while it is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogBounds {
    /// Bytes of the log and of what waits. An event beyond them makes room by dropping the oldest
    /// events before `needed_from`, and is refused where that is not enough
    /// ([`StoreError::OutboxFull`](crate::StoreError)). A log that is larger, because this was
    /// lowered, does not grow, and [`Store::trim`](crate::Store::trim) shrinks it. 256 MiB.
    pub max_bytes: u64,
    /// Events from this sequence on are needed by somebody and are never dropped. 0 until it is
    /// known: nothing is dropped.
    pub needed_from: u64,
}

/// The bytes of [`LogBounds::max_bytes`] by default: 256 MiB.
const LOG_BYTES: u64 = 256 << 20;

impl Default for LogBounds {
    fn default() -> Self {
        LogBounds {
            max_bytes: LOG_BYTES,
            needed_from: 0,
        }
    }
}

/// Told after each commit that changed the log, with where it stands. Must not block.
pub type LogObserver = Arc<dyn Fn(LogState) + Send + Sync>;
