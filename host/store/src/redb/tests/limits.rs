//! Each bound refuses what is over it by one, and nothing else.

use super::super::{Applied, LogBounds, LogState, NewEvent, Op, Store, StoreError, StoreLimits};
use super::disk::Disk;
use super::{bare_limits, block_on, delete, increment, open, set, swap, written};
use crate::conformance::{committed, emitting, event};

fn tight() -> StoreLimits {
    StoreLimits {
        max_key_bytes: 10,
        max_bucket_bytes: 5,
        max_value_bytes: 100,
        max_batch_ops: 3,
        max_batch_bytes: 500,
        max_keys_per_page: 4,
        ..bare_limits()
    }
}

#[test]
fn oversized_names_and_values_are_rejected_by_every_operation() {
    let store = open(&Disk::new(), tight()).unwrap();
    let (key, bucket) = ("k".repeat(11), "b".repeat(6));
    let long_key = StoreError::KeyTooLong { len: 11, limit: 10 };
    let long_bucket = StoreError::BucketTooLong { len: 6, limit: 5 };
    assert_eq!(
        store.keys("b", Some(&key), 0, 1).wait(),
        Err(long_key.clone())
    );
    assert_eq!(store.get(&bucket, "k").wait(), Err(long_bucket.clone()));
    assert_eq!(store.exists(&bucket, "k").wait(), Err(long_bucket.clone()));
    assert_eq!(
        store.get_many(&bucket, &[]).wait(),
        Err(long_bucket.clone())
    );
    assert_eq!(store.keys(&bucket, None, 0, 1).wait(), Err(long_bucket));
    block_on(async {
        for (key, refusal) in [(key.as_str(), long_key), ("", StoreError::KeyEmpty)] {
            for op in [set(key, ""), increment(key, 1), swap(key, None, "")] {
                let first = set("k", "v");
                assert_eq!(store.write(vec![first, op]).await, Err(refusal.clone()));
            }
        }
        let large = store.write(vec![set("k", [0; 101])]).await;
        assert_eq!(
            large,
            Err(StoreError::ValueTooLarge {
                len: 101,
                limit: 100
            })
        );
        assert!(!store.exists("b", "k").wait().unwrap());
        let fits = set(&key[1..], [0; 100]);
        assert_eq!(store.write(vec![fits]).await, written(1));
    });
}

#[test]
fn unwritable_key_reads_as_absent() {
    let store = open(&Disk::new(), tight()).unwrap();
    for key in ["", "more than 10 bytes"] {
        assert_eq!(store.get("b", key).wait(), Ok(None));
        assert_eq!(store.exists("b", key).wait(), Ok(false));
        assert_eq!(
            store.get_many("b", &[key.to_owned()]).wait(),
            Ok(vec![None])
        );
        assert_eq!(block_on(store.write(vec![delete(key)])), written(1));
    }
}

#[test]
fn legacy_empty_key_can_be_read_listed_and_deleted_but_not_written() {
    let disk = Disk::new();
    let before = StoreLimits {
        min_key_bytes: 0,
        ..tight()
    };
    let store = open(&disk, before).unwrap();
    block_on(store.write(vec![set("", "old"), set("a", "new")])).unwrap();
    store.close();

    let store = open(&disk, tight()).unwrap();
    let old = store.get("b", "").wait().unwrap().unwrap();
    assert_eq!(old.value, b"old");
    assert!(store.exists("b", "").wait().unwrap());
    let both = store
        .get_many("b", &["".into(), "a".into()])
        .wait()
        .unwrap();
    assert_eq!(both.iter().flatten().count(), 2);
    let first = store.keys("b", None, 0, 1).wait().unwrap();
    assert_eq!((first.keys, first.more), (vec![String::new()], true));
    assert_eq!(store.keys("b", Some(""), 0, 9).wait().unwrap().keys, ["a"]);
    block_on(async {
        let swapped = store.write(vec![swap("", Some(old.version), "x")]).await;
        assert_eq!(swapped, Err(StoreError::KeyEmpty));
        assert_eq!(store.write(vec![delete("")]).await, written(1));
    });
    assert_eq!(store.keys("b", None, 0, 9).wait().unwrap().keys, ["a"]);
}

#[test]
fn call_is_bounded_in_steps_and_bytes_both_ways() {
    let store = open(&Disk::new(), tight()).unwrap();
    let many: Vec<String> = (0..4).map(|i| i.to_string()).collect();
    assert_eq!(
        store.get_many("b", &many).wait(),
        Err(StoreError::TooMany { count: 4, limit: 3 })
    );
    block_on(async {
        let ops: Vec<Op> = many.iter().map(|key| set(key, "v")).collect();
        assert_eq!(
            store.write(ops).await,
            Err(StoreError::TooMany { count: 4, limit: 3 })
        );
        let ops = ["00", "01", "02"].map(|key| set(key, [0; 100])).to_vec();
        assert_eq!(
            store.write(ops).await,
            Err(StoreError::BatchTooLarge { limit: 500 }),
            "the names and a share for each step count too"
        );
    });
    let store = {
        let limits = StoreLimits {
            max_value_bytes: 300,
            ..tight()
        };
        open(&Disk::new(), limits).unwrap()
    };
    block_on(async {
        store.write(vec![set("0", [0; 300])]).await.unwrap();
        store.write(vec![set("1", [0; 200])]).await.unwrap();
        store.write(vec![set("2", [0; 201])]).await.unwrap();
    });
    let ask = |keys: [&str; 2]| store.get_many("b", &keys.map(String::from)).wait();
    assert_eq!(ask(["0", "1"]).unwrap().len(), 2);
    assert_eq!(
        ask(["0", "2"]),
        Err(StoreError::BatchTooLarge { limit: 500 })
    );
}

#[test]
fn full_store_rejects_growth_and_accepts_shrinking() {
    let disk = Disk::new();
    // Each entry: bucket 1, key 1, and 64 besides the value.
    let limits = StoreLimits {
        max_store_bytes: 300,
        ..bare_limits()
    };
    let store = open(&disk, limits.clone()).unwrap();
    let full = Err(StoreError::StoreFull { limit: 300 });
    block_on(async {
        assert_eq!(store.write(vec![set("a", [0; 84])]).await, written(1));
        assert_eq!(store.write(vec![set("b", [0; 84])]).await, written(1));
        assert_eq!(store.stats().stored_bytes, 300);
        assert_eq!(store.write(vec![set("a", [0; 85])]).await, full);
        assert_eq!(store.write(vec![set("c", "")]).await, full);
        // What counts is the state after the whole write.
        let moved = vec![set("c", [0; 84]), delete("b")];
        assert_eq!(store.write(moved).await, written(2));
        store.close();

        let store = open(&disk, limits).unwrap();
        assert_eq!(store.stats().stored_bytes, 300);
        assert_eq!(store.write(vec![set("d", "")]).await, full);

        store.close();
        let lowered = StoreLimits {
            max_store_bytes: 100,
            ..bare_limits()
        };
        let store = open(&disk, lowered).unwrap();
        assert_eq!(store.write(vec![set("a", [0; 80])]).await, written(1));
        assert_eq!(
            store.write(vec![set("a", [0; 81])]).await,
            Err(StoreError::StoreFull { limit: 100 })
        );
        assert_eq!(store.write(vec![delete("c")]).await, written(1));
        assert_eq!(store.stats().stored_bytes, 146);
    });
}

#[test]
fn counter_is_decimal_text() {
    let store = open(&Disk::new(), bare_limits()).unwrap();
    let add = |delta| store.write(vec![super::increment("n", delta)]);
    block_on(async {
        assert_eq!(add(5).await, Ok(vec![Applied::Counter(5)]));
        assert_eq!(add(-47).await, Ok(vec![Applied::Counter(-42)]));
        assert_eq!(store.get("b", "n").wait().unwrap().unwrap().value, b"-42");
        let no_number = Err(StoreError::NotANumber { key: "n".into() });
        for text in [
            "",
            "1.5",
            " 1",
            "0x1",
            "9223372036854775808",
            &"1".repeat(5_000),
        ] {
            store.write(vec![set("n", text)]).await.unwrap();
            assert_eq!(add(1).await, no_number, "{text:?}");
        }
        store.write(vec![set("n", [0xff])]).await.unwrap();
        assert_eq!(add(1).await, no_number);
        store
            .write(vec![set("n", "-9223372036854775808")])
            .await
            .unwrap();
        assert_eq!(add(-1).await, Err(StoreError::Overflow { key: "n".into() }));
        assert_eq!(add(i64::MAX).await, Ok(vec![Applied::Counter(-1)]));
    });
}

#[test]
fn every_refusal_says_what_to_do() {
    let path = std::path::PathBuf::from("windows/a/store.redb");
    let errors = [
        StoreError::Busy { limit: 1 },
        StoreError::Corrupt {
            path: path.clone(),
            reason: "it is shorter than it should be".into(),
        },
        StoreError::InUse { path: path.clone() },
        StoreError::DiskFull { path },
    ];
    for error in errors {
        let text = error.to_string();
        assert!(text.contains(": ") && !text.ends_with('.'), "{text}");
        assert!(!error.is_fault() || text.contains("windows/a/store.redb"));
    }
}

#[test]
fn upkeep_of_the_log_takes_no_more_than_a_commit_at_a_time() {
    let limits = StoreLimits {
        group_bytes: 1_000,
        ..bare_limits()
    };
    let store = open(&Disk::new(), limits).unwrap();
    let timer = NewEvent {
        not_before_ms: Some(9),
        ..event("e", "1")
    };
    assert_eq!(timer.cost(), 258);
    block_on(async {
        committed(store.transact(emitting(vec![timer; 10], 1)).await);
        for expected in [4, 4, 2, 0] {
            let done = committed(store.promote_due(9, usize::MAX).await);
            assert_eq!(done.event_ids.len(), expected);
        }
        store.set_log_bounds(LogBounds {
            needed_from: u64::MAX,
            ..LogBounds::default()
        });
        for expected in [4, 4, 2, 0] {
            let done = committed(store.trim(10, 10).await);
            assert_eq!(done.counters, [expected]);
        }
    });
    let gone = LogState {
        last: 10,
        ..LogState::default()
    };
    assert_eq!(store.log_state(), gone);
}
