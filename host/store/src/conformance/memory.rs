//! The reference as a [`Backend`]: stores in memory, which last as long as it does.

use super::super::{
    Applied, Backend, Entry, EntryKey, EventsPage, LogBounds, LogObserver, LogState, Op, Page,
    Read, Scratch, Snapshot, Store, StoreError, StoreId, StoreLimits, StoreStats, StoredEvent,
    TransactFuture, Transacted, Transaction, WriteFuture, check_name,
};
use super::model::Model;
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

/// Stores in memory. What is closed is there again when it is opened.
pub struct Memory {
    limits: StoreLimits,
    stores: Mutex<BTreeMap<String, Kept>>,
    made: AtomicU64,
}

/// A store, open or not.
struct Kept {
    /// The number of its making.
    number: u64,
    model: Arc<Mutex<Model>>,
}

impl Memory {
    /// Without any store.
    pub fn new(limits: StoreLimits) -> Self {
        Memory {
            limits,
            stores: Mutex::default(),
            made: AtomicU64::new(0),
        }
    }
}

impl Backend for Memory {
    fn open(&self, name: &str, create: bool) -> Result<Option<Arc<dyn Store>>, StoreError> {
        check_name(name)?;
        let mut stores = self.stores.lock();
        if !create && !stores.contains_key(name) {
            return Ok(None);
        }
        let Kept { model, .. } = stores.entry(name.to_owned()).or_insert_with(|| Kept {
            number: self.made.fetch_add(1, SeqCst),
            model: Arc::new(Mutex::new(Model {
                log_id: uuid::Uuid::new_v4().as_u128() as u64,
                ..Model::new(self.limits.max_store_bytes)
            })),
        });
        let mut opened = model.lock();
        opened.max_store_bytes = self.limits.max_store_bytes;
        opened.log_bounds = LogBounds::default();
        let emitted_before = opened.number;
        drop(opened);
        Ok(Some(Arc::new(MemoryStore {
            limits: self.limits.clone(),
            model: model.clone(),
            closed: AtomicBool::new(false),
            observer: Mutex::default(),
            emitted_before,
        })))
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        check_name(name)?;
        self.stores.lock().remove(name);
        Ok(())
    }

    fn list(&self) -> Result<BTreeMap<String, StoreId>, StoreError> {
        let stores = self.stores.lock();
        let ids = stores.iter().map(|(name, kept)| {
            let id = StoreId::new(kept.number, None);
            (name.clone(), id)
        });
        Ok(ids.collect())
    }
}

struct MemoryStore {
    limits: StoreLimits,
    model: Arc<Mutex<Model>>,
    closed: AtomicBool,
    observer: Mutex<Option<LogObserver>>,
    /// Events emitted before it was opened.
    emitted_before: u64,
}

impl MemoryStore {
    fn model(&self) -> Result<MutexGuard<'_, Model>, StoreError> {
        match self.closed.load(SeqCst) {
            true => Err(StoreError::Closed),
            false => Ok(self.model.lock()),
        }
    }

    fn entry(&self, bucket: &str, key: &str) -> Result<Option<Entry>, StoreError> {
        self.limits.check_bucket(bucket)?;
        Ok(self.model()?.get(bucket, key))
    }

    fn entries(&self, bucket: &str, keys: &[String]) -> Result<Vec<Option<Entry>>, StoreError> {
        self.limits.check_count(keys.len())?;
        self.limits.check_count(keys.len())?;
        self.limits.check_bucket(bucket)?;
        let places = keys.iter().map(|key| EntryKey {
            bucket: bucket.to_owned(),
            key: key.clone(),
        });
        self.at(&places.collect::<Vec<_>>())
    }

    fn at(&self, places: &[EntryKey]) -> Result<Vec<Option<Entry>>, StoreError> {
        self.limits.check_count(places.len())?;
        for at in places {
            self.limits.check_bucket(&at.bucket)?;
        }
        let model = self.model()?;
        let found = places.iter().map(|at| model.get(&at.bucket, &at.key));
        let found: Vec<_> = found.collect();
        let bytes: usize = found.iter().flatten().map(|entry| entry.value.len()).sum();
        let limit = self.limits.max_batch_bytes;
        match bytes > limit {
            true => Err(StoreError::BatchTooLarge { limit }),
            false => Ok(found),
        }
    }

    fn page(
        &self,
        bucket: &str,
        after: Option<&str>,
        skip: u64,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.limits.check_bucket(bucket)?;
        self.limits.check_key_length(after.unwrap_or_default())?;
        let limit = limit.clamp(1, self.limits.max_keys_per_page);
        Ok(self.model()?.keys(bucket, after, skip, limit))
    }

    fn done(&self, ops: &[Op]) -> Result<Vec<Applied>, StoreError> {
        self.limits.check_write(ops)?;
        self.model()?.write(ops)
    }

    /// Does `work`, and tells the observer if that changed the log.
    fn change(
        &self,
        work: impl FnOnce(&mut Model) -> Result<Transacted, StoreError>,
    ) -> TransactFuture {
        // Locked first, so that it is told in order.
        let observer = self.observer.lock();
        let done = self.model().and_then(|mut model| {
            let before = model.log_state();
            let done = work(&mut model)?;
            let after = model.log_state();
            drop(model);
            if let Some(tell) = &*observer
                && before != after
            {
                tell(after);
            }
            Ok(done)
        });
        Box::pin(std::future::ready(done))
    }
}

impl Store for MemoryStore {
    fn get(&self, bucket: &str, key: &str) -> Read<Option<Entry>> {
        Read::ready(self.entry(bucket, key))
    }

    fn get_many(&self, bucket: &str, keys: &[String]) -> Read<Vec<Option<Entry>>> {
        Read::ready(self.entries(bucket, keys))
    }

    fn exists(&self, bucket: &str, key: &str) -> Read<bool> {
        Read::ready(self.entry(bucket, key).map(|entry| entry.is_some()))
    }

    fn keys(&self, bucket: &str, after: Option<&str>, skip: u64, limit: usize) -> Read<Page> {
        Read::ready(self.page(bucket, after, skip, limit))
    }

    fn buckets(&self, after: Option<&str>, limit: usize) -> Read<Page> {
        let limit = limit.clamp(1, self.limits.max_keys_per_page);
        let checked = self.limits.check_bucket(after.unwrap_or_default());
        Read::ready(checked.and_then(|()| Ok(self.model()?.buckets(after, limit))))
    }

    fn write(&self, ops: Vec<Op>) -> WriteFuture {
        Box::pin(std::future::ready(self.done(&ops)))
    }

    fn read_places(&self, places: &[EntryKey]) -> Read<Vec<Option<Entry>>> {
        Read::ready(self.at(places))
    }

    fn transact(&self, transaction: Transaction) -> TransactFuture {
        self.change(|model| {
            self.limits.check_transaction(&transaction)?;
            model.transact(&transaction)
        })
    }

    fn events(&self, after: u64, limit: usize, max_bytes: usize) -> Read<EventsPage> {
        let limit = limit.clamp(1, self.limits.max_events_per_page);
        let max_bytes = max_bytes.min(self.limits.max_batch_bytes);
        let page = self.model();
        Read::ready(page.map(|model| model.events(after, limit, max_bytes)))
    }

    fn waiting_events(&self, limit: usize) -> Read<Vec<(u64, StoredEvent)>> {
        let limit = limit.clamp(1, self.limits.max_events_per_page);
        Read::ready(self.model().map(|model| {
            let waiting = model.waiting.iter().take(limit);
            waiting
                .map(|((due, _), event)| (*due, event.clone()))
                .collect()
        }))
    }

    fn promote_due(&self, now_ms: u64, limit: usize) -> TransactFuture {
        let limit = limit.clamp(1, self.limits.max_events_per_page);
        self.change(|model| Ok(Transacted::Committed(model.promote_due(now_ms, limit))))
    }

    fn trim(&self, before_ms: u64, now_ms: u64) -> TransactFuture {
        let once_ms = self.limits.once_time.as_millis() as u64;
        self.change(|model| {
            let done = model.trim(before_ms, now_ms, once_ms);
            Ok(Transacted::Committed(done))
        })
    }

    fn log_state(&self) -> LogState {
        self.model.lock().log_state()
    }

    fn set_log_bounds(&self, bounds: LogBounds) {
        self.model.lock().log_bounds = bounds;
    }

    fn observe_log(&self, observer: LogObserver) {
        let mut told = self.observer.lock();
        let state = self.log_state();
        if state != LogState::default() {
            observer(state);
        }
        *told = Some(observer);
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn stats(&self) -> StoreStats {
        let model = self.model.lock();
        StoreStats {
            stored_bytes: model.bytes(),
            events: model.number - self.emitted_before,
            log_bytes: model.log_bytes(),
            events_waiting: model.waiting.len() as u64,
            ..StoreStats::default()
        }
    }

    fn set_max_store_bytes(&self, bytes: u64) {
        self.model.lock().max_store_bytes = bytes;
    }

    /// It has no file to make a copy of.
    fn snapshot(&self, _: &mut Scratch<'_>) -> Result<Snapshot, StoreError> {
        let reason = "it is in memory".into();
        Err(StoreError::Scratch { reason })
    }

    fn close(&self) {
        self.closed.store(true, SeqCst);
    }
}
