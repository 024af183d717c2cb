//! A [`Store`] in one redb file.

use super::commit::Committer;
use super::disk_file::DiskMedium;
use super::file::{Medium, StoreFile};
use super::{
    Entry, Op, Page, Readers, Scratch, Snapshot, Store, StoreError, StoreLimits, StoreStats,
    WriteFuture, create,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::Semaphore;

/// What each step of a write counts besides its names and value, so that small steps are not free.
const OP_OVERHEAD_BYTES: usize = 64;

/// A store in a file of its own. Only one host at a time can have the file open.
pub struct RedbStore {
    file: Arc<StoreFile>,
    committer: Arc<Committer>,
    limits: StoreLimits,
    readers: Arc<Readers>,
}

impl RedbStore {
    /// Opens the store at `path`, which must belong to `owner`; makes it, and its folder, where
    /// there is no file. A file that is anything but a whole store is an error and is left as it
    /// is.
    ///
    /// Blocks: a few milliseconds, a few fsyncs where it is new.
    pub fn open_file(
        path: impl Into<PathBuf>,
        owner: &str,
        limits: StoreLimits,
    ) -> Result<Self, StoreError> {
        let path = path.into();
        create::create_if_missing(&path, owner)?;
        let medium = Box::new(DiskMedium::new(path.clone(), limits.cache_bytes));
        Self::open_with(path, owner, medium, limits)
    }

    pub(super) fn open_with(
        path: PathBuf,
        owner: &str,
        medium: Box<dyn Medium>,
        limits: StoreLimits,
    ) -> Result<Self, StoreError> {
        let (file, identity) =
            StoreFile::open(path, owner.to_owned(), medium, limits.reopen_pause)?;
        let file = Arc::new(file);
        let committer = Committer::new(file.clone(), limits.clone(), identity.stored_bytes);
        Ok(Self {
            file,
            committer: Arc::new(committer),
            limits,
            readers: Arc::new(Readers::new(None)),
        })
    }

    /// Has it share the threads that wait for disks with the stores of the same `bound`.
    pub(super) fn sharing(mut self, bound: &Arc<Semaphore>) -> Self {
        self.readers = Arc::new(Readers::new(Some(bound.clone())));
        self
    }

    /// Bounds what the store holds, from the next write on. What is there already stays.
    pub fn set_max_store_bytes(&self, bytes: u64) {
        let place = &self.committer.max_store_bytes;
        place.store(bytes, std::sync::atomic::Ordering::Relaxed);
    }

    /// What counts against [`StoreLimits::max_store_bytes`] just now, without a look at the file.
    pub fn stored_bytes(&self) -> u64 {
        self.committer.stored_bytes.load(Ordering::Relaxed)
    }

    /// Finishes the writes already taken and closes the file; from then on every call is
    /// [`StoreError::Closed`]. Blocks until then.
    ///
    /// Without it, dropping the store lets the writes already taken finish by themselves.
    pub fn close(&self) {
        self.committer.close();
        self.file.close();
    }

    fn check_bucket(&self, bucket: &str) -> Result<(), StoreError> {
        let (len, limit) = (bucket.len(), self.limits.max_bucket_bytes);
        if len > limit {
            return Err(StoreError::BucketTooLong { len, limit });
        }
        Ok(())
    }

    /// The rule for a key that is to be written. Reads and deletes have none: a key that breaks the
    /// rule is not there, unless it lies there from before the rule.
    fn check_key(&self, key: &str) -> Result<(), StoreError> {
        if key.len() < self.limits.min_key_bytes {
            return Err(StoreError::KeyEmpty);
        }
        self.check_key_length(key)
    }

    fn check_key_length(&self, key: &str) -> Result<(), StoreError> {
        let (len, limit) = (key.len(), self.limits.max_key_bytes);
        if len > limit {
            return Err(StoreError::KeyTooLong { len, limit });
        }
        Ok(())
    }

    /// Whether the key can be there at all; where not, the file need not be asked.
    fn may_hold(&self, key: &str) -> bool {
        key.len() <= self.limits.max_key_bytes
    }

    fn check_count(&self, count: usize) -> Result<(), StoreError> {
        let limit = self.limits.max_batch_ops;
        if count > limit {
            return Err(StoreError::TooMany { count, limit });
        }
        Ok(())
    }

    /// Checks a write and returns its size.
    fn check_write(&self, ops: &[Op]) -> Result<usize, StoreError> {
        self.check_count(ops.len())?;
        let mut bytes = 0_usize;
        for op in ops {
            let (bucket, key) = op.place();
            self.check_bucket(bucket)?;
            if !matches!(op, Op::Delete { .. }) {
                self.check_key(key)?;
            }
            let (len, limit) = (op.value_len(), self.limits.max_value_bytes);
            if len > limit {
                return Err(StoreError::ValueTooLarge { len, limit });
            }
            bytes = bytes.saturating_add(OP_OVERHEAD_BYTES + bucket.len() + key.len() + len);
        }
        let limit = self.limits.max_batch_bytes;
        if bytes > limit && ops.len() > 1 {
            return Err(StoreError::BatchTooLarge { limit });
        }
        Ok(bytes)
    }
}

impl Store for RedbStore {
    fn get(&self, bucket: &str, key: &str) -> Result<Option<Entry>, StoreError> {
        self.check_bucket(bucket)?;
        if !self.may_hold(key) {
            return Ok(None);
        }
        self.file.with(|view| {
            let head = view.head(bucket, key)?;
            head.map(|head| view.entry(head)).transpose()
        })
    }

    fn get_many(&self, bucket: &str, keys: &[String]) -> Result<Vec<Option<Entry>>, StoreError> {
        self.check_count(keys.len())?;
        self.check_bucket(bucket)?;
        let limit = self.limits.max_batch_bytes;
        let found = self.file.with(|view| {
            let mut found = Vec::with_capacity(keys.len());
            let mut bytes = 0_u64;
            for key in keys {
                let head = match self.may_hold(key) {
                    true => view.head(bucket, key)?,
                    false => None,
                };
                bytes = bytes.saturating_add(head.as_ref().map_or(0, |head| head.value_len()));
                // Before the value is loaded: the sum is what the bound is about.
                if bytes > limit as u64 {
                    return Ok(None);
                }
                found.push(head.map(|head| view.entry(head)).transpose()?);
            }
            Ok(Some(found))
        })?;
        found.ok_or(StoreError::BatchTooLarge { limit })
    }

    fn exists(&self, bucket: &str, key: &str) -> Result<bool, StoreError> {
        self.check_bucket(bucket)?;
        if !self.may_hold(key) {
            return Ok(false);
        }
        self.file.with(|view| view.exists(bucket, key))
    }

    fn keys(
        &self,
        bucket: &str,
        after: Option<&str>,
        skip: u64,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.check_bucket(bucket)?;
        self.check_key_length(after.unwrap_or_default())?;
        let limit = limit.min(self.limits.max_keys_per_page).max(1);
        let (keys, more) = self
            .file
            .with(|view| view.keys(bucket, after, skip, limit))?;
        Ok(Page { keys, more })
    }

    fn write(&self, ops: Vec<Op>) -> WriteFuture {
        let submitted = match self.check_write(&ops) {
            Ok(_) if ops.is_empty() => return Box::pin(std::future::ready(Ok(Vec::new()))),
            Ok(bytes) => self.committer.submit(ops, bytes),
            Err(error) => Err(error),
        };
        Box::pin(async move { submitted?.await.unwrap_or(Err(StoreError::Closed)) })
    }

    fn stats(&self) -> StoreStats {
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        StoreStats {
            commits: count(&self.committer.commits),
            writes: count(&self.committer.writes),
            busy: count(&self.committer.busy),
            reopened: self.file.reopened(),
            stored_bytes: count(&self.committer.stored_bytes),
            file_bytes: self.file.bytes(),
            waited: self.readers.left(),
            waiting: self.readers.waiting(),
        }
    }

    fn snapshot(&self, scratch: &mut Scratch<'_>) -> Result<Snapshot, StoreError> {
        self.file.snapshot(scratch)
    }

    fn readers(&self) -> &Arc<Readers> {
        &self.readers
    }
}
