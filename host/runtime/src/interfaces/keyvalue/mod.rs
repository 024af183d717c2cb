//! `wasi:keyvalue` for guests, over the store that is bound to the window.
//!
//! Both published drafts are provided, so that components written for other hosts work:
//! `0.2.0-draft` ([`draft`]) and `0.2.0-draft2` ([`draft2`]), which adds compare-and-swap. They
//! match by exact name. The identifier that a guest opens is a name space inside its own window's
//! store: whatever it asks for, it reaches nothing else.

mod draft;
mod draft2;

use crate::instance::{InstanceAtWork, InstanceContext, InstanceState};
use crate::meter::Meter;
use crate::usage::Usage;
use hms_core::limits::{Limit, LiveLimits, WindowLimits};
use hms_core::trace::SpanKind;
use hms_store::{Applied, Entry, MAX_BATCH_OPS, MAX_BUCKET_BYTES, Op, Page, Store, StoreError};
use std::sync::Arc;
use std::time::Instant;
use wasmtime::component::{HasData, Linker, ResourceTable, ResourceTableError};

/// An opened bucket.
#[derive(Clone)]
pub struct Bucket {
    store: NotedStore,
    name: Arc<str>,
    limits: LiveLimits,
}

/// A compare-and-swap in progress: the entry when it began.
pub struct Cas {
    store: NotedStore,
    bucket: Arc<str>,
    key: String,
    seen: Option<Entry>,
    limits: LiveLimits,
}

/// The store of an instance's window, and where its commits are noted.
#[derive(Clone)]
pub(super) struct NotedStore {
    store: Arc<dyn Store>,
    at_work: InstanceAtWork,
    usage: Arc<Usage>,
}

impl std::ops::Deref for NotedStore {
    type Target = Arc<dyn Store>;

    fn deref(&self) -> &Arc<dyn Store> {
        &self.store
    }
}

/// The reason where a handle cannot be made.
const HANDLE_LIMIT: &str = "handle-limit";

/// What the guest is told, in the one case of both drafts that carries words: `CODE: sentence`, so
/// that it can tell a full store from a bad request.
pub struct KvError {
    message: String,
    /// Counted and logged for the operator, if the cause is a limit of the window or its store.
    reason: Option<&'static str>,
    /// The guest is not told: the instance ends.
    trap: Option<wasmtime::Error>,
}

impl KvError {
    /// A listing of all keys would take more than `limit` bytes.
    pub(super) fn list_too_large(limit: usize) -> Self {
        KvError {
            reason: Some("list-too-large"),
            ..KvError::other(format!(
                "list-too-large: the keys take more than {limit} bytes: list them in parts, with \
                 wasi:keyvalue or spin:key-value@3.0.0"
            ))
        }
    }

    /// Whether the instance has as many handles as it may have.
    pub(super) fn is_handle_limit(&self) -> bool {
        self.reason == Some(HANDLE_LIMIT)
    }

    fn other(message: impl Into<String>) -> Self {
        KvError {
            message: message.into(),
            reason: None,
            trap: None,
        }
    }
}

/// Paths and faults of the host go only to the host's log.
impl From<StoreError> for KvError {
    fn from(error: StoreError) -> Self {
        if error.is_fault() {
            tracing::error!(%error, "a window's store failed");
        }
        let sentence = error.to_string();
        let (message, reason) = match error {
            StoreError::StoreFull { .. } => (format!("store-full: {sentence}"), "store-full"),
            StoreError::DiskFull { .. } => ("store-full: the disk is full".into(), "disk-full"),
            StoreError::Busy { .. } => (format!("store-unavailable: {sentence}"), "store-busy"),
            StoreError::Closed => (
                format!("store-unavailable: {sentence}"),
                "store-unavailable",
            ),
            _ if error.is_fault() => (
                "store-unavailable: the store is temporarily unavailable".into(),
                "store-unavailable",
            ),
            StoreError::KeyEmpty => (format!("invalid: {sentence}"), "key-empty"),
            StoreError::KeyTooLong { .. } | StoreError::BucketTooLong { .. } => {
                (format!("invalid: {sentence}"), "key-too-long")
            }
            StoreError::ValueTooLarge { .. } => (format!("invalid: {sentence}"), "value-too-large"),
            StoreError::TooMany { .. } | StoreError::BatchTooLarge { .. } => {
                (format!("invalid: {sentence}"), "batch-too-large")
            }
            _ => return KvError::other(format!("invalid: {sentence}")),
        };
        KvError {
            reason: Some(reason),
            ..KvError::other(message)
        }
    }
}

impl From<ResourceTableError> for KvError {
    fn from(error: ResourceTableError) -> Self {
        let full = matches!(error, ResourceTableError::Full);
        KvError {
            reason: full.then_some(HANDLE_LIMIT),
            ..KvError::other(error.to_string())
        }
    }
}

impl From<wasmtime::Error> for KvError {
    fn from(error: wasmtime::Error) -> Self {
        KvError {
            trap: Some(error),
            ..KvError::other("")
        }
    }
}

pub(super) type KvResult<T> = Result<T, KvError>;

/// An instance's key-value side: its window's context, and its handles.
pub struct KeyValue<'a> {
    context: &'a InstanceContext,
    table: &'a mut ResourceTable,
    meter: &'a mut Meter,
}

impl KeyValue<'_> {
    /// The host is about to keep at most `bytes` more for the instance.
    fn keep(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.meter.keep(bytes, self.table)
    }

    /// The words for the guest; the operator has the reason in the window's log and its counts.
    pub(super) fn message(&self, error: KvError) -> wasmtime::Result<String> {
        if let Some(trap) = error.trap {
            return Err(trap);
        }
        if let Some(reason) = error.reason {
            self.context.failures.count(reason, &error.message);
        }
        Ok(error.message)
    }
}

struct HasKeyValue;

impl HasData for HasKeyValue {
    type Data<'a> = KeyValue<'a>;
}

pub(super) fn view(instance: &mut InstanceState) -> KeyValue<'_> {
    KeyValue {
        context: &instance.context,
        table: &mut instance.table,
        meter: &mut instance.meter,
    }
}

pub(crate) fn add_to_linker(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    draft::add_to_linker(linker)?;
    draft2::add_to_linker(linker)
}

/// Opens the bucket `identifier` of the window that the context belongs to.
pub(super) fn open_bucket(
    context: &InstanceContext,
    identifier: String,
) -> impl Future<Output = KvResult<Bucket>> + Send + use<> {
    let (stores, window) = (context.stores.clone(), context.window.clone());
    let (limits, at_work) = (context.limits.clone(), context.at_work.clone());
    let usage = context.usage.clone();
    async move {
        let (len, limit) = (identifier.len(), MAX_BUCKET_BYTES);
        if len > limit {
            return Err(StoreError::BucketTooLong { len, limit }.into());
        }
        let store = stores.open_async(&window).await?;
        Ok(Bucket {
            store: NotedStore {
                store,
                at_work,
                usage,
            },
            name: identifier.into(),
            limits,
        })
    }
}

impl Cas {
    /// Bytes that it holds.
    pub(crate) fn bytes(&self) -> usize {
        let seen = self.seen.as_ref().map_or(0, |entry| entry.value.capacity());
        self.bucket.len() + self.key.capacity() + seen
    }
}

impl Bucket {
    /// Bytes that it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.name.len()
    }

    /// The store that it is in.
    pub(super) fn store(&self) -> &NotedStore {
        &self.store
    }

    async fn entry(&self, key: &str) -> KvResult<Option<Entry>> {
        Ok(self.store.get(&self.name, key).await?)
    }

    pub(super) async fn get(&self, key: &str) -> KvResult<Option<Vec<u8>>> {
        Ok(self.entry(key).await?.map(|entry| entry.value))
    }

    pub(super) async fn exists(&self, key: &str) -> KvResult<bool> {
        Ok(self.store.exists(&self.name, key).await?)
    }

    /// The keys, each with its value.
    async fn get_many(
        &self,
        keys: Vec<String>,
    ) -> KvResult<impl Iterator<Item = (String, Option<Vec<u8>>)> + use<>> {
        let entries = self.store.get_many(&self.name, &keys).await?;
        let values = entries.into_iter().map(|entry| entry.map(|e| e.value));
        Ok(keys.into_iter().zip(values))
    }

    pub(super) async fn keys(
        &self,
        after: Option<&str>,
        skip: u64,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.store.keys(&self.name, after, skip, limit).await
    }

    /// Keys in one answer to `list-keys`.
    pub(super) fn page_keys(&self) -> usize {
        self.limits.load().size(Limit::PageKeys)
    }

    pub(super) fn set_op(&self, (key, value): (String, Vec<u8>)) -> KvResult<Op> {
        check(&self.limits.load(), &key, &value)?;
        Ok(Op::Set {
            bucket: self.name.to_string(),
            key,
            value,
        })
    }

    pub(super) fn delete_op(&self, key: String) -> Op {
        Op::Delete {
            bucket: self.name.to_string(),
            key,
        }
    }

    fn increment_op(&self, key: String, delta: i64) -> KvResult<Op> {
        check(&self.limits.load(), &key, &[])?;
        Ok(Op::Increment {
            bucket: self.name.to_string(),
            key,
            delta,
        })
    }
}

/// Refuses more operations than the store accepts in one write, before any is created: each carries
/// the bucket's name.
fn check_count(count: usize) -> Result<(), StoreError> {
    let limit = MAX_BATCH_OPS;
    if count > limit {
        return Err(StoreError::TooMany { count, limit });
    }
    Ok(())
}

/// Applies the window's own limits to a key and value to be written; those of the store are wider.
/// What was written under wider limits can still be read and deleted.
pub(super) fn check(limits: &WindowLimits, key: &str, value: &[u8]) -> Result<(), StoreError> {
    let (len, limit) = (key.len(), limits.size(Limit::KeyBytes));
    if len > limit {
        return Err(StoreError::KeyTooLong { len, limit });
    }
    let (len, limit) = (value.len(), limits.size(Limit::ValueBytes));
    if len > limit {
        return Err(StoreError::ValueTooLarge { len, limit });
    }
    Ok(())
}

/// Writes `ops` and waits until they are durable. The handles are borrowed no longer than the call
/// that makes the operations, so the guest's table is free meanwhile.
pub(super) async fn write(store: NotedStore, ops: Vec<Op>) -> KvResult<Vec<Applied>> {
    if ops.is_empty() {
        return Ok(Vec::new());
    }
    let (spans, begun) = (store.at_work.spans(), Instant::now());
    let span = spans.begin(SpanKind::StoreCommit);
    let written = span.ended(store.write(ops).await);
    let log = spans.log().map(|log| &**log);
    store.usage.commits.observe(begun.elapsed(), log);
    Ok(written?)
}

/// The counter's new value from the answer to one [`Op::Increment`].
fn counter(applied: &[Applied]) -> KvResult<i64> {
    match applied {
        [Applied::Counter(value)] => Ok(*value),
        _ => Err(KvError::other("the store gave no counter")),
    }
}
