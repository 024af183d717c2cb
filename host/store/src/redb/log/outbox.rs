//! The events of one transaction: decided before any of it is done, because redb cannot undo a
//! part.

use super::super::fault::Fault;
use super::super::{LogBounds, NewEvent, StoreError, Transaction};
use super::tables::event_id;
use super::{Due, LogTables, log_id, row};
use redb::ReadableTable;
use std::collections::BTreeMap;

/// What a transaction does to the log.
pub(in super::super) struct Outbox<'a> {
    /// The first part of the ids, also of a log that is yet to be made.
    log_id: u64,
    /// The number that was last given.
    number: u64,
    bytes: u64,
    ids: Vec<String>,
    now_ms: u64,
    names: BTreeMap<&'a str, Named>,
    /// The numbers of their ids in `ids`.
    appended: Vec<(usize, &'a NewEvent)>,
    /// None: replaced by a later one of the same transaction.
    waits: Vec<Option<(usize, Due, &'a NewEvent)>>,
    /// The events up to this sequence make room, and what they count.
    dropped: Option<(u64, u64)>,
}

/// The waiting event of one name.
#[derive(Default)]
struct Named {
    /// As the tables have it; it goes.
    old: Option<Due>,
    /// Its number in [`Outbox::waits`].
    new: Option<usize>,
}

impl<'a> Outbox<'a> {
    /// What `transaction` does to `log`, which is None where there is none yet. The inner error is
    /// that of the transaction.
    pub(in super::super) fn plan(
        log: Option<&LogTables<'_>>,
        transaction: &'a Transaction,
        bounds: LogBounds,
    ) -> Result<Result<Self, StoreError>, Fault> {
        let makes_log = !transaction.events.is_empty() || transaction.once.is_some();
        let mut outbox = Outbox {
            log_id: match log {
                Some(log) => log.id,
                None if makes_log => log_id(),
                None => 0,
            },
            number: log.map_or(0, |log| log.number),
            bytes: log.map_or(0, |log| log.bytes),
            ids: Vec::with_capacity(transaction.events.len()),
            now_ms: transaction.now_ms,
            names: BTreeMap::new(),
            appended: Vec::new(),
            waits: Vec::new(),
            dropped: None,
        };
        for name in &transaction.cancel {
            outbox.cancel(log, name)?;
        }
        for event in &transaction.events {
            outbox.emit(log, event)?;
        }
        let before = log.map_or(0, |log| log.bytes);
        let limit = bounds.max_bytes;
        // Where the bound was lowered, it is `trim` that comes back to it, and this does not grow.
        let excess = outbox.bytes.saturating_sub(limit.max(before));
        if excess > 0 {
            outbox.dropped = room(log, excess, bounds.needed_from)?;
            if outbox.dropped.is_none() {
                return Ok(Err(StoreError::OutboxFull { limit }));
            }
        }
        Ok(Ok(outbox))
    }

    /// Whether it does nothing.
    pub(in super::super) fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.names.values().all(|named| named.old.is_none())
    }

    /// The first part of the ids.
    pub(in super::super) fn log_id(&self) -> u64 {
        self.log_id
    }

    /// Does it, and returns the ids of the events. `log` is as it was planned for.
    pub(in super::super) fn carry_out(self, log: &mut LogTables<'_>) -> Result<Vec<String>, Fault> {
        if let Some((sequence, cost)) = self.dropped {
            log.drop_through(sequence, cost)?;
        }
        for (name, named) in &self.names {
            if let Some(due) = named.old {
                log.waiting.remove(due)?;
                log.names.remove(*name)?;
            }
        }
        let id = |at: usize| self.ids.get(at).map_or("", String::as_str);
        for (at, event) in &self.appended {
            let row = row::encode(id(*at), self.now_ms, event)?;
            log.append(&row)?;
        }
        for (at, due, event) in self.waits.iter().flatten() {
            let row = row::encode(id(*at), self.now_ms, event)?;
            log.waiting.insert(*due, row.as_slice())?;
            if let Some(name) = &event.name {
                log.names.insert(name.as_str(), *due)?;
            }
        }
        log.number = self.number;
        let dropped = self.dropped.map_or(0, |(_, cost)| cost);
        log.bytes = self.bytes.saturating_sub(dropped);
        log.changed = true;
        Ok(self.ids)
    }

    fn cancel(&mut self, log: Option<&LogTables<'_>>, name: &'a str) -> Result<(), Fault> {
        if let Some(named) = self.names.get_mut(name) {
            let replaced = named.new.take().and_then(|at| self.waits.get_mut(at));
            if let Some((_, _, event)) = replaced.and_then(Option::take) {
                self.bytes = self.bytes.saturating_sub(event.cost());
            }
            return Ok(());
        }
        let old = match log {
            Some(log) => log.named(name)?,
            None => None,
        };
        self.bytes = self.bytes.saturating_sub(old.map_or(0, |(_, cost)| cost));
        let old = old.map(|(due, _)| due);
        self.names.insert(name, Named { old, new: None });
        Ok(())
    }

    fn emit(&mut self, log: Option<&LogTables<'_>>, event: &'a NewEvent) -> Result<(), Fault> {
        if let Some(name) = &event.name {
            self.cancel(log, name)?;
        }
        self.number = self.number.saturating_add(1);
        let at = self.ids.len();
        self.ids.push(event_id(self.log_id, self.number));
        self.bytes = self.bytes.saturating_add(event.cost());
        let Some(due) = event.waits_until(self.now_ms) else {
            self.appended.push((at, event));
            return Ok(());
        };
        if let Some(name) = &event.name
            && let Some(named) = self.names.get_mut(name.as_str())
        {
            named.new = Some(self.waits.len());
        }
        self.waits.push(Some((at, (due, self.number), event)));
        Ok(())
    }
}

/// The oldest events that count at least `bytes` and that nobody needs: the last of them, and what
/// they count.
fn room(
    log: Option<&LogTables<'_>>,
    bytes: u64,
    needed_from: u64,
) -> Result<Option<(u64, u64)>, Fault> {
    let Some(log) = log else {
        return Ok(None);
    };
    let mut freed = 0_u64;
    for item in log.events.range(..needed_from)? {
        let (sequence, row) = item?;
        freed = freed.saturating_add(row::weigh(row.value())?.cost);
        if freed >= bytes {
            return Ok(Some((sequence.value(), freed)));
        }
    }
    Ok(None)
}
