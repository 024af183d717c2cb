//! Random writes and crashes on a simulated disk, against a map that does the same.

use super::super::conformance::model::Model;
use super::super::conformance::random::{self, MAX_STORE_BYTES, Step};
use super::super::{Op, RedbStore, Store, StoreLimits};
use super::disk::Disk;
use super::{bare_limits, block_on, open};
use proptest::prelude::*;
use std::sync::Arc;

#[derive(Debug, Clone)]
enum Action {
    Write(Vec<Step>),
    Reopen,
    Crash,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        12 => proptest::collection::vec(random::step(), 1..5).prop_map(Action::Write),
        1 => Just(Action::Reopen),
        1 => Just(Action::Crash),
    ]
}

fn same(store: &Arc<RedbStore>, model: &Model) {
    let store: Arc<dyn Store> = store.clone();
    block_on(random::same(&store, model));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn store_behaves_like_a_map(actions in proptest::collection::vec(action(), 1..40)) {
        let limits = StoreLimits { min_key_bytes: 0, max_store_bytes: MAX_STORE_BYTES, ..bare_limits() };
        let mut disk = Disk::new();
        let mut store = Arc::new(open(&disk, limits.clone()).unwrap());
        let mut model = Model::new(MAX_STORE_BYTES);
        for action in actions {
            match action {
                Action::Write(steps) => {
                    let ops: Vec<Op> = steps.iter().map(|step| random::op(&model, step)).collect();
                    let expected = model.write(&ops);
                    prop_assert_eq!(block_on(store.write(ops)), expected);
                }
                Action::Reopen => {
                    store.close();
                    store = Arc::new(open(&disk, limits.clone()).unwrap());
                }
                Action::Crash => {
                    disk = Disk::of(disk.after_power_loss(0));
                    store = Arc::new(open(&disk, limits.clone()).unwrap());
                }
            }
            same(&store, &model);
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
            let page = store.keys("b", after.as_deref(), first, limit).wait().unwrap();
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
