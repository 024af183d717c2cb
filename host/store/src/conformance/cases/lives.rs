//! How stores are opened, closed, removed and listed.

use super::super::super::{Scratch, StoreError, StoreLimits};
use super::super::{NAME, Subject, blocking, delete, open, set, written};

pub(super) async fn stores_are_separate(on: &Subject<'_>) {
    let stores = on.stores(StoreLimits::default());
    let (a, b) = (open(&stores, "a").await, open(&stores, "b").await);
    a.write(vec![set("k", "of a")]).await.unwrap();
    assert_eq!(b.get("b", "k").await, Ok(None));
    b.write(vec![set("k", "of b")]).await.unwrap();
    let of_a = a.get("b", "k").await.unwrap().unwrap();
    assert_eq!(of_a.value, b"of a");
    blocking(&stores, |stores| stores.remove("a"))
        .await
        .unwrap();
    let of_b = b.get("b", "k").await.unwrap().unwrap();
    assert_eq!(of_b.value, b"of b");
}

pub(super) async fn missing_store_is_created_only_on_request(on: &Subject<'_>) {
    let backend = on.backend(StoreLimits::default());
    let done = tokio::task::spawn_blocking(move || {
        assert!(backend.open(NAME, false).unwrap().is_none());
        assert!(backend.list().unwrap().is_empty());
        let made = backend.open(NAME, true).unwrap().unwrap();
        made.close();
        let found = backend.open(NAME, false).unwrap();
        found.unwrap().close();
    });
    done.await.unwrap();
}

pub(super) async fn reopened_store_is_as_it_was_closed(on: &Subject<'_>) {
    let (stores, old) = on.store(StoreLimits::default()).await;
    let both = vec![set("k", "kept"), set("large", vec![7; 300_000])];
    old.write(both).await.unwrap();
    let (entry, bytes) = (old.get("b", "k").await, old.stats().stored_bytes);
    // The last of these is in what closing waits for, whoever awaits it.
    let last = old.write(vec![set("last", "v")]);
    blocking(&stores, |stores| stores.close(NAME)).await;
    assert_eq!(last.await, written(1));
    assert_eq!(old.get("b", "k").await, Err(StoreError::Closed));
    let late = old.write(vec![set("late", "v")]).await;
    assert_eq!(late, Err(StoreError::Closed));
    assert!(stores.get(NAME).is_none());
    let new = open(&stores, NAME).await;
    assert_eq!(new.get("b", "k").await, entry);
    let large = new.get("b", "large").await.unwrap().unwrap();
    assert_eq!(large.value, vec![7; 300_000]);
    assert_eq!(new.exists("b", "last").await, Ok(true));
    assert_eq!(new.exists("b", "late").await, Ok(false));
    new.write(vec![delete("last")]).await.unwrap();
    assert_eq!(new.stats().stored_bytes, bytes);
}

pub(super) async fn store_removed_while_open_rejects_its_holders_and_reopens_empty(
    on: &Subject<'_>,
) {
    let (stores, old) = on.store(StoreLimits::default()).await;
    old.write(vec![set("k", "gone")]).await.unwrap();
    let remove = || blocking(&stores, |stores| stores.remove(NAME));
    remove().await.unwrap();
    assert_eq!(old.get("b", "k").await, Err(StoreError::Closed));
    let late = old.write(vec![set("late", "v")]).await;
    assert_eq!(late, Err(StoreError::Closed));
    let listed = blocking(&stores, |stores| stores.stored()).await;
    assert!(listed.unwrap().is_empty());
    // That there is none is no error.
    remove().await.unwrap();
    let new = open(&stores, NAME).await;
    assert!(new.keys("b", None, 0, 9).await.unwrap().keys.is_empty());
    assert_eq!(new.stats().stored_bytes, 0);
    assert_eq!(new.write(vec![set("k", "new")]).await, written(1));
    // The old one is closed, whatever there is under its name.
    assert_eq!(old.get("b", "k").await, Err(StoreError::Closed));
}

pub(super) async fn list_distinguishes_a_store_from_its_successor(on: &Subject<'_>) {
    let stores = on.stores(StoreLimits::default());
    let list = || blocking(&stores, |stores| stores.stored().unwrap());
    assert!(list().await.is_empty());
    for name in ["b", "a", "a-b", "9"] {
        open(&stores, name).await;
    }
    let before = list().await;
    let names: Vec<&str> = before.keys().map(String::as_str).collect();
    assert_eq!(names, ["9", "a", "a-b", "b"]);
    blocking(&stores, |stores| stores.close_all()).await;
    assert_eq!(list().await, before, "closed or open, it is the same store");
    blocking(&stores, |stores| stores.remove("a"))
        .await
        .unwrap();
    open(&stores, "c").await;
    open(&stores, "a").await;
    let after = list().await;
    assert_ne!(after["a"], before["a"]);
    assert_eq!(after["b"], before["b"]);
}

pub(super) async fn unsafe_store_name_is_rejected(on: &Subject<'_>) {
    let backend = on.backend(StoreLimits::default());
    let done = tokio::task::spawn_blocking(move || {
        let long = "x".repeat(64);
        for name in ["", ".", "..", "../a", "a/b", "A", "a.b", "a\0", "ä", &long] {
            let opened = backend.open(name, true).err();
            assert!(
                matches!(opened, Some(StoreError::BadName { .. })),
                "{name:?}"
            );
            let removed = backend.remove(name).err();
            assert!(
                matches!(removed, Some(StoreError::BadName { .. })),
                "{name:?}"
            );
        }
        assert!(backend.list().unwrap().is_empty());
        assert!(backend.open(&long[1..], true).unwrap().is_some());
    });
    done.await.unwrap();
}

pub(super) async fn copy_holds_acknowledged_writes(on: &Subject<'_>) {
    let (stores, store) = on.store(StoreLimits::default()).await;
    let both = vec![set("k", "v"), set("large", vec![7; 5_000])];
    store.write(both).await.unwrap();
    let copy = blocking(&stores, |stores| {
        let folder = std::env::temp_dir();
        let mut go_on = |_| true;
        let mut scratch = Scratch {
            folder: &folder,
            go_on: &mut go_on,
        };
        assert!(stores.snapshot("none", &mut scratch).unwrap().is_none());
        stores.snapshot(NAME, &mut scratch).unwrap()
    });
    let mut copy = copy.await.unwrap();
    store.write(vec![set("k", "later")]).await.unwrap();
    let large = ("large".to_owned(), vec![7; 5_000]);
    let expected = [("k".to_owned(), b"v".to_vec()), large];
    assert_eq!(copy.entries("b").unwrap(), expected);
}
