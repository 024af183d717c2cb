//! Random writes and crashes on a simulated disk, against a map that does the same.

use super::super::conformance::model::Model;
use super::super::conformance::random::{self, Deal, MAX_LOG_BYTES, MAX_STORE_BYTES, Step, Upkeep};
use super::super::{LogBounds, Op, Store, StoreLimits};
use super::disk::Disk;
use super::{bare_limits, block_on, open};
use proptest::prelude::*;
use std::sync::Arc;

#[derive(Debug, Clone)]
enum Action {
    Write(Vec<Step>),
    Transact(Deal),
    Upkeep(Upkeep),
    Reopen,
    Crash,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => proptest::collection::vec(random::step(), 1..5).prop_map(Action::Write),
        8 => random::deal().prop_map(Action::Transact),
        4 => random::upkeep().prop_map(Action::Upkeep),
        1 => Just(Action::Reopen),
        1 => Just(Action::Crash),
    ]
}

/// A store on the disk, with the bounds of the model.
fn reopen(disk: &Disk, model: &Model) -> Arc<dyn Store> {
    let limits = StoreLimits {
        cache_bytes: 0,
        ..random::limits()
    };
    let store = open(disk, limits).unwrap();
    store.set_log_bounds(model.log_bounds);
    Arc::new(store)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn store_behaves_like_a_map(actions in proptest::collection::vec(action(), 1..40)) {
        let mut disk = Disk::new();
        let mut model = Model::new(MAX_STORE_BYTES);
        model.log_bounds = LogBounds { max_bytes: MAX_LOG_BYTES, needed_from: 0 };
        let mut store = reopen(&disk, &model);
        for (tick, action) in (1..).zip(actions) {
            match action {
                Action::Write(steps) => {
                    let ops: Vec<Op> = steps.iter().map(|step| random::op(&model, step)).collect();
                    let expected = model.write(&ops);
                    prop_assert_eq!(block_on(store.write(ops)), expected);
                }
                Action::Transact(deal) => {
                    block_on(random::transact(&store, &mut model, &deal, tick));
                }
                Action::Upkeep(upkeep) => {
                    block_on(random::keep_up(&store, &mut model, &upkeep, tick));
                }
                Action::Reopen => {
                    store.close();
                    store = reopen(&disk, &model);
                }
                Action::Crash => {
                    disk = Disk::of(disk.after_power_loss(0));
                    store = reopen(&disk, &model);
                }
            }
            block_on(random::same(&store, &model));
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
