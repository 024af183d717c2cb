//! The tables of the log inside a write transaction, and its counters.

use super::super::fault::Fault;
use super::super::layout::counter;
use super::super::{LogState, StoredEvent};
use super::{
    Bytes, Due, EVENTS, LAST, LOG_BYTES, LOG_ID, NAMES, NUMBER, ONCE, ONCE_TIMES, WAITING, row,
};
use redb::{ReadableTable, Table, WriteTransaction};

pub(in super::super) struct LogTables<'txn> {
    pub(super) events: Table<'txn, u64, Bytes>,
    pub(super) waiting: Table<'txn, Due, Bytes>,
    pub(super) names: Table<'txn, &'static str, Due>,
    pub(super) once: Table<'txn, &'static str, (u64, u64)>,
    pub(super) once_times: Table<'txn, (u64, &'static str), ()>,
    /// The first part of the ids of new events.
    pub(super) id: u64,
    /// The number that was last given, in an id.
    pub(super) number: u64,
    /// The last sequence.
    pub(super) last: u64,
    /// The sum of [`NewEvent::cost`](super::super::NewEvent::cost).
    pub(super) bytes: u64,
    /// Whether the log was changed, apart from `once`.
    pub(in super::super) changed: bool,
}

/// A number for the ids of a log, unlike that of any other.
pub(in super::super) fn log_id() -> u64 {
    let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
    // Each half alone has bits that are the same in all of them.
    high ^ low.rotate_left(32)
}

/// The id of an event: `log` keeps it apart from those of other stores.
pub(super) fn event_id(log: u64, number: u64) -> String {
    format!("{log:016x}-{number}")
}

impl<'txn> LogTables<'txn> {
    /// Those of a file that has them, according to its `meta`.
    pub(in super::super) fn open(
        txn: &'txn WriteTransaction,
        meta: &impl ReadableTable<&'static str, u64>,
    ) -> Result<Self, Fault> {
        let mut tables = Self::found(txn, counter(meta, LOG_ID)?)?;
        tables.number = counter(meta, NUMBER)?;
        tables.last = counter(meta, LAST)?;
        tables.bytes = counter(meta, LOG_BYTES)?;
        Ok(tables)
    }

    /// Makes those of a file that has none.
    pub(in super::super) fn found(txn: &'txn WriteTransaction, id: u64) -> Result<Self, Fault> {
        Ok(LogTables {
            events: txn.open_table(EVENTS)?,
            waiting: txn.open_table(WAITING)?,
            names: txn.open_table(NAMES)?,
            once: txn.open_table(ONCE)?,
            once_times: txn.open_table(ONCE_TIMES)?,
            id,
            number: 0,
            last: 0,
            bytes: 0,
            changed: false,
        })
    }

    /// Must be called once after the last change, before the commit.
    pub(in super::super) fn save_counters(
        &self,
        meta: &mut Table<'txn, &'static str, u64>,
    ) -> Result<(), Fault> {
        meta.insert(LOG_ID, self.id)?;
        meta.insert(NUMBER, self.number)?;
        meta.insert(LAST, self.last)?;
        meta.insert(LOG_BYTES, self.bytes)?;
        Ok(())
    }

    /// Where the log stands.
    pub(in super::super) fn state(&self) -> Result<LogState, Fault> {
        state(&self.events, &self.waiting, self.last, self.bytes)
    }

    /// The version of the transaction that was committed under this key.
    pub(in super::super) fn once(&self, once: &str) -> Result<Option<u64>, Fault> {
        let known = self.once.get(once)?;
        Ok(known.map(|known| known.value().0))
    }

    /// Remembers a key that is not known yet.
    pub(in super::super) fn remember(
        &mut self,
        once: &str,
        version: u64,
        now_ms: u64,
    ) -> Result<(), Fault> {
        self.once.insert(once, (version, now_ms))?;
        self.once_times.insert((now_ms, once), ())?;
        Ok(())
    }

    /// Appends an event as it is, with a sequence of its own.
    pub(super) fn append(&mut self, row: &[u8]) -> Result<(), Fault> {
        self.last = self.last.saturating_add(1);
        self.events.insert(self.last, row)?;
        self.changed = true;
        Ok(())
    }

    /// Drops the events up to `sequence`, which count `cost`.
    pub(super) fn drop_through(&mut self, sequence: u64, cost: u64) -> Result<(), Fault> {
        self.events.retain_in(..=sequence, |_, _| false)?;
        self.bytes = self.bytes.saturating_sub(cost);
        self.changed = true;
        Ok(())
    }

    /// The waiting event with this name: when it is due, and what it counts.
    pub(super) fn named(&self, name: &str) -> Result<Option<(Due, u64)>, Fault> {
        let Some(due) = self.names.get(name)?.map(|due| due.value()) else {
            return Ok(None);
        };
        let row = self.waiting.get(due)?;
        let row = row.ok_or_else(|| Fault::Damaged("an event with a name is missing".into()))?;
        Ok(Some((due, row::weigh(row.value())?.cost)))
    }

    /// Takes the first waiting event, if it is due by `now_ms`, and its time.
    pub(super) fn take_due(&mut self, now_ms: u64) -> Result<Option<(u64, StoredEvent)>, Fault> {
        let first = self.waiting.first()?.map(|(due, _)| due.value());
        let Some(due) = first.filter(|(due, _)| *due <= now_ms) else {
            return Ok(None);
        };
        let row = self.waiting.remove(due)?;
        let Some(event) = row.map(|row| row::decode(row.value())).transpose()? else {
            return Ok(None);
        };
        if let Some(name) = &event.event.name {
            self.names.remove(name.as_str())?;
        }
        self.changed = true;
        Ok(Some((due.0, event)))
    }
}

/// Where a log of these tables stands.
pub(super) fn state(
    events: &impl ReadableTable<u64, Bytes>,
    waiting: &impl ReadableTable<Due, Bytes>,
    last: u64,
    bytes: u64,
) -> Result<LogState, Fault> {
    let first = events.first()?.map_or(0, |(first, _)| first.value());
    Ok(LogState {
        first,
        last,
        bytes,
        waiting: waiting.len()?,
        next_due_ms: waiting.first()?.map(|(due, _)| due.value().0),
    })
}
