//! The reference as a [`Backend`]: stores in memory, which last as long as it does.

use super::super::{
    Applied, Backend, Entry, Op, Page, Read, Scratch, Snapshot, Store, StoreError, StoreId,
    StoreLimits, StoreStats, WriteFuture, check_name,
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
            model: Arc::new(Mutex::new(Model::new(self.limits.max_store_bytes))),
        });
        model.lock().max_store_bytes = self.limits.max_store_bytes;
        Ok(Some(Arc::new(MemoryStore {
            limits: self.limits.clone(),
            model: model.clone(),
            closed: AtomicBool::new(false),
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
        self.limits.check_bucket(bucket)?;
        let model = self.model()?;
        let found: Vec<_> = keys.iter().map(|key| model.get(bucket, key)).collect();
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

    fn write(&self, ops: Vec<Op>) -> WriteFuture {
        Box::pin(std::future::ready(self.done(&ops)))
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn stats(&self) -> StoreStats {
        StoreStats {
            stored_bytes: self.model.lock().bytes(),
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
