//! Decides one write, or transaction, before any of it is done.
//!
//! The writes of a group share a transaction, and redb cannot undo a part of one. So each write is
//! first simulated in memory against the content of the tables; only a write that succeeds as a
//! whole touches the tables.

use super::fault::Fault;
use super::layout::{Head, Tables, entry_cost};
use super::log::Outbox;
use super::{
    Applied, Check, Committed, Entry, EntryKey, LogBounds, Op, StoreError, Transacted, Transaction,
    once_cost,
};
use std::borrow::Cow;
use std::collections::{BTreeMap, btree_map};

/// The longest text of a 64-bit counter, `-9223372036854775808`.
const MAX_COUNTER_BYTES: u64 = 20;

/// Simulates `ops` and, if all of them succeed, applies their effect to `tables`.
///
/// The outer error is that of the file, and ends the whole group. The inner one is that of this
/// write, which has then changed nothing; neither has a write whose result is
/// [`Applied::Conflict`].
pub(super) fn apply(
    tables: &mut Tables<'_>,
    ops: &[Op],
    max_store_bytes: u64,
) -> Result<Result<Vec<Applied>, StoreError>, Fault> {
    let mut plan = Plan {
        version: tables.version,
        slots: BTreeMap::new(),
    };
    let mut applied = Vec::with_capacity(ops.len());
    for op in ops {
        match plan.play(tables, op)? {
            Ok(Applied::Conflict(met)) => return Ok(Ok(vec![Applied::Conflict(met)])),
            Ok(done) => applied.push(done),
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
    let stored_bytes = plan.stored_bytes(tables.stored_bytes);
    // A write that shrinks the store is always allowed, even if the limit was lowered below its
    // size.
    if stored_bytes > max_store_bytes && stored_bytes > tables.stored_bytes {
        return Ok(Err(StoreError::StoreFull {
            limit: max_store_bytes,
        }));
    }
    plan.carry_out(tables)?;
    tables.stored_bytes = stored_bytes;
    Ok(Ok(applied))
}

/// The same for a transaction, whose swaps were split. What it does is in the order of
/// [`Store::transact`](super::Store::transact).
pub(super) fn transact(
    tables: &mut Tables<'_>,
    transaction: &Transaction,
    max_store_bytes: u64,
    bounds: LogBounds,
) -> Result<Result<Transacted, StoreError>, Fault> {
    let once = transaction.once.as_deref();
    if let Some(once) = once
        && let Some(log) = tables.log()?
        && let Some(version) = log.once(once)?
    {
        return Ok(Ok(Transacted::Committed(Committed {
            version,
            repeated: true,
            ..Committed::default()
        })));
    }
    let mut conflicts: Vec<EntryKey> = Vec::new();
    for Check { at, version } in &transaction.checks {
        let head = tables.head(&at.bucket, &at.key)?;
        if head.map(|head| head.version) != *version {
            conflicts.push(at.clone());
        }
    }
    if !conflicts.is_empty() {
        return Ok(Ok(Transacted::Conflict(conflicts)));
    }
    let mut plan = Plan {
        version: tables.version,
        slots: BTreeMap::new(),
    };
    let mut counters = Vec::new();
    for op in &transaction.changes {
        match plan.play(tables, op)? {
            Ok(Applied::Counter(now)) => counters.push(now),
            Ok(_) => {}
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
    let stored_bytes = plan
        .stored_bytes(tables.stored_bytes)
        .saturating_add(once.map_or(0, once_cost));
    if stored_bytes > max_store_bytes && stored_bytes > tables.stored_bytes {
        return Ok(Err(StoreError::StoreFull {
            limit: max_store_bytes,
        }));
    }
    // The tables of the log are opened only for what is about it.
    let is_about_log =
        once.is_some() || !transaction.events.is_empty() || !transaction.cancel.is_empty();
    let outbox = match is_about_log {
        true => Some(Outbox::plan(tables.log()?.as_deref(), transaction, bounds)?),
        false => None,
    };
    let outbox = match outbox.transpose() {
        Ok(outbox) => outbox,
        Err(refusal) => return Ok(Err(refusal)),
    };
    // From here on nothing is refused.
    plan.carry_out(tables)?;
    tables.stored_bytes = stored_bytes;
    let version = tables.version;
    let mut event_ids = Vec::new();
    if let Some(outbox) = outbox
        && (once.is_some() || !outbox.is_empty())
    {
        let log = tables.log_to_change(outbox.log_id())?;
        if let Some(once) = once {
            log.remember(once, version, transaction.now_ms)?;
        }
        if !outbox.is_empty() {
            event_ids = outbox.carry_out(log)?;
        }
    }
    Ok(Ok(Transacted::Committed(Committed {
        version,
        counters,
        event_ids,
        repeated: false,
    })))
}

/// The keys that one write has touched so far.
struct Plan<'a> {
    /// The last version assigned.
    version: u64,
    slots: BTreeMap<(&'a str, &'a str), PlannedKey<'a>>,
}

/// One key: what the tables hold for it, and what they must hold.
struct PlannedKey<'a> {
    old: Option<Head>,
    new: New<'a>,
}

enum New<'a> {
    AsBefore,
    Gone,
    Value(u64, Cow<'a, [u8]>),
}

impl<'a> Plan<'a> {
    fn play(
        &mut self,
        tables: &Tables<'_>,
        op: &'a Op,
    ) -> Result<Result<Applied, StoreError>, Fault> {
        let (bucket, key) = op.place();
        let slot = match self.slots.entry((bucket, key)) {
            btree_map::Entry::Occupied(slot) => slot.into_mut(),
            btree_map::Entry::Vacant(slot) => slot.insert(PlannedKey {
                old: tables.head(bucket, key)?,
                new: New::AsBefore,
            }),
        };
        // A new version for every value: at a thousand million per second, they last 584 years.
        let version = self.version.saturating_add(1);
        let (new, done) = match op {
            Op::Set { value, .. } => (New::Value(version, value.into()), Applied::Written),
            Op::Delete { .. } => (New::Gone, Applied::Written),
            Op::Increment { key, delta, .. } => {
                let Some(now) = slot.counter(tables)? else {
                    return Ok(Err(StoreError::NotANumber { key: key.clone() }));
                };
                let Some(sum) = now.checked_add(*delta) else {
                    return Ok(Err(StoreError::Overflow { key: key.clone() }));
                };
                let text = sum.to_string().into_bytes();
                (New::Value(version, text.into()), Applied::Counter(sum))
            }
            Op::Swap {
                expected, value, ..
            } => {
                if slot.version() != *expected {
                    // Not as an earlier step of this write would have made it: that will not
                    // happen.
                    let held = slot.old.clone().map(|head| tables.entry(head));
                    return Ok(Ok(Applied::Conflict(held.transpose()?)));
                }
                (New::Value(version, value.into()), Applied::Written)
            }
        };
        if matches!(new, New::Value(..)) {
            self.version = version;
        }
        slot.new = new;
        Ok(Ok(done))
    }

    fn stored_bytes(&self, before: u64) -> u64 {
        let mut bytes = before;
        for ((bucket, key), slot) in &self.slots {
            if matches!(slot.new, New::AsBefore) {
                continue;
            }
            if let Some(old) = &slot.old {
                bytes = bytes.saturating_sub(entry_cost(bucket, key, old.value_len()));
            }
            if let New::Value(_, value) = &slot.new {
                bytes = bytes.saturating_add(entry_cost(bucket, key, value.len() as u64));
            }
        }
        bytes
    }

    fn carry_out(&self, tables: &mut Tables<'_>) -> Result<(), Fault> {
        for ((bucket, key), slot) in &self.slots {
            match (&slot.new, &slot.old) {
                (New::AsBefore, _) | (New::Gone, None) => {}
                (New::Gone, Some(old)) => tables.remove(bucket, key, old)?,
                (New::Value(version, value), old) => {
                    tables.put(bucket, key, old.as_ref(), *version, value)?;
                }
            }
        }
        // A version is never reused, even if a later step removed its value.
        tables.changed |= tables.version != self.version;
        tables.version = self.version;
        Ok(())
    }
}

impl PlannedKey<'_> {
    fn version(&self) -> Option<u64> {
        match &self.new {
            New::AsBefore => self.old.as_ref().map(|head| head.version),
            New::Gone => None,
            New::Value(version, _) => Some(*version),
        }
    }

    fn entry(&self, tables: &Tables<'_>) -> Result<Option<Entry>, Fault> {
        match (&self.new, &self.old) {
            (New::Value(version, value), _) => Ok(Some(Entry {
                value: value.to_vec(),
                version: *version,
            })),
            (New::AsBefore, Some(head)) => tables.entry(head.clone()).map(Some),
            (New::AsBefore, None) | (New::Gone, _) => Ok(None),
        }
    }

    /// The value as a counter: 0 if there is none, `None` if it is not a number.
    fn counter(&self, tables: &Tables<'_>) -> Result<Option<i64>, Fault> {
        match (&self.new, &self.old) {
            // Not worth loading.
            (New::AsBefore, Some(head)) if head.value_len() > MAX_COUNTER_BYTES => Ok(None),
            _ => Ok(match self.entry(tables)? {
                None => Some(0),
                Some(entry) => std::str::from_utf8(&entry.value)
                    .ok()
                    .and_then(|text| text.parse().ok()),
            }),
        }
    }
}
