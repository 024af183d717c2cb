//! A transaction: checks, changes and events of one store that are committed together or not at
//! all. Learned from `atomic()` of Deno KV.

use super::events::NewEvent;
use super::{Op, StoreError};
use std::future::Future;
use std::pin::Pin;

/// A bucket and a key in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
}

/// What a key must be like for a transaction to be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The key.
    pub at: Place,
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
    /// Set, Delete and Increment, in order. A `Swap` is a check and a set here.
    pub changes: Vec<Op>,
    /// Appended to the log in order, or kept waiting until their time.
    pub events: Vec<NewEvent>,
    /// Names of waiting events that are dropped. One that is not waiting is no error.
    pub cancel: Vec<String>,
    /// What the host's clock says, in milliseconds since the epoch.
    pub now_ms: u64,
}

/// What came of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transacted {
    /// It is durable.
    Committed(Committed),
    /// Some checks do not hold: their places, in the order of the checks. Nothing was done.
    Conflict(Vec<Place>),
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
    /// It was committed before under the same `once`. Nothing was done now, and the rest is empty.
    pub repeated: bool,
}

/// The result of [`Store::transact`](crate::Store::transact). Dropping it does not undo anything.
pub type TransactFuture =
    Pin<Box<dyn Future<Output = Result<Transacted, StoreError>> + Send + 'static>>;
