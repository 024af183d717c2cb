//! The stores behind the windows: one durable key-value store for each.
//!
//! [`Store`] is what the rest of the host sees; it speaks of buckets, keys and versions, and knows
//! neither HTTP nor WIT. A [`Backend`] opens, removes and lists stores; `redb` has the one that
//! keeps each in a file of its own. [`Stores`] is the set of them, by window name, over any backend:
//! `health` says where each stands between use and failure. [`StoreLimits`] has every bound, and
//! what is refused for it.
//!
//! A read is a [`Read`], a future that is ready at once where nothing need be waited for; a write is
//! a future that resolves when it is durable. A [`Snapshot`] is a copy of a whole store, for a
//! backup.
//!
//! What a backend must do is in `conformance`, as tests that are generic over it.
//!
//! This crate uses no other crate of the host.

// The documentation is for whoever carries on, and built with its private items.
#![allow(rustdoc::private_intra_doc_links)]

mod backend;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod error;
mod health;
mod limits;
mod read;
mod redb;
mod snapshot;
mod stores;

pub use backend::{Backend, StoreId, check_name};
pub use error::StoreError;
pub use limits::{MAX_BATCH_OPS, MAX_BUCKET_BYTES, StoreLimits};
pub use read::Read;
pub use snapshot::{LEAST_FREE_BYTES, Scratch, Snapshot};
pub use stores::Stores;

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
    /// Grows with every value written to this store and is never used twice, not after a delete and
    /// not after a restart: a compare-and-swap cannot mistake a new value for an old one.
    pub version: u64,
}

/// A part of a bucket's keys, in the order of their bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Sorted by their bytes.
    pub keys: Vec<String>,
    /// Whether more keys follow the last of these, which is then the `after` of the next page.
    pub more: bool,
}

/// One step of a write.
///
/// A bucket is a name space inside the store. It needs no making: it holds what was put into it.
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
    /// A key that is not there is no error.
    Delete {
        /// The bucket of the key.
        bucket: String,
        /// The key to delete.
        key: String,
    },
    /// Adds to a counter and answers the sum. A counter is its decimal text, as in Redis and in
    /// wasmtime's own host for `wasi:keyvalue`, so that `get` shows a number. A missing key counts
    /// as 0.
    Increment {
        /// The bucket of the key.
        bucket: String,
        /// The key of the counter.
        key: String,
        /// What is added; may be negative.
        delta: i64,
    },
    /// Compare-and-swap: sets the value only where the key's version is `expected`, or where the
    /// key is missing for `None`.
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
    /// The bucket and the key that the step is about.
    pub fn place(&self) -> (&str, &str) {
        match self {
            Self::Set { bucket, key, .. }
            | Self::Delete { bucket, key }
            | Self::Increment { bucket, key, .. }
            | Self::Swap { bucket, key, .. } => (bucket, key),
        }
    }

    /// The value that the step brings along.
    fn value_len(&self) -> usize {
        match self {
            Self::Set { value, .. } | Self::Swap { value, .. } => value.len(),
            Self::Delete { .. } | Self::Increment { .. } => 0,
        }
    }
}

/// What one step of a write did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// The value was set or deleted.
    Written,
    /// The counter's new value.
    Counter(i64),
    /// A swap met another version than it expected, so nothing of its write was done: this is what
    /// the store holds under the key.
    Conflict(Option<Entry>),
}

/// Opens the store in the file at `path`, which must belong to `owner`; makes it, and its folder,
/// where there is no file. A file that is anything but a whole store is an error and is left as it
/// is. For the host's own stores; those of windows are in [`Stores`].
///
/// Blocks: a few milliseconds, a few fsyncs where it is new.
///
/// # Errors
/// Why it cannot be used.
pub fn open_file(
    path: impl Into<PathBuf>,
    owner: &str,
    limits: StoreLimits,
) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(RedbStore::open_file(path, owner, limits)?))
}

/// What [`Store::write`] returns. It may be dropped at any time: that does not undo the write.
pub type WriteFuture =
    Pin<Box<dyn Future<Output = Result<Vec<Applied>, StoreError>> + Send + 'static>>;

/// Figures of one store, for metrics. The counters begin at 0 when the store is opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Durable commits done.
    pub commits: u64,
    /// Writes answered, whatever the answer; `writes / commits` is the mean size of a group.
    pub writes: u64,
    /// Writes turned away because the queue was full.
    pub busy: u64,
    /// Times the file was reopened after a fault.
    pub reopened: u64,
    /// What counts against [`StoreLimits::max_store_bytes`].
    pub stored_bytes: u64,
    /// The size of the file. It does not shrink: what is freed is used again.
    pub file_bytes: u64,
    /// Reads that had to wait for the disk.
    pub waited: u64,
    /// Reads that wait for the disk now.
    pub waiting: u64,
}

/// A durable key-value store.
///
/// Keys and names of buckets are any UTF-8, ordered and compared by their bytes. A bucket's name
/// has up to [`StoreLimits::max_bucket_bytes`], and may be empty: `wasmtime serve` has only that
/// one. A key that is written has [`StoreLimits::min_key_bytes`] to [`StoreLimits::max_key_bytes`];
/// every write of another is refused. A read finds nothing under such a key and a delete has
/// nothing to do, unless it was written under an older rule.
///
/// The reading calls see the latest acknowledged state. None of them makes its thread wait, for a
/// disk or for a commit: what is at hand is in the [`Read`] when the call returns, and what is not
/// comes later.
pub trait Store: Send + Sync + 'static {
    /// The value of `key` and its version, or `None` where the key is missing.
    fn get(&self, bucket: &str, key: &str) -> Read<Option<Entry>>;

    /// One entry for each of `keys`, in their order and all from one moment.
    ///
    /// At most [`StoreLimits::max_batch_ops`] keys, [`StoreLimits::max_batch_bytes`] in the answer.
    fn get_many(&self, bucket: &str, keys: &[String]) -> Read<Vec<Option<Entry>>>;

    /// Whether `key` has a value. Does not read the value.
    fn exists(&self, bucket: &str, key: &str) -> Read<bool>;

    /// The keys of `bucket` in order: those after `after`, without the first `skip` of them, at
    /// most `limit` (taken into 1 to [`StoreLimits::max_keys_per_page`]). It reads no values,
    /// however large they are. An `after` that is too long for a key is [`StoreError::KeyTooLong`].
    fn keys(&self, bucket: &str, after: Option<&str>, skip: u64, limit: usize) -> Read<Page>;

    /// Does all of `ops`, in order, or none of them.
    ///
    /// The write is submitted by the call itself and goes on whether the future is polled, awaited
    /// or dropped. The future resolves only once the write is durable, with one [`Applied`] for
    /// each op. If a swap meets another version, nothing of the write is done and the answer is
    /// that single [`Applied::Conflict`]. An error means that nothing was done, except
    /// [`StoreError::Io`], [`StoreError::DiskFull`] and [`StoreError::Corrupt`]: then the write was
    /// not acknowledged, and may or may not be there.
    fn write(&self, ops: Vec<Op>) -> WriteFuture;

    /// Sizes and counts for metrics and operators.
    fn stats(&self) -> StoreStats;

    /// Whether other hosts may write to it. Where none can, what it has that this host did not
    /// write is a copy that was put back. Without a default: a shared store that said no would have
    /// one host write over what another did.
    fn is_shared(&self) -> bool;

    /// Bounds what the store holds, from the next write on. What is there already stays.
    fn set_max_store_bytes(&self, bytes: u64);

    /// Copies all of the store as the last acknowledged write left it. Blocks for as long as that
    /// takes; writes and reads go on meanwhile, and a store that is closed or removed does not wait
    /// for it.
    ///
    /// # Errors
    /// [`StoreError::Closed`] where it was closed meanwhile, [`StoreError::GivenUp`] where
    /// `scratch` says so, [`StoreError::Scratch`] where the copy cannot be written.
    fn snapshot(&self, scratch: &mut Scratch<'_>) -> Result<Snapshot, StoreError>;

    /// Finishes the writes already taken and closes the store; from then on every call is
    /// [`StoreError::Closed`]. Blocks until then.
    ///
    /// Without it, dropping the store lets the writes already taken finish by themselves.
    fn close(&self);
}
