use super::super::conformance::Memory;
use super::*;
use std::sync::atomic::AtomicBool;

fn stores() -> (tempfile::TempDir, Stores) {
    let folder = tempfile::tempdir().unwrap();
    let stores = Stores::new(folder.path().join("windows"), StoreLimits::default());
    (folder, stores)
}

fn set(value: &str) -> Vec<super::super::Op> {
    vec![super::super::Op::Set {
        bucket: "b".into(),
        key: "k".into(),
        value: value.into(),
    }]
}

#[tokio::test]
async fn every_window_has_its_own_store() {
    let (_folder, stores) = stores();
    let (a, b) = (stores.open("a").unwrap(), stores.open("b").unwrap());
    a.write(set("of a")).await.unwrap();
    assert_eq!(b.get("b", "k").wait().unwrap(), None);
    b.write(set("of b")).await.unwrap();
    assert_eq!(a.get("b", "k").wait().unwrap().unwrap().value, b"of a");
    let names: Vec<String> = stores.stats().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn concurrent_openers_get_the_same_store() {
    let (_folder, stores) = stores();
    let stores: Vec<Arc<dyn Store>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| stores.open("a").unwrap()))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(stores.iter().all(|store| Arc::ptr_eq(store, &stores[0])));
}

#[test]
fn slow_opening_does_not_stop_another_window() {
    let (_folder, stores) = stores();
    let slow = stores.cell("slow");
    let opening = slow.changing.lock();
    assert!(stores.open("quick").is_ok());
    assert!(stores.get("slow").is_none());
    assert_eq!(stores.stats().len(), 1);
    drop(opening);
}

#[test]
fn open_store_is_found_while_it_is_being_closed_and_can_be_resized() {
    let (_folder, stores) = stores();
    stores.open("a").unwrap();
    let cell = stores.cell("a");
    let closing = cell.changing.lock();
    assert!(stores.get("a").is_some());
    assert_eq!(stores.stats().len(), 1);
    stores.set_max_store_bytes("a", 1);
    drop(closing);
}

#[test]
fn waiters_for_an_opening_store_hold_one_thread() {
    let (_folder, stores) = stores();
    let stores = Arc::new(stores);
    let cell = stores.cell("slow");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(2)
        .build()
        .unwrap();
    let opening = cell.changing.lock();
    let waiting = runtime.block_on(async {
        let waiting: Vec<_> = (0..50)
            .map(|_| {
                let stores = stores.clone();
                tokio::spawn(async move { stores.open_async("slow").await })
            })
            .collect();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        // One thread waits, so there is one left.
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        waiting
    });
    drop(opening);
    runtime.block_on(async {
        for open in waiting {
            open.await.unwrap().unwrap();
        }
    });
}

#[test]
fn unsafe_store_name_is_rejected() {
    let (folder, stores) = stores();
    let long = "x".repeat(64);
    for name in ["", ".", "..", "../a", "a/b", "A", "a.b", "a\0", "ä", &long] {
        assert!(
            matches!(stores.open(name), Err(StoreError::BadName { .. })),
            "{name:?}"
        );
        assert!(
            matches!(stores.remove(name), Err(StoreError::BadName { .. })),
            "{name:?}"
        );
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    assert!(stores.open(&long[1..]).is_ok());
}

#[tokio::test]
async fn closed_store_rejects_its_old_holders_and_reopens_with_its_content() {
    let (_folder, stores) = stores();
    let old = stores.open("a").unwrap();
    old.write(set("kept")).await.unwrap();
    stores.close("a");
    assert!(stores.get("a").is_none());
    assert_eq!(old.get("b", "k").wait(), Err(StoreError::Closed));
    assert_eq!(old.write(set("late")).await, Err(StoreError::Closed));
    let new = Arc::new(stores).open_async("a").await.unwrap();
    assert_eq!(new.get("b", "k").wait().unwrap().unwrap().value, b"kept");
}

#[tokio::test]
async fn removed_store_leaves_no_file_and_reopens_empty() {
    let (folder, stores) = stores();
    let old = stores.open("a").unwrap();
    old.write(set("gone")).await.unwrap();
    let home = folder.path().join("windows/a");
    std::fs::write(home.join("store.redb.unfinished-1"), "left by a crash").unwrap();
    stores.remove("a").unwrap();
    assert!(!home.exists());
    assert_eq!(old.get("b", "k").wait(), Err(StoreError::Closed));
    stores.remove("a").unwrap();
    assert!(stores.cells.lock().is_empty());
    let new = stores.open("a").unwrap();
    assert_eq!(new.get("b", "k").wait().unwrap(), None);
}

#[test]
fn store_removal_keeps_other_files_of_its_window() {
    let (folder, stores) = stores();
    stores.open("a").unwrap();
    let other = folder.path().join("windows/a/window.log");
    std::fs::write(&other, "kept").unwrap();
    stores.remove("a").unwrap();
    assert_eq!(
        std::fs::read_dir(folder.path().join("windows/a"))
            .unwrap()
            .count(),
        1
    );
    assert!(other.exists());
}

/// A backend whose stores cannot be opened for as long as a test has it so.
struct Faulty {
    stores: Memory,
    is_broken: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Backend for Faulty {
    fn open(&self, name: &str, create: bool) -> Result<Option<Arc<dyn Store>>, StoreError> {
        self.asked.fetch_add(1, Relaxed);
        if self.is_broken.load(Relaxed) {
            let path = PathBuf::from(name);
            return Err(StoreError::DiskFull { path });
        }
        self.stores.open(name, create)
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.stores.remove(name)
    }

    fn list(&self) -> Result<BTreeMap<String, StoreId>, StoreError> {
        self.stores.list()
    }
}

#[test]
fn store_that_fails_to_open_is_not_retried_during_its_pause() {
    let (is_broken, asked) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let stores = Stores::over(Box::new(Faulty {
        stores: Memory::new(StoreLimits::default()),
        is_broken: is_broken.clone(),
        asked: Arc::clone(&asked),
    }));
    stores.open("other").unwrap();
    is_broken.store(true, Relaxed);
    let before = Instant::now();
    let why = stores.open("a").err().unwrap();
    assert!(matches!(why, StoreError::DiskFull { .. }));
    let fault = stores.broken("a").unwrap();
    assert_eq!(fault.error, why);
    assert!(fault.until >= before + RETRY.first);
    // The pause is longer than this takes.
    is_broken.store(false, Relaxed);
    assert_eq!(stores.open("a").err(), Some(why));
    assert_eq!(asked.load(Relaxed), 2);
    assert!(stores.get("a").is_none() && stores.broken("other").is_none());
    // It is due: whoever asks opens it.
    let cell = stores.cell("a");
    let due = cell.health.begin(fault.until).unwrap();
    let nothing_more = StoreError::DiskFull { path: "a".into() };
    due.failed(nothing_more, false, before - RETRY.first);
    assert!(stores.open("a").is_ok() && stores.broken("a").is_none());
    assert_eq!(stores.broken.load(Relaxed), 0);
}

#[test]
fn removed_store_is_no_longer_reported_broken() {
    let stores = Stores::over(Box::new(Faulty {
        stores: Memory::new(StoreLimits::default()),
        is_broken: Arc::new(AtomicBool::new(true)),
        asked: Arc::default(),
    }));
    assert!(stores.open("a").is_err() && stores.broken("a").is_some());
    stores.remove("a").unwrap();
    assert!(stores.broken("a").is_none());
    assert_eq!(stores.broken.load(Relaxed), 0);
    assert!(stores.cells.lock().is_empty());
}
