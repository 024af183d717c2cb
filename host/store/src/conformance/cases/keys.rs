//! Listing keys.

use super::super::super::{Op, Page, StoreLimits};
use super::super::{Subject, set};

fn page(keys: &[&str], more: bool) -> Page {
    Page {
        keys: keys.iter().map(ToString::to_string).collect(),
        more,
    }
}

pub(super) async fn keys_are_listed_in_the_order_of_their_bytes(on: &Subject<'_>) {
    let (_stores, store) = on.store(StoreLimits::default()).await;
    // The order of bytes, which no language's rules make.
    let sorted = [
        "\0", " ", "A", "Z", "a", "a\0", "a b", "ab", "b", "ä", "€", "😀",
    ];
    let mixed = [7, 2, 11, 0, 9, 4, 1, 10, 3, 8, 5, 6];
    for index in mixed {
        store.write(vec![set(sorted[index], "v")]).await.unwrap();
    }
    let all = store.keys("b", None, 0, 100).await;
    assert_eq!(all, Ok(page(&sorted, false)));
    for (index, key) in sorted.iter().enumerate() {
        let after = store.keys("b", Some(key), 0, 100).await;
        assert_eq!(after, Ok(page(&sorted[index + 1..], false)));
    }
    // A cursor need not be there.
    let after = store.keys("b", Some("aa"), 0, 2).await;
    assert_eq!(after, Ok(page(&["ab", "b"], true)));
}

pub(super) async fn pages_follow_one_another_by_their_last_key(on: &Subject<'_>) {
    let limits = StoreLimits {
        max_keys_per_page: 3,
        ..StoreLimits::default()
    };
    let (_stores, store) = on.store(limits).await;
    assert_eq!(store.keys("b", None, 0, 1).await, Ok(page(&[], false)));
    let five = (0..5).map(|i| set(&i.to_string(), ""));
    store.write(five.collect()).await.unwrap();
    let keys = |after, skip, limit| store.keys("b", after, skip, limit);
    assert_eq!(keys(None, 0, 0).await, Ok(page(&["0"], true)));
    assert_eq!(keys(None, 0, 100).await, Ok(page(&["0", "1", "2"], true)));
    assert_eq!(keys(Some("2"), 0, 3).await, Ok(page(&["3", "4"], false)));
    assert_eq!(keys(Some("0"), 3, 3).await, Ok(page(&["4"], false)));
    assert_eq!(
        keys(Some("1"), 0, 3).await,
        Ok(page(&["2", "3", "4"], false))
    );
    assert_eq!(keys(None, u64::MAX, 1).await, Ok(page(&[], false)));
    assert_eq!(store.keys("none", None, 0, 1).await, Ok(page(&[], false)));
}

pub(super) async fn buckets_with_similar_names_are_separate(on: &Subject<'_>) {
    let (_stores, store) = on.store(StoreLimits::default()).await;
    let places = [
        ("", "ab"),
        ("a", "b"),
        ("a\0", "b"),
        ("ab", "a"),
        ("a", "\0b"),
    ];
    let ops = places.map(|(bucket, key)| Op::Set {
        bucket: bucket.into(),
        key: key.into(),
        value: format!("{bucket}/{key}").into_bytes(),
    });
    store.write(ops.to_vec()).await.unwrap();
    for (bucket, key) in places {
        let found = store.get(bucket, key).await.unwrap().unwrap();
        assert_eq!(found.value, format!("{bucket}/{key}").as_bytes());
    }
    let keys = |bucket| store.keys(bucket, None, 0, 100);
    assert_eq!(keys("").await, Ok(page(&["ab"], false)));
    assert_eq!(keys("a").await, Ok(page(&["\0b", "b"], false)));
    assert_eq!(keys("a\0").await, Ok(page(&["b"], false)));
    assert_eq!(keys("ab").await, Ok(page(&["a"], false)));
    let gone = Op::Delete {
        bucket: "a".into(),
        key: "b".into(),
    };
    store.write(vec![gone]).await.unwrap();
    assert_eq!(keys("a").await, Ok(page(&["\0b"], false)));
    assert_eq!(keys("a\0").await, Ok(page(&["b"], false)));
}
