//! `wasi:keyvalue` for guests, over the store that is bound to the window.
//!
//! Both published drafts, so that components written for other hosts find theirs: `0.2.0-draft` ([`draft`]) and
//! `0.2.0-draft2` ([`draft2`]), which adds compare-and-swap. They match by exact name. The identifier that a guest
//! opens is a name space inside its own window's store: whatever it asks for, it reaches nothing else.

mod draft;
mod draft2;

use super::clerk::{Clerk, Post};
use super::limits::{Limit, LiveLimits};
use crate::store::{Applied, Entry, Op, Store, StoreError};
use std::sync::Arc;
use wasmtime::component::{HasData, Linker, ResourceTable, ResourceTableError};

/// An opened bucket.
pub struct Bucket {
    store: Arc<dyn Store>,
    name: String,
    limits: LiveLimits,
}

/// A compare-and-swap in progress: what was there when it began.
pub struct Cas {
    store: Arc<dyn Store>,
    bucket: String,
    key: String,
    seen: Option<Entry>,
}

/// What the guest is told, in the one case of both drafts that carries words.
pub struct KvError(String);

/// A guest is told `CODE: sentence`, so that it can tell a full store from a bad request; paths and the host's own
/// faults stay in the host's log.
impl From<StoreError> for KvError {
    fn from(error: StoreError) -> Self {
        if error.is_fault() {
            tracing::error!(%error, "a window's store failed");
        }
        let sentence = error.to_string();
        KvError(match error {
            StoreError::StoreFull { .. } => format!("store-full: {sentence}"),
            StoreError::DiskFull { .. } => "store-full: the disk is full".into(),
            StoreError::Busy { .. } | StoreError::Closed => {
                format!("store-unavailable: {sentence}")
            }
            _ if error.is_fault() => "store-unavailable: the store cannot be used just now".into(),
            _ => format!("invalid: {sentence}"),
        })
    }
}

impl From<ResourceTableError> for KvError {
    fn from(error: ResourceTableError) -> Self {
        KvError(error.to_string())
    }
}

type KvResult<T> = Result<T, KvError>;

/// A clerk's key-value side: its own window's post, and its handles.
pub struct KeyValue<'a> {
    post: &'a Post,
    table: &'a mut ResourceTable,
}

struct HasKeyValue;

impl HasData for HasKeyValue {
    type Data<'a> = KeyValue<'a>;
}

fn view(clerk: &mut Clerk) -> KeyValue<'_> {
    KeyValue {
        post: &clerk.post,
        table: &mut clerk.table,
    }
}

pub(super) fn add_to_linker(linker: &mut Linker<Clerk>) -> wasmtime::Result<()> {
    draft::add_to_linker(linker)?;
    draft2::add_to_linker(linker)
}

/// Opens the bucket `identifier` of the window that the post belongs to.
fn open_bucket(
    post: &Post,
    identifier: String,
) -> impl Future<Output = KvResult<Bucket>> + Send + use<> {
    let (cabinet, window) = (post.cabinet.clone(), post.window.clone());
    let limits = post.limits.clone();
    async move {
        let store = cabinet.open_async(&window).await?;
        Ok(Bucket {
            store,
            name: identifier,
            limits,
        })
    }
}

impl Bucket {
    fn get(&self, key: &str) -> KvResult<Option<Vec<u8>>> {
        Ok(self.store.get(&self.name, key)?.map(|entry| entry.value))
    }

    fn exists(&self, key: &str) -> KvResult<bool> {
        Ok(self.store.exists(&self.name, key)?)
    }

    fn get_many(&self, keys: &[String]) -> KvResult<Vec<Option<Vec<u8>>>> {
        let entries = self.store.get_many(&self.name, keys)?;
        Ok(entries
            .into_iter()
            .map(|entry| entry.map(|e| e.value))
            .collect())
    }

    /// Keys in one answer to `list-keys`.
    fn page_keys(&self) -> usize {
        self.limits.load().size(Limit::PageKeys)
    }

    fn set_op(&self, (key, value): (String, Vec<u8>)) -> KvResult<Op> {
        let limits = self.limits.load();
        for (what, bytes, limit) in [
            ("key", key.len(), limits.size(Limit::KeyBytes)),
            ("value", value.len(), limits.size(Limit::ValueBytes)),
        ] {
            if bytes > limit {
                return Err(KvError(format!(
                    "invalid: the {what} has {bytes} bytes; this window's limit is {limit}"
                )));
            }
        }
        Ok(Op::Set {
            bucket: self.name.clone(),
            key,
            value,
        })
    }

    fn delete_op(&self, key: String) -> Op {
        Op::Delete {
            bucket: self.name.clone(),
            key,
        }
    }

    fn increment_op(&self, key: String, delta: i64) -> Op {
        Op::Increment {
            bucket: self.name.clone(),
            key,
            delta,
        }
    }
}

/// Writes `ops` and waits until they are durable. The handles are borrowed no longer than the call that makes
/// the operations, so the guest's table is free meanwhile.
async fn write(store: Arc<dyn Store>, ops: Vec<Op>) -> KvResult<Vec<Applied>> {
    if ops.is_empty() {
        return Ok(Vec::new());
    }
    Ok(store.write(ops).await?)
}

/// The counter's new value out of the answer to one [`Op::Increment`].
fn counter(applied: &[Applied]) -> KvResult<i64> {
    match applied {
        [Applied::Counter(value)] => Ok(*value),
        _ => Err(KvError("the store gave no counter".into())),
    }
}
