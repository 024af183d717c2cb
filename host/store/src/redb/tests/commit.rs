//! Group commit, atomicity and contention.

use super::super::{Applied, LogBounds, Store, StoreError, StoreLimits, Transacted, Transaction};
use super::disk::Disk;
use super::{bare_limits, block_on, delete, increment, open, set, swap, written};
use crate::conformance::{committed, emitting, event};
use std::collections::BTreeSet;
use std::sync::Arc;

fn value(store: &dyn Store, key: &str) -> Option<Vec<u8>> {
    store.get("b", key).wait().unwrap().map(|entry| entry.value)
}

#[test]
fn writes_arriving_during_a_commit_share_the_next() {
    let disk = Disk::new();
    let store = open(&disk, bare_limits()).unwrap();
    block_on(async {
        let hold = disk.hold_syncs();
        let first = store.write(vec![set("first", "1")]);
        hold.wait_for_sync();
        let others: Vec<_> = (0..50)
            .map(|i| store.write(vec![set(&format!("other {i}"), "1")]))
            .collect();
        assert_eq!(value(&store, "first"), None, "seen before it was durable");
        drop(hold);
        assert_eq!(first.await, written(1));
        for other in others {
            assert_eq!(other.await, written(1));
        }
        let stats = store.stats();
        assert_eq!((stats.commits, stats.writes), (2, 51));
    });
}

#[test]
fn lone_write_is_committed_at_once() {
    let store = open(&Disk::new(), bare_limits()).unwrap();
    block_on(async {
        for i in 0..10 {
            assert_eq!(
                store.write(vec![increment("n", 1)]).await,
                Ok(vec![Applied::Counter(i + 1)])
            );
        }
    });
    assert_eq!(store.stats().commits, 10);
}

#[test]
fn failed_write_leaves_nothing_behind_and_spares_its_neighbours() {
    let disk = Disk::new();
    let store = open(&disk, bare_limits()).unwrap();
    block_on(async {
        store.write(vec![set("text", "seven")]).await.unwrap();
        let version = store.get("b", "text").wait().unwrap().unwrap().version;
        let hold = disk.hold_syncs();
        let first = store.write(vec![set("first", "1")]);
        hold.wait_for_sync();
        let before = store.write(vec![set("before", "1"), set("shared", "before")]);
        let no_number = store.write(vec![
            set("x", "x"),
            delete("before"),
            set("shared", "wrong"),
            increment("text", 1),
        ]);
        let conflict = store.write(vec![set("y", "y"), swap("text", Some(version + 1), "z")]);
        let overflow = store.write(vec![increment("n", i64::MAX), increment("n", 1)]);
        let after = store.write(vec![set("after", "1")]);
        drop(hold);
        assert_eq!(first.await, written(1));
        assert_eq!(before.await, written(2));
        assert_eq!(
            no_number.await,
            Err(StoreError::NotANumber { key: "text".into() })
        );
        let met = store.get("b", "text").wait().unwrap();
        assert_eq!(conflict.await, Ok(vec![Applied::Conflict(met)]));
        assert_eq!(
            overflow.await,
            Err(StoreError::Overflow { key: "n".into() })
        );
        assert_eq!(after.await, written(1));
        let keys = store.keys("b", None, 0, 100).wait().unwrap().keys;
        assert_eq!(keys, ["after", "before", "first", "shared", "text"]);
        assert_eq!(value(&store, "shared").unwrap(), b"before");
        assert_eq!(store.stats().commits, 3);
    });
}

#[test]
fn write_without_changes_costs_no_commit() {
    let store = open(&Disk::new(), bare_limits()).unwrap();
    block_on(async {
        assert_eq!(store.write(vec![]).await, Ok(vec![]));
        assert_eq!(store.write(vec![delete("none")]).await, written(1));
        let conflict = store.write(vec![swap("none", Some(1), "v")]).await;
        assert_eq!(conflict, Ok(vec![Applied::Conflict(None)]));
    });
    assert_eq!(store.stats().commits, 0);
}

#[test]
fn refused_transaction_leaves_the_others_of_its_group_alone() {
    let disk = Disk::new();
    let store = open(&disk, bare_limits()).unwrap();
    let max_bytes = 2 * event("e", "1").cost();
    store.set_log_bounds(LogBounds {
        max_bytes,
        needed_from: 0,
    });
    let with = |key: &str, count: usize| Transaction {
        changes: vec![set(key, "v")],
        ..emitting(vec![event("e", "1"); count], 1)
    };
    block_on(async {
        let hold = disk.hold_syncs();
        let first = store.write(vec![set("first", "1")]);
        hold.wait_for_sync();
        let good = store.transact(with("good", 1));
        let full = store.transact(with("full", 2));
        let write = store.write(vec![set("write", "1")]);
        let conflict = store.transact(Transaction {
            changes: vec![swap("write", None, "2")],
            ..with("conflict", 1)
        });
        let last = store.transact(with("last", 1));
        drop(hold);
        let limit = max_bytes;
        assert_eq!((first.await, write.await), (written(1), written(1)));
        assert_eq!(full.await, Err(StoreError::OutboxFull { limit }));
        assert!(matches!(conflict.await, Ok(Transacted::Conflict(places)) if places.len() == 1));
        let ids = [committed(good.await), committed(last.await)].map(|done| done.event_ids);
        let page = store.events(0, 9, usize::MAX).await.unwrap();
        let logged: Vec<_> = page.events.into_iter().map(|event| event.id).collect();
        assert_eq!(logged, ids.concat());
    });
    let keys = store.keys("b", None, 0, 9).wait().unwrap().keys;
    assert_eq!(keys, ["first", "good", "last", "write"]);
    assert_eq!(store.stats().commits, 2);
}

#[test]
fn write_sees_its_own_earlier_steps() {
    let store = open(&Disk::new(), bare_limits()).unwrap();
    block_on(async {
        let ops = vec![
            set("n", "41"),
            increment("n", 1),
            delete("n"),
            swap("n", None, "7"),
            increment("n", -8),
        ];
        let applied = store.write(ops).await.unwrap();
        assert_eq!(applied[1], Applied::Counter(42));
        assert_eq!(applied[4], Applied::Counter(-1));
    });
    assert_eq!(value(&store, "n").unwrap(), b"-1");
}

#[test]
fn dropped_future_does_not_undo_its_write() {
    let disk = Disk::new();
    let store = open(&disk, bare_limits()).unwrap();
    block_on(async {
        let hold = disk.hold_syncs();
        drop(store.write(vec![set("first", "1")]));
        hold.wait_for_sync();
        drop(store.write(vec![set("second", "1")]));
    });
    store.close();
    let store = open(&Disk::of(disk.after_power_loss(0)), bare_limits()).unwrap();
    assert!(value(&store, "first").is_some() && value(&store, "second").is_some());
}

#[test]
fn full_queue_refuses_at_once_by_count_and_bytes() {
    let disk = Disk::new();
    let limits = StoreLimits {
        queue_writes: 3,
        queue_bytes: 1_000,
        ..bare_limits()
    };
    let store = open(&disk, limits).unwrap();
    block_on(async {
        let hold = disk.hold_syncs();
        let first = store.write(vec![set("first", "1")]);
        hold.wait_for_sync();
        let small: Vec<_> = (0..3).map(|_| store.write(vec![set("k", "1")])).collect();
        let refused = store.write(vec![set("k", "1")]).await;
        assert_eq!(refused, Err(StoreError::Busy { limit: 3 }));
        drop(hold);
        for write in [first].into_iter().chain(small) {
            assert_eq!(write.await, written(1));
        }

        let hold = disk.hold_syncs();
        let first = store.write(vec![set("first", "2")]);
        hold.wait_for_sync();
        // Alone in the queue it is taken, whatever its size.
        let large = store.write(vec![set("k", vec![1; 2_000])]);
        let refused = store.write(vec![set("k", "1")]).await;
        assert_eq!(refused, Err(StoreError::Busy { limit: 1_000 }));
        drop(hold);
        assert_eq!((first.await, large.await), (written(1), written(1)));
        assert_eq!(store.stats().busy, 2);
    });
}

#[test]
fn commit_group_is_bounded_by_steps_and_bytes() {
    let disk = Disk::new();
    let limits = StoreLimits {
        group_ops: 4,
        group_bytes: 10_000,
        ..bare_limits()
    };
    let store = open(&disk, limits).unwrap();
    block_on(async {
        let hold = disk.hold_syncs();
        let mut writes = vec![store.write(vec![set("first", "1")])];
        hold.wait_for_sync();
        // Two groups by steps, then three by bytes, of which each write takes one.
        writes.extend((0..8).map(|i| store.write(vec![set(&format!("{i}"), "1")])));
        writes.extend((0..3).map(|i| store.write(vec![set(&format!("{i}"), vec![1; 20_000])])));
        drop(hold);
        for write in writes {
            assert_eq!(write.await, written(1));
        }
    });
    assert_eq!(store.stats().commits, 6);
}

#[test]
fn close_answers_writes_already_queued() {
    let disk = Disk::new();
    let store = Arc::new(open(&disk, bare_limits()).unwrap());
    block_on(async {
        let hold = disk.hold_syncs();
        let first = store.write(vec![set("first", "1")]);
        hold.wait_for_sync();
        let second = store.write(vec![set("second", "1")]);
        let closing = {
            let store = store.clone();
            std::thread::spawn(move || store.close())
        };
        drop(hold);
        assert_eq!((first.await, second.await), (written(1), written(1)));
        closing.join().unwrap();
        assert_eq!(store.get("b", "first").wait(), Err(StoreError::Closed));
        let late = store.write(vec![set("late", "1")]).await;
        assert_eq!(late, Err(StoreError::Closed));
    });
}

#[test]
fn runtime_that_ends_leaves_no_write_waiting() {
    let store = open(&Disk::new(), bare_limits()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let handle = runtime.handle().clone();
    runtime.shutdown_background();
    let waiting = {
        let _entered = handle.enter();
        store.write(vec![set("k", "v")])
    };
    assert_eq!(block_on(waiting), Err(StoreError::Closed));
    assert_eq!(block_on(store.write(vec![set("k", "v")])), written(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_increments_sum_up_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let store = super::RedbStore::open_file(
        folder.path().join("store.redb"),
        "w",
        StoreLimits::default(),
    )
    .unwrap();
    let store = Arc::new(store);
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut seen = Vec::new();
                for _ in 0..40 {
                    match store.write(vec![increment("n", 1)]).await.unwrap()[..] {
                        [Applied::Counter(now)] => seen.push(now),
                        ref other => panic!("{other:?}"),
                    }
                }
                seen
            })
        })
        .collect();
    let mut seen = BTreeSet::new();
    for task in tasks {
        for now in task.await.unwrap() {
            assert!(seen.insert(now), "{now} was handed out twice");
        }
    }
    assert_eq!(seen.last(), Some(&640));
    assert_eq!(value(&*store, "n").unwrap(), b"640");
    let stats = store.stats();
    assert!(stats.commits < stats.writes, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_swaps_of_one_version_have_one_winner() {
    let store = Arc::new(open(&Disk::new(), bare_limits()).unwrap());
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut won = Vec::new();
                let mut met = None;
                while won.len() < 20 {
                    let expected: Option<u64> = met
                        .as_ref()
                        .map(|entry: &super::super::Entry| entry.version);
                    let mut longer = met
                        .as_ref()
                        .map_or(vec![], |entry: &super::super::Entry| entry.value.clone());
                    longer.push(b'x');
                    let mut applied = store
                        .write(vec![swap("k", expected, longer)])
                        .await
                        .unwrap();
                    match applied.pop() {
                        Some(Applied::Written) => {
                            won.push(expected);
                            met = store.get("b", "k").wait().unwrap();
                        }
                        Some(Applied::Conflict(now)) => met = now,
                        other => panic!("{other:?}"),
                    }
                }
                won
            })
        })
        .collect();
    let mut won = BTreeSet::new();
    for task in tasks {
        for version in task.await.unwrap() {
            assert!(won.insert(version), "{version:?} was replaced twice");
        }
    }
    assert_eq!(value(&*store, "k").unwrap().len(), 160);
}
