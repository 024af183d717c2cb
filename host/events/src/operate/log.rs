//! The log of a window as operators see it.

use super::{EventsError, time};
use crate::events::Events;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hms_api::{Event, EventList};
use hms_store::StoredEvent;
use std::time::Duration;

/// Bytes of data that are shown of an event. 4 KiB.
const SHOWN_BYTES: usize = 4 << 10;

/// Bytes of a page of events that is shown. 4 MiB.
const SHOWN_PAGE_BYTES: usize = 4 << 20;

/// Which events are shown.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// Those after this sequence.
    pub after: u64,
    /// Events that are looked at: 1 to 1,000.
    pub limit: usize,
    /// Only those whose type begins so.
    pub kind: Option<String>,
}

/// As it is in a list.
pub(super) fn shown(stored: &StoredEvent) -> Event {
    let whole = whole(stored);
    Event {
        data: whole.data.filter(|data| data.len() <= SHOWN_BYTES),
        data_base64: None,
        ..whole
    }
}

fn whole(stored: &StoredEvent) -> Event {
    let event = &stored.event;
    let text = std::str::from_utf8(&event.data).ok();
    Event {
        sequence: stored.sequence,
        id: stored.id.clone(),
        r#type: event.kind.clone(),
        subject: event.subject.clone(),
        partition_key: event.partition_key.clone(),
        time: time(stored.time_ms),
        content_type: Some(event.content_type.clone()).filter(|kind| !kind.is_empty()),
        bytes: event.data.len() as u64,
        data: text.filter(|text| !text.is_empty()).map(str::to_owned),
        data_base64: text.is_none().then(|| STANDARD.encode(&event.data)),
    }
}

impl Events {
    /// Events of the log of `window`, oldest first.
    ///
    /// # Errors
    /// If the store cannot be read. A window without a store has no events.
    pub async fn list(&self, window: &str, which: &Shown) -> Result<EventList, EventsError> {
        let none = EventList {
            events: Vec::new(),
            after: which.after,
            more: false,
        };
        let Some(store) = self.shared.logs.store(window).await? else {
            return Ok(none);
        };
        let limit = which.limit.clamp(1, 1_000);
        let page = store.events(which.after, limit, SHOWN_PAGE_BYTES).await?;
        let fits = |stored: &&StoredEvent| {
            let kind = which.kind.as_deref().unwrap_or_default();
            stored.event.kind.starts_with(kind)
        };
        Ok(EventList {
            after: page.events.last().map_or(which.after, |last| last.sequence),
            events: page.events.iter().filter(fits).map(shown).collect(),
            more: page.more,
        })
    }

    /// One event of the log of `window` with all its data. None if the log does not have it, or no
    /// longer.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn event(&self, window: &str, sequence: u64) -> Result<Option<Event>, EventsError> {
        let Some(store) = self.shared.logs.store(window).await? else {
            return Ok(None);
        };
        let Some(before) = sequence.checked_sub(1) else {
            return Ok(None);
        };
        let page = store.events(before, 1, SHOWN_PAGE_BYTES).await?;
        let first = page.events.first();
        Ok(first.filter(|found| found.sequence == sequence).map(whole))
    }

    /// Where the log of `window` ends: the sequence of its last event.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn last(&self, window: &str) -> Result<u64, EventsError> {
        let store = self.shared.logs.store(window).await?;
        Ok(store.map_or(0, |store| store.log_state().last))
    }

    /// Waits until the log of `window` has an event after `after`, for at most `most`.
    pub async fn wait(&self, window: &str, after: u64, most: Duration) {
        let grown = async {
            loop {
                let any = self.shared.logs.any.notified();
                let log = self.shared.logs.of(window);
                if log.is_some_and(|log| log.last > after) {
                    return;
                }
                any.await;
            }
        };
        let _ = tokio::time::timeout(most, grown).await;
    }
}
