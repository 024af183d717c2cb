//! `wasi:keyvalue@0.2.0-draft`, as in Spin 2 and `wasmtime serve`.

use super::{
    Bucket, HasKeyValue, KeyValue, KvError, KvResult, check_count, counter, open_bucket, view,
    write,
};
use crate::instance::InstanceState;
use wasmtime::component::{Linker, Resource};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/foreign/keyvalue-draft",
        world: "wasi:keyvalue/imports",
        imports: { default: async | trappable },
        with: {
            "wasi:keyvalue/store.bucket": crate::interfaces::keyvalue::Bucket,
        },
        trappable_error_type: {
            "wasi:keyvalue/store.error" => crate::interfaces::keyvalue::KvError,
        },
    });
}

/// Keys skipped at once before the task yields. 2,000: about a millisecond.
const SKIP_KEYS: u64 = 2_000;

use bindings::wasi::keyvalue::{atomics, batch, store};

pub(super) fn add_to_linker(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    store::add_to_linker::<_, HasKeyValue>(linker, view)?;
    atomics::add_to_linker::<_, HasKeyValue>(linker, view)?;
    batch::add_to_linker::<_, HasKeyValue>(linker, view)
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

    /// The cursor of this draft is a number, so it only says how many keys were listed before: a
    /// page costs as much as all pages before it, charged to the instance's CPU time. In the second
    /// draft, the cursor is the last key, which costs nothing.
    async fn list_keys(
        &mut self,
        bucket: Resource<Bucket>,
        cursor: Option<u64>,
    ) -> KvResult<store::KeyResponse> {
        let (mut left, mut after) = (cursor.unwrap_or(0), None::<String>);
        while left > 0 {
            let bucket = self.table.get(&bucket)?;
            let part = left.min(SKIP_KEYS);
            let page = bucket.keys(after.as_deref(), part - 1, 1).await?;
            let Some(last) = page.keys.into_iter().next() else {
                return Ok(store::KeyResponse {
                    keys: Vec::new(),
                    cursor: None,
                });
            };
            (left, after) = (left - part, Some(last));
            self.meter.work().await?;
        }
        let bucket = self.table.get(&bucket)?;
        let page = bucket.keys(after.as_deref(), 0, bucket.page_keys()).await?;
        let next = cursor.unwrap_or(0).saturating_add(page.keys.len() as u64);
        Ok(store::KeyResponse {
            keys: page.keys,
            cursor: page.more.then_some(next),
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
        delta: u64,
    ) -> KvResult<u64> {
        let too_large = || KvError::other("the counter would leave the range of a 63-bit number");
        let delta = i64::try_from(delta).map_err(|_| too_large())?;
        let bucket = self.table.get(&bucket)?;
        let applied = write(bucket.store.clone(), vec![bucket.increment_op(key, delta)?]).await?;
        u64::try_from(counter(&applied)?).map_err(|_| too_large())
    }
}

impl batch::Host for KeyValue<'_> {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> KvResult<Vec<Option<(String, Vec<u8>)>>> {
        let pairs = self.table.get(&bucket)?.get_many(keys).await?;
        Ok(pairs
            .map(|(key, value)| value.map(|value| (key, value)))
            .collect())
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
