//! DATA/events.redb: what the host remembers of deliveries. Changes are gathered for a few
//! milliseconds and committed together; of each key the last one counts.
//!
//! A crash loses what was gathered. Then events are delivered once more, which "at least once"
//! allows. Two orders matter: what is parked is in the same commit as the cursor that passes it, or
//! in an earlier one, and so is all that is [`State::put`] before a cursor moves.

use crate::limits::{AFTER_FAILURE, GATHER};
use crate::records::{read, written};
use hms_disk::crash;
use hms_store::{Op, Scratch, Snapshot, Store, StoreError};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Steps and bytes of one write; the store allows 1,024 and 16 MiB.
const WRITE_OPS: usize = 1_000;
const WRITE_BYTES: usize = 8 << 20;

/// Where a test ends the host at the commit of a record: by what its bucket begins with, the points
/// before and after it.
const POINTS: [(&str, &str, &str); 5] = [
    ("cursors/", "acknowledging", "acknowledged"),
    ("logs", "marking-log", "marked-log"),
    ("parked/", "parking", "parked"),
    ("schedules", "noting-run", "noted-run"),
    ("tries/", "counting-attempt", "counted-attempt"),
];

/// What has a position to be committed.
pub(crate) trait Cursors: Send + Sync {
    /// The positions that have changed since this was last asked.
    fn changed(&self) -> Vec<(EntryKey, Vec<u8>)>;
}

/// A bucket and a key.
pub(crate) type EntryKey = (String, String);

pub(crate) struct State {
    store: Arc<dyn Store>,
    gathered: Mutex<BTreeMap<EntryKey, Option<Vec<u8>>>>,
    /// Those with positions that have changed, by a number of theirs.
    moved: Mutex<BTreeMap<u64, Weak<dyn Cursors>>>,
    wake: Notify,
    /// One commit at a time.
    committing: tokio::sync::Mutex<()>,
    failing: AtomicBool,
    numbers: AtomicU64,
}

impl State {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        State {
            store,
            gathered: Mutex::default(),
            moved: Mutex::default(),
            wake: Notify::new(),
            committing: tokio::sync::Mutex::default(),
            failing: AtomicBool::new(false),
            numbers: AtomicU64::new(0),
        }
    }

    /// A number for [`State::moved`].
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Relaxed)
    }

    /// The last commit failed: what is done now may be done again.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Relaxed)
    }

    pub(crate) fn put<T: Serialize>(&self, place: EntryKey, record: &T) {
        self.put_bytes(place, written(record));
    }

    pub(crate) fn put_bytes(&self, place: EntryKey, bytes: Vec<u8>) {
        self.gathered.lock().insert(place, Some(bytes));
        self.wake.notify_one();
    }

    pub(crate) fn delete(&self, place: EntryKey) {
        self.gathered.lock().insert(place, None);
        self.wake.notify_one();
    }

    /// The positions of `who` have changed.
    pub(crate) fn moved(&self, number: u64, who: Weak<dyn Cursors>) {
        self.moved.lock().entry(number).or_insert(who);
        self.wake.notify_one();
    }

    /// Commits what is gathered, again and again, until `stop`.
    pub(crate) async fn run(&self, stop: &CancellationToken) {
        while stop
            .run_until_cancelled(self.wake.notified())
            .await
            .is_some()
        {
            tokio::time::sleep(GATHER).await;
            while let Err(error) = self.flush().await {
                if !self.failing.swap(true, Relaxed) {
                    tracing::error!(
                        "the state of deliveries, events.redb, cannot be written: deliveries wait \
                         until it can; no event is lost: {error}"
                    );
                }
                let pause = tokio::time::sleep(AFTER_FAILURE);
                if stop.run_until_cancelled(pause).await.is_none() {
                    return;
                }
            }
            if self.failing.swap(false, Relaxed) {
                tracing::info!("the state of deliveries can be written again");
            }
        }
    }

    /// Commits what is gathered. What could not be committed stays gathered.
    ///
    /// # Errors
    /// Why it may not be on disk.
    pub(crate) async fn flush(&self) -> Result<(), StoreError> {
        let _turn = self.committing.lock().await;
        // Before the rest is taken: what a position passes was put before it moved.
        let moved = std::mem::take(&mut *self.moved.lock());
        let cursors = moved.values().filter_map(Weak::upgrade);
        let cursors: Vec<_> = cursors.flat_map(|who| who.changed()).collect();
        let gathered = std::mem::take(&mut *self.gathered.lock());
        let mut all: Vec<(EntryKey, Option<Vec<u8>>)> = gathered.into_iter().collect();
        all.extend(
            cursors
                .into_iter()
                .map(|(place, value)| (place, Some(value))),
        );
        // Deletions are of what has its own point.
        let is_in = |(begin, ..): &&(&str, &str, &str)| {
            let mut all = all.iter();
            all.any(|((bucket, _), value)| value.is_some() && bucket.starts_with(begin))
        };
        let points: Vec<_> = match cfg!(debug_assertions) {
            true => POINTS.iter().filter(is_in).collect(),
            false => Vec::new(),
        };
        let mut batch = Batch {
            state: self,
            ops: all.into(),
        };
        points
            .iter()
            .for_each(|(_, before, _)| crash::point(before));
        while !batch.ops.is_empty() {
            let mut bytes = 0;
            let fits = |(_, value): &&(EntryKey, Option<Vec<u8>>)| {
                bytes += value.as_ref().map_or(0, Vec::len);
                bytes <= WRITE_BYTES
            };
            let count = batch
                .ops
                .iter()
                .take(WRITE_OPS)
                .take_while(fits)
                .count()
                .max(1);
            let part = batch.ops.iter().take(count).map(op).collect();
            self.store.write(part).await?;
            batch.ops.drain(..count);
        }
        points.iter().for_each(|(_, _, after)| crash::point(after));
        Ok(())
    }

    /// A record, as it was last committed.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        bucket: &str,
        key: &str,
    ) -> Result<Option<T>, StoreError> {
        let entry = self.store.get(bucket, key).await?;
        Ok(entry.and_then(|entry| read(&entry.value)))
    }

    pub(crate) async fn get_bytes(
        &self,
        bucket: &str,
        key: &str,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let entry = self.store.get(bucket, key).await?;
        Ok(entry.map(|entry| entry.value))
    }

    /// The keys of a bucket.
    pub(crate) async fn keys(&self, bucket: &str) -> Result<Vec<String>, StoreError> {
        let mut keys: Vec<String> = Vec::new();
        loop {
            let page = self
                .store
                .keys(bucket, keys.last().map(String::as_str), 0, 1_000);
            let page = page.await?;
            keys.extend(page.keys);
            if !page.more {
                return Ok(keys);
            }
        }
    }

    /// All records of a bucket.
    pub(crate) async fn all<T: DeserializeOwned>(
        &self,
        bucket: &str,
    ) -> Result<Vec<(String, T)>, StoreError> {
        let mut all = Vec::new();
        let keys = self.keys(bucket).await?;
        for part in keys.chunks(1_000) {
            let entries = self.store.get_many(bucket, part).await?;
            for (key, entry) in part.iter().zip(entries) {
                let record = entry.and_then(|entry| read(&entry.value));
                all.extend(record.map(|record| (key.clone(), record)));
            }
        }
        Ok(all)
    }

    /// Has all of a bucket be deleted.
    pub(crate) async fn clear(&self, bucket: &str) -> Result<(), StoreError> {
        for key in self.keys(bucket).await? {
            self.delete((bucket.to_owned(), key));
        }
        Ok(())
    }

    pub(crate) fn snapshot(&self, scratch: &mut Scratch<'_>) -> Result<Snapshot, StoreError> {
        self.store.snapshot(scratch)
    }

    pub(crate) fn close(&self) {
        self.store.close();
    }
}

/// What is being committed. What is left of it when it is dropped is gathered again.
struct Batch<'a> {
    state: &'a State,
    ops: VecDeque<(EntryKey, Option<Vec<u8>>)>,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if self.ops.is_empty() {
            return;
        }
        let mut gathered = self.state.gathered.lock();
        // The last of a key counts, and what was gathered since comes after all of them.
        for (place, value) in self.ops.drain(..).rev() {
            gathered.entry(place).or_insert(value);
        }
        drop(gathered);
        self.state.wake.notify_one();
    }
}

fn op((place, value): &(EntryKey, Option<Vec<u8>>)) -> Op {
    let (bucket, key) = place.clone();
    match value.clone() {
        Some(value) => Op::Set { bucket, key, value },
        None => Op::Delete { bucket, key },
    }
}
