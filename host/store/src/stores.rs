//! The stores of all windows, by name.

use super::backend::check_name;
use super::health::{Health, Pauses, State};
use super::redb::RedbFiles;
use super::{
    Backend, LogBounds, LogState, Scratch, Snapshot, Store, StoreError, StoreId, StoreLimits,
    StoreStats,
};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The fixed pause before the next try after a store could not be opened. 1 s: soon after the fault
/// is gone, and seldom enough that checking a large damaged file again and again costs the other
/// windows nothing.
const RETRY: Pauses = Pauses {
    first: Duration::from_secs(1),
    longest: Duration::from_secs(1),
};

/// Told of changes of the logs of all stores, with the store's name. Must not block.
pub type LogsObserver = Arc<dyn Fn(&str, LogState) + Send + Sync>;

/// All stores of one backend. A store is opened when it is first needed, and then kept open.
pub struct Stores {
    backend: Box<dyn Backend>,
    /// The bounds of single stores, in bytes, if they differ from the common bound.
    sizes: Mutex<HashMap<String, u64>>,
    /// The bounds of the logs of single stores.
    logs: Mutex<HashMap<String, LogBounds>>,
    observer: Mutex<Option<LogsObserver>>,
    /// Locked only for a lookup, never while a store is opened: one slow window must not block the
    /// others.
    cells: Mutex<HashMap<String, Arc<StoreCell>>>,
    /// Those that could not be opened at the last try.
    broken: AtomicUsize,
}

/// A store that could not be opened.
#[derive(Debug, Clone)]
pub struct StoreFault {
    /// The error.
    pub error: StoreError,
    /// The earliest time of the next try.
    pub until: Instant,
}

/// An open store, and whether it was open before the call.
struct OpenedStore {
    store: Arc<dyn Store>,
    was_open: bool,
}

/// The cell of one store.
struct StoreCell {
    health: Health<Arc<dyn Store>>,
    /// Locked while the store is opened, closed or removed, so that concurrent callers wait and
    /// find it done.
    changing: Mutex<()>,
    /// The same for asynchronous callers: only one of them uses a blocking thread.
    opening: Arc<tokio::sync::Mutex<()>>,
}

impl Default for StoreCell {
    fn default() -> Self {
        StoreCell {
            health: Health::idle(RETRY),
            changing: Mutex::default(),
            opening: Arc::default(),
        }
    }
}

impl StoreCell {
    /// The store, if it is open. Takes no lock: nobody who needs an open store waits for a disk.
    fn store(&self) -> Option<Arc<dyn Store>> {
        match &**self.health.load() {
            State::Open(open) => Some(open.value.clone()),
            _ => None,
        }
    }

    /// Why it could not be opened at the last try.
    fn fault(&self) -> Option<StoreFault> {
        match &**self.health.load() {
            State::Failed(failure) | State::Opening(Some(failure)) => Some(StoreFault {
                error: failure.error.clone(),
                until: failure.retry_at,
            }),
            _ => None,
        }
    }
}

impl Stores {
    /// The stores in files under `root`, which is used as it is; folders are created with the
    /// stores.
    pub fn new(root: PathBuf, limits: StoreLimits) -> Self {
        Self::over(Box::new(RedbFiles::new(root, limits)))
    }

    /// The stores of `backend`.
    pub fn over(backend: Box<dyn Backend>) -> Self {
        Self {
            backend,
            sizes: Mutex::default(),
            logs: Mutex::default(),
            observer: Mutex::default(),
            cells: Mutex::default(),
            broken: AtomicUsize::new(0),
        }
    }

    /// Why the store of `name` could not be opened at the last try, if so. Never blocks.
    pub fn broken(&self, name: &str) -> Option<StoreFault> {
        if self.broken.load(Relaxed) == 0 {
            return None;
        }
        self.cells.lock().get(name)?.fault()
    }

    /// Bounds the size of the store of `name`, from its next write on. Existing content stays.
    pub fn set_max_store_bytes(&self, name: &str, bytes: u64) {
        self.sizes.lock().insert(name.to_owned(), bytes);
        let cell = self.cells.lock().get(name).cloned();
        if let Some(store) = cell.and_then(|cell| cell.store()) {
            store.set_max_store_bytes(bytes);
        }
    }

    /// Bounds the size of the log of `name`, from its next transaction on:
    /// [`LogBounds::max_bytes`].
    pub fn set_max_log_bytes(&self, name: &str, bytes: u64) {
        self.bound_log(name, |bounds| bounds.max_bytes = bytes);
    }

    /// Says that events of `name` from `sequence` on are needed: [`LogBounds::needed_from`].
    pub fn set_needed_from(&self, name: &str, sequence: u64) {
        self.bound_log(name, |bounds| bounds.needed_from = sequence);
    }

    fn bound_log(&self, name: &str, change: impl FnOnce(&mut LogBounds)) {
        // Locked while they are applied, so that the last that was set holds.
        let mut logs = self.logs.lock();
        let bounds = logs.entry(name.to_owned()).or_default();
        change(bounds);
        if let Some(store) = self.get(name) {
            store.set_log_bounds(*bounds);
        }
    }

    /// Sets who is told of changes of the logs of all stores, also of those that are opened later.
    /// It is told of each log that is not empty when its store is opened, or now. At most one.
    pub fn observe_logs(&self, observer: LogsObserver) {
        *self.observer.lock() = Some(observer.clone());
        let cells: Vec<_> = {
            let cells = self.cells.lock();
            let cells = cells.iter();
            cells
                .map(|(name, cell)| (name.clone(), cell.clone()))
                .collect()
        };
        for (name, cell) in cells {
            if let Some(store) = cell.store() {
                observe(&name, &store, observer.clone());
            }
        }
    }

    /// The store of the window `name`, if it is open. Never blocks.
    pub fn get(&self, name: &str) -> Option<Arc<dyn Store>> {
        let cell = self.cells.lock().get(name).cloned()?;
        cell.store()
    }

    /// The store of the window `name`, opened or created if necessary. Blocks as [`Backend::open`]
    /// does; callers on an async thread use [`Stores::open_async`].
    pub fn open(&self, name: &str) -> Result<Arc<dyn Store>, StoreError> {
        let opened = self.opened_store(name, true)?;
        // It is created if there is none.
        Ok(opened.ok_or(StoreError::Closed)?.store)
    }

    /// The store of the window `name`, opened if necessary. None if there is none. Blocks as
    /// [`Stores::open`] does.
    ///
    /// # Errors
    ///
    /// Why it cannot be opened.
    pub fn open_existing(&self, name: &str) -> Result<Option<Arc<dyn Store>>, StoreError> {
        let opened = self.opened_store(name, false)?;
        Ok(opened.map(|opened| opened.store))
    }

    /// The store of `name`. None if there is none and it must not be created.
    fn opened_store(&self, name: &str, create: bool) -> Result<Option<OpenedStore>, StoreError> {
        check_name(name)?;
        let cell = self.cell(name);
        let changing = cell.changing.lock();
        if let Some(store) = cell.store() {
            let was_open = true;
            return Ok(Some(OpenedStore { store, was_open }));
        }
        let opened = self.open_cell(name, &cell, create);
        drop(changing);
        if !matches!(opened, Ok(Some(_))) {
            self.forget(name, cell);
        }
        let was_open = false;
        Ok(opened?.map(|store| OpenedStore { store, was_open }))
    }

    /// Opens a store that is not open, and logs a failure if it is new.
    fn open_cell(
        &self,
        name: &str,
        cell: &StoreCell,
        create: bool,
    ) -> Result<Option<Arc<dyn Store>>, StoreError> {
        let Some(attempt) = cell.health.begin(Instant::now()) else {
            // It is too soon.
            let fault = cell.fault();
            return Err(fault.map_or(StoreError::Closed, |fault| fault.error));
        };
        let before = attempt.before().map(|failure| failure.error.clone());
        match self.backend.open(name, create) {
            Ok(Some(store)) => {
                // Only a caller that waits for this can close it.
                let _ = attempt.succeeded(store.clone());
                // Looked up once the store can be found, so that a bound that is set meanwhile is
                // not missed.
                if let Some(bytes) = self.sizes.lock().get(name) {
                    store.set_max_store_bytes(*bytes);
                }
                if let Some(bounds) = self.logs.lock().get(name) {
                    store.set_log_bounds(*bounds);
                }
                let observer = self.observer.lock().clone();
                if let Some(observer) = observer {
                    observe(name, &store, observer);
                }
                if before.is_some() {
                    self.broken.fetch_sub(1, Relaxed);
                    tracing::info!(window = name, "the store is usable again");
                }
                Ok(Some(store))
            }
            Err(error) if error.is_fault() => {
                attempt.failed(error.clone(), false, Instant::now());
                if before.is_none() {
                    self.broken.fetch_add(1, Relaxed);
                }
                if before.as_ref() != Some(&error) {
                    tracing::error!(
                        window = name,
                        "the store is closed; no data is lost: {error}"
                    );
                }
                Err(error)
            }
            // Its state is unknown.
            nothing => nothing,
        }
    }

    /// As [`Stores::open`], with the blocking part on tokio's blocking pool: on one thread, however
    /// many callers wait.
    pub async fn open_async(self: &Arc<Self>, name: &str) -> Result<Arc<dyn Store>, StoreError> {
        if let Some(store) = self.get(name) {
            return Ok(store);
        }
        // It is created if there is none.
        let opened = self.open_in_turn(name, true).await?;
        opened.ok_or(StoreError::Closed)
    }

    /// As [`Stores::open_existing`], in the same way.
    ///
    /// # Errors
    ///
    /// Why it cannot be opened.
    pub async fn open_existing_async(
        self: &Arc<Self>,
        name: &str,
    ) -> Result<Option<Arc<dyn Store>>, StoreError> {
        if let Some(store) = self.get(name) {
            return Ok(Some(store));
        }
        self.open_in_turn(name, false).await
    }

    async fn open_in_turn(
        self: &Arc<Self>,
        name: &str,
        create: bool,
    ) -> Result<Option<Arc<dyn Store>>, StoreError> {
        check_name(name)?;
        let cell = self.cell(name);
        let turn = cell.opening.clone().lock_owned().await;
        if let Some(store) = cell.store() {
            return Ok(Some(store));
        }
        let (stores, name) = (self.clone(), name.to_owned());
        // The lock is held until the store is open, even if the caller leaves.
        let open = move || {
            let _turn = turn;
            drop(cell);
            let opened = stores.opened_store(&name, create)?;
            Ok(opened.map(|opened| opened.store))
        };
        tokio::task::spawn_blocking(open)
            .await
            // The runtime is shutting down; opening itself does not panic.
            .unwrap_or(Err(StoreError::Closed))
    }

    /// Closes the store of `name`, if it is open, after the writes it has accepted. Later calls of
    /// its other holders return [`StoreError::Closed`]. Blocks until it is closed.
    pub fn close(&self, name: &str) {
        let cell = self.cells.lock().get(name).cloned();
        if let Some(cell) = cell {
            let changing = cell.changing.lock();
            if let Some(store) = cell.health.release() {
                store.close();
            }
            drop(changing);
            self.forget(name, cell);
        }
    }

    /// The names of the existing stores, each with an identity that distinguishes it from later
    /// ones. Blocks.
    ///
    /// # Errors
    ///
    /// If they cannot be listed. An empty list is not an error.
    pub fn stored(&self) -> Result<BTreeMap<String, StoreId>, StoreError> {
        self.backend.list()
    }

    /// A copy of the store of `name`, made by [`Store::snapshot`]. None if there is no store of
    /// that name, or no longer one. A store that was opened for this is closed again, unless it is
    /// in use by then. Blocks.
    ///
    /// # Errors
    ///
    /// Why there is no copy.
    pub fn snapshot(
        &self,
        name: &str,
        scratch: &mut Scratch<'_>,
    ) -> Result<Option<Snapshot>, StoreError> {
        loop {
            let opened = self.opened_store(name, false)?;
            let Some(OpenedStore { store, was_open }) = opened else {
                return Ok(None);
            };
            let made = store.snapshot(scratch);
            let still_there = self.get(name).is_some();
            drop(store);
            if !was_open {
                self.close_if_idle(name);
            }
            match made {
                // It was closed or removed meanwhile: the current state is checked again.
                Err(StoreError::Closed) if !still_there => {}
                made => return made.map(Some),
            }
        }
    }

    /// Closes the store of `name` if nobody else holds it.
    fn close_if_idle(&self, name: &str) {
        let Some(cell) = self.cells.lock().get(name).cloned() else {
            return;
        };
        let changing = cell.changing.lock();
        // Its holders are counted.
        let alone = |store: &Arc<dyn Store>| Arc::strong_count(store) == 1;
        if let Some(store) = cell.health.release_if(alone) {
            store.close();
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

    /// Closes the store of `name` and removes it with all its content. A missing store is not an
    /// error. Blocks as [`Stores::close`] does.
    ///
    /// # Errors
    ///
    /// Why it may still exist.
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        check_name(name)?;
        let cell = self.cell(name);
        let changing = cell.changing.lock();
        match &*cell.health.clear() {
            State::Open(open) => open.value.close(),
            State::Failed(_) => {
                self.broken.fetch_sub(1, Relaxed);
            }
            _ => {}
        }
        // Those of its successor are others, and begin at 1.
        if let Some(bounds) = self.logs.lock().get_mut(name) {
            bounds.needed_from = 0;
        }
        let removed = self.backend.remove(name);
        drop(changing);
        self.forget(name, cell);
        removed
    }

    /// The statistics of all open stores, by window.
    pub fn stats(&self) -> Vec<(String, StoreStats)> {
        let cells: Vec<(String, Arc<StoreCell>)> = self
            .cells
            .lock()
            .iter()
            .map(|(name, cell)| (name.clone(), cell.clone()))
            .collect();
        let mut stats: Vec<(String, StoreStats)> = cells
            .into_iter()
            .filter_map(|(name, cell)| Some((name, cell.store()?.stats())))
            .collect();
        stats.sort_by(|a, b| a.0.cmp(&b.0));
        stats
    }

    fn cell(&self, name: &str) -> Arc<StoreCell> {
        self.cells
            .lock()
            .entry(name.to_owned())
            .or_default()
            .clone()
    }

    /// Drops an empty cell that nobody else holds, so that names once used do not accumulate.
    fn forget(&self, name: &str, cell: Arc<StoreCell>) {
        let mut cells = self.cells.lock();
        // The map's and ours: another holder would first need the map.
        if Arc::strong_count(&cell) == 2 && matches!(&**cell.health.load(), State::Idle) {
            cells.remove(name);
        }
    }
}

fn observe(name: &str, store: &Arc<dyn Store>, observer: LogsObserver) {
    let name = name.to_owned();
    store.observe_log(Arc::new(move |state| observer(&name, state)));
}

// The guarded data is consistent at every moment, so a panic elsewhere does not corrupt it.

#[cfg(test)]
#[path = "stores_tests.rs"]
mod tests;
