//! Spin's key-value stores. A window has one, which Spin names `default`: the bucket `default` of
//! the window's own store, as `wasi:keyvalue` sees it too. Every other label is refused.

use crate::host_memory::HANDLE_BYTES;
use crate::instance::InstanceState;
use crate::interfaces::keyvalue::{self, Bucket, KvError, KvResult};
use futures_util::future::BoxFuture;
use hms_store::{Page, StoreError};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::oneshot;
use wasmtime::StoreContextMut;
use wasmtime::component::{
    Access, ComponentNamedList, ComponentType, Destination, FutureReader, Lift, Linker,
    LinkerInstance, Lower, Resource, ResourceType, StreamProducer, StreamReader, StreamResult,
    VecBuffer,
};

const KEY_VALUE_2: &str = "fermyon:spin/key-value@2.0.0";
const KEY_VALUE_3: &str = "spin:key-value/key-value@3.0.0";

/// The label of the one store that a window has, and the bucket that it is.
const DEFAULT: &str = "default";

/// Bytes of the answer to `get-keys` of the earlier generation, which has all keys at once. 4 MiB:
/// some 50,000 keys. The later generation has a stream of them, without an end to their number.
const LIST_BYTES: usize = 4 << 20;

/// Bytes that each key in such an answer counts beside its own.
const LISTED_KEY_BYTES: usize = 64;

/// Keys read at once for such an answer.
const LISTED_AT_ONCE: usize = 1_000;

/// Bytes that a stream of keys keeps: the last key that it gave, which is 1 KiB at most.
const STREAM_BYTES: usize = HANDLE_BYTES + (1 << 10);

/// `key-value.error`, the same in both generations.
#[derive(Debug, Clone, PartialEq, ComponentType, Lift, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "store-table-full")]
    StoreTableFull,
    #[component(name = "no-such-store")]
    NoSuchStore,
    #[component(name = "access-denied")]
    AccessDenied,
    #[component(name = "other")]
    Other(String),
}

pub(super) fn add_to_linker(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    let mut earlier = linker.instance(KEY_VALUE_2)?;
    functions(&mut earlier, &Generation::Earlier)?;
    earlier.func_wrap_async(
        "[method]store.get-keys",
        |mut store, (handle,): (Handle,)| {
            Box::new(async move {
                let listed = all_keys(&mut store, &handle).await;
                Ok((guest_result(store.data_mut(), listed)?,))
            })
        },
    )?;
    let mut later = linker.instance(KEY_VALUE_3)?;
    functions(&mut later, &Generation::Later)?;
    later.func_wrap_concurrent(
        "[method]store.get-keys",
        |instance, (handle,): (Handle,)| {
            Box::pin(async move { Ok((instance.with(|access| stream_of_keys(access, &handle))?,)) })
        },
    )
}

type Handle = Resource<Bucket>;
type Instance<'a> = LinkerInstance<'a, InstanceState>;

/// How a function is linked.
enum Generation {
    /// Plain functions, during which the guest stands still.
    Earlier,
    /// Functions that are `async` in WIT.
    Later,
}

/// All but `get-keys`.
fn functions(to: &mut Instance<'_>, generation: &Generation) -> wasmtime::Result<()> {
    to.resource("store", ResourceType::host::<Bucket>(), |mut store, rep| {
        store.data_mut().table.delete(Handle::new_own(rep))?;
        Ok(())
    })?;
    generation.link(
        to,
        "[static]store.open",
        |instance, (label,): (String,)| {
            let context = instance.context.clone();
            Ok(async move {
                match label == DEFAULT {
                    true => keyvalue::open_bucket(&context, label).await.map(Some),
                    false => Ok(None),
                }
            })
        },
        |instance, bucket| match bucket {
            Some(bucket) => {
                instance.keep(bucket.bytes())?;
                Ok(Ok(instance.table.push(bucket)?))
            }
            None => {
                let sentence = "a window has one key-value store, which is named 'default'";
                instance.context.failures.count("no-such-store", sentence);
                Ok(Err(Error::AccessDenied))
            }
        },
    )?;
    generation.link(
        to,
        "[method]store.get",
        |instance, (handle, key): (Handle, String)| {
            let bucket = instance.table.get(&handle)?.clone();
            Ok(async move { bucket.get(&key).await })
        },
        as_it_is,
    )?;
    generation.link(
        to,
        "[method]store.set",
        |instance, (handle, key, value): (Handle, String, Vec<u8>)| {
            let bucket = instance.table.get(&handle)?;
            let ops = vec![bucket.set_op((key, value))?];
            let writing = keyvalue::write(bucket.store().clone(), ops);
            Ok(async move { writing.await.map(drop) })
        },
        as_it_is,
    )?;
    generation.link(
        to,
        "[method]store.delete",
        |instance, (handle, key): (Handle, String)| {
            let bucket = instance.table.get(&handle)?;
            let ops = vec![bucket.delete_op(key)];
            let writing = keyvalue::write(bucket.store().clone(), ops);
            Ok(async move { writing.await.map(drop) })
        },
        as_it_is,
    )?;
    generation.link(
        to,
        "[method]store.exists",
        |instance, (handle, key): (Handle, String)| {
            let bucket = instance.table.get(&handle)?.clone();
            Ok(async move { bucket.exists(&key).await })
        },
        as_it_is,
    )
}

fn as_it_is<T>(_: &mut InstanceState, done: T) -> KvResult<Result<T, Error>> {
    Ok(Ok(done))
}

impl Generation {
    /// Links `name`: `begin` makes the work of what the guest hands over, and `end` the answer of
    /// what came of it. The work has nothing of the instance, which goes on meanwhile if it can.
    fn link<P, W, T, R, E>(
        &self,
        to: &mut Instance<'_>,
        name: &str,
        begin: impl Fn(&mut InstanceState, P) -> KvResult<W> + Copy + Send + Sync + 'static,
        end: E,
    ) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lift + Send + Sync + 'static,
        E: Fn(&mut InstanceState, T) -> KvResult<Result<R, Error>> + Copy + Send + Sync + 'static,
        W: Future<Output = KvResult<T>> + Send,
        T: Send,
        R: Send + Sync + 'static,
        (Result<R, Error>,): ComponentNamedList + Lower,
    {
        let finish = move |instance: &mut InstanceState, done: KvResult<T>| match done
            .and_then(|done| end(instance, done))
        {
            Ok(answer) => wasmtime::error::Ok((answer,)),
            Err(error) => Ok((Err(guest_error(instance, error)?),)),
        };
        match self {
            Generation::Earlier => to.func_wrap_async(
                name,
                move |mut store: StoreContextMut<'_, InstanceState>, params: P| {
                    Box::new(async move {
                        let done = match begin(store.data_mut(), params) {
                            Ok(work) => work.await,
                            Err(error) => Err(error),
                        };
                        finish(store.data_mut(), done)
                    })
                },
            ),
            Generation::Later => to.func_wrap_concurrent(name, move |instance, params: P| {
                Box::pin(async move {
                    let begun = instance.with(|mut access| begin(access.get(), params));
                    let done = match begun {
                        Ok(work) => work.await,
                        Err(error) => Err(error),
                    };
                    instance.with(|mut access| finish(access.get(), done))
                })
            }),
        }
    }
}

/// What the guest is guest_result of an error.
fn guest_error(instance: &mut InstanceState, error: KvError) -> wasmtime::Result<Error> {
    let full = error.is_handle_limit();
    let words = keyvalue::view(instance).message(error)?;
    Ok(match full {
        true => Error::StoreTableFull,
        false => Error::Other(words),
    })
}

fn guest_result<T>(
    instance: &mut InstanceState,
    done: KvResult<T>,
) -> wasmtime::Result<Result<T, Error>> {
    match done {
        Ok(done) => Ok(Ok(done)),
        Err(error) => Ok(Err(guest_error(instance, error)?)),
    }
}

/// All keys, which the guest's CPU time pays for as for other pages of keys beyond the first.
async fn all_keys(
    store: &mut StoreContextMut<'_, InstanceState>,
    handle: &Handle,
) -> KvResult<Vec<String>> {
    let bucket = store.data_mut().table.get(handle)?.clone();
    let (mut all, mut bytes) = (Vec::new(), 0);
    loop {
        let after = all.last().map(String::as_str);
        let page = bucket.keys(after, 0, LISTED_AT_ONCE).await?;
        let more = page.more;
        let came = page.keys.iter().map(|key| key.len() + LISTED_KEY_BYTES);
        let came: usize = came.sum();
        bytes += came;
        if bytes > LIST_BYTES {
            return Err(KvError::list_too_large(LIST_BYTES));
        }
        store.data_mut().keep(came)?;
        all.extend(page.keys);
        if !more {
            return Ok(all);
        }
        store.data_mut().meter.work().await?;
    }
}

type Keys = (StreamReader<String>, FutureReader<Result<(), Error>>);

/// A stream of the keys, and what came of it once it has ended.
fn stream_of_keys(
    mut access: Access<'_, InstanceState>,
    handle: &Handle,
) -> wasmtime::Result<Keys> {
    let instance = access.get();
    let bucket = instance.table.get(handle)?.clone();
    let kept = instance
        .meter
        .keep_beside(STREAM_BYTES, &mut instance.table)?;
    let (outcome, came) = oneshot::channel();
    let keys = KeyStream {
        bucket,
        after: None,
        reading: None,
        outcome: Some(outcome),
        _kept: kept,
    };
    let keys = StreamReader::new(&mut access, keys)?;
    // A guest that drops the stream has read what it wanted.
    let came = async move { wasmtime::error::Ok(came.await.unwrap_or(Ok(()))) };
    Ok((keys, FutureReader::new(&mut access, came)?))
}

/// The keys of a bucket, read as the guest takes them: it keeps no more than the last.
struct KeyStream {
    bucket: Bucket,
    after: Option<String>,
    reading: Option<BoxFuture<'static, Result<Page, StoreError>>>,
    outcome: Option<oneshot::Sender<Result<(), Error>>>,
    _kept: crate::host_memory::RetainedBytes,
}

impl KeyStream {
    fn read(&self, most: usize) -> BoxFuture<'static, Result<Page, StoreError>> {
        let (bucket, after) = (self.bucket.clone(), self.after.clone());
        let most = most.min(bucket.page_keys());
        Box::pin(async move { bucket.keys(after.as_deref(), 0, most).await })
    }

    fn end(&mut self, outcome: Result<(), Error>) -> Poll<wasmtime::Result<StreamResult>> {
        if let Some(guest_result) = self.outcome.take() {
            // Nobody may ask for it.
            let _ = guest_result.send(outcome);
        }
        Poll::Ready(Ok(StreamResult::Dropped))
    }
}

impl StreamProducer<InstanceState> for KeyStream {
    type Item = String;
    type Buffer = VecBuffer<String>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, InstanceState>,
        mut to: Destination<'a, String, VecBuffer<String>>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let this = &mut *self;
        let most = to.remaining(&mut store).unwrap_or(LISTED_AT_ONCE);
        if most == 0 {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let mut reading = match this.reading.take() {
            Some(reading) => reading,
            None => this.read(most),
        };
        match reading.as_mut().poll(cx) {
            Poll::Pending if finish => Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => {
                this.reading = Some(reading);
                Poll::Pending
            }
            Poll::Ready(Ok(page)) => {
                let more = page.more;
                this.after = page.keys.last().cloned();
                to.set_buffer(page.keys.into());
                match more {
                    true => Poll::Ready(Ok(StreamResult::Completed)),
                    false => this.end(Ok(())),
                }
            }
            Poll::Ready(Err(error)) => {
                let error = guest_error(store.data_mut(), error.into())?;
                this.end(Err(error))
            }
        }
    }
}
