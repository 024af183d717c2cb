//! A transaction: checks, changes and events of one store that are committed together or not at
//! all. Learned from `atomic()` of Deno KV.

use super::events::NewEvent;
use super::limits::OP_OVERHEAD_BYTES;
use super::{Op, StoreError, StoreLimits};
use std::future::Future;
use std::pin::Pin;

/// A bucket and a key in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryKey {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
}

/// What a key must be like for a transaction to be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The key.
    pub at: EntryKey,
    /// The version that it must have. None: it must not exist.
    pub version: Option<u64>,
}

/// What is committed together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transaction {
    /// A key under which this is committed once: if a transaction with it was committed before,
    /// nothing is done, and [`Committed::repeated`] says so. At most
    /// [`StoreLimits::max_once_bytes`](crate::StoreLimits) bytes. Remembered for
    /// [`StoreLimits::once_time`](crate::StoreLimits).
    pub once: Option<String>,
    /// All must hold.
    pub checks: Vec<Check>,
    /// Set, Delete and Increment, in order. A `Swap` is a check and a set here
    /// ([`Transaction::split_swaps`]).
    pub changes: Vec<Op>,
    /// Appended to the log in order, or kept waiting until their time.
    pub events: Vec<NewEvent>,
    /// Names of waiting events that are dropped. One that is not waiting is no error.
    pub cancel: Vec<String>,
    /// What the host's clock says, in milliseconds since the epoch.
    pub now_ms: u64,
}

impl Transaction {
    /// Replaces each `Swap` by its check and its set, as every backend does first. All checks are
    /// about the store as it is before the transaction.
    pub fn split_swaps(&mut self) {
        for op in &mut self.changes {
            if let Op::Swap {
                bucket,
                key,
                expected,
                value,
            } = op
            {
                let bucket = std::mem::take(bucket);
                let key = std::mem::take(key);
                let at = EntryKey {
                    bucket: bucket.clone(),
                    key: key.clone(),
                };
                let version = *expected;
                self.checks.push(Check { at, version });
                let value = std::mem::take(value);
                *op = Op::Set { bucket, key, value };
            }
        }
    }
}

impl StoreLimits {
    /// Checks a transaction and returns its size in bytes.
    ///
    /// # Errors
    ///
    /// What it exceeds.
    pub fn check_transaction(&self, transaction: &Transaction) -> Result<usize, StoreError> {
        let parts = [
            ("checks", transaction.checks.len(), self.max_checks),
            ("events", transaction.events.len(), self.max_events),
            ("names to cancel", transaction.cancel.len(), self.max_events),
        ];
        for (what, count, limit) in parts {
            if count > limit {
                return Err(StoreError::TransactionTooLong { what, count, limit });
            }
        }
        let mut bytes = self.check_ops(&transaction.changes)?;
        if let Some(once) = &transaction.once {
            let (len, limit) = (once.len(), self.max_once_bytes);
            if len == 0 || len > limit {
                return Err(StoreError::BadOnceKey { len, limit });
            }
            bytes = bytes.saturating_add(OP_OVERHEAD_BYTES + len);
        }
        for Check { at, .. } in &transaction.checks {
            self.check_bucket(&at.bucket)?;
            self.check_key_length(&at.key)?;
            let len = OP_OVERHEAD_BYTES + at.bucket.len() + at.key.len();
            bytes = bytes.saturating_add(len);
        }
        for name in &transaction.cancel {
            self.check_event_text("name", name)?;
            bytes = bytes.saturating_add(OP_OVERHEAD_BYTES + name.len());
        }
        for event in &transaction.events {
            self.check_event(event)?;
            let cost = usize::try_from(event.cost()).unwrap_or(usize::MAX);
            bytes = bytes.saturating_add(cost);
        }
        let limit = self.max_batch_bytes;
        if bytes > limit {
            return Err(StoreError::BatchTooLarge { limit });
        }
        Ok(bytes)
    }
}

/// What came of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transacted {
    /// It is durable.
    Committed(Committed),
    /// Some checks do not hold: their places, in the order of the checks, and then those of the
    /// swaps. Nothing was done.
    Conflict(Vec<EntryKey>),
}

/// A committed transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// The version that its last change got, or the store's last version where it changed none.
    pub version: u64,
    /// The new values of the counters, one for each `Increment`, in order.
    pub counters: Vec<i64>,
    /// The id of each event, in order: [`StoredEvent::id`](crate::StoredEvent).
    pub event_ids: Vec<String>,
    /// It was committed before under the same `once`. Nothing was done now: `version` is that of
    /// then, and the rest is empty.
    pub repeated: bool,
}

/// The result of [`Store::transact`](crate::Store::transact). Dropping it does not undo anything.
pub type TransactFuture =
    Pin<Box<dyn Future<Output = Result<Transacted, StoreError>> + Send + 'static>>;

/// What a remembered `once` key counts against
/// [`StoreLimits::max_store_bytes`](crate::StoreLimits): two rows, one by key and one by time, each
/// as an entry without a value.
pub(super) fn once_cost(once: &str) -> u64 {
    2 * (once.len() as u64 + OP_OVERHEAD_BYTES as u64)
}
