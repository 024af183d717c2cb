//! A copy of a store is what one commit left, whatever goes on meanwhile, and keeps nobody from
//! writing or closing.

use super::super::{RedbStore, Scratch, Snapshot, Store, StoreError, StoreLimits, Stores};
use super::{OWNER, block_on, increment, set};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

fn take(store: &dyn Store, folder: &Path) -> Result<Snapshot, StoreError> {
    store.snapshot(&mut Scratch {
        folder,
        go_on: &mut |_| true,
    })
}

/// The copy as a store of its own.
fn reopen(snapshot: Snapshot, folder: &Path) -> RedbStore {
    let path: PathBuf = folder.join("copy.redb");
    let mut to = std::fs::File::create(&path).unwrap();
    std::io::copy(&mut snapshot.into_file(), &mut to).unwrap();
    RedbStore::open_file(path, OWNER, StoreLimits::default()).unwrap()
}

fn number(store: &dyn Store, key: &str) -> u64 {
    let entry = store.get("b", key).wait().unwrap();
    entry.map_or(0, |entry| {
        String::from_utf8(entry.value).unwrap().parse().unwrap()
    })
}

#[test]
fn copy_holds_acknowledged_writes_and_no_partial_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let store = Arc::new(RedbStore::open_file(path, OWNER, StoreLimits::default()).unwrap());
    // Large enough that the copy takes some steps.
    for key in 0..400 {
        let value = vec![key as u8; 60_000];
        block_on(store.write(vec![set(&format!("large {key}"), value)])).unwrap();
    }
    let (ended, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(SeqCst) {
                let both = vec![increment("left", 1), increment("right", 1)];
                block_on(store.write(both)).unwrap();
                acknowledged.fetch_add(1, SeqCst);
            }
        });
        for _ in 0..3 {
            let before = acknowledged.load(SeqCst);
            let (mut steps, mut during) = (0, before);
            let mut go_on = |_| {
                // More is written while the copy is being made.
                let deadline = Instant::now() + Duration::from_secs(20);
                while acknowledged.load(SeqCst) <= during && Instant::now() < deadline {
                    std::thread::yield_now();
                }
                during = acknowledged.load(SeqCst);
                steps += 1;
                true
            };
            let made = store.snapshot(&mut Scratch {
                folder: dir.path(),
                go_on: &mut go_on,
            });
            let made = made.unwrap();
            assert!(steps > 5, "{steps}");
            let after = acknowledged.load(SeqCst);
            assert!(after >= before + steps, "{before} {after}");
            let copy = reopen(made, dir.path());
            let (left, right) = (number(&copy, "left"), number(&copy, "right"));
            assert_eq!(left, right);
            assert!((before..after).contains(&left), "{before} {left} {after}");
            for key in 0..400 {
                let entry = copy
                    .get("b", &format!("large {key}"))
                    .wait()
                    .unwrap()
                    .unwrap();
                assert_eq!(entry.value, vec![key as u8; 60_000]);
            }
            copy.close();
            std::fs::remove_file(dir.path().join("copy.redb")).unwrap();
        }
        ended.store(true, SeqCst);
    });
}

#[test]
fn copy_continues_with_the_versions_and_size_of_its_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let store = RedbStore::open_file(path, OWNER, StoreLimits::default()).unwrap();
    block_on(store.write(vec![set("a", "1"), set("b", vec![7; 5_000])])).unwrap();
    let mut made = take(&store, dir.path()).unwrap();
    assert_eq!(made.entries("b").unwrap().len(), 2);
    let copy = reopen(made, dir.path());
    assert_eq!(copy.stats().stored_bytes, store.stats().stored_bytes);
    for key in ["a", "b"] {
        assert_eq!(
            copy.get("b", key).wait().unwrap(),
            store.get("b", key).wait().unwrap()
        );
    }
    block_on(copy.write(vec![set("c", "3")])).unwrap();
    let versions = ["a", "b", "c"].map(|key| copy.get("b", key).wait().unwrap().unwrap().version);
    assert!(versions[2] > versions[0].max(versions[1]), "{versions:?}");
}

#[test]
fn copy_leaves_no_file_and_is_about_as_large_as_the_stored_data() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let store = RedbStore::open_file(path, OWNER, StoreLimits::default()).unwrap();
    for round in 0..200 {
        let ops = (0..250).map(|key| set(&format!("{round:03} {key:03}"), vec![1; 400]));
        block_on(store.write(ops.collect())).unwrap();
    }
    let made = take(&store, dir.path()).unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    let stored = store.stats().stored_bytes;
    assert!(made.bytes() < 3 * stored, "{} of {stored}", made.bytes());
}

#[test]
fn abandoned_copy_leaves_the_store_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let store = RedbStore::open_file(path, OWNER, StoreLimits::default()).unwrap();
    let given_up = store.snapshot(&mut Scratch {
        folder: dir.path(),
        go_on: &mut |_| false,
    });
    assert_eq!(given_up.unwrap_err(), StoreError::GivenUp);
    let nowhere = dir.path().join("nowhere");
    let unwritable = take(&store, &nowhere).unwrap_err();
    assert!(matches!(unwritable, StoreError::Scratch { .. }));
    block_on(store.write(vec![set("a", "1")])).unwrap();
    assert_eq!(number(&store, "a"), 1);
}

#[test]
fn removal_does_not_wait_for_a_copy() {
    let dir = tempfile::tempdir().unwrap();
    let stores = Stores::new(dir.path().join("windows"), StoreLimits::default());
    let store = stores.open("a").unwrap();
    for key in 0..100 {
        let value = vec![key as u8; 200_000];
        block_on(store.write(vec![set(&format!("{key}"), value)])).unwrap();
    }
    drop(store);
    let begun = AtomicBool::new(false);
    let patient = |until: &dyn Fn() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !until() && Instant::now() < deadline {
            std::thread::yield_now();
        }
    };
    std::thread::scope(|scope| {
        let removal = scope.spawn(|| {
            patient(&|| begun.load(SeqCst));
            stores.remove("a")
        });
        let mut go_on = |copied| {
            if copied > 0 && !begun.swap(true, SeqCst) {
                // It shuts the store, and then waits for the next look.
                patient(&|| stores.get("a").is_none());
            }
            true
        };
        let folder = dir.path();
        let mut scratch = Scratch {
            folder,
            go_on: &mut go_on,
        };
        assert!(stores.snapshot("a", &mut scratch).unwrap().is_none());
        removal.join().unwrap().unwrap();
    });
    assert!(!dir.path().join("windows/a").exists());
}

#[test]
fn unused_store_is_opened_for_its_copy_and_closed_again() {
    let dir = tempfile::tempdir().unwrap();
    let stores = Stores::new(dir.path().join("windows"), StoreLimits::default());
    let take = |stores: &Stores, name: &str, go_on: &mut dyn FnMut(u64) -> bool| {
        let folder = dir.path();
        stores.snapshot(name, &mut Scratch { folder, go_on })
    };
    assert!(stores.stored().unwrap().is_empty());
    assert!(take(&stores, "none", &mut |_| true).unwrap().is_none());
    assert!(!dir.path().join("windows").exists(), "nothing is made");
    block_on(stores.open("a").unwrap().write(vec![set("k", "1")])).unwrap();
    stores.close("a");
    assert!(take(&stores, "a", &mut |_| true).unwrap().is_some());
    assert!(stores.get("a").is_none(), "it was closed before");
    // Somebody opens it meanwhile, and keeps it.
    let mut kept = None;
    let mut go_on = |_| {
        kept = stores.get("a");
        true
    };
    assert!(take(&stores, "a", &mut go_on).unwrap().is_some());
    let kept = kept.unwrap();
    assert_eq!(number(&*kept, "k"), 1);
    let stored = stores.stored().unwrap();
    assert_eq!(stored.keys().collect::<Vec<_>>(), ["a"]);
    // One that is made anew is another.
    drop(kept);
    stores.remove("a").unwrap();
    stores.open("b").unwrap();
    stores.open("a").unwrap();
    assert_ne!(stores.stored().unwrap()["a"], stored["a"]);
}
