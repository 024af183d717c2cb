//! Random writes, against the reference.

use super::super::{
    Check, Entry, EntryKey, EventsPage, LogBounds, NewEvent, Op, Page, Store, StoreError,
    StoreLimits, StoredEvent, Transacted, Transaction,
};
use super::model::Model;
use super::{NAME, Subject, block_on, blocking, open};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

/// What a store of these tests may hold: little, so that it is full at times.
pub const MAX_STORE_BYTES: u64 = 9_000;

/// The same of its log.
pub const MAX_LOG_BYTES: u64 = 4_000;

/// How long a `once` key is remembered: for a few actions.
const ONCE_TIME: Duration = Duration::from_millis(100);

/// The time from one action to the next.
const TICK_MS: u64 = 10;

/// The names include those that a careless encoding would mix up.
const BUCKETS: [&str; 4] = ["", "a", "a\0", "ab"];
const KEYS: [&str; 6] = ["", "\0", "b", "a", "ab", "ä"];

/// What is done with a store.
#[derive(Debug, Clone)]
pub enum Action {
    /// All its steps, or none.
    Write(Vec<Step>),
    /// The same, with events.
    Transact(Deal),
    /// The clock moves what is due.
    Upkeep(Upkeep),
    /// It is closed and opened again.
    Reopen,
    /// It is removed and made anew.
    Remove,
}

/// A step of a write, by the numbers of bucket and key.
#[derive(Debug, Clone)]
pub enum Step {
    /// Sets a value.
    Set(usize, usize, Vec<u8>),
    /// Deletes a key, which may be missing.
    Delete(usize, usize),
    /// Adds a number to a counter.
    Increment(usize, usize, i64),
    /// The number is how far the expected version is from the right one.
    Swap(usize, usize, u64, Vec<u8>),
    /// Sets the value of a key that must be missing.
    SwapMissing(usize, usize, Vec<u8>),
}

/// A transaction, by the numbers of what it names.
#[derive(Debug, Clone)]
pub struct Deal {
    /// Bucket and key, and how far the version is from the right one. None: it must be missing.
    checks: Vec<(usize, usize, Option<u64>)>,
    steps: Vec<Step>,
    once: Option<u8>,
    cancel: Vec<u8>,
    events: Vec<Emit>,
}

/// An event: the length of its data, in how many ticks it is due, and its name.
type Emit = (usize, Option<u64>, Option<u8>);

/// What the clock does to a log.
#[derive(Debug, Clone)]
pub enum Upkeep {
    /// At most so many.
    Promote(usize),
    /// What is older than so many ticks.
    Trim(u64),
    /// Events from so far before the end are needed, and the bound of the log is so many times
    /// lower.
    Need(u64, u64),
}

/// A transaction.
pub fn deal() -> impl Strategy<Value = Deal> {
    let off = prop_oneof![6 => Just(Some(0_u64)), 1 => Just(Some(1)), 1 => Just(None)];
    let check = (0..BUCKETS.len(), 0..KEYS.len(), off);
    let data = prop_oneof![3 => 0_usize..20, 1 => 500_usize..1_500];
    let due = proptest::option::of(0_u64..8);
    let emit = (data, due, proptest::option::of(0_u8..3));
    let deal = (
        proptest::collection::vec(check, 0..2),
        proptest::collection::vec(step(), 0..3),
        proptest::option::weighted(0.3, 0_u8..6),
        proptest::collection::vec(0_u8..3, 0..2),
        proptest::collection::vec(emit, 0..4),
    );
    deal.prop_map(|(checks, steps, once, cancel, events)| Deal {
        checks,
        steps,
        once,
        cancel,
        events,
    })
}

/// What the clock does.
pub fn upkeep() -> impl Strategy<Value = Upkeep> {
    prop_oneof![
        3 => (1_usize..4).prop_map(Upkeep::Promote),
        1 => (0_u64..9).prop_map(Upkeep::Trim),
        2 => (0_u64..6, 1_u64..4).prop_map(|(back, part)| Upkeep::Need(back, part)),
    ]
}

/// The transaction at `now_ms`, with the versions that the model has now.
fn transaction(model: &Model, deal: &Deal, now_ms: u64) -> Transaction {
    let check = |(b, k, off): &(usize, usize, Option<u64>)| {
        let at = EntryKey {
            bucket: BUCKETS[*b].to_owned(),
            key: KEYS[*k].to_owned(),
        };
        let now = model.get(&at.bucket, &at.key).map(|entry| entry.version);
        let version = match off {
            Some(0) => now,
            Some(off) => now.map(|now| now + off),
            None => None,
        };
        Check { at, version }
    };
    let event = |(len, due, name): &Emit| NewEvent {
        kind: "t".into(),
        data: vec![b'\n'; *len],
        not_before_ms: due.map(|due| now_ms + due * TICK_MS),
        name: name.filter(|_| due.is_some()).map(|name| name.to_string()),
        ..NewEvent::default()
    };
    Transaction {
        once: deal.once.map(|once| once.to_string()),
        checks: deal.checks.iter().map(check).collect(),
        changes: deal.steps.iter().map(|step| op(model, step)).collect(),
        events: deal.events.iter().map(event).collect(),
        cancel: deal.cancel.iter().map(u8::to_string).collect(),
        now_ms,
    }
}

/// Does it with the store and with the model.
///
/// # Panics
/// Where one answers another thing than the other.
pub async fn transact(store: &Arc<dyn Store>, model: &mut Model, deal: &Deal, tick: u64) {
    let transaction = transaction(model, deal, tick * TICK_MS);
    let done = store.transact(transaction.clone()).await;
    if model.number == 0 {
        learn_ids(model, &done);
    }
    assert_eq!(done, model.transact(&transaction));
}

/// The ids of a store are random, and those of the model like them.
fn learn_ids(model: &mut Model, done: &Result<Transacted, StoreError>) {
    if let Ok(Transacted::Committed(done)) = done
        && let Some((log_id, _)) = done.event_ids.first().and_then(|id| id.split_once('-'))
    {
        model.log_id = u64::from_str_radix(log_id, 16).expect("hex digits");
    }
}

/// The same for what the clock does.
///
/// # Panics
/// Where one answers another thing than the other.
pub async fn keep_up(store: &Arc<dyn Store>, model: &mut Model, upkeep: &Upkeep, tick: u64) {
    let now = tick * TICK_MS;
    let (done, expected) = match upkeep {
        Upkeep::Promote(limit) => (
            store.promote_due(now, *limit).await,
            model.promote_due(now, *limit),
        ),
        Upkeep::Trim(age) => {
            let before = now.saturating_sub(age * TICK_MS);
            let once_ms = ONCE_TIME.as_millis() as u64;
            let done = store.trim(before, now).await;
            (done, model.trim(before, now, once_ms))
        }
        Upkeep::Need(back, part) => {
            let needed_from = (model.last + 1).saturating_sub(*back);
            let bounds = LogBounds {
                max_bytes: MAX_LOG_BYTES / part,
                needed_from,
            };
            store.set_log_bounds(bounds);
            model.log_bounds = bounds;
            return;
        }
    };
    assert_eq!(done, Ok(Transacted::Committed(expected)));
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => "[0-9]{1,3}".prop_map(String::into_bytes),
        2 => proptest::collection::vec(any::<u8>(), 0..20),
        // On both sides of where a value leaves its head.
        2 => (1_000_usize..1_050).prop_map(|len| vec![7; len]),
        1 => (3_000_usize..5_000).prop_map(|len| vec![9; len]),
    ]
}

/// A step of a write.
pub fn step() -> impl Strategy<Value = Step> {
    let bucket = 0..BUCKETS.len();
    let key = 0..KEYS.len();
    let delta = prop_oneof![9 => -5_i64..100, 1 => Just(i64::MAX), 1 => Just(i64::MIN)];
    prop_oneof![
        4 => (bucket.clone(), key.clone(), value()).prop_map(|(b, k, v)| Step::Set(b, k, v)),
        2 => (bucket.clone(), key.clone()).prop_map(|(b, k)| Step::Delete(b, k)),
        2 => (bucket.clone(), key.clone(), delta).prop_map(|(b, k, d)| Step::Increment(b, k, d)),
        2 => (bucket.clone(), key.clone(), 0_u64..3, value()).prop_map(|(b, k, o, v)| Step::Swap(b, k, o / 2, v)),
        1 => (bucket, key, value()).prop_map(|(b, k, v)| Step::SwapMissing(b, k, v)),
    ]
}

/// What is done with a store over some time.
pub fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        8 => proptest::collection::vec(step(), 1..5).prop_map(Action::Write),
        8 => deal().prop_map(Action::Transact),
        4 => upkeep().prop_map(Action::Upkeep),
        1 => Just(Action::Reopen),
        1 => Just(Action::Remove),
    ];
    proptest::collection::vec(action, 1..40)
}

/// The limits under which the reference and a store are compared.
pub fn limits() -> StoreLimits {
    StoreLimits {
        min_key_bytes: 0,
        max_store_bytes: MAX_STORE_BYTES,
        once_time: ONCE_TIME,
        ..StoreLimits::default()
    }
}

/// The step as an op, with the version that the model has now.
pub fn op(model: &Model, step: &Step) -> Op {
    let place = |b: &usize, k: &usize| (BUCKETS[*b].to_owned(), KEYS[*k].to_owned());
    match step {
        Step::Set(b, k, value) => {
            let ((bucket, key), value) = (place(b, k), value.clone());
            Op::Set { bucket, key, value }
        }
        Step::Delete(b, k) => {
            let (bucket, key) = place(b, k);
            Op::Delete { bucket, key }
        }
        Step::Increment(b, k, delta) => {
            let ((bucket, key), delta) = (place(b, k), *delta);
            Op::Increment { bucket, key, delta }
        }
        Step::Swap(b, k, off, value) => {
            let now = model.entries.get(&place(b, k));
            let (bucket, key) = place(b, k);
            Op::Swap {
                bucket,
                key,
                expected: Some(now.map_or(0, |entry| entry.version) + off),
                value: value.clone(),
            }
        }
        Step::SwapMissing(b, k, value) => {
            let (bucket, key) = place(b, k);
            Op::Swap {
                bucket,
                key,
                expected: None,
                value: value.clone(),
            }
        }
    }
}

/// Does `actions` with a store of the backend and with the reference.
///
/// # Panics
/// Where one answers another thing than the other, or holds something else.
pub fn compare(subject: &Subject<'_>, actions: &[Action]) {
    block_on(async {
        let stores = subject.stores(limits());
        stores.set_max_log_bytes(NAME, MAX_LOG_BYTES);
        let new = |max_bytes| Model {
            log_bounds: LogBounds {
                max_bytes,
                needed_from: 0,
            },
            ..Model::new(MAX_STORE_BYTES)
        };
        let mut model = new(MAX_LOG_BYTES);
        for (tick, action) in (1..).zip(actions) {
            match action {
                Action::Write(steps) => {
                    let ops: Vec<Op> = steps.iter().map(|step| op(&model, step)).collect();
                    let expected = model.write(&ops);
                    let store = open(&stores, NAME).await;
                    assert_eq!(store.write(ops).await, expected);
                }
                Action::Transact(deal) => {
                    transact(&open(&stores, NAME).await, &mut model, deal, tick).await;
                }
                Action::Upkeep(upkeep) => {
                    keep_up(&open(&stores, NAME).await, &mut model, upkeep, tick).await;
                    stores.set_max_log_bytes(NAME, model.log_bounds.max_bytes);
                    stores.set_needed_from(NAME, model.log_bounds.needed_from);
                }
                Action::Reopen => blocking(&stores, |stores| stores.close(NAME)).await,
                Action::Remove => {
                    let removed = blocking(&stores, |stores| stores.remove(NAME)).await;
                    removed.expect("it is removed");
                    model = new(model.log_bounds.max_bytes);
                }
            }
            same(&open(&stores, NAME).await, &model).await;
        }
    });
}

/// Reads all of the store in each way there is.
///
/// # Panics
/// Where it holds something else than the reference.
pub async fn same(store: &Arc<dyn Store>, model: &Model) {
    for bucket in BUCKETS {
        let keys = KEYS.map(String::from);
        let expected = KEYS.map(|key| model.get(bucket, key)).to_vec();
        for (key, expected) in keys.iter().zip(&expected) {
            let found = store.get(bucket, key).await;
            assert_eq!(found.as_ref(), Ok(expected));
            let exists = store.exists(bucket, key).await;
            assert_eq!(exists, Ok(expected.is_some()));
        }
        let found: Result<Vec<Option<Entry>>, _> = store.get_many(bucket, &keys).await;
        assert_eq!(found, Ok(expected));
        for (after, skip, limit) in [(None, 0, 100), (Some("a"), 0, 2), (None, 1, 1)] {
            let page: Result<Page, _> = store.keys(bucket, after, skip, limit).await;
            assert_eq!(page, Ok(model.keys(bucket, after, skip, limit)));
        }
    }
    for (after, limit) in [
        (None, 100),
        (None, 1),
        (Some(""), 1),
        (Some(BUCKETS[0]), 100),
    ] {
        let page: Result<Page, _> = store.buckets(after, limit).await;
        assert_eq!(page, Ok(model.buckets(after, limit)));
    }
    assert_eq!(store.stats().stored_bytes, model.bytes());
    assert_eq!(store.log_state(), model.log_state());
    for (after, limit, bytes) in [(0, 1_000, usize::MAX), (model.last / 2, 2, 900)] {
        let page: Result<EventsPage, _> = store.events(after, limit, bytes).await;
        assert_eq!(page, Ok(model.events(after, limit, bytes)));
    }
    let waiting: Result<Vec<(u64, StoredEvent)>, _> = store.waiting_events(1_000).await;
    let expected = model.waiting.iter();
    let expected = expected.map(|((due, _), event)| (*due, event.clone()));
    assert_eq!(waiting, Ok(expected.collect()));
}
