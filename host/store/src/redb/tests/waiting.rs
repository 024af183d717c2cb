//! A disk that is slow, or hangs: who waits for it, and who does not.

use super::super::waiting::READERS_PER_STORE;
use super::super::{Entry, EntryKey, RedbStore, Store, StoreError};
use super::disk::{Disk, Trouble};
use super::{bare_limits, block_on, open, set, written};
use crate::conformance::{committed, emitting, event, timer};
use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use std::io::{ErrorKind, IoSliceMut};
use std::sync::Arc;
use std::time::Duration;

/// A store with [`VALUE`] under `k`, among so many keys that no read finds all it needs in the
/// pages that an open store keeps.
fn store() -> (Disk, Arc<RedbStore>) {
    let disk = Disk::new();
    let store = Arc::new(open(&disk, bare_limits()).unwrap());
    let fill = (0..300).map(|i| set(&format!("fill {i:03}"), [0; 200]));
    let ops = fill.chain([set("k", VALUE)]).collect();
    assert_eq!(block_on(store.write(ops)), written(301));
    (disk, store)
}

/// Large enough to lie apart from its head.
const VALUE: [u8; 5_000] = [7; 5_000];

async fn get(store: &Arc<RedbStore>, key: &'static str) -> Result<Option<Entry>, StoreError> {
    store.get("b", key).await
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never so: {what}");
}

#[test]
fn reads_on_a_hung_disk_block_neither_their_caller_nor_other_stores() {
    const READS: usize = 3 * READERS_PER_STORE;
    let (hanging, slow) = store();
    let (_, quick) = store();
    block_on(async {
        let hold = hanging.hold_reads();
        let reads: Vec<_> = (0..READS)
            .map(|_| {
                let slow = slow.clone();
                tokio::spawn(async move { get(&slow, "k").await })
            })
            .collect();
        until("the store's share of threads waits", || {
            hanging.reads_held() == READERS_PER_STORE
        })
        .await;
        assert!(get(&quick, "k").await.unwrap().is_some());
        until("every read waits", || slow.stats().waiting == READS as u64).await;
        // Those without a thread wait their turn, and take none. A thread too many would come to
        // the disk only after its read is counted, and no event says that none will.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(hanging.reads_held(), READERS_PER_STORE);
        assert_eq!(slow.stats().waiting, READS as u64);
        drop(hold);
        for read in reads {
            assert_eq!(read.await.unwrap().unwrap().unwrap().value, VALUE);
        }
        hanging.set_cold(false);
        assert!(get(&slow, "k").await.unwrap().is_some());
        let stats = slow.stats();
        assert_eq!((stats.waited, stats.waiting), (READS as u64, 0));
        assert_eq!(stats.reopened, 0, "waiting was taken for a fault");
        assert_eq!(quick.stats().waited, 0);
    });
}

#[test]
fn every_kind_of_read_leaves_its_thread_instead_of_blocking_it() {
    let (disk, store) = store();
    let events = (0..100).flat_map(|i| [event("e", "s"), timer("t", &i.to_string(), 9)]);
    let emitting = emitting(events.collect(), 1);
    committed(block_on(store.transact(emitting)));
    disk.set_cold(true);
    block_on(async {
        assert!(get(&store, "k").await.unwrap().is_some());
        assert!(get(&store, "fill 007").await.unwrap().is_some());
        let keys = store.keys("b", Some("j"), 0, 10).await;
        assert_eq!(keys.unwrap().keys, ["k"]);
        assert!(store.exists("b", "k").await.unwrap());
        let both = ["k".to_owned(), "fill 100".to_owned()];
        let both = store.get_many("b", &both).await;
        assert_eq!(both.unwrap().len(), 2);
        let places = ["k", "fill 100"].map(|key| EntryKey {
            bucket: "b".into(),
            key: key.into(),
        });
        let places = store.read_places(&places).await.unwrap();
        assert!(places.iter().all(Option::is_some));
        let page = store.events(0, 9, usize::MAX).await.unwrap();
        assert_eq!(page.events.len(), 9);
        assert_eq!(store.waiting_events(9).await.unwrap().len(), 9);
    });
    assert_eq!(store.stats().waited, 8);
    assert_eq!(store.stats().reopened, 0);
    assert_eq!(block_on(store.write(vec![set("k", "w")])), written(1));
}

#[test]
fn abandoned_read_returns_its_permit_once_the_disk_answers() {
    let (disk, store) = store();
    block_on(async {
        let hold = disk.hold_reads();
        for _ in 0..READERS_PER_STORE {
            let gone = tokio::time::timeout(Duration::from_millis(20), get(&store, "k")).await;
            assert!(gone.is_err());
        }
        until("all places are taken", || {
            disk.reads_held() == READERS_PER_STORE
        })
        .await;
        let late = tokio::time::timeout(Duration::from_millis(20), get(&store, "k")).await;
        assert!(late.is_err());
        drop(hold);
        assert!(get(&store, "k").await.unwrap().is_some());
        until("nobody waits", || store.stats().waiting == 0).await;
    });
}

#[test]
fn fault_is_reported_at_once_during_a_hung_read_and_the_store_recovers() {
    let (disk, store) = store();
    block_on(async {
        let hold = disk.hold_reads();
        let hanging = {
            let store = store.clone();
            tokio::spawn(async move { get(&store, "k").await })
        };
        until("the read waits", || disk.reads_held() == 1).await;
        disk.arm(Trouble::FailOnce(1, ErrorKind::Other));
        let failed = store.write(vec![set("k", "w")]).await;
        assert!(matches!(failed, Err(StoreError::Io { .. })), "{failed:?}");
        // The database that failed cannot be closed yet, and nobody waits for that.
        for _ in 0..100 {
            let told = get(&store, "k").await;
            assert!(matches!(told, Err(StoreError::Io { .. })), "{told:?}");
        }
        drop(hold);
        let _ = hanging.await.unwrap();
        let mut back = None;
        until("the store is back", || {
            back = store.get("b", "k").wait().ok();
            back.is_some()
        })
        .await;
        assert_eq!(back.unwrap().unwrap().value, VALUE);
    });
    assert_eq!(store.stats().reopened, 1);
}

#[test]
fn readers_do_not_wait_for_a_commit_that_waits_for_the_disk() {
    let (disk, store) = store();
    block_on(async {
        let hold = disk.hold_syncs();
        // It makes the file longer, for which redb holds locks.
        let write = store.write(vec![set("large", vec![7; 3_000_000])]);
        hold.wait_for_sync();
        let reader = {
            let store = store.clone();
            std::thread::spawn(move || store.get("b", "k").wait().unwrap().unwrap().value)
        };
        until("the reader is done", || reader.is_finished()).await;
        assert_eq!(reader.join().unwrap(), VALUE);
        drop(hold);
        assert_eq!(write.await, written(1));
    });
}

#[test]
fn cached_data_is_read_at_once_and_uncached_data_elsewhere() {
    let program = std::env::current_exe().unwrap();
    let folder = tempfile::tempdir_in(program.parent().unwrap()).unwrap();
    let path = folder.path().join("store.redb");
    let store = Arc::new(RedbStore::open_file(&path, "w", bare_limits()).unwrap());
    block_on(async {
        let large = set("k", vec![7; 100_000]);
        assert_eq!(store.write(vec![large]).await, written(1));
        let value = get(&store, "k").await.unwrap().unwrap().value;
        assert_eq!(value, [7; 100_000]);
        assert_eq!(store.stats().waited, 0);
        let file = std::fs::File::open(&path).unwrap();
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        let mut byte = [0];
        let probe = preadv2(
            &file,
            &mut [IoSliceMut::new(&mut byte)],
            0,
            ReadWriteFlags::NOWAIT,
        );
        let value = get(&store, "k").await.unwrap().unwrap().value;
        assert_eq!(value, [7; 100_000]);
        // Where the file system can say it, and has dropped the file.
        if probe == Err(Errno::AGAIN) {
            assert_eq!(store.stats().waited, 1);
        }
        assert_eq!(store.stats().reopened, 0);
    });
}
