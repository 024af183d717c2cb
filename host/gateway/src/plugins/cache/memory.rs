//! The stored answers of all routes, and the bounds of their memory.
//!
//! An answer is in the table by its key. Where answers of an address vary, the address has the
//! names of the fields there, and each variant is an entry of its own. Both are only hints for
//! where to look: whether an answer may be used is decided by what it says itself, by its mark, and
//! by what serves now. So nothing has to be removed when a release is replaced or a resource
//! changes: what no longer holds is not used, and is evicted.

use super::key::Key;
use super::stored::Stored;
use crate::metrics::{GatewayMetrics, NotCached};
use http::header::{HeaderMap, HeaderName};
use prometheus_client::metrics::counter::Counter;
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::Instant;

/// The part of the memory for answers that are not complete yet: a quarter. They are held until
/// their clients have read them, so slow clients could hold all of it.
const FILLING_PART: u64 = 4;

/// The least bytes of a shard of the table: twice the largest body, so that it fits.
const SHARD_BYTES: u64 = 2 * super::MAX_BODY_BYTES;

/// What an entry is expected to take, for the size of the table: 16 KiB, a page or a script. A
/// wrong guess costs a little space.
const USUAL_BYTES: u64 = 16 << 10;

/// Counters of changed addresses. Addresses that share one lose their answers together: with 8,192
/// that is rare, and takes 64 KiB.
const MARKS: usize = 8192;

/// What is in the table.
#[derive(Clone)]
enum CacheEntry {
    Answer(Arc<Stored>),
    /// The fields on which the answers depend.
    Varies(Arc<[HeaderName]>),
}

/// When an answer was asked for, in the changes of its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    at: usize,
    changes: u64,
}

/// What was found for a request.
pub(super) enum Lookup {
    /// An answer that may be used.
    Fresh(Arc<Stored>),
    /// One that is too old.
    Stale,
    Nothing,
}

/// The memory of the host for answers.
pub struct Memory {
    /// None if it is switched off.
    table: Option<Table>,
    marks: Box<[AtomicU64]>,
    hasher: RandomState,
    filling: AtomicU64,
    max_filling: u64,
    metrics: GatewayMetrics,
}

type Table = Cache<Key, CacheEntry, Weights, DefaultHashBuilder, Evictions>;

impl Memory {
    /// For so many bytes, those of answers included that are not complete yet. 0: nothing is
    /// stored.
    pub(super) fn new(bytes: u64, metrics: &GatewayMetrics) -> Memory {
        let max_filling = bytes / FILLING_PART;
        Memory {
            table: table(bytes - max_filling, metrics),
            marks: (0..MARKS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
            filling: AtomicU64::new(0),
            max_filling,
            metrics: metrics.clone(),
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.table.is_some()
    }

    /// Bytes of the stored answers and of those that are not complete yet, and entries.
    pub fn size(&self) -> (u64, usize) {
        let table = self.table.as_ref();
        let (bytes, entries) = table.map_or((0, 0), |table| (table.weight(), table.len()));
        (bytes + self.filling.load(Ordering::Relaxed), entries)
    }

    /// The answer for a request with `headers`, if there is one, and it `may_be_used`.
    pub(super) fn find(
        &self,
        key: &Key,
        headers: &HeaderMap,
        may_be_used: impl FnOnce(&Stored) -> bool,
        now: Instant,
    ) -> Lookup {
        match self.get(key, headers) {
            Some(stored) if !self.holds(stored.mark) || !may_be_used(&stored) => Lookup::Nothing,
            Some(stored) if !stored.is_fresh(now) => Lookup::Stale,
            Some(stored) => Lookup::Fresh(stored),
            None => Lookup::Nothing,
        }
    }

    fn get(&self, key: &Key, headers: &HeaderMap) -> Option<Arc<Stored>> {
        let table = self.table.as_ref()?;
        match table.get(key)? {
            CacheEntry::Answer(stored) => Some(stored),
            CacheEntry::Varies(vary) => match table.get(&key.variant(&vary, headers))? {
                CacheEntry::Answer(stored) => Some(stored),
                CacheEntry::Varies(_) => None,
            },
        }
    }

    /// Stores the answer to a request with `headers` that depends on the fields `vary`.
    pub(super) fn put(&self, key: Key, vary: &[HeaderName], headers: &HeaderMap, stored: Stored) {
        let Some(table) = &self.table else {
            return;
        };
        let place = match vary.is_empty() {
            true => key.clone(),
            false => key.variant(vary, headers),
        };
        let answer = CacheEntry::Answer(Arc::new(stored));
        if Weights.weight(&place, &answer) > table.shard_capacity() {
            self.metrics.not_cached(NotCached::TooLarge);
            return;
        }
        table.insert(place, answer);
        self.metrics.cache_stored();
        if !vary.is_empty() {
            let known = table.peek(&key);
            if !matches!(&known, Some(CacheEntry::Varies(known)) if **known == *vary) {
                table.insert(key, CacheEntry::Varies(vary.into()));
            }
        }
    }

    /// The present mark of a path, as upstreams see it. Of all upstreams: one service has several
    /// names, and a route several targets.
    pub(super) fn mark(&self, path: &str) -> Mark {
        let at = self.hasher.hash_one(path) as usize % MARKS;
        Mark {
            at,
            changes: self.changes(at),
        }
    }

    /// Whether nothing has changed the address since.
    pub(super) fn holds(&self, mark: Mark) -> bool {
        self.changes(mark.at) == mark.changes
    }

    /// What is at the path has changed: no answer that was asked for before is used any more, by
    /// whichever query, variant or route.
    pub(super) fn changed(&self, mark: Mark) {
        if let Some(changes) = self.marks.get(mark.at) {
            changes.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn changes(&self, at: usize) -> u64 {
        let changes = self.marks.get(at);
        changes.map_or(0, |changes| changes.load(Ordering::Relaxed))
    }

    /// Room for an answer that is not complete yet.
    pub(super) fn hold(self: &Arc<Self>) -> Held {
        Held {
            memory: self.clone(),
            bytes: 0,
        }
    }

    pub(super) fn not_cached(&self, why: NotCached) {
        self.metrics.not_cached(why);
    }
}

/// Bytes of one answer that is not complete yet. They are free again when it is dropped.
pub(super) struct Held {
    memory: Arc<Memory>,
    bytes: u64,
}

impl Held {
    /// Grows to so many bytes. Gives whether there is room.
    pub(super) fn grow_to(&mut self, bytes: usize) -> bool {
        let more = (bytes as u64).saturating_sub(self.bytes);
        let all = self.memory.filling.fetch_add(more, Ordering::Relaxed);
        self.bytes += more;
        all + more <= self.memory.max_filling
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.filling.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

fn table(bytes: u64, metrics: &GatewayMetrics) -> Option<Table> {
    let shards = usize::try_from(bytes / SHARD_BYTES).unwrap_or(usize::MAX);
    // The crate rounds it up to a power of two.
    let shards = 1 << shards.clamp(1, 64).ilog2();
    let options = OptionsBuilder::new()
        .weight_capacity(bytes)
        .estimated_items_capacity(usize::try_from(bytes / USUAL_BYTES).unwrap_or(usize::MAX))
        .shards(shards)
        .build();
    let evictions = Evictions(metrics.cache_evicted());
    let options = options.ok().filter(|_| bytes > 0)?;
    Some(Cache::with_options(
        options,
        Weights,
        DefaultHashBuilder::default(),
        evictions,
    ))
}

/// What an entry takes in bytes.
#[derive(Clone)]
struct Weights;

impl Weighter<Key, CacheEntry> for Weights {
    fn weight(&self, key: &Key, slot: &CacheEntry) -> u64 {
        let slot = match slot {
            CacheEntry::Answer(stored) => stored.weight(),
            CacheEntry::Varies(vary) => vary.len() * size_of::<HeaderName>() + VARIES_OVERHEAD,
        };
        (key.len() + slot) as u64
    }
}

/// What the names of fields take beside themselves: as with an answer.
const VARIES_OVERHEAD: usize = 256;

/// Counts the evicted entries, and frees them once the lock is free.
#[derive(Clone)]
struct Evictions(Counter);

impl Lifecycle<Key, CacheEntry> for Evictions {
    type RequestState = Vec<(Key, CacheEntry)>;

    fn on_evict(&self, evicted: &mut Self::RequestState, key: Key, slot: CacheEntry) {
        self.0.inc();
        evicted.push((key, slot));
    }
}
