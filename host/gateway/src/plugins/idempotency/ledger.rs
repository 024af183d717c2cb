//! The keys on disk: a store of their own. Each key has a record and a place in the order of
//! expiry, and each holder of keys has the sum of what they take.
//!
//! These are written together, and only if the record or place that was read is unchanged. So of
//! two requests that begin with one key, one begins; the sweep never removes a record that was
//! created anew meanwhile; and the sums are right after a crash.
//!
//! A key is removed only when it has expired: without it, the same request would be done twice. So
//! when space is scarce, new keys are refused, first to the heaviest holders.

use super::age::{Age, Moment, Saved};
use super::budget::{ADDRESSES_SHARE, SHARE_OF_FREE};
use super::key::Owner;
use super::record::Record;
use crate::metrics::Whose;
use hms_store::{Applied, Entry, Op, Scratch, Snapshot, Store, StoreError, StoreLimits, open_file};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

/// The owner in the store file.
const OWNER: &str = "idempotency";

const RECORDS: &str = "records";
const EXPIRY: &str = "expiry";

/// Bytes by holder, as counters; [`ADDRESSES`] is the sum of those that are client addresses.
const HOLDERS: &str = "holders";
const ADDRESSES: &str = "addresses";

/// The file's age, as last saved.
const CLOCK: &str = "clock";
const SAVED: &str = "saved";

/// The overhead of a key beyond its record and twice its scope: names and overhead of two entries,
/// and the owner in a place.
const KEY_OVERHEAD_BYTES: u64 = 256;

/// Bytes above the bound for the answers of requests that are then in flight.
const ROOM_BYTES: u64 = 256 << 20;

/// Bytes of a record beyond the answer's body: its header fields.
const MAX_HEAD_BYTES: usize = 256 << 10;

/// Keys that one sweep reads.
pub(super) const SWEEP_KEYS: usize = 256;

/// The open file.
pub(super) struct Ledger {
    store: Arc<dyn Store>,
    path: PathBuf,
    full_bytes: u64,
    age: Age,
}

/// A record as it was read.
pub(super) struct StoredRecord {
    pub record: Record,
    pub version: u64,
}

/// A key and its holder.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name<'a> {
    pub scope: &'a str,
    pub owner: Owner,
}

/// What was written when a request began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begun {
    expires_ms: u64,
    bytes: u64,
}

/// A due place in the order of expiry.
struct Due {
    scope: Option<String>,
    owner: Option<Owner>,
    ops: Vec<Op>,
}

impl Ledger {
    /// Opens the file at `path`, and creates it if there is none. At `full_bytes` it is full for
    /// new keys. Blocks.
    ///
    /// # Errors
    ///
    /// If it is not a whole file of keys. It is then left unchanged.
    pub(super) fn open(path: PathBuf, full_bytes: u64) -> Result<Self, StoreError> {
        Self::open_at(path, full_bytes, &Moment::now())
    }

    fn open_at(path: PathBuf, full_bytes: u64, now: &Moment) -> Result<Self, StoreError> {
        let limits = StoreLimits {
            max_store_bytes: full_bytes.saturating_add(ROOM_BYTES),
            max_value_bytes: super::MAX_BODY_BYTES as usize + MAX_HEAD_BYTES,
            ..StoreLimits::default()
        };
        let store = open_file(&path, OWNER, limits)?;
        let saved = match store.get(CLOCK, SAVED).wait()? {
            None => None,
            Some(entry) => {
                let saved: Option<Saved> = serde_json::from_slice(&entry.value).ok();
                Some(saved.ok_or_else(|| unreadable(&path, "its age"))?)
            }
        };
        Ok(Ledger {
            store,
            path,
            full_bytes,
            age: Age::at_open(saved, now),
        })
    }

    /// The time by which keys expire, in milliseconds.
    pub(super) fn now_ms(&self) -> u64 {
        self.age.now_ms()
    }

    /// Saves the file's age for the next start.
    pub(super) async fn save_age(&self) -> Result<(), StoreError> {
        self.save_age_at(Moment::now()).await
    }

    async fn save_age_at(&self, now: Moment) -> Result<(), StoreError> {
        // Numbers and a string always serialise.
        let value = serde_json::to_vec(&self.age.save(now)).unwrap_or_default();
        let set = Op::Set {
            bucket: CLOCK.into(),
            key: SAVED.into(),
            value,
        };
        self.store.write(vec![set]).await.map(drop)
    }

    /// Whether `owner` may have one more key: while it holds less than its part of what is free.
    ///
    /// # Errors
    ///
    /// Whose share is used up. The outer error is that of the file.
    pub(super) async fn admit(&self, owner: Owner) -> Result<Result<(), Whose>, StoreError> {
        let counters = [owner.name(), ADDRESSES.to_owned()];
        let found = self.store.get_many(HOLDERS, &counters).await?;
        let mut bytes = found.iter().map(|entry| entry.as_ref().map_or(0, counter));
        let held = bytes.next().unwrap_or(0);
        let addresses = bytes.next().unwrap_or(0);
        let mut free = self
            .full_bytes
            .saturating_sub(self.store.stats().stored_bytes);
        if owner.is_address {
            let theirs = self.full_bytes / ADDRESSES_SHARE;
            free = free.min(theirs.saturating_sub(addresses));
        }
        let share = free / SHARE_OF_FREE;
        Ok(match held {
            0 if free > 0 => Ok(()),
            0 => Err(Whose::Host),
            held if held < share => Ok(()),
            _ => Err(Whose::Caller),
        })
    }

    /// The record of a key. Does not block.
    pub(super) async fn get(&self, scope: &str) -> Result<Option<StoredRecord>, StoreError> {
        let entry = self.store.get(RECORDS, scope).await?;
        entry.map(|entry| self.found(entry)).transpose()
    }

    fn found(&self, Entry { value, version }: Entry) -> Result<StoredRecord, StoreError> {
        match Record::decode(value) {
            Some(record) => Ok(StoredRecord { record, version }),
            None => Err(unreadable(&self.path, "a record in it")),
        }
    }

    /// Writes the first record of a key, over `expired` if there is one. None if another request
    /// was quicker.
    pub(super) async fn begin(
        &self,
        name: Name<'_>,
        record: &Record,
        expired: Option<&StoredRecord>,
    ) -> Result<Option<Begun>, StoreError> {
        let value = record.encode();
        let begun = Begun {
            expires_ms: record.expires_ms,
            bytes: key_bytes(name.scope, &value),
        };
        let mut ops = vec![Op::Swap {
            bucket: RECORDS.into(),
            key: name.scope.into(),
            expected: expired.map(|found| found.version),
            value,
        }];
        let mut before = 0;
        if let Some(found) = expired {
            let place = place(found.record.expires_ms, name.scope);
            let entry = self.store.get(EXPIRY, &place).await?;
            before = entry
                .and_then(|entry| read_charge(&entry.value))
                .map_or(0, |(_, bytes)| bytes);
            ops.push(leave_order(place));
        }
        ops.push(enter_order(name, begun));
        ops.extend(charge(name.owner, before, begun.bytes));
        let applied = self.store.write(ops).await?;
        let conflict = matches!(applied.first(), Some(Applied::Conflict(_)));
        Ok((!conflict).then_some(begun))
    }

    /// Replaces the "begun" record by the result.
    pub(super) async fn finish(
        &self,
        name: Name<'_>,
        begun: Begun,
        record: &Record,
    ) -> Result<(), StoreError> {
        let value = record.encode();
        let finished = Begun {
            expires_ms: record.expires_ms,
            bytes: key_bytes(name.scope, &value),
        };
        let mut ops = vec![
            Op::Set {
                bucket: RECORDS.into(),
                key: name.scope.into(),
                value,
            },
            leave_order(place(begun.expires_ms, name.scope)),
            enter_order(name, finished),
        ];
        ops.extend(charge(name.owner, begun.bytes, finished.bytes));
        self.store.write(ops).await.map(drop)
    }

    /// Withdraws the "begun" record.
    pub(super) async fn free(&self, name: Name<'_>, begun: Begun) -> Result<(), StoreError> {
        let mut ops = vec![
            forget(name.scope),
            leave_order(place(begun.expires_ms, name.scope)),
        ];
        ops.extend(charge(name.owner, begun.bytes, 0));
        self.store.write(ops).await?;
        self.tidy(&name.owner.name()).await
    }

    /// Removes what has expired at `now_ms` but is not `at_work`, reading at most [`SWEEP_KEYS`]
    /// after `after`. Returns where to continue, if more may be due.
    pub(super) async fn sweep(
        self: &Arc<Self>,
        now_ms: u64,
        after: Option<String>,
        at_work: impl Fn(&str) -> bool,
    ) -> Result<Option<String>, StoreError> {
        let ledger = self.clone();
        // Reading so many places may take a while.
        let due = tokio::task::spawn_blocking(move || ledger.due(now_ms, after.as_deref())).await;
        let (mut due, next) = due.unwrap_or(Err(StoreError::Closed))?;
        // A key in flight now finishes over the record that it began. One that is not has either
        // ended or begins anew. Both change the place, and the write below requires the place that
        // was read.
        due.retain(|due| !due.scope.as_deref().is_some_and(&at_work));
        let owners: HashSet<Owner> = due.iter().filter_map(|due| due.owner).collect();
        let writes: Vec<_> = due
            .into_iter()
            .map(|due| self.store.write(due.ops))
            .collect();
        for write in writes {
            write.await?;
        }
        for owner in owners {
            self.tidy(&owner.name()).await?;
        }
        Ok(next)
    }

    /// The write that removes the first due keys, and where to continue if more may be due.
    fn due(
        &self,
        now_ms: u64,
        after: Option<&str>,
    ) -> Result<(Vec<Due>, Option<String>), StoreError> {
        let page = self.store.keys(EXPIRY, after, 0, SWEEP_KEYS).wait()?;
        let entries = self.store.get_many(EXPIRY, &page.keys).wait()?;
        let mut due = Vec::new();
        for (place, entry) in page.keys.iter().zip(entries) {
            let read = read_place(place);
            if read.is_some_and(|(expires_ms, _)| expires_ms > now_ms) {
                return Ok((due, None));
            }
            let Some(Entry { value, version }) = entry else {
                continue;
            };
            let charged = read_charge(&value);
            let scope = read.map(|(_, scope)| scope.to_owned());
            // The swap binds the write to the place that was read.
            let mut ops = vec![Op::Swap {
                bucket: EXPIRY.into(),
                key: place.clone(),
                expected: Some(version),
                value: Vec::new(),
            }];
            ops.push(leave_order(place.clone()));
            ops.extend(scope.as_deref().map(forget));
            if let Some((owner, bytes)) = charged {
                ops.extend(charge(owner, bytes, 0));
            }
            due.push(Due {
                scope,
                owner: charged.map(|(owner, _)| owner),
                ops,
            });
        }
        Ok((due, page.keys.last().filter(|_| page.more).cloned()))
    }

    /// Removes the counter of a holder without keys.
    async fn tidy(&self, holder: &str) -> Result<(), StoreError> {
        let Some(entry) = self.store.get(HOLDERS, holder).await? else {
            return Ok(());
        };
        if counter(&entry) > 0 || holder == ADDRESSES {
            return Ok(());
        }
        let swap = Op::Swap {
            bucket: HOLDERS.into(),
            key: holder.into(),
            expected: Some(entry.version),
            value: Vec::new(),
        };
        let delete = Op::Delete {
            bucket: HOLDERS.into(),
            key: holder.into(),
        };
        self.store.write(vec![swap, delete]).await.map(drop)
    }

    /// Removes counters of holders without keys, which a crash may have left, among a thousand
    /// after `after`. Returns where to continue, if there are more.
    pub(super) async fn tidy_some(
        &self,
        after: Option<String>,
    ) -> Result<Option<String>, StoreError> {
        let page = self.store.keys(HOLDERS, after.as_deref(), 0, 1000).await?;
        for holder in &page.keys {
            self.tidy(holder).await?;
        }
        Ok(page.keys.last().filter(|_| page.more).cloned())
    }

    /// A copy of the file. Blocks.
    ///
    /// # Errors
    ///
    /// Why there is no copy.
    pub(super) fn snapshot(&self, scratch: &mut Scratch<'_>) -> Result<Snapshot, StoreError> {
        self.store.snapshot(scratch)
    }

    /// Closes the file. Blocks.
    #[cfg(test)]
    pub(super) fn close(&self) {
        self.store.close();
    }

    /// The number of records, places and counters of holders.
    #[cfg(test)]
    pub(super) fn keys(&self) -> (usize, usize, usize) {
        let count = |bucket| {
            let page = self.store.keys(bucket, None, 0, 1000).wait().unwrap();
            page.keys.iter().filter(|key| *key != ADDRESSES).count()
        };
        (count(RECORDS), count(EXPIRY), count(HOLDERS))
    }
}

fn unreadable(path: &std::path::Path, what: &str) -> StoreError {
    StoreError::Corrupt {
        path: path.to_path_buf(),
        reason: format!("{what} cannot be read"),
    }
}

/// The bytes charged for a key.
fn key_bytes(scope: &str, record: &[u8]) -> u64 {
    KEY_OVERHEAD_BYTES + 2 * scope.len() as u64 + record.len() as u64
}

/// Replaces `before` bytes by `after` in the holder's sum and, for an address, in that of all
/// addresses.
fn charge(owner: Owner, before: u64, after: u64) -> Vec<Op> {
    let delta = after.cast_signed().wrapping_sub(before.cast_signed());
    if delta == 0 {
        return Vec::new();
    }
    let add = |key: String| Op::Increment {
        bucket: HOLDERS.into(),
        key,
        delta,
    };
    let mut ops = vec![add(owner.name())];
    ops.extend(owner.is_address.then(|| add(ADDRESSES.into())));
    ops
}

/// 0 if it is not a number, or is negative.
fn counter(entry: &Entry) -> u64 {
    let text = std::str::from_utf8(&entry.value).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn forget(scope: &str) -> Op {
    Op::Delete {
        bucket: RECORDS.into(),
        key: scope.into(),
    }
}

fn enter_order(name: Name<'_>, begun: Begun) -> Op {
    Op::Set {
        bucket: EXPIRY.into(),
        key: place(begun.expires_ms, name.scope),
        value: format!("{} {}", name.owner.name(), begun.bytes).into_bytes(),
    }
}

fn leave_order(place: String) -> Op {
    Op::Delete {
        bucket: EXPIRY.into(),
        key: place,
    }
}

/// The holder charged for a place, and the bytes.
fn read_charge(value: &[u8]) -> Option<(Owner, u64)> {
    let (owner, bytes) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    Some((Owner::parse(owner)?, bytes.parse().ok()?))
}

/// Digits of a time in hex, so that texts sort like times.
const TIME_DIGITS: usize = 16;

fn place(expires_ms: u64, scope: &str) -> String {
    format!("{expires_ms:0TIME_DIGITS$x}{scope}")
}

fn read_place(place: &str) -> Option<(u64, &str)> {
    let (time, scope) = place.split_at_checked(TIME_DIGITS)?;
    Some((u64::from_str_radix(time, 16).ok()?, scope))
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
