//! Random writes against a map that does the same.

use super::super::{Applied, Entry, Op, Page, RedbStore, Store, StoreError, StoreLimits};
use super::disk::Disk;
use super::{bare_limits, block_on, open};
use proptest::prelude::*;
use std::collections::BTreeMap;

const MAX_STORE_BYTES: u64 = 9_000;

/// The names include those that a careless encoding would mix up.
const BUCKETS: [&str; 4] = ["", "a", "a\0", "ab"];
const KEYS: [&str; 6] = ["", "\0", "b", "a", "ab", "ä"];

#[derive(Debug, Clone)]
enum Action {
    Write(Vec<Step>),
    Reopen,
    Crash,
}

#[derive(Debug, Clone)]
enum Step {
    Set(usize, usize, Vec<u8>),
    Delete(usize, usize),
    Increment(usize, usize, i64),
    /// The number is how far the expected version is from the right one.
    Swap(usize, usize, u64, Vec<u8>),
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

fn step() -> impl Strategy<Value = Step> {
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

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        12 => proptest::collection::vec(step(), 1..5).prop_map(Action::Write),
        1 => Just(Action::Reopen),
        1 => Just(Action::Crash),
    ]
}

#[derive(Clone, Default)]
struct Model {
    entries: BTreeMap<(String, String), Entry>,
    version: u64,
}

impl Model {
    /// The step as an op, with the version that the model has now.
    fn op(&self, step: &Step) -> Op {
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
                let now = self.entries.get(&place(b, k));
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

    fn bytes(&self) -> u64 {
        let cost = |((bucket, key), entry): (&(String, String), &Entry)| {
            (bucket.len() + key.len() + entry.value.len() + 64) as u64
        };
        self.entries.iter().map(cost).sum()
    }

    fn write(&mut self, ops: &[Op]) -> Result<Vec<Applied>, StoreError> {
        let mut next = self.clone();
        let mut applied = Vec::new();
        for op in ops {
            let (bucket, key) = op.place();
            let place = (bucket.to_owned(), key.to_owned());
            let key = place.1.clone();
            let now = next.entries.get(&place).cloned();
            let (value, done) = match op {
                Op::Delete { .. } => {
                    next.entries.remove(&place);
                    applied.push(Applied::Written);
                    continue;
                }
                Op::Set { value, .. } => (value.clone(), Applied::Written),
                Op::Swap {
                    expected, value, ..
                } => {
                    if now.as_ref().map(|entry| entry.version) != *expected {
                        let held = self.entries.get(&place).cloned();
                        return Ok(vec![Applied::Conflict(held)]);
                    }
                    (value.clone(), Applied::Written)
                }
                Op::Increment { delta, .. } => {
                    let number = match now {
                        None => 0_i64,
                        Some(entry) => String::from_utf8(entry.value)
                            .ok()
                            .and_then(|text| text.parse().ok())
                            .ok_or(StoreError::NotANumber { key: key.clone() })?,
                    };
                    let sum = number
                        .checked_add(*delta)
                        .ok_or(StoreError::Overflow { key })?;
                    (sum.to_string().into_bytes(), Applied::Counter(sum))
                }
            };
            next.version += 1;
            let version = next.version;
            next.entries.insert(place, Entry { value, version });
            applied.push(done);
        }
        if next.bytes() > MAX_STORE_BYTES && next.bytes() > self.bytes() {
            return Err(StoreError::StoreFull {
                limit: MAX_STORE_BYTES,
            });
        }
        *self = next;
        Ok(applied)
    }
}

fn compare(store: &RedbStore, model: &Model) {
    for bucket in BUCKETS {
        let keys: Vec<String> = KEYS.map(String::from).to_vec();
        let expected: Vec<Option<Entry>> = keys
            .iter()
            .map(|key| {
                model
                    .entries
                    .get(&(bucket.to_owned(), key.clone()))
                    .cloned()
            })
            .collect();
        for (key, expected) in keys.iter().zip(&expected) {
            assert_eq!(&store.get(bucket, key).unwrap(), expected);
            assert_eq!(store.exists(bucket, key).unwrap(), expected.is_some());
        }
        assert_eq!(store.get_many(bucket, &keys).unwrap(), expected);
        let in_order: Vec<String> = model
            .entries
            .keys()
            .filter(|(of, _)| of == bucket)
            .map(|(_, key)| key.clone())
            .collect();
        let page = store.keys(bucket, None, 0, 100).unwrap();
        assert_eq!(
            page,
            Page {
                keys: in_order,
                more: false
            }
        );
    }
    assert_eq!(store.stats().stored_bytes, model.bytes());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_store_does_what_a_map_does(actions in proptest::collection::vec(action(), 1..40)) {
        let limits = StoreLimits { min_key_bytes: 0, max_store_bytes: MAX_STORE_BYTES, ..bare_limits() };
        let mut disk = Disk::new();
        let mut store = open(&disk, limits.clone()).unwrap();
        let mut model = Model::default();
        for action in actions {
            match action {
                Action::Write(steps) => {
                    let ops: Vec<Op> = steps.iter().map(|step| model.op(step)).collect();
                    let expected = model.write(&ops);
                    prop_assert_eq!(block_on(store.write(ops)), expected);
                }
                Action::Reopen => {
                    store.close();
                    store = open(&disk, limits.clone()).unwrap();
                }
                Action::Crash => {
                    disk = Disk::of(disk.after_power_loss(0));
                    store = open(&disk, limits.clone()).unwrap();
                }
            }
            compare(&store, &model);
        }
    }

    #[test]
    fn paging_shows_every_key_once_and_in_order(
        keys in proptest::collection::btree_set("[a-cä\\x00]{0,4}", 0..60),
        limit in 1_usize..20,
        skip in 0_u64..10,
    ) {
        let limits = StoreLimits { min_key_bytes: 0, ..bare_limits() };
        let store = open(&Disk::new(), limits).unwrap();
        let ops = keys.iter().flat_map(|key| ["b", "b\0", "", "bb"].map(|bucket| Op::Set {
            bucket: bucket.into(), key: key.clone(), value: vec![],
        }));
        block_on(store.write(ops.collect())).unwrap();
        let mut seen = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let first = if after.is_none() { skip } else { 0 };
            let page = store.keys("b", after.as_deref(), first, limit).unwrap();
            prop_assert!(page.keys.len() <= limit);
            prop_assert!(!page.more || page.keys.len() == limit);
            after = page.keys.last().cloned();
            seen.extend(page.keys);
            if !page.more {
                break;
            }
        }
        let expected: Vec<String> = keys.into_iter().skip(skip as usize).collect();
        prop_assert_eq!(seen, expected);
    }
}
