//! Each bound refuses what is over it by one, and nothing else.

use super::super::super::{Op, StoreError, StoreLimits};
use super::super::{Subject, delete, increment, set, swap, written};

fn tight() -> StoreLimits {
    StoreLimits {
        max_key_bytes: 10,
        max_bucket_bytes: 5,
        max_value_bytes: 300,
        max_batch_ops: 3,
        max_batch_bytes: 500,
        ..StoreLimits::default()
    }
}

pub(super) async fn oversized_names_and_values_are_rejected(on: &Subject<'_>) {
    let (_stores, store) = on.store(tight()).await;
    let (key, bucket) = ("k".repeat(11), "b".repeat(6));
    let long_key = StoreError::KeyTooLong { len: 11, limit: 10 };
    let long_bucket = StoreError::BucketTooLong { len: 6, limit: 5 };
    let page = store.keys("b", Some(&key), 0, 1).await;
    assert_eq!(page, Err(long_key.clone()));
    assert_eq!(store.get(&bucket, "k").await, Err(long_bucket.clone()));
    assert_eq!(store.exists(&bucket, "k").await, Err(long_bucket.clone()));
    let many = store.get_many(&bucket, &[]).await;
    assert_eq!(many, Err(long_bucket.clone()));
    let page = store.keys(&bucket, None, 0, 1).await;
    assert_eq!(page, Err(long_bucket.clone()));
    let elsewhere = Op::Delete {
        bucket,
        key: "k".into(),
    };
    assert_eq!(store.write(vec![elsewhere]).await, Err(long_bucket));
    for (key, refusal) in [(key.as_str(), long_key), ("", StoreError::KeyEmpty)] {
        for op in [set(key, ""), increment(key, 1), swap(key, None, "")] {
            let ops = vec![set("k", "v"), op];
            assert_eq!(store.write(ops).await, Err(refusal.clone()));
        }
    }
    let (len, limit) = (301, 300);
    let large = store.write(vec![set("k", [0; 301])]).await;
    assert_eq!(large, Err(StoreError::ValueTooLarge { len, limit }));
    assert_eq!(store.exists("b", "k").await, Ok(false));
    let fits = set(&key[1..], [0; 300]);
    assert_eq!(store.write(vec![fits]).await, written(1));
}

pub(super) async fn unwritable_key_reads_as_absent(on: &Subject<'_>) {
    let (_stores, store) = on.store(tight()).await;
    for key in ["", "more than 10 bytes"] {
        assert_eq!(store.get("b", key).await, Ok(None));
        assert_eq!(store.exists("b", key).await, Ok(false));
        let many = store.get_many("b", &[key.to_owned()]).await;
        assert_eq!(many, Ok(vec![None]));
        assert_eq!(store.write(vec![delete(key)]).await, written(1));
    }
}

pub(super) async fn call_is_bounded_in_steps_and_bytes(on: &Subject<'_>) {
    let (_stores, store) = on.store(tight()).await;
    let many: Vec<String> = (0..4).map(|i| i.to_string()).collect();
    let too_many = StoreError::TooMany { count: 4, limit: 3 };
    let read = store.get_many("b", &many).await;
    assert_eq!(read, Err(too_many.clone()));
    let ops = many.iter().map(|key| set(key, "v"));
    assert_eq!(store.write(ops.collect()).await, Err(too_many));
    // The names and a share for each step count too.
    let too_large = StoreError::BatchTooLarge { limit: 500 };
    let ops = ["00", "01", "02"].map(|key| set(key, [0; 100]));
    assert_eq!(store.write(ops.to_vec()).await, Err(too_large.clone()));
    for (key, len) in [("0", 300), ("1", 200), ("2", 201)] {
        store.write(vec![set(key, vec![0; len])]).await.unwrap();
    }
    let ask = |keys: [&str; 2]| store.get_many("b", &keys.map(String::from));
    assert_eq!(ask(["0", "1"]).await.unwrap().len(), 2);
    assert_eq!(ask(["0", "2"]).await, Err(too_large));
}

pub(super) async fn full_store_rejects_growth_and_accepts_shrinking(on: &Subject<'_>) {
    // Each entry: bucket 1, key 1, and 64 besides the value.
    let limits = StoreLimits {
        max_store_bytes: 300,
        ..StoreLimits::default()
    };
    let (stores, store) = on.store(limits).await;
    let full = |limit| Err(StoreError::StoreFull { limit });
    assert_eq!(store.write(vec![set("a", [0; 84])]).await, written(1));
    assert_eq!(store.write(vec![set("b", [0; 84])]).await, written(1));
    assert_eq!(store.write(vec![set("a", [0; 85])]).await, full(300));
    assert_eq!(store.write(vec![set("c", "")]).await, full(300));
    // What counts is the state after the whole write.
    let moved = vec![set("c", [0; 84]), delete("b")];
    assert_eq!(store.write(moved).await, written(2));
    // Lowered below what is there, and raised again, while it is open.
    stores.set_max_store_bytes(super::super::NAME, 100);
    assert_eq!(store.write(vec![set("a", [0; 85])]).await, full(100));
    assert_eq!(store.write(vec![set("a", [0; 80])]).await, written(1));
    stores.set_max_store_bytes(super::super::NAME, 301);
    assert_eq!(store.write(vec![set("a", [0; 86])]).await, full(301));
    assert_eq!(store.write(vec![set("a", [0; 85])]).await, written(1));
}

pub(super) async fn entry_size_is_counted_exactly(on: &Subject<'_>) {
    let (_stores, store) = on.store(StoreLimits::default()).await;
    let bytes = || store.stats().stored_bytes;
    assert_eq!(bytes(), 0);
    store.write(vec![set("key", [0; 5_000])]).await.unwrap();
    assert_eq!(bytes(), 1 + 3 + 5_000 + 64);
    store.write(vec![increment("n", 12)]).await.unwrap();
    assert_eq!(bytes(), 5_068 + 1 + 1 + 2 + 64);
    store.write(vec![set("key", [0; 5])]).await.unwrap();
    assert_eq!(bytes(), 73 + 68);
    store.write(vec![delete("key"), delete("n")]).await.unwrap();
    assert_eq!(bytes(), 0);
}
