//! Writes and what is read after them.

use super::super::super::{Applied, Entry, Op, Store, StoreError, StoreLimits};
use super::super::{Subject, delete, increment, set, swap, written};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Larger than what a backend may keep with its key.
const LARGE: usize = 300_000;

async fn entry(store: &Arc<dyn Store>, key: &str) -> Option<Entry> {
    store.get("b", key).await.unwrap()
}

async fn value(store: &Arc<dyn Store>, key: &str) -> Option<Vec<u8>> {
    entry(store, key).await.map(|entry| entry.value)
}

pub(super) async fn store_holds_what_was_written_and_nothing_else(on: &Subject<'_>) {
    let (_stores, store) = on.store(StoreLimits::default()).await;
    assert_eq!(store.write(vec![]).await, Ok(vec![]));
    assert_eq!(entry(&store, "k").await, None);
    let bytes: Vec<u8> = (0..LARGE).map(|i| i as u8).collect();
    let all = vec![set("k", "v"), set("empty", ""), set("large", &*bytes)];
    assert_eq!(store.write(all).await, written(3));
    assert_eq!(value(&store, "k").await.unwrap(), b"v");
    assert_eq!(value(&store, "empty").await.unwrap(), b"");
    assert_eq!(value(&store, "large").await.unwrap(), bytes);
    assert_eq!(store.get("other", "k").await, Ok(None));
    assert_eq!(store.exists("b", "empty").await, Ok(true));
    assert_eq!(store.exists("b", "none").await, Ok(false));
    assert_eq!(store.write(vec![set("k", &*bytes)]).await, written(1));
    assert_eq!(value(&store, "k").await.unwrap(), bytes);
    let gone = vec![delete("k"), delete("large"), delete("never there")];
    assert_eq!(store.write(gone).await, written(3));
    assert_eq!(entry(&store, "k").await, None);
    assert_eq!(store.exists("b", "large").await, Ok(false));
}

pub(super) async fn write_is_atomic(on: &Subject<'_>) {
    let limits = StoreLimits {
        max_store_bytes: 1_000,
        ..StoreLimits::default()
    };
    let (_stores, store) = on.store(limits).await;
    let before = vec![set("text", "seven"), set("left", "1"), set("n", "1")];
    store.write(before).await.unwrap();
    let first = || vec![set("left", "2"), delete("text"), increment("n", 1)];
    let with = |last: Op| first().into_iter().chain([last]).collect::<Vec<_>>();
    let met = entry(&store, "left").await;
    let refused = [
        (
            with(swap("left", None, "3")),
            Ok(vec![Applied::Conflict(met)]),
        ),
        (
            with(swap("none", Some(1), "3")),
            Ok(vec![Applied::Conflict(None)]),
        ),
        (
            with(set("large", [0; 2_000])),
            Err(StoreError::StoreFull { limit: 1_000 }),
        ),
        (
            with(increment("n", i64::MAX)),
            Err(StoreError::Overflow { key: "n".into() }),
        ),
        (
            [vec![set("left", "2")], vec![increment("text", 1)]].concat(),
            Err(StoreError::NotANumber { key: "text".into() }),
        ),
        (with(set("", "v")), Err(StoreError::KeyEmpty)),
    ];
    for (ops, refusal) in refused {
        assert_eq!(store.write(ops).await, refusal);
        assert_eq!(value(&store, "left").await.unwrap(), b"1");
        assert_eq!(value(&store, "text").await.unwrap(), b"seven");
        assert_eq!(value(&store, "n").await.unwrap(), b"1");
    }
    assert_eq!(store.keys("b", None, 0, 9).await.unwrap().keys.len(), 3);
    store.write(first()).await.unwrap();
    assert_eq!(value(&store, "left").await.unwrap(), b"2");
}

pub(super) async fn write_sees_its_own_earlier_steps(on: &Subject<'_>) {
    let (_stores, store) = on.store(StoreLimits::default()).await;
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
    assert_eq!(value(&store, "n").await.unwrap(), b"-1");
}

pub(super) async fn swap_applies_only_to_the_expected_version(on: &Subject<'_>) {
    let (_stores, store) = on.store(StoreLimits::default()).await;
    assert_eq!(
        store.write(vec![swap("k", None, "first")]).await,
        written(1)
    );
    let first = entry(&store, "k").await.unwrap();
    let met = Ok(vec![Applied::Conflict(Some(first.clone()))]);
    assert_eq!(store.write(vec![swap("k", None, "x")]).await, met);
    let late = swap("k", Some(first.version + 1), "x");
    assert_eq!(store.write(vec![late]).await, met);
    let right = || vec![swap("k", Some(first.version), "second")];
    assert_eq!(store.write(right()).await, written(1));
    let second = entry(&store, "k").await.unwrap();
    assert_eq!(second.value, b"second");
    let met = Ok(vec![Applied::Conflict(Some(second))]);
    assert_eq!(store.write(right()).await, met);
    // The same value under a new version is another one.
    store.write(vec![set("k", "second")]).await.unwrap();
    let third = entry(&store, "k").await;
    let met = Ok(vec![Applied::Conflict(third)]);
    assert_eq!(store.write(right()).await, met);
    store.write(vec![delete("k")]).await.unwrap();
    let met = Ok(vec![Applied::Conflict(None)]);
    assert_eq!(store.write(right()).await, met);
}

pub(super) async fn versions_increase_and_are_never_reused(on: &Subject<'_>) {
    let stores = on.stores(StoreLimits::default());
    let mut last = 0;
    for _ in 0..3 {
        let store = super::super::open(&stores, super::super::NAME).await;
        for _ in 0..3 {
            let both = vec![set("k", "same"), increment("n", 1)];
            store.write(both).await.unwrap();
            for key in ["k", "n"] {
                let version = entry(&store, key).await.unwrap().version;
                assert!(version > last, "{version} after {last}");
                last = version;
            }
            store.write(vec![delete("k")]).await.unwrap();
        }
        super::super::blocking(&stores, |stores| stores.close(super::super::NAME)).await;
    }
}

pub(super) async fn counter_is_decimal_text(on: &Subject<'_>) {
    let (_stores, store) = on.store(StoreLimits::default()).await;
    let add = |delta| store.write(vec![increment("n", delta)]);
    assert_eq!(add(5).await, Ok(vec![Applied::Counter(5)]));
    assert_eq!(add(-47).await, Ok(vec![Applied::Counter(-42)]));
    assert_eq!(value(&store, "n").await.unwrap(), b"-42");
    let long = "1".repeat(5_000);
    for text in ["", "1.5", " 1", "0x1", "9223372036854775808", &long] {
        store.write(vec![set("n", text)]).await.unwrap();
        let refused = Err(StoreError::NotANumber { key: "n".into() });
        assert_eq!(add(1).await, refused, "{text:?}");
    }
    let least = set("n", i64::MIN.to_string());
    store.write(vec![least]).await.unwrap();
    let overflow = Err(StoreError::Overflow { key: "n".into() });
    assert_eq!(add(-1).await, overflow);
    assert_eq!(add(i64::MAX).await, Ok(vec![Applied::Counter(-1)]));
}

pub(super) async fn concurrent_increments_sum_up_exactly(on: &Subject<'_>) {
    let (_stores, store) = on.store(StoreLimits::default()).await;
    let tasks = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut seen = Vec::new();
            for _ in 0..20 {
                match store.write(vec![increment("n", 1)]).await.unwrap()[..] {
                    [Applied::Counter(now)] => seen.push(now),
                    ref other => panic!("{other:?}"),
                }
            }
            seen
        })
    });
    let mut seen = BTreeSet::new();
    for task in tasks.collect::<Vec<_>>() {
        for now in task.await.unwrap() {
            assert!(seen.insert(now), "{now} was handed out twice");
        }
    }
    assert_eq!((seen.len(), seen.last()), (160, Some(&160)));
    assert_eq!(value(&store, "n").await.unwrap(), b"160");
}

pub(super) async fn concurrent_swaps_of_one_version_have_one_winner(on: &Subject<'_>) {
    let (_stores, store) = on.store(StoreLimits::default()).await;
    let tasks = (0..4).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let (mut won, mut met) = (Vec::new(), None::<Entry>);
            while won.len() < 10 {
                let expected = met.as_ref().map(|entry| entry.version);
                let mut longer = met.as_ref().map_or(vec![], |entry| entry.value.clone());
                longer.push(b'x');
                let swapped = store.write(vec![swap("k", expected, longer)]).await;
                match swapped.unwrap().pop() {
                    Some(Applied::Written) => {
                        won.push(expected);
                        met = entry(&store, "k").await;
                    }
                    Some(Applied::Conflict(now)) => met = now,
                    other => panic!("{other:?}"),
                }
            }
            won
        })
    });
    let mut won = BTreeSet::new();
    for task in tasks.collect::<Vec<_>>() {
        for version in task.await.unwrap() {
            assert!(won.insert(version), "{version:?} was replaced twice");
        }
    }
    assert_eq!(value(&store, "k").await.unwrap().len(), 40);
}

pub(super) async fn write_with_a_dropped_future_is_applied(on: &Subject<'_>) {
    let (_stores, store) = on.store(StoreLimits::default()).await;
    for number in 0..20 {
        drop(store.write(vec![set(&format!("{number:02}"), "v")]));
    }
    // Writes are done in their order, so this one comes after them.
    store.write(vec![set("last", "v")]).await.unwrap();
    assert_eq!(store.keys("b", None, 0, 100).await.unwrap().keys.len(), 21);
}

pub(super) async fn batch_read_shows_one_moment(on: &Subject<'_>) {
    let (_stores, store) = on.store(StoreLimits::default()).await;
    let both = |n: u32| vec![set("left", n.to_string()), set("right", n.to_string())];
    store.write(both(0)).await.unwrap();
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 1..=200 {
                store.write(both(n)).await.unwrap();
            }
        })
    };
    let keys = ["left".to_owned(), "right".to_owned()];
    let mut last = 0;
    while last < 200 {
        let ended = writer.is_finished();
        let found = store.get_many("b", &keys).await.unwrap();
        let [left, right] = &found[..] else {
            panic!("{found:?}")
        };
        let (left, right) = (left.clone().unwrap(), right.clone().unwrap());
        assert_eq!(left.value, right.value);
        let now: u32 = String::from_utf8(left.value).unwrap().parse().unwrap();
        assert!(now >= last, "{now} after {last}");
        assert!(
            now == 200 || !ended,
            "a write that was acknowledged is not seen"
        );
        last = now;
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
}
