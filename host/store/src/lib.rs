//! The stores of the windows: one durable key-value store for each.
//!
//! [`Store`] is the interface to the rest of the host: buckets, keys and versions. It knows neither
//! HTTP nor WIT. A [`Backend`] opens, removes and lists stores; the one in `redb` keeps each store
//! in its own file. [`Stores`] is the set of all stores, by window name, over any backend; `health`
//! has the states of each between use and failure. [`StoreLimits`] has every bound, and what
//! exceeds it is refused.
//!
//! A read is a [`Read`], a future that is ready at once if nothing has to be waited for. A write is
//! a future that resolves when it is durable. A [`Snapshot`] is a copy of a whole store, for a
//! backup.
//!
//! The requirements on a backend are the tests in `conformance`, which are generic over it.
//!
//! This crate uses no other crate of the host.

// For maintainers: the documentation is built with private items.
#![allow(rustdoc::private_intra_doc_links)]

mod backend;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod error;
mod events;
mod health;
mod limits;
mod read;
mod redb;
mod snapshot;
mod stores;
mod transaction;

pub use backend::{Backend, StoreId, check_name};
pub use error::StoreError;
pub use events::{EventsPage, LogBounds, LogObserver, LogState, NewEvent, StoredEvent};
pub use limits::{MAX_BATCH_OPS, MAX_BUCKET_BYTES, StoreLimits};
pub use read::Read;
pub use snapshot::{LEAST_FREE_BYTES, Scratch, Snapshot};
pub use stores::{LogsObserver, Stores};
use transaction::once_cost;
pub use transaction::{Check, Committed, EntryKey, TransactFuture, Transacted, Transaction};

use self::redb::RedbStore;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

/// A value and its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The bytes that were written.
    pub value: Vec<u8>,
    /// Increases with every value written to this store. It is never reused, not even after a
    /// delete or a restart, so a compare-and-swap cannot mistake a new value for an old one.
    pub version: u64,
}

/// A part of a bucket's keys, or of the buckets, in the order of their bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Sorted by their bytes.
    pub keys: Vec<String>,
    /// Whether more keys follow the last of these, which is then the `after` of the next page.
    pub more: bool,
}

/// One step of a write.
///
/// A bucket is a name space inside the store. It need not be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Writes a value, whether or not the key exists.
    Set {
        /// The bucket of the key.
        bucket: String,
        /// At most [`StoreLimits::max_key_bytes`] bytes.
        key: String,
        /// At most [`StoreLimits::max_value_bytes`] bytes.
        value: Vec<u8>,
    },
    /// Deletes a key. A missing key is not an error.
    Delete {
        /// The bucket of the key.
        bucket: String,
        /// The key to delete.
        key: String,
    },
    /// Adds to a counter and returns the sum. A counter is stored as decimal text, as in Redis and
    /// in wasmtime's own host for `wasi:keyvalue`, so `get` returns a readable number. A missing
    /// key counts as 0.
    Increment {
        /// The bucket of the key.
        bucket: String,
        /// The key of the counter.
        key: String,
        /// What is added; may be negative.
        delta: i64,
    },
    /// Compare-and-swap: sets the value only if the key's version is `expected`, or for `None`, if
    /// the key is missing.
    Swap {
        /// The bucket of the key.
        bucket: String,
        /// The key to set.
        key: String,
        /// The version that the key must have. None: the key must not exist.
        expected: Option<u64>,
        /// At most [`StoreLimits::max_value_bytes`] bytes.
        value: Vec<u8>,
    },
}

impl Op {
    /// The bucket and the key of the step.
    pub fn place(&self) -> (&str, &str) {
        match self {
            Self::Set { bucket, key, .. }
            | Self::Delete { bucket, key }
            | Self::Increment { bucket, key, .. }
            | Self::Swap { bucket, key, .. } => (bucket, key),
        }
    }

    /// The value in the step, if any.
    fn value_len(&self) -> usize {
        match self {
            Self::Set { value, .. } | Self::Swap { value, .. } => value.len(),
            Self::Delete { .. } | Self::Increment { .. } => 0,
        }
    }
}

/// The result of one step of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// The value was set or deleted.
    Written,
    /// The counter's new value.
    Counter(i64),
    /// A swap met another version than expected, so nothing of its write was done. Holds the key's
    /// current entry.
    Conflict(Option<Entry>),
}

/// Opens the store in the file at `path`, which must belong to `owner`. Creates it, and its folder,
/// if there is no file. A file that is not a complete store is an error and is left unchanged. For
/// the host's own stores; those of windows are in [`Stores`].
///
/// Blocks: a few milliseconds, and a few fsyncs if it is new.
///
/// # Errors
///
/// Why it cannot be used.
pub fn open_file(
    path: impl Into<PathBuf>,
    owner: &str,
    limits: StoreLimits,
) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(RedbStore::open_file(path, owner, limits)?))
}

/// The result of [`Store::write`]. Dropping it does not undo the write.
pub type WriteFuture =
    Pin<Box<dyn Future<Output = Result<Vec<Applied>, StoreError>> + Send + 'static>>;

/// Statistics of one store, for metrics. The counters start at 0 when the store is opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Durable commits.
    pub commits: u64,
    /// Writes answered, including failed ones; `writes / commits` is the mean size of a group.
    pub writes: u64,
    /// Writes refused because the queue was full.
    pub busy: u64,
    /// Times the file was reopened after a fault.
    pub reopened: u64,
    /// The bytes that count against [`StoreLimits::max_store_bytes`].
    pub stored_bytes: u64,
    /// The size of the file. It does not shrink: freed space is reused.
    pub file_bytes: u64,
    /// Reads that had to wait for the disk.
    pub waited: u64,
    /// Reads that are waiting for the disk.
    pub waiting: u64,
    /// Events emitted, including those that wait.
    pub events: u64,
    /// The bytes that count against [`LogBounds::max_bytes`].
    pub log_bytes: u64,
    /// Events that wait for their time.
    pub events_waiting: u64,
}

/// A durable key-value store.
///
/// Keys and bucket names are any UTF-8, ordered and compared as bytes. A bucket's name has up to
/// [`StoreLimits::max_bucket_bytes`], and may be empty: `wasmtime serve` has only that one. Writes
/// accept only keys of [`StoreLimits::min_key_bytes`] to [`StoreLimits::max_key_bytes`]. For other
/// keys, a read finds nothing and a delete does nothing, unless they were written under an older
/// rule.
///
/// Reads see the latest acknowledged state. They never block their thread, for a disk or for a
/// commit: what is in memory is in the [`Read`] when the call returns, and the rest comes later.
pub trait Store: Send + Sync + 'static {
    /// The value of `key` and its version, or `None` where the key is missing.
    fn get(&self, bucket: &str, key: &str) -> Read<Option<Entry>>;

    /// One entry for each of `keys`, in their order and all from the same state.
    ///
    /// At most [`StoreLimits::max_batch_ops`] keys, [`StoreLimits::max_batch_bytes`] in the answer.
    fn get_many(&self, bucket: &str, keys: &[String]) -> Read<Vec<Option<Entry>>>;

    /// Whether `key` has a value. Does not read the value.
    fn exists(&self, bucket: &str, key: &str) -> Read<bool>;

    /// The keys of `bucket` in order: those after `after`, without the first `skip` of them, at
    /// most `limit` (clamped to 1 to [`StoreLimits::max_keys_per_page`]). Reads no values, however
    /// large they are. An `after` that is too long for a key is [`StoreError::KeyTooLong`].
    fn keys(&self, bucket: &str, after: Option<&str>, skip: u64, limit: usize) -> Read<Page>;

    /// The buckets that hold a key, in order: those after `after`, at most `limit` (clamped to 1 to
    /// [`StoreLimits::max_keys_per_page`]), as [`Page::keys`]. Reads one key of each.
    fn buckets(&self, after: Option<&str>, limit: usize) -> Read<Page>;

    /// Does all of `ops`, in order, or none of them.
    ///
    /// The call itself submits the write, which continues whether the future is polled, awaited or
    /// dropped. The future resolves only once the write is durable, with one [`Applied`] for each
    /// op. If a swap meets another version, nothing of the write is done and the result is that
    /// single [`Applied::Conflict`]. An error means that nothing was done, except for
    /// [`StoreError::Io`], [`StoreError::DiskFull`] and [`StoreError::Corrupt`]: the write was then
    /// not acknowledged, and may or may not be there.
    fn write(&self, ops: Vec<Op>) -> WriteFuture;

    /// One entry for each of `places`, in their order and all from the same state. Bounded as
    /// [`Store::get_many`].
    fn read_places(&self, places: &[EntryKey]) -> Read<Vec<Option<Entry>>>;

    /// Does all of `transaction`, or none of it. Submitted, and durable, as [`Store::write`] is;
    /// an error says the same. Its `once` comes first, then the checks, the changes, the names to
    /// cancel and the events.
    fn transact(&self, transaction: Transaction) -> TransactFuture;

    /// The events of the log after `after`: at most `limit` of them
    /// ([`StoreLimits::max_events_per_page`]) and, beyond the first, `max_bytes`
    /// ([`StoreLimits::max_batch_bytes`]) as they are counted against [`LogBounds::max_bytes`].
    fn events(&self, after: u64, limit: usize, max_bytes: usize) -> Read<EventsPage>;

    /// Events that wait for their time, each with it, in the order in which they are due. Bounded
    /// as [`Store::events`].
    fn waiting_events(&self, limit: usize) -> Read<Vec<(u64, StoredEvent)>>;

    /// Appends to the log what is due by `now_ms`, at most `limit` events
    /// ([`StoreLimits::max_events_per_page`], and about [`StoreLimits::group_bytes`]), in the order
    /// of their times. Durable when the future resolves, with their ids. Not bounded by
    /// [`LogBounds`], because what waits counts already.
    fn promote_due(&self, now_ms: u64, limit: usize) -> TransactFuture;

    /// Drops what is too old: events before `before_ms` that nobody needs
    /// ([`LogBounds::needed_from`]), those beyond [`LogBounds::max_bytes`] that nobody needs, and
    /// what is remembered of `once` for longer than it must be. A bounded part of it per call; the
    /// one counter of the result is how much was dropped, and 0 if nothing is left to drop.
    fn trim(&self, before_ms: u64, now_ms: u64) -> TransactFuture;

    /// Where the log stands, as the last commit left it.
    fn log_state(&self) -> LogState;

    /// Bounds the log, from the next transaction on.
    fn set_log_bounds(&self, bounds: LogBounds);

    /// Sets who is told of changes of the log, and tells it at once where the log stands, unless
    /// that is empty. At most one.
    fn observe_log(&self, observer: LogObserver);

    /// Sizes and counts for metrics and operators.
    fn stats(&self) -> StoreStats;

    /// Whether other hosts may write to it. If not, unknown content can only come from a restored
    /// copy. There is no default, because a shared store that wrongly returned false would make one
    /// host overwrite another's changes.
    fn is_shared(&self) -> bool;

    /// Bounds the size of the store, from the next write on. Existing content stays.
    fn set_max_store_bytes(&self, bytes: u64);

    /// Copies all of the store as the last acknowledged write left it. Blocks as long as that
    /// takes. Writes and reads continue meanwhile, and closing or removing the store does not wait
    /// for it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Closed`] if it was closed meanwhile, [`StoreError::GivenUp`] if `scratch` says
    /// so, [`StoreError::Scratch`] if the copy cannot be written.
    fn snapshot(&self, scratch: &mut Scratch<'_>) -> Result<Snapshot, StoreError>;

    /// Completes the accepted writes and closes the store; from then on every call returns
    /// [`StoreError::Closed`]. Blocks until then.
    ///
    /// If the store is dropped without it, accepted writes still complete on their own.
    fn close(&self);
}
