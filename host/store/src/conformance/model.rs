//! The reference: a store as a map, as simple as it can be said.

use super::super::{
    Applied, Committed, Entry, EntryKey, EventsPage, LogBounds, LogState, Op, Page, StoreError,
    StoredEvent, Transacted, Transaction,
};
use std::collections::BTreeMap;
use std::ops::Bound;

/// All that a store holds.
#[derive(Debug, Clone)]
pub struct Model {
    /// By bucket and key.
    pub entries: BTreeMap<(String, String), Entry>,
    /// The version given last.
    pub version: u64,
    /// The bound of [`Model::bytes`].
    pub max_store_bytes: u64,
    /// The first part of the ids of events.
    pub log_id: u64,
    /// The number in the id that was given last.
    pub number: u64,
    /// The log.
    pub events: Vec<StoredEvent>,
    /// The last sequence.
    pub last: u64,
    /// By the time when they are due, and the number in their id.
    pub waiting: BTreeMap<(u64, u64), StoredEvent>,
    /// Version and time of each `once` key.
    pub once: BTreeMap<String, (u64, u64)>,
    /// The bounds of the log.
    pub log_bounds: LogBounds,
}

impl Model {
    /// An empty one.
    pub fn new(max_store_bytes: u64) -> Self {
        Model {
            entries: BTreeMap::new(),
            version: 0,
            max_store_bytes,
            log_id: 0,
            number: 0,
            events: Vec::new(),
            last: 0,
            waiting: BTreeMap::new(),
            once: BTreeMap::new(),
            log_bounds: LogBounds::default(),
        }
    }

    /// What is under the key.
    pub fn get(&self, bucket: &str, key: &str) -> Option<Entry> {
        self.entries.get(&(bucket.into(), key.into())).cloned()
    }

    /// A part of the keys, in the order of their bytes.
    pub fn keys(&self, bucket: &str, after: Option<&str>, skip: u64, limit: usize) -> Page {
        let from = match after {
            Some(key) => Bound::Excluded((bucket.to_owned(), key.to_owned())),
            None => Bound::Included((bucket.to_owned(), String::new())),
        };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let behind = self.entries.range((from, Bound::Unbounded));
        let of_bucket = behind.take_while(|((of, _), _)| of == bucket);
        let mut keys: Vec<String> = of_bucket.skip(skip).map(|((_, k), _)| k.clone()).collect();
        let more = keys.len() > limit;
        keys.truncate(limit);
        Page { keys, more }
    }

    /// A part of the buckets, in the order of their bytes.
    pub fn buckets(&self, after: Option<&str>, limit: usize) -> Page {
        let all = self.entries.keys().map(|(bucket, _)| bucket.clone());
        let mut keys: Vec<String> = all
            .filter(|bucket| after.is_none_or(|after| bucket.as_str() > after))
            .collect();
        keys.dedup();
        let more = keys.len() > limit;
        keys.truncate(limit);
        Page { keys, more }
    }

    /// What counts against the bound.
    pub fn bytes(&self) -> u64 {
        let cost = |((bucket, key), entry): (&(String, String), &Entry)| {
            (bucket.len() + key.len() + entry.value.len() + 64) as u64
        };
        let once = self.once.keys().map(|once| 2 * (once.len() as u64 + 64));
        self.entries.iter().map(cost).sum::<u64>() + once.sum::<u64>()
    }

    /// What counts against the bound of the log.
    pub fn log_bytes(&self) -> u64 {
        let all = self.events.iter().chain(self.waiting.values());
        all.map(|event| event.event.cost()).sum()
    }

    /// Where the log stands.
    pub fn log_state(&self) -> LogState {
        LogState {
            first: self.events.first().map_or(0, |event| event.sequence),
            last: self.last,
            bytes: self.log_bytes(),
            waiting: self.waiting.len() as u64,
            next_due_ms: self.waiting.keys().next().map(|(due, _)| *due),
        }
    }

    /// A page of the log.
    pub fn events(&self, after: u64, limit: usize, max_bytes: usize) -> EventsPage {
        let behind = self.events.iter().filter(|event| event.sequence > after);
        let mut page = EventsPage::default();
        let mut bytes = 0;
        for event in behind {
            bytes += event.event.cost();
            if page.events.len() == limit || (bytes > max_bytes as u64 && !page.events.is_empty()) {
                page.more = true;
                break;
            }
            page.events.push(event.clone());
        }
        page
    }

    /// Does all of a transaction, or nothing.
    ///
    /// # Errors
    /// Those of a transaction that the limits of names and sizes let through.
    pub fn transact(&mut self, transaction: &Transaction) -> Result<Transacted, StoreError> {
        let mut transaction = transaction.clone();
        transaction.split_swaps();
        let known = transaction
            .once
            .as_ref()
            .and_then(|once| self.once.get(once));
        if let Some((version, _)) = known {
            return Ok(Transacted::Committed(Committed {
                version: *version,
                repeated: true,
                ..Committed::default()
            }));
        }
        let holds = |at: &EntryKey| self.get(&at.bucket, &at.key).map(|entry| entry.version);
        let failed = transaction.checks.iter();
        let failed = failed.filter(|check| holds(&check.at) != check.version);
        let conflicts: Vec<EntryKey> = failed.map(|check| check.at.clone()).collect();
        if !conflicts.is_empty() {
            return Ok(Transacted::Conflict(conflicts));
        }
        let mut next = self.clone();
        next.max_store_bytes = u64::MAX;
        let applied = next.write(&transaction.changes)?;
        let counters = applied.into_iter().filter_map(|done| match done {
            Applied::Counter(now) => Some(now),
            _ => None,
        });
        let counters = counters.collect();
        next.max_store_bytes = self.max_store_bytes;
        let version = next.version;
        if let Some(once) = &transaction.once {
            next.once
                .insert(once.clone(), (version, transaction.now_ms));
        }
        let limit = self.max_store_bytes;
        if next.bytes() > limit && next.bytes() > self.bytes() {
            return Err(StoreError::StoreFull { limit });
        }
        for name in &transaction.cancel {
            next.cancel(name);
        }
        let mut event_ids = Vec::new();
        for event in &transaction.events {
            if let Some(name) = &event.name {
                next.cancel(name);
            }
            next.number += 1;
            let stored = StoredEvent {
                sequence: 0,
                id: format!("{:016x}-{}", self.log_id, next.number),
                time_ms: transaction.now_ms,
                event: event.clone(),
            };
            event_ids.push(stored.id.clone());
            match event.not_before_ms {
                Some(due) if due > transaction.now_ms => {
                    next.waiting.insert((due, next.number), stored);
                }
                _ => next.append(stored),
            }
        }
        let limit = self.log_bounds.max_bytes;
        while next.log_bytes() > limit.max(self.log_bytes()) {
            match next.events.first() {
                // What this transaction appends is not there to be dropped.
                Some(event)
                    if event.sequence < self.log_bounds.needed_from
                        && event.sequence <= self.last =>
                {
                    next.events.remove(0);
                }
                _ => return Err(StoreError::OutboxFull { limit }),
            }
        }
        *self = next;
        Ok(Transacted::Committed(Committed {
            version,
            counters,
            event_ids,
            repeated: false,
        }))
    }

    /// Appends what is due.
    pub fn promote_due(&mut self, now_ms: u64, limit: usize) -> Committed {
        let mut event_ids = Vec::new();
        while event_ids.len() < limit
            && let Some(first) = self.waiting.first_entry()
            && first.key().0 <= now_ms
        {
            let ((due, _), mut event) = first.remove_entry();
            event.time_ms = due;
            event_ids.push(event.id.clone());
            self.append(event);
        }
        Committed {
            version: self.version,
            event_ids,
            ..Committed::default()
        }
    }

    /// Drops what is too old, all of it at once.
    pub fn trim(&mut self, before_ms: u64, now_ms: u64, once_ms: u64) -> Committed {
        let before = self.events.len() + self.once.len();
        while let Some(event) = self.events.first()
            && event.sequence < self.log_bounds.needed_from
            && (event.time_ms < before_ms || self.log_bytes() > self.log_bounds.max_bytes)
        {
            self.events.remove(0);
        }
        let until = now_ms.saturating_sub(once_ms);
        self.once.retain(|_, (_, time)| *time >= until);
        let dropped = before - self.events.len() - self.once.len();
        Committed {
            version: self.version,
            counters: vec![dropped as i64],
            ..Committed::default()
        }
    }

    fn cancel(&mut self, name: &str) {
        let named = |event: &StoredEvent| event.event.name.as_deref() == Some(name);
        self.waiting.retain(|_, event| !named(event));
    }

    fn append(&mut self, mut event: StoredEvent) {
        self.last += 1;
        event.sequence = self.last;
        self.events.push(event);
    }

    /// Does what a store does, all of it or nothing.
    ///
    /// # Errors
    /// Those of a write that the limits of names and sizes let through.
    pub fn write(&mut self, ops: &[Op]) -> Result<Vec<Applied>, StoreError> {
        let mut next = self.clone();
        let mut applied = Vec::new();
        for op in ops {
            let (bucket, key) = op.place();
            let place = (bucket.to_owned(), key.to_owned());
            let key = place.1.clone();
            let now = next.entries.get(&place).cloned();
            let (value, done) = match op {
                Op::Delete { .. } => {
                    next.entries.remove(&place);
                    applied.push(Applied::Written);
                    continue;
                }
                Op::Set { value, .. } => (value.clone(), Applied::Written),
                Op::Swap {
                    expected, value, ..
                } => {
                    if now.as_ref().map(|entry| entry.version) != *expected {
                        let held = self.entries.get(&place).cloned();
                        return Ok(vec![Applied::Conflict(held)]);
                    }
                    (value.clone(), Applied::Written)
                }
                Op::Increment { delta, .. } => {
                    let number = match now {
                        None => 0_i64,
                        Some(entry) => String::from_utf8(entry.value)
                            .ok()
                            .and_then(|text| text.parse().ok())
                            .ok_or(StoreError::NotANumber { key: key.clone() })?,
                    };
                    let sum = number
                        .checked_add(*delta)
                        .ok_or(StoreError::Overflow { key })?;
                    (sum.to_string().into_bytes(), Applied::Counter(sum))
                }
            };
            next.version += 1;
            let version = next.version;
            next.entries.insert(place, Entry { value, version });
            applied.push(done);
        }
        let limit = self.max_store_bytes;
        if next.bytes() > limit && next.bytes() > self.bytes() {
            return Err(StoreError::StoreFull { limit });
        }
        *self = next;
        Ok(applied)
    }
}
