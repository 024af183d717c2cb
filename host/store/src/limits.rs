//! Every bound of a store, with its default and the reason for it.

use super::{Op, StoreError};
use std::time::Duration;

/// Bytes that each step of a write counts in addition to its names and value, so that small steps
/// are not free.
pub(super) const OP_OVERHEAD_BYTES: usize = 64;

/// Bytes of a bucket's name. 512: the name of a part and the longest user (321: issuer and subject)
/// fit, and it is repeated in each key.
pub const MAX_BUCKET_BYTES: usize = 512;

/// Steps in one write, or keys in one `get_many`. 1,024: a page of keys fits.
pub const MAX_BATCH_OPS: usize = 1_024;

/// The bounds of one store. All sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreLimits {
    /// 1 byte: an empty key is usually a missing id, and the tools of guests treat an empty cursor
    /// as none. Older stores may contain one: it can be read, listed and deleted.
    pub min_key_bytes: usize,
    /// 1 KiB, like S3: enough for any path or id, and a page of the tree still holds several keys.
    pub max_key_bytes: usize,
    /// [`MAX_BUCKET_BYTES`].
    pub max_bucket_bytes: usize,
    /// 4 MiB: a value is held whole, in the guest and about three times in the host. Larger ones
    /// must be split. In the file, a large value takes the next power of two, so a part should be a
    /// little smaller than one: 60 KiB takes 64 KiB, 64 KiB takes 128.
    pub max_value_bytes: usize,
    /// 1,000 keys, so at most 1 MiB of names at once.
    pub max_keys_per_page: usize,
    /// [`MAX_BATCH_OPS`].
    pub max_batch_ops: usize,
    /// 16 MiB in one write, or in the answer of one `get_many`.
    pub max_batch_bytes: usize,
    /// 1 GiB. Each entry counts its bucket, key and value plus 64 bytes, exactly and in the same
    /// commit, so that a delete frees space at once. The file may be larger, because of the tree's
    /// own pages and rounding: usually up to twice as large.
    pub max_store_bytes: u64,
    /// 1 MiB for each open store; redb's own default is 1 GiB, and there may be 1,000 windows. The
    /// operating system's page cache, which all share, does the rest.
    pub cache_bytes: usize,
    /// 1,024 pending writes, well above the concurrent requests of a window.
    pub queue_writes: usize,
    /// 64 MiB of pending writes, less than a second of a disk's time: a hundred uploads at once. A
    /// write that finds the queue empty is always accepted.
    pub queue_bytes: usize,
    /// 1,024 steps in one commit: a larger group gains next to nothing and only adds latency.
    pub group_ops: usize,
    /// 8 MiB in one commit, for the same reason. A commit always takes at least one write.
    pub group_bytes: usize,
    /// 256 checks in one transaction. Each reads a head. It is about a form with all that it refers
    /// to; more would make one window's transactions hold up its other writes.
    pub max_checks: usize,
    /// 256 events in one transaction, and as many names to cancel. Deliveries take them one by one,
    /// so more gain nothing.
    pub max_events: usize,
    /// 64 KiB of data in one event: what every intermediary of CloudEvents must pass on. Larger
    /// things are stored, and the event says where.
    pub max_event_bytes: usize,
    /// 1 KiB for each text of an event: type, subject, partition key, content type, trace and name.
    /// A subject is usually a store key, and fits. Each may become a header of a delivery.
    pub max_event_text_bytes: usize,
    /// 32 attributes of an event: each is a header of its delivery.
    pub max_attributes: usize,
    /// 4 KiB of names and values of attributes in one event, so that all headers of a delivery stay
    /// below 16 KiB, which servers commonly accept.
    pub max_attribute_bytes: usize,
    /// 1,000 events in one page, and [`StoreLimits::max_batch_bytes`].
    pub max_events_per_page: usize,
    /// 1 KiB for the `once` key of a transaction, like a key.
    pub max_once_bytes: usize,
    /// 30 days for which a `once` key is remembered at least: ten times as long as a delivery is
    /// retried.
    pub once_time: Duration,
    /// 250 ms between the first attempts to reopen a file after a fault. It doubles with each
    /// failure, up to 30 s, because each attempt on a damaged file may read all of it.
    pub reopen_pause: Duration,
}

/// The longest pause between two attempts to reopen a file: the longest wait of an operator who has
/// repaired it.
pub(super) const MAX_REOPEN_PAUSE: Duration = Duration::from_secs(30);

impl Default for StoreLimits {
    fn default() -> Self {
        Self {
            min_key_bytes: 1,
            max_key_bytes: 1 << 10,
            max_bucket_bytes: MAX_BUCKET_BYTES,
            max_value_bytes: 4 << 20,
            max_keys_per_page: 1_000,
            max_batch_ops: MAX_BATCH_OPS,
            max_batch_bytes: 16 << 20,
            max_store_bytes: 1 << 30,
            cache_bytes: 1 << 20,
            queue_writes: 1_024,
            queue_bytes: 64 << 20,
            group_ops: 1_024,
            group_bytes: 8 << 20,
            max_checks: 256,
            max_events: 256,
            max_event_bytes: 64 << 10,
            max_event_text_bytes: 1 << 10,
            max_attributes: 32,
            max_attribute_bytes: 4 << 10,
            max_events_per_page: 1_000,
            max_once_bytes: 1 << 10,
            once_time: Duration::from_secs(30 * 24 * 60 * 60),
            reopen_pause: Duration::from_millis(250),
        }
    }
}

/// The checks of every backend before it does anything.
impl StoreLimits {
    /// The rule for a bucket's name, in reads and writes.
    pub fn check_bucket(&self, bucket: &str) -> Result<(), StoreError> {
        let (len, limit) = (bucket.len(), self.max_bucket_bytes);
        if len > limit {
            return Err(StoreError::BucketTooLong { len, limit });
        }
        Ok(())
    }

    /// The rule for a key to be written. Reads and deletes have none: a key that breaks the rule
    /// does not exist, unless it is older than the rule.
    pub fn check_key(&self, key: &str) -> Result<(), StoreError> {
        if key.len() < self.min_key_bytes {
            return Err(StoreError::KeyEmpty);
        }
        self.check_key_length(key)
    }

    /// The rule for a key except its least length, and for the cursor of a listing.
    pub fn check_key_length(&self, key: &str) -> Result<(), StoreError> {
        let (len, limit) = (key.len(), self.max_key_bytes);
        if len > limit {
            return Err(StoreError::KeyTooLong { len, limit });
        }
        Ok(())
    }

    /// Whether the key can exist at all; if not, the store need not be asked.
    pub fn may_hold(&self, key: &str) -> bool {
        key.len() <= self.max_key_bytes
    }

    /// The rule for the steps of a write, and for the keys of a `get_many`.
    pub fn check_count(&self, count: usize) -> Result<(), StoreError> {
        let limit = self.max_batch_ops;
        if count > limit {
            return Err(StoreError::TooMany { count, limit });
        }
        Ok(())
    }

    /// Checks a write and returns its size in bytes.
    pub fn check_write(&self, ops: &[Op]) -> Result<usize, StoreError> {
        let bytes = self.check_ops(ops)?;
        let limit = self.max_batch_bytes;
        if bytes > limit && ops.len() > 1 {
            return Err(StoreError::BatchTooLarge { limit });
        }
        Ok(bytes)
    }

    /// Checks each step, and how many there are. Returns their size in bytes.
    pub(super) fn check_ops(&self, ops: &[Op]) -> Result<usize, StoreError> {
        self.check_count(ops.len())?;
        let mut bytes = 0_usize;
        for op in ops {
            let (bucket, key) = op.place();
            self.check_bucket(bucket)?;
            if !matches!(op, Op::Delete { .. }) {
                self.check_key(key)?;
            }
            let (len, limit) = (op.value_len(), self.max_value_bytes);
            if len > limit {
                return Err(StoreError::ValueTooLarge { len, limit });
            }
            bytes = bytes.saturating_add(OP_OVERHEAD_BYTES + bucket.len() + key.len() + len);
        }
        Ok(bytes)
    }
}
