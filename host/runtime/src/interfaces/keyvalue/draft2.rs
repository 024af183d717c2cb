//! `wasi:keyvalue@0.2.0-draft2`, as in wasmCloud and newer Spin: cursors are keys, and there is
//! compare-and-swap.

use super::{
    Bucket, Cas, HasKeyValue, KeyValue, KvError, KvResult, check, check_count, counter,
    open_bucket, view, write,
};
use crate::instance::InstanceState;
use hms_store::{Applied, Op, StoreError};
use wasmtime::component::{Linker, Resource};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/deps/keyvalue",
        world: "wasi:keyvalue/imports",
        imports: { default: async | trappable },
        with: {
            "wasi:keyvalue/store.bucket": crate::interfaces::keyvalue::Bucket,
            "wasi:keyvalue/atomics.cas": crate::interfaces::keyvalue::Cas,
        },
        trappable_error_type: {
            "wasi:keyvalue/store.error" => crate::interfaces::keyvalue::KvError,
            "wasi:keyvalue/atomics.cas-error" => crate::interfaces::keyvalue::draft2::SwapError,
        },
    });
}

use bindings::wasi::keyvalue::{atomics, batch, store};

pub(super) fn add_to_linker(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    store::add_to_linker::<_, HasKeyValue>(linker, view)?;
    atomics::add_to_linker::<_, HasKeyValue>(linker, view)?;
    batch::add_to_linker::<_, HasKeyValue>(linker, view)
}

/// Why a swap was not done.
pub enum SwapError {
    Store(KvError),
    /// Another write was first; the handle now holds what it wrote.
    Failed(Resource<Cas>),
}

impl<E: Into<KvError>> From<E> for SwapError {
    fn from(error: E) -> Self {
        SwapError::Store(error.into())
    }
}

impl store::Host for KeyValue<'_> {
    async fn open(&mut self, identifier: String) -> KvResult<Resource<Bucket>> {
        let bucket = open_bucket(self.context, identifier).await?;
        self.keep(bucket.bytes())?;
        Ok(self.table.push(bucket)?)
    }

    fn convert_error(&mut self, error: KvError) -> wasmtime::Result<store::Error> {
        Ok(store::Error::Other(self.message(error)?))
    }
}

impl store::HostBucket for KeyValue<'_> {
    async fn get(&mut self, bucket: Resource<Bucket>, key: String) -> KvResult<Option<Vec<u8>>> {
        self.table.get(&bucket)?.get(&key).await
    }

    async fn set(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>) -> KvResult<()> {
        let bucket = self.table.get(&bucket)?;
        write(bucket.store.clone(), vec![bucket.set_op((key, value))?]).await?;
        Ok(())
    }

    async fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> KvResult<()> {
        let bucket = self.table.get(&bucket)?;
        write(bucket.store.clone(), vec![bucket.delete_op(key)]).await?;
        Ok(())
    }

    async fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> KvResult<bool> {
        self.table.get(&bucket)?.exists(&key).await
    }

    async fn list_keys(
        &mut self,
        bucket: Resource<Bucket>,
        cursor: Option<String>,
    ) -> KvResult<store::KeyResponse> {
        let bucket = self.table.get(&bucket)?;
        let page = bucket.keys(cursor.as_deref(), 0, bucket.page_keys()).await;
        let page = page.map_err(|error| match error {
            StoreError::KeyTooLong { .. } => KvError::other("invalid-cursor: unknown cursor"),
            other => other.into(),
        })?;
        let cursor = if page.more {
            page.keys.last().cloned()
        } else {
            None
        };
        Ok(store::KeyResponse {
            keys: page.keys,
            cursor,
        })
    }

    async fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for KeyValue<'_> {
    async fn increment(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        delta: i64,
    ) -> KvResult<i64> {
        let bucket = self.table.get(&bucket)?;
        let applied = write(bucket.store.clone(), vec![bucket.increment_op(key, delta)?]).await?;
        counter(&applied)
    }

    async fn swap(&mut self, cas: Resource<Cas>, value: Vec<u8>) -> Result<(), SwapError> {
        let mut cas = self.table.delete(cas)?;
        check(&cas.limits.load(), &cas.key, &value)?;
        let op = Op::Swap {
            bucket: cas.bucket.to_string(),
            key: cas.key.clone(),
            expected: cas.seen.as_ref().map(|entry| entry.version),
            value,
        };
        let mut applied = write(cas.store.clone(), vec![op]).await?;
        match applied.pop() {
            Some(Applied::Conflict(now)) => {
                cas.seen = now;
                self.keep(cas.bytes())?;
                Err(SwapError::Failed(self.table.push(cas)?))
            }
            _ => Ok(()),
        }
    }

    fn convert_cas_error(&mut self, error: SwapError) -> wasmtime::Result<atomics::CasError> {
        Ok(match error {
            SwapError::Store(error) => {
                atomics::CasError::StoreError(store::Error::Other(self.message(error)?))
            }
            SwapError::Failed(cas) => atomics::CasError::CasFailed(cas),
        })
    }
}

impl atomics::HostCas for KeyValue<'_> {
    async fn new(&mut self, bucket: Resource<Bucket>, key: String) -> KvResult<Resource<Cas>> {
        let bucket = self.table.get(&bucket)?;
        let cas = Cas {
            store: bucket.store.clone(),
            bucket: bucket.name.clone(),
            seen: bucket.entry(&key).await?,
            key,
            limits: bucket.limits.clone(),
        };
        self.keep(cas.bytes())?;
        Ok(self.table.push(cas)?)
    }

    async fn current(&mut self, cas: Resource<Cas>) -> KvResult<Option<Vec<u8>>> {
        let cas = self.table.get(&cas)?;
        Ok(cas.seen.as_ref().map(|entry| entry.value.clone()))
    }

    async fn drop(&mut self, cas: Resource<Cas>) -> wasmtime::Result<()> {
        self.table.delete(cas)?;
        Ok(())
    }
}

impl batch::Host for KeyValue<'_> {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> KvResult<Vec<(String, Option<Vec<u8>>)>> {
        Ok(self.table.get(&bucket)?.get_many(keys).await?.collect())
    }

    async fn set_many(
        &mut self,
        bucket: Resource<Bucket>,
        pairs: Vec<(String, Vec<u8>)>,
    ) -> KvResult<()> {
        check_count(pairs.len())?;
        let bucket = self.table.get(&bucket)?;
        let ops = pairs
            .into_iter()
            .map(|pair| bucket.set_op(pair))
            .collect::<KvResult<Vec<_>>>()?;
        write(bucket.store.clone(), ops).await?;
        Ok(())
    }

    async fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> KvResult<()> {
        check_count(keys.len())?;
        let bucket = self.table.get(&bucket)?;
        let ops = keys.into_iter().map(|key| bucket.delete_op(key)).collect();
        write(bucket.store.clone(), ops).await?;
        Ok(())
    }
}
