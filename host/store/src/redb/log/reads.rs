//! The log as readers see it.

use super::super::fault::Fault;
use super::super::layout::{View, counter};
use super::super::{EventsPage, LogState, StoredEvent};
use super::{EVENTS, LAST, LOG_BYTES, LOG_ID, NAMES, NUMBER, ONCE, ONCE_TIMES, WAITING};
use super::{row, tables};
use redb::{ReadTransaction, ReadableTable};
use std::ops::Bound;

impl View {
    /// As [`Store::events`](super::super::Store::events).
    pub(in super::super) fn events(
        &self,
        after: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<EventsPage, Fault> {
        let mut page = EventsPage::default();
        let Some(events) = self.table(EVENTS)? else {
            return Ok(page);
        };
        let mut bytes = 0_u64;
        for item in
            ReadableTable::range::<u64>(&events, (Bound::Excluded(after), Bound::Unbounded))?
        {
            let (sequence, row) = item?;
            if page.events.len() >= limit {
                page.more = true;
                break;
            }
            let mut event = row::decode(row.value())?;
            bytes = bytes.saturating_add(event.event.cost());
            if bytes > max_bytes as u64 && !page.events.is_empty() {
                page.more = true;
                break;
            }
            event.sequence = sequence.value();
            page.events.push(event);
        }
        Ok(page)
    }

    /// As [`Store::waiting_events`](super::super::Store::waiting_events).
    pub(in super::super) fn waiting_events(
        &self,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<(u64, StoredEvent)>, Fault> {
        let mut found = Vec::new();
        let Some(waiting) = self.table(WAITING)? else {
            return Ok(found);
        };
        let mut bytes = 0_u64;
        for item in ReadableTable::iter(&waiting)?.take(limit) {
            let (due, row) = item?;
            let event = row::decode(row.value())?;
            bytes = bytes.saturating_add(event.event.cost());
            if bytes > max_bytes as u64 && !found.is_empty() {
                break;
            }
            found.push((due.value().0, event));
        }
        Ok(found)
    }
}

/// Where the log of a file with these tables stands. A file without one of them is refused.
pub(in super::super) fn identify(
    read: &ReadTransaction,
    meta: &impl ReadableTable<&'static str, u64>,
) -> Result<LogState, Fault> {
    read.open_table(NAMES)?;
    read.open_table(ONCE)?;
    read.open_table(ONCE_TIMES)?;
    counter(meta, LOG_ID)?;
    counter(meta, NUMBER)?;
    let (last, bytes) = (counter(meta, LAST)?, counter(meta, LOG_BYTES)?);
    let (events, waiting) = (read.open_table(EVENTS)?, read.open_table(WAITING)?);
    tables::state(&events, &waiting, last, bytes)
}
