//! A [`Store`] in one redb file.

use super::commit::{Committer, LogWork};
use super::disk_file::DiskMedium;
use super::file::{Medium, StoreFile};
use super::reads::Reads;
use super::waiting::Readers;
use super::{
    Entry, EntryKey, EventsPage, LogBounds, LogObserver, LogState, Op, Page, Read, Scratch,
    Snapshot, Store, StoreError, StoreLimits, StoreStats, StoredEvent, TransactFuture, Transaction,
    WriteFuture, create,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::Semaphore;

/// A store in a file of its own. Only one host at a time can have the file open.
pub(crate) struct RedbStore {
    reads: Arc<Reads>,
    committer: Arc<Committer>,
    readers: Arc<Readers>,
}

impl RedbStore {
    /// As [`crate::open_file`].
    pub(crate) fn open_file(
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
            reads: Arc::new(Reads { file, limits }),
            committer: Arc::new(committer),
            readers: Arc::new(Readers::new(None)),
        })
    }

    /// Shares the threads that wait for disks with the other stores of the same `bound`.
    pub(super) fn sharing(mut self, bound: &Arc<Semaphore>) -> Self {
        self.readers = Arc::new(Readers::new(Some(bound.clone())));
        self
    }

    /// Submits what is about the log.
    fn submit(&self, work: LogWork, bytes: usize) -> TransactFuture {
        let submitted = self.committer.submit_log(work, bytes);
        Box::pin(async move { submitted?.await.unwrap_or(Err(StoreError::Closed)) })
    }
}

impl Store for RedbStore {
    fn get(&self, bucket: &str, key: &str) -> Read<Option<Entry>> {
        let again = || {
            let (bucket, key) = (bucket.to_owned(), key.to_owned());
            move |reads: &Reads| reads.get(&bucket, &key)
        };
        let first = |reads: &Reads| reads.get(bucket, key);
        self.readers.read(&self.reads, first, again)
    }

    fn get_many(&self, bucket: &str, keys: &[String]) -> Read<Vec<Option<Entry>>> {
        let again = || {
            let (bucket, keys) = (bucket.to_owned(), keys.to_vec());
            move |reads: &Reads| reads.get_many(&bucket, &keys)
        };
        let first = |reads: &Reads| reads.get_many(bucket, keys);
        self.readers.read(&self.reads, first, again)
    }

    fn exists(&self, bucket: &str, key: &str) -> Read<bool> {
        let again = || {
            let (bucket, key) = (bucket.to_owned(), key.to_owned());
            move |reads: &Reads| reads.exists(&bucket, &key)
        };
        let first = |reads: &Reads| reads.exists(bucket, key);
        self.readers.read(&self.reads, first, again)
    }

    fn keys(&self, bucket: &str, after: Option<&str>, skip: u64, limit: usize) -> Read<Page> {
        let again = || {
            let (bucket, after) = (bucket.to_owned(), after.map(str::to_owned));
            move |reads: &Reads| reads.keys(&bucket, after.as_deref(), skip, limit)
        };
        let first = |reads: &Reads| reads.keys(bucket, after, skip, limit);
        self.readers.read(&self.reads, first, again)
    }

    fn buckets(&self, after: Option<&str>, limit: usize) -> Read<Page> {
        let again = || {
            let after = after.map(str::to_owned);
            move |reads: &Reads| reads.buckets(after.as_deref(), limit)
        };
        let first = |reads: &Reads| reads.buckets(after, limit);
        self.readers.read(&self.reads, first, again)
    }

    fn write(&self, ops: Vec<Op>) -> WriteFuture {
        let submitted = match self.reads.limits.check_write(&ops) {
            Ok(_) if ops.is_empty() => return Box::pin(std::future::ready(Ok(Vec::new()))),
            Ok(bytes) => self.committer.submit(ops, bytes),
            Err(error) => Err(error),
        };
        Box::pin(async move { submitted?.await.unwrap_or(Err(StoreError::Closed)) })
    }

    fn read_places(&self, places: &[EntryKey]) -> Read<Vec<Option<Entry>>> {
        let again = || {
            let places = places.to_vec();
            move |reads: &Reads| reads.read_places(&places)
        };
        let first = |reads: &Reads| reads.read_places(places);
        self.readers.read(&self.reads, first, again)
    }

    fn transact(&self, mut transaction: Transaction) -> TransactFuture {
        match self.reads.limits.check_transaction(&transaction) {
            Ok(bytes) => {
                transaction.split_swaps();
                self.submit(LogWork::Transact(transaction), bytes)
            }
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn events(&self, after: u64, limit: usize, max_bytes: usize) -> Read<EventsPage> {
        let read = move |reads: &Reads| reads.events(after, limit, max_bytes);
        self.readers.read(&self.reads, read, || read)
    }

    fn waiting_events(&self, limit: usize) -> Read<Vec<(u64, StoredEvent)>> {
        let read = move |reads: &Reads| reads.waiting_events(limit);
        self.readers.read(&self.reads, read, || read)
    }

    fn promote_due(&self, now_ms: u64, limit: usize) -> TransactFuture {
        self.submit(LogWork::Promote { now_ms, limit }, 0)
    }

    fn trim(&self, before_ms: u64, now_ms: u64) -> TransactFuture {
        self.submit(LogWork::Trim { before_ms, now_ms }, 0)
    }

    fn log_state(&self) -> LogState {
        self.reads.file.log().state()
    }

    fn set_log_bounds(&self, bounds: LogBounds) {
        *self.committer.log_bounds.lock() = bounds;
    }

    fn observe_log(&self, observer: LogObserver) {
        self.reads.file.log().observe(observer);
    }

    /// redb locks the file.
    fn is_shared(&self) -> bool {
        false
    }

    fn stats(&self) -> StoreStats {
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let log = self.log_state();
        StoreStats {
            commits: count(&self.committer.commits),
            writes: count(&self.committer.writes),
            busy: count(&self.committer.busy),
            reopened: self.reads.file.reopened(),
            stored_bytes: count(&self.committer.stored_bytes),
            file_bytes: self.reads.file.bytes(),
            waited: self.readers.left(),
            waiting: self.readers.waiting(),
            events: count(&self.committer.events),
            log_bytes: log.bytes,
            events_waiting: log.waiting,
        }
    }

    fn snapshot(&self, scratch: &mut Scratch<'_>) -> Result<Snapshot, StoreError> {
        self.reads.file.snapshot(scratch)
    }

    fn set_max_store_bytes(&self, bytes: u64) {
        let bound = &self.committer.max_store_bytes;
        bound.store(bytes, Ordering::Relaxed);
    }

    fn close(&self) {
        self.committer.close();
        self.reads.file.close();
    }
}
