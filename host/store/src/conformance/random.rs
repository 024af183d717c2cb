//! Random writes, against the reference.

use super::super::{Entry, Op, Page, Store, StoreLimits};
use super::model::Model;
use super::{NAME, Subject, block_on, blocking, open};
use proptest::prelude::*;
use std::sync::Arc;

/// What a store of these tests may hold: little, so that it is full at times.
pub const MAX_STORE_BYTES: u64 = 9_000;

/// The names include those that a careless encoding would mix up.
const BUCKETS: [&str; 4] = ["", "a", "a\0", "ab"];
const KEYS: [&str; 6] = ["", "\0", "b", "a", "ab", "ä"];

/// What is done with a store.
#[derive(Debug, Clone)]
pub enum Action {
    /// All its steps, or none.
    Write(Vec<Step>),
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
        12 => proptest::collection::vec(step(), 1..5).prop_map(Action::Write),
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
        let mut model = Model::new(MAX_STORE_BYTES);
        for action in actions {
            match action {
                Action::Write(steps) => {
                    let ops: Vec<Op> = steps.iter().map(|step| op(&model, step)).collect();
                    let expected = model.write(&ops);
                    let store = open(&stores, NAME).await;
                    assert_eq!(store.write(ops).await, expected);
                }
                Action::Reopen => blocking(&stores, |stores| stores.close(NAME)).await,
                Action::Remove => {
                    let removed = blocking(&stores, |stores| stores.remove(NAME)).await;
                    removed.expect("it is removed");
                    model = Model::new(MAX_STORE_BYTES);
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
    assert_eq!(store.stats().stored_bytes, model.bytes());
}
