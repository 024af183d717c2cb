//! Where the log of each window stands, without opening its store: an index in events.redb.
//!
//! A store is dirty from its first event in a run of the host on, until the host ends as it should.
//! So after a crash only dirty stores are opened to see how they stand; of the others the index is
//! exact. [`Logs::before_emit`] marks a store, and waits until that is on disk.

use crate::limits::{OPEN_AT_ONCE, PROMOTE};
use crate::records::{LOGS, LogRecord};
use crate::state::State;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hms_core::events::EmitGuard;
use hms_disk::crash;
use hms_store::{LogState, Store, StoreError, Stores};
use parking_lot::{Mutex, RwLock};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tokio::sync::{Notify, Semaphore};

/// Whoever reads logs. Called after each commit, so it must not block.
pub(crate) trait Readers: Send + Sync {
    /// There is more in the log of `window`.
    fn grown(&self, window: &str);
    /// The log of `window` ends at `last`, before where it once ended.
    fn shrunk(&self, window: &str, last: u64);
}

/// What is known of one log.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Log {
    pub last: u64,
    pub next_due_ms: Option<u64>,
    /// It may stand elsewhere: nobody has looked since a host ended without notice.
    dirty: bool,
    /// Its store was open in this run, so that all of this is exact.
    pub seen: bool,
    pub bytes: u64,
    pub waiting: u64,
}

impl Log {
    /// Nobody knows whether there is more.
    pub(crate) fn is_unsure(&self) -> bool {
        self.dirty
    }
}

/// The logs of all windows.
pub(crate) struct Logs {
    state: Arc<State>,
    stores: Arc<Stores>,
    known: Mutex<HashMap<String, Log>>,
    /// Stores that were marked in this run.
    marked: RwLock<HashSet<String>>,
    /// How the logs stand is noted for good: no event may come any more.
    closed: AtomicBool,
    /// A copy was made in this run, so that clean logs are noted as dirty.
    copied: AtomicBool,
    /// One marking at a time, so that none is done twice.
    marking: tokio::sync::Mutex<()>,
    /// Whoever opens a store has its turn first, so that of the places of `opening` one that hangs
    /// takes one.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    opening: Arc<Semaphore>,
    readers: RwLock<Option<Arc<dyn Readers>>>,
    /// Of those who follow a log.
    pub(crate) any: Notify,
    /// An event is due earlier than was known.
    pub(crate) due: Notify,
}

impl Logs {
    pub(crate) async fn load(
        state: Arc<State>,
        stores: Arc<Stores>,
    ) -> Result<Arc<Self>, StoreError> {
        let records = state.all::<LogRecord>(LOGS).await?;
        let known = records.into_iter().map(|(window, record)| {
            let log = Log {
                last: record.last,
                next_due_ms: record.next_due_ms,
                dirty: record.dirty,
                ..Log::default()
            };
            (window, log)
        });
        Ok(Arc::new(Logs {
            known: Mutex::new(known.collect()),
            marked: RwLock::default(),
            closed: AtomicBool::new(false),
            copied: AtomicBool::new(false),
            marking: tokio::sync::Mutex::default(),
            turns: Mutex::default(),
            opening: Arc::new(Semaphore::new(OPEN_AT_ONCE)),
            readers: RwLock::default(),
            any: Notify::new(),
            due: Notify::new(),
            state,
            stores,
        }))
    }

    /// Notifies `readers` from now on.
    pub(crate) fn set_readers(self: &Arc<Self>, readers: Arc<dyn Readers>) {
        *self.readers.write() = Some(readers);
        let logs = Arc::downgrade(self);
        self.stores
            .observe_logs(Arc::new(move |window: &str, state: LogState| {
                if let Some(logs) = logs.upgrade() {
                    logs.observe(window, state);
                }
            }));
    }

    /// Nobody is told any more, and no event may be committed.
    pub(crate) fn close(&self) {
        self.closed.store(true, Relaxed);
        *self.readers.write() = None;
    }

    /// The log of `window` stands so now.
    pub(crate) fn observe(&self, window: &str, state: LogState) {
        let before = {
            let mut known = self.known.lock();
            if !known.contains_key(window) {
                known.insert(window.to_owned(), Log::default());
            }
            let Some(log) = known.get_mut(window) else {
                return;
            };
            let before = *log;
            *log = Log {
                last: state.last,
                next_due_ms: state.next_due_ms,
                dirty: false,
                seen: true,
                bytes: state.bytes,
                waiting: state.waiting,
            };
            before
        };
        let earlier = state
            .next_due_ms
            .is_some_and(|due| before.next_due_ms.is_none_or(|before| due < before));
        if earlier {
            self.due.notify_one();
        }
        let readers = self.readers.read();
        let Some(readers) = readers.as_ref() else {
            return;
        };
        if state.last < before.last {
            readers.shrunk(window, state.last);
        }
        if state.last != before.last || !before.seen {
            readers.grown(window);
            self.any.notify_waiters();
        }
    }

    /// Somebody has read the log of `window` up to `last`: if it is found to end before, it is not
    /// what it was.
    pub(crate) fn was_at(&self, window: &str, last: u64) {
        // Of a log of which nothing is known its store says how it stands.
        if last == 0 {
            return;
        }
        let mut known = self.known.lock();
        let log = known.entry(window.to_owned()).or_default();
        if !log.seen {
            log.last = log.last.max(last);
        }
    }

    /// As after a crash.
    #[cfg(test)]
    pub(crate) fn doubt(&self, window: &str) {
        if let Some(log) = self.known.lock().get_mut(window) {
            log.dirty = true;
        }
    }

    /// What is known of the log of `window`. None: nothing.
    pub(crate) fn of(&self, window: &str) -> Option<Log> {
        self.known.lock().get(window).copied()
    }

    pub(crate) fn all(&self) -> Vec<(String, Log)> {
        let known = self.known.lock();
        let all = known.iter().map(|(window, log)| (window.clone(), *log));
        all.collect()
    }

    /// Windows of which nobody knows how they stand.
    pub(crate) fn dirty(&self) -> Vec<String> {
        let known = self.known.lock();
        let dirty = known.iter().filter(|(_, log)| log.dirty);
        dirty.map(|(window, _)| window.clone()).collect()
    }

    /// The store of `window`, opened if necessary. None if there is none.
    ///
    /// # Errors
    /// Why it cannot be opened.
    pub(crate) async fn store(&self, window: &str) -> Result<Option<Arc<dyn Store>>, StoreError> {
        if let Some(store) = self.stores.get(window) {
            return Ok(Some(store));
        }
        let turn = self
            .turns
            .lock()
            .entry(window.to_owned())
            .or_default()
            .clone();
        let turn = turn.lock_owned().await;
        if let Some(store) = self.stores.get(window) {
            return Ok(Some(store));
        }
        let Ok(place) = self.opening.clone().acquire_owned().await else {
            return Err(StoreError::Closed);
        };
        let (stores, name) = (self.stores.clone(), window.to_owned());
        let open = move || {
            // Both are kept until the store answers, even if the caller leaves.
            let _both = (turn, place);
            stores.open_existing(&name)
        };
        let opened = tokio::task::spawn_blocking(open).await;
        // An error says that the runtime ends.
        let opened = opened.unwrap_or(Err(StoreError::Closed))?;
        match &opened {
            // The observer is not told of an empty log.
            Some(store) => self.observe(window, store.log_state()),
            None => self.observe(window, LogState::default()),
        }
        Ok(opened)
    }

    /// Appends what is due in the log of `window`. Gives whether more may be due.
    ///
    /// # Errors
    /// Why nothing could be appended.
    pub(crate) async fn promote(&self, window: &str, now_ms: u64) -> Result<bool, String> {
        let Some(store) = self
            .store(window)
            .await
            .map_err(|error| error.to_string())?
        else {
            return Ok(false);
        };
        if let Some(marking) = self.before_emit(window) {
            marking.await?;
        }
        crash::point("promoting");
        let done = store.promote_due(now_ms, PROMOTE).await;
        crash::point("promoted");
        done.map_err(|error| error.to_string())?;
        let state = store.log_state();
        self.observe(window, state);
        Ok(state.next_due_ms.is_some_and(|due| due <= now_ms))
    }

    async fn mark(&self, window: &str) -> Result<(), String> {
        let said =
            |error: StoreError| format!("the host cannot note that there are events: {error}");
        // Before there is a new event: a log that is not what it was is noticed now. Before the
        // lock: a store that hangs keeps no other window from emitting.
        let store = self.stores.open_async(window).await.map_err(said)?;
        let _turn = self.marking.lock().await;
        if self.closed.load(Relaxed) {
            return Err("the host is ending".to_owned());
        }
        if self.is_marked(window) {
            return Ok(());
        }
        let state = store.log_state();
        self.observe(window, state);
        let record = LogRecord {
            last: state.last,
            next_due_ms: state.next_due_ms,
            dirty: true,
        };
        self.state
            .put((LOGS.to_owned(), window.to_owned()), &record);
        self.state.flush().await.map_err(said)?;
        self.marked.write().insert(window.to_owned());
        Ok(())
    }

    /// Whether events of `window` may be committed without asking.
    pub(crate) fn is_marked(&self, window: &str) -> bool {
        self.marked.read().contains(window) && !self.closed.load(Relaxed)
    }

    /// Notes of all logs that they may stand elsewhere: in a copy of this state that is older than
    /// the copies of the stores, none is exact.
    pub(crate) fn unsettle(&self) {
        self.copied.store(true, Relaxed);
        for (window, log) in self.all() {
            let record = LogRecord {
                last: log.last,
                next_due_ms: log.next_due_ms,
                dirty: true,
            };
            self.state.put((LOGS.to_owned(), window), &record);
        }
    }

    /// Notes how all logs stand. After the last event of the run.
    pub(crate) fn settle(&self) {
        let copied = self.copied.load(Relaxed);
        for (window, log) in self.all() {
            if log.seen || (copied && !log.dirty) {
                let record = LogRecord {
                    last: log.last,
                    next_due_ms: log.next_due_ms,
                    dirty: false,
                };
                self.state.put((LOGS.to_owned(), window), &record);
            }
        }
    }

    /// The store of `window` is removed.
    pub(crate) fn forget(&self, window: &str) {
        self.known.lock().remove(window);
        self.marked.write().remove(window);
        self.turns.lock().remove(window);
        self.state.delete((LOGS.to_owned(), window.to_owned()));
    }
}

impl EmitGuard for Logs {
    fn before_emit<'a>(&'a self, window: &'a str) -> Option<BoxFuture<'a, Result<(), String>>> {
        if self.is_marked(window) {
            return None;
        }
        Some(self.mark(window).boxed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hms_store::conformance::Memory;
    use hms_store::{Backend, StoreId, StoreLimits};
    use std::collections::BTreeMap;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    /// Stores of which one hangs until the test ends.
    struct Hanging(Memory, Mutex<Receiver<()>>);

    impl Backend for Hanging {
        fn open(&self, name: &str, create: bool) -> Result<Option<Arc<dyn Store>>, StoreError> {
            if name == "hangs" {
                let _ = self.1.lock().recv();
            }
            self.0.open(name, create)
        }

        fn list(&self) -> Result<BTreeMap<String, StoreId>, StoreError> {
            self.0.list()
        }

        fn remove(&self, name: &str) -> Result<(), StoreError> {
            self.0.remove(name)
        }
    }

    #[tokio::test]
    async fn store_that_hangs_takes_one_place_however_many_wait_for_it() {
        let memory = || Memory::new(StoreLimits::default());
        let (end, hangs) = channel();
        let backend = Hanging(memory(), Mutex::new(hangs));
        backend.open("other", true).unwrap();
        let state = memory().open("events", true).unwrap().unwrap();
        let stores = Arc::new(Stores::over(Box::new(backend)));
        let state = Arc::new(State::new(state));
        let logs = Logs::load(state, stores).await.unwrap();
        let (mut staying, mut leaving) = (Vec::new(), Vec::new());
        for _ in 0..OPEN_AT_ONCE {
            let wait = || {
                let logs = logs.clone();
                async move { logs.store("hangs").await.map(drop) }
            };
            staying.push(tokio::spawn(wait()));
            // It leaves, and what it has begun goes on.
            let wait = tokio::time::timeout(Duration::from_millis(10), wait());
            leaving.push(tokio::spawn(wait));
        }
        // The last of them left after all others had begun to wait.
        for left in leaving {
            assert!(left.await.unwrap().is_err());
        }
        assert_eq!(logs.opening.available_permits(), OPEN_AT_ONCE - 1);
        let other = tokio::time::timeout(Duration::from_secs(30), logs.store("other"));
        assert!(other.await.unwrap().unwrap().is_some());
        drop(end);
        for staying in staying {
            staying.await.unwrap().unwrap();
        }
    }
}
