//! What every backend must do, as tests that are generic over it.
//!
//! A backend passes [`run`], which plays each of [`CASES`], and does what the reference does in
//! [`random::compare`]. The reference is [`Memory`], over a [`Model`](model::Model): a map. None of
//! this knows how or where a backend keeps anything.
//!
//! Tests of a later crate have it by the feature `conformance`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "these are tests, whatever builds them"
)]

mod cases;
mod memory;
pub mod model;
pub mod random;
#[cfg(test)]
mod tests;

pub use cases::{CASES, Case};
pub use memory::Memory;

use super::{
    Applied, Backend, Committed, NewEvent, Op, Store, StoreError, StoreLimits, Stores, Transacted,
    Transaction,
};
use std::sync::Arc;

/// Makes a backend that keeps no store yet.
pub type Make<'a> = &'a dyn Fn(StoreLimits) -> Box<dyn Backend>;

/// What a case is played on.
pub struct Subject<'a> {
    make: Make<'a>,
}

impl<'a> Subject<'a> {
    /// Backends as `make` makes them.
    pub fn new(make: Make<'a>) -> Self {
        Subject { make }
    }

    fn backend(&self, limits: StoreLimits) -> Box<dyn Backend> {
        (self.make)(limits)
    }

    fn stores(&self, limits: StoreLimits) -> Arc<Stores> {
        Arc::new(Stores::over(self.backend(limits)))
    }

    /// The store of [`NAME`], alone in its backend.
    async fn store(&self, limits: StoreLimits) -> (Arc<Stores>, Arc<dyn Store>) {
        let stores = self.stores(limits);
        let store = open(&stores, NAME).await;
        (stores, store)
    }
}

/// The store that most cases are about.
const NAME: &str = "payments";

/// Plays all cases, each on backends of its own.
///
/// # Panics
/// Where the backend does not do what it must; the last name printed says which case it was.
pub fn run(make: Make<'_>) {
    for (name, case) in CASES {
        println!("conformance: {name}");
        play(make, *case);
    }
}

/// Plays one case.
///
/// # Panics
/// As [`run`].
pub fn play(make: Make<'_>, case: Case) {
    let subject = Subject::new(make);
    block_on(case(&subject));
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(future)
}

async fn open(stores: &Arc<Stores>, name: &str) -> Arc<dyn Store> {
    stores.open_async(name).await.expect("the store opens")
}

/// Does what blocks.
async fn blocking<T: Send + 'static>(
    stores: &Arc<Stores>,
    work: impl FnOnce(&Stores) -> T + Send + 'static,
) -> T {
    let stores = stores.clone();
    let done = tokio::task::spawn_blocking(move || work(&stores));
    done.await.expect("it does not panic")
}

pub(crate) fn set(key: &str, value: impl Into<Vec<u8>>) -> Op {
    Op::Set {
        bucket: "b".into(),
        key: key.into(),
        value: value.into(),
    }
}

pub(crate) fn delete(key: &str) -> Op {
    Op::Delete {
        bucket: "b".into(),
        key: key.into(),
    }
}

pub(crate) fn increment(key: &str, delta: i64) -> Op {
    Op::Increment {
        bucket: "b".into(),
        key: key.into(),
        delta,
    }
}

pub(crate) fn swap(key: &str, expected: Option<u64>, value: impl Into<Vec<u8>>) -> Op {
    Op::Swap {
        bucket: "b".into(),
        key: key.into(),
        expected,
        value: value.into(),
    }
}

/// An event of a type, with its subject.
pub(crate) fn event(kind: &str, subject: &str) -> NewEvent {
    NewEvent {
        kind: kind.into(),
        subject: Some(subject.into()),
        ..NewEvent::default()
    }
}

/// The same, to wait until `due`, by the name of its subject.
pub(crate) fn timer(kind: &str, subject: &str, due: u64) -> NewEvent {
    NewEvent {
        not_before_ms: Some(due),
        name: Some(subject.into()),
        ..event(kind, subject)
    }
}

/// A transaction at `now_ms` that emits `events`.
pub(crate) fn emitting(events: Vec<NewEvent>, now_ms: u64) -> Transaction {
    Transaction {
        events,
        now_ms,
        ..Transaction::default()
    }
}

/// What was committed.
pub(crate) fn committed(done: Result<Transacted, StoreError>) -> Committed {
    match done {
        Ok(Transacted::Committed(committed)) => committed,
        other => panic!("{other:?}"),
    }
}

fn written(count: usize) -> Result<Vec<Applied>, StoreError> {
    Ok(vec![Applied::Written; count])
}
