//! One access fails and the disk is well again: the store says so, comes back by itself, and has
//! lost nothing.

use super::super::{RedbStore, Store, StoreError};
use super::crash::{Acknowledged, check, work};
use super::disk::{Disk, Trouble};
use super::{bare_limits, block_on, open, set, written};
use std::io::ErrorKind;

/// Asks until the store is open again; each answer in between must be an honest one.
async fn wait_until_back(store: &RedbStore) {
    for _ in 0..10_000 {
        match store.exists("b", "no such key").wait() {
            Ok(false) => return,
            Ok(true) => panic!("it was never written"),
            Err(error) => assert!(error.is_fault(), "{error}"),
        }
        tokio::task::yield_now().await;
        std::thread::yield_now();
    }
    panic!("the store does not come back");
}

#[test]
fn store_survives_any_single_failing_access() {
    let empty = Disk::new().after_power_loss(1);
    let mut failures = 0;
    for at in 1.. {
        let disk = Disk::of(empty.clone());
        disk.arm(Trouble::FailOnce(at, ErrorKind::Other));
        let mut seen = Acknowledged::default();
        if let Ok(store) = open(&disk, bare_limits()) {
            block_on(async {
                work(&store, &mut seen).await;
                let _ = store.get("b", "left 0").wait();
                wait_until_back(&store).await;
                if store.write(vec![set("after", "it")]).await.is_err() {
                    assert!(disk.struck());
                    wait_until_back(&store).await;
                    assert_eq!(store.write(vec![set("after", "it")]).await, written(1));
                }
            });
            failures += u64::from(store.stats().reopened > 0);
            store.close();
        }
        let struck = disk.struck();
        disk.arm(Trouble::None);
        let store = open(&disk, bare_limits()).unwrap();
        for round in &seen.pairs {
            assert!(store.exists("b", &format!("left {round}")).wait().unwrap());
        }
        if !struck {
            break;
        }
        drop(store);
        let after = Disk::of(disk.after_power_loss(at));
        let store = open(&after, bare_limits()).unwrap();
        block_on(store.write(vec![super::delete("after")])).unwrap();
        check(&store, &seen);
    }
    assert!(
        failures > 50,
        "{failures} failures are too few to have tried"
    );
}

#[test]
fn full_disk_is_reported_as_such_and_reads_continue() {
    let disk = Disk::new();
    let store = open(&disk, bare_limits()).unwrap();
    block_on(async {
        store.write(vec![set("before", "it")]).await.unwrap();
        let mut full = 0;
        for at in 1..40 {
            disk.arm(Trouble::FailOnce(at, ErrorKind::StorageFull));
            match store.write(vec![set("large", vec![7; 100_000])]).await {
                Err(StoreError::DiskFull { .. }) => full += 1,
                Err(other) => assert!(other.is_fault(), "{other}"),
                Ok(_) => {}
            }
            disk.arm(Trouble::None);
            wait_until_back(&store).await;
            assert_eq!(
                store.get("b", "before").wait().unwrap().unwrap().value,
                b"it"
            );
        }
        assert!(full > 0);
    });
}

#[test]
fn absent_disk_is_answered_with_its_fault_and_never_hangs() {
    let disk = Disk::new();
    let store = open(&disk, bare_limits()).unwrap();
    block_on(async {
        disk.arm(Trouble::PowerLoss(1));
        for _ in 0..5 {
            let failed = store.write(vec![set("k", "v")]).await;
            assert!(matches!(failed, Err(StoreError::Io { .. })), "{failed:?}");
            let failed = store.get("b", "k").wait();
            assert!(matches!(failed, Err(StoreError::Io { .. })), "{failed:?}");
        }
        disk.arm(Trouble::None);
        wait_until_back(&store).await;
        assert_eq!(store.write(vec![set("k", "v")]).await, written(1));
    });
}
