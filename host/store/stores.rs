//! The stores of all windows, by name.

use super::waiting::READERS;
use super::{RedbStore, Scratch, Snapshot, Store, StoreError, StoreLimits, StoreStats, create};
use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Semaphore;

/// The longest name: that of a DNS label, because a window's name is part of its internal host
/// name.
const MAX_NAME_BYTES: usize = 63;

/// The file of a store, in the folder of its window.
const FILE_NAME: &str = "store.redb";

/// Time from a store that could not be opened to the next try. 1 s: soon after the fault is gone,
/// and seldom enough that looking at a large damaged file again and again costs the other windows
/// nothing.
const RETRY: Duration = Duration::from_secs(1);

/// All stores under one folder, each in `ROOT/NAME/store.redb`. A store is opened when it is first
/// asked for, and then kept.
pub struct Stores {
    root: PathBuf,
    limits: StoreLimits,
    /// What single stores may hold, in bytes, where that is not the common bound.
    sizes: Mutex<HashMap<String, u64>>,
    /// Held for a look-up only, never while a file is opened: one slow window must not stop the
    /// others.
    cells: Mutex<HashMap<String, Arc<StoreCell>>>,
    /// The stores that could not be opened when that was last tried, and whether there are any.
    broken: Mutex<HashMap<String, StoreFault>>,
    any_broken: AtomicBool,
    /// The places of all its stores for reads that wait for the disk.
    readers: Arc<Semaphore>,
}

/// A store that could not be opened.
#[derive(Debug, Clone)]
pub struct StoreFault {
    /// Why.
    pub error: StoreError,
    /// When it is tried again, at the earliest.
    pub until: Instant,
}

/// Which file a store is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreId {
    inode: u64,
    /// A number is given again; where the file system does not say when, that is not noticed.
    made: Option<SystemTime>,
}

impl StoreId {
    fn of(file: &std::fs::Metadata) -> Self {
        StoreId {
            inode: file.ino(),
            made: file.created().ok(),
        }
    }
}

/// The place of one store.
#[derive(Default)]
struct StoreCell {
    /// Looked at without a lock: nobody who wants an open store waits for a disk.
    store: ArcSwapOption<RedbStore>,
    /// Held while the store is opened, closed or removed, so that those who come together wait and
    /// find it done.
    changing: Mutex<()>,
    /// The same for those on an asynchronous thread: of them one has a thread that blocks.
    opening: Arc<tokio::sync::Mutex<()>>,
}

impl Stores {
    /// Takes `root` as it is; folders are made when a store is.
    pub fn new(root: PathBuf, limits: StoreLimits) -> Self {
        Self {
            root,
            limits,
            sizes: Mutex::default(),
            cells: Mutex::default(),
            broken: Mutex::default(),
            any_broken: AtomicBool::new(false),
            readers: Arc::new(Semaphore::new(READERS)),
        }
    }

    /// The store of `name`, if it could not be opened when that was last tried. Never blocks.
    pub fn broken(&self, name: &str) -> Option<StoreFault> {
        if !self.any_broken.load(Relaxed) {
            return None;
        }
        self.broken.lock().get(name).cloned()
    }

    /// Notes what came of opening, and says it in the log when it is news.
    fn opened(&self, name: &str, outcome: Result<(), &StoreError>) {
        let mut news = None;
        let mut all = self.broken.lock();
        let before = match outcome {
            Err(error) if error.is_fault() => {
                let broken = StoreFault {
                    error: error.clone(),
                    until: Instant::now() + RETRY,
                };
                let before = all.insert(name.to_owned(), broken);
                if before.is_none_or(|before| before.error != *error) {
                    news = Some(error);
                }
                None
            }
            _ => all.remove(name),
        };
        self.any_broken.store(!all.is_empty(), Relaxed);
        drop(all);
        // Without the lock, which requests take: the log may be slow.
        if let Some(error) = news {
            tracing::error!(window = name, "closed, and nothing is lost yet: {error}");
        }
        if before.is_some() {
            tracing::info!(window = name, "its store can be used again");
        }
    }

    /// Bounds what the store of `name` holds, from its next write on. What is there already stays.
    pub fn set_max_store_bytes(&self, name: &str, bytes: u64) {
        self.sizes.lock().insert(name.to_owned(), bytes);
        let cell = self.cells.lock().get(name).cloned();
        if let Some(store) = cell.and_then(|cell| cell.store.load_full()) {
            store.set_max_store_bytes(bytes);
        }
    }

    /// The store of the window `name`, if it is open. Never blocks.
    pub fn get(&self, name: &str) -> Option<Arc<dyn Store>> {
        let cell = self.cells.lock().get(name).cloned()?;
        Some(cell.store.load_full()?)
    }

    /// The store of the window `name`, opened or made where that is needed. Blocks as
    /// [`RedbStore::open_file`] does; callers on an async thread use [`Stores::open_async`].
    pub fn open(&self, name: &str) -> Result<Arc<dyn Store>, StoreError> {
        let opened = self.opened_store(name, true)?;
        // It is made where there is none.
        let (store, _) = opened.ok_or(StoreError::Closed)?;
        Ok(store)
    }

    /// The store of `name`, and whether it was open already. None where there is none, and none is
    /// to be made.
    fn opened_store(
        &self,
        name: &str,
        make: bool,
    ) -> Result<Option<(Arc<RedbStore>, bool)>, StoreError> {
        let path = self.path_of(name)?;
        let cell = self.cell(name);
        let changing = cell.changing.lock();
        if let Some(store) = cell.store.load_full() {
            return Ok(Some((store, true)));
        }
        if !make && !path.exists() {
            drop(changing);
            self.forget(name, cell);
            return Ok(None);
        }
        if let Some(broken) = self.broken(name)
            && Instant::now() < broken.until
        {
            drop(changing);
            self.forget(name, cell);
            return Err(broken.error);
        }
        match RedbStore::open_file(path, name, self.limits.clone()) {
            Ok(opened) => {
                self.opened(name, Ok(()));
                let opened = Arc::new(opened.sharing(&self.readers));
                cell.store.store(Some(opened.clone()));
                // Looked up once it can be found, so that a bound that is set meanwhile is not
                // missed.
                if let Some(bytes) = self.sizes.lock().get(name) {
                    opened.set_max_store_bytes(*bytes);
                }
                Ok(Some((opened, false)))
            }
            Err(error) => {
                self.opened(name, Err(&error));
                drop(changing);
                self.forget(name, cell);
                Err(error)
            }
        }
    }

    /// As [`Stores::open`], with the blocking part on tokio's blocking pool: on one thread,
    /// however many wait for it.
    pub async fn open_async(self: &Arc<Self>, name: &str) -> Result<Arc<dyn Store>, StoreError> {
        if let Some(store) = self.get(name) {
            return Ok(store);
        }
        self.path_of(name)?;
        let cell = self.cell(name);
        let turn = cell.opening.clone().lock_owned().await;
        if let Some(store) = cell.store.load_full() {
            return Ok(store);
        }
        let (stores, name) = (self.clone(), name.to_owned());
        // The turn ends with the opening, which goes on where its caller leaves.
        let open = move || {
            let _turn = turn;
            drop(cell);
            stores.open(&name)
        };
        tokio::task::spawn_blocking(open)
            .await
            // The runtime is going down; opening itself does not panic.
            .unwrap_or(Err(StoreError::Closed))
    }

    /// Closes the store of `name`, if it is open, after the writes it has taken. Who still holds it
    /// gets [`StoreError::Closed`]. Blocks until the file is closed.
    pub fn close(&self, name: &str) {
        let cell = self.cells.lock().get(name).cloned();
        if let Some(cell) = cell {
            let changing = cell.changing.lock();
            if let Some(store) = cell.store.swap(None) {
                store.close();
            }
            drop(changing);
            self.forget(name, cell);
        }
    }

    /// The names under which there is a store file, each with what tells the file from one that
    /// comes after it. Blocks.
    ///
    /// # Errors
    /// When the folder cannot be listed. That there is none is no error.
    pub fn stored(&self) -> std::io::Result<BTreeMap<String, StoreId>> {
        let entries = match std::fs::read_dir(&self.root) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
            entries => entries?,
        };
        let mut stored = BTreeMap::new();
        for entry in entries {
            let Ok(name) = entry?.file_name().into_string() else {
                continue;
            };
            let Ok(path) = self.path_of(&name) else {
                continue;
            };
            match std::fs::metadata(&path) {
                Ok(file) => stored.insert(name, StoreId::of(&file)),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                // Why it cannot be looked at is said by whoever opens it.
                Err(_) => stored.insert(name, StoreId::default()),
            };
        }
        Ok(stored)
    }

    /// A copy of the store of `name`, as [`Store::snapshot`] makes it. None where there is no store
    /// of that name, or there is none any more. One that was opened for this is closed again,
    /// unless it is in use by then. Blocks.
    ///
    /// # Errors
    /// Why it was not made.
    pub fn snapshot(
        &self,
        name: &str,
        scratch: &mut Scratch<'_>,
    ) -> Result<Option<Snapshot>, StoreError> {
        loop {
            let Some((store, was_open)) = self.opened_store(name, false)? else {
                return Ok(None);
            };
            let made = store.snapshot(scratch);
            let still_there = self.get(name).is_some();
            drop(store);
            if !was_open {
                self.close_if_idle(name);
            }
            match made {
                // It was closed or removed meanwhile: what there is now is looked at anew.
                Err(StoreError::Closed) if !still_there => {}
                made => return made.map(Some),
            }
        }
    }

    /// Closes the store of `name` if nobody else has it in hand.
    fn close_if_idle(&self, name: &str) {
        let Some(cell) = self.cells.lock().get(name).cloned() else {
            return;
        };
        let changing = cell.changing.lock();
        if let Some(store) = cell.store.swap(None) {
            // Nobody can have taken it since, and whoever had is counted.
            match Arc::strong_count(&store) {
                1 => store.close(),
                _ => cell.store.store(Some(store)),
            }
        }
        drop(changing);
        self.forget(name, cell);
    }

    /// Closes every store. Blocks until the last file is closed.
    pub fn close_all(&self) {
        let names: Vec<String> = self.cells.lock().keys().cloned().collect();
        for name in names {
            self.close(&name);
        }
    }

    /// Closes the store of `name` and deletes its file, and the folder of the window if nothing
    /// else is in it. That there is none is no error. Blocks as [`Stores::close`] does.
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path_of(name)?;
        let cell = self.cell(name);
        let changing = cell.changing.lock();
        if let Some(store) = cell.store.swap(None) {
            store.close();
        }
        self.opened(name, Ok(()));
        let removed = create::remove(&path);
        if removed.is_ok()
            && let Err(error) = std::fs::remove_dir(self.root.join(name))
            && !matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty
            )
        {
            tracing::warn!(window = name, %error, "the empty folder of a removed store stays");
        }
        drop(changing);
        self.forget(name, cell);
        removed.map_err(|error| StoreError::Io {
            path,
            reason: error.to_string(),
        })
    }

    /// The figures of all open stores, by window.
    pub fn stats(&self) -> Vec<(String, StoreStats)> {
        let cells: Vec<(String, Arc<StoreCell>)> = self
            .cells
            .lock()
            .iter()
            .map(|(name, cell)| (name.clone(), cell.clone()))
            .collect();
        let mut stats: Vec<(String, StoreStats)> = cells
            .into_iter()
            .filter_map(|(name, cell)| {
                let store = cell.store.load_full()?;
                Some((name, store.stats()))
            })
            .collect();
        stats.sort_by(|a, b| a.0.cmp(&b.0));
        stats
    }

    fn path_of(&self, name: &str) -> Result<PathBuf, StoreError> {
        let fits = !name.is_empty()
            && name.len() <= MAX_NAME_BYTES
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !fits {
            let name = name.chars().take(MAX_NAME_BYTES).collect();
            return Err(StoreError::BadName { name });
        }
        Ok(self.root.join(name).join(FILE_NAME))
    }

    fn cell(&self, name: &str) -> Arc<StoreCell> {
        self.cells
            .lock()
            .entry(name.to_owned())
            .or_default()
            .clone()
    }

    /// Forgets an empty cell that nobody else has a hand on, so that names once used do not pile
    /// up.
    fn forget(&self, name: &str, cell: Arc<StoreCell>) {
        let mut cells = self.cells.lock();
        // The map's and ours: who would take another must first have the map.
        if Arc::strong_count(&cell) == 2 && cell.store.load().is_none() {
            cells.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    async fn each_window_has_a_store_of_its_own() {
        let (_folder, stores) = stores();
        let (a, b) = (stores.open("a").unwrap(), stores.open("b").unwrap());
        a.write(set("of a")).await.unwrap();
        assert_eq!(b.get("b", "k").unwrap(), None);
        b.write(set("of b")).await.unwrap();
        assert_eq!(a.get("b", "k").unwrap().unwrap().value, b"of a");
        let names: Vec<String> = stores.stats().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn those_who_open_a_store_together_get_the_same_one() {
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
    fn a_window_that_is_slow_to_open_does_not_stop_another() {
        let (_folder, stores) = stores();
        let slow = stores.cell("slow");
        let opening = slow.changing.lock();
        assert!(stores.open("quick").is_ok());
        assert!(stores.get("slow").is_none());
        assert_eq!(stores.stats().len(), 1);
        drop(opening);
    }

    #[test]
    fn an_open_store_is_found_while_it_is_being_closed_and_its_size_can_be_set() {
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
    fn however_many_wait_for_a_store_to_open_they_hold_one_thread() {
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
    fn a_name_that_could_lead_elsewhere_is_refused() {
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
    async fn a_closed_store_refuses_its_old_holders_and_opens_again_with_its_content() {
        let (_folder, stores) = stores();
        let old = stores.open("a").unwrap();
        old.write(set("kept")).await.unwrap();
        stores.close("a");
        assert!(stores.get("a").is_none());
        assert_eq!(old.get("b", "k"), Err(StoreError::Closed));
        assert_eq!(old.write(set("late")).await, Err(StoreError::Closed));
        let new = Arc::new(stores).open_async("a").await.unwrap();
        assert_eq!(new.get("b", "k").unwrap().unwrap().value, b"kept");
    }

    #[tokio::test]
    async fn a_removed_store_leaves_no_file_and_comes_back_empty() {
        let (folder, stores) = stores();
        let old = stores.open("a").unwrap();
        old.write(set("gone")).await.unwrap();
        let home = folder.path().join("windows/a");
        std::fs::write(home.join("store.redb.unfinished-1"), "left by a crash").unwrap();
        stores.remove("a").unwrap();
        assert!(!home.exists());
        assert_eq!(old.get("b", "k"), Err(StoreError::Closed));
        stores.remove("a").unwrap();
        assert!(stores.cells.lock().is_empty());
        let new = stores.open("a").unwrap();
        assert_eq!(new.get("b", "k").unwrap(), None);
    }

    #[test]
    fn removing_a_store_leaves_other_files_of_its_window_alone() {
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
}
