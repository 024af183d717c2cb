//! `hms:store/transactions` for guests, over the store that is bound to the window.
//!
//! [`convert`] makes the store's types of the guest's. [`event`] holds an event to the rules of
//! CloudEvents and to its bounds. [`error`] is what a guest is told.
//!
//! The functions are linked by hand, because a commit asks for which of the instance's requests it
//! is made: the events carry the trace of that request.

mod convert;
mod error;
mod event;

use self::convert::Submission;
use self::error::Refusal;
use crate::instance::{InstanceContext, InstanceState};
use crate::requests::Caller;
use hms_core::trace::SpanKind;
use hms_store::{EntryKey, StoreError, Transacted};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

#[allow(dead_code, reason = "the functions are linked by hand; see the module")]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/deps/hms-store.wit",
        world: "hms:store/imports",
    });
}

use bindings::hms::store::transactions::{
    Committed, Entry, Error, Place as GuestPlace, Transaction,
};

/// The interface, as a component imports it.
const INTERFACE: &str = "hms:store/transactions@0.1.0";

/// Whether the import of that name is this interface.
pub(crate) fn is_it(import: &str) -> bool {
    import == INTERFACE
}

pub(super) fn add_to_linker(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(INTERFACE)?;
    interface.func_wrap_async(
        "read",
        |store: StoreContextMut<'_, InstanceState>, (places,): (Vec<GuestPlace>,)| {
            let context = store.data().context.clone();
            Box::new(async move { Ok((guest_result(&context, read(&context, places).await),)) })
        },
    )?;
    interface.func_wrap_async(
        "commit",
        |mut store: StoreContextMut<'_, InstanceState>, (transaction,): (Transaction,)| {
            Box::new(async move {
                let traceparent = match transaction.events.is_empty() {
                    true => None,
                    false => traceparent(&mut store)?,
                };
                let context = store.data().context.clone();
                let committed = commit(&context, transaction, traceparent).await;
                Ok((guest_result(&context, committed),))
            })
        },
    )
}

/// The answer for the guest. The operator has the reason of a refusal in the window's log and its
/// counts.
fn guest_result<T>(context: &InstanceContext, outcome: Result<T, Refusal>) -> Result<T, Error> {
    outcome.map_err(|refusal| {
        if let Some((reason, sentence)) = &refusal.counted {
            context.failures.count(reason, sentence);
        }
        refusal.error
    })
}

/// The trace of the request for which the guest's code runs now, if that can be told.
fn traceparent(store: &mut StoreContextMut<'_, InstanceState>) -> wasmtime::Result<Option<String>> {
    let stack: Vec<_> = store.async_call_stack()?.collect();
    Ok(match store.data().requests.caller(stack.into_iter()) {
        Caller::Request(request) => {
            let traceparent = request.calling.traceparent.as_ref();
            traceparent.and_then(|it| it.to_str().ok().map(str::to_owned))
        }
        Caller::Over | Caller::NoWay => None,
    })
}

async fn read(
    context: &InstanceContext,
    places: Vec<GuestPlace>,
) -> Result<Vec<Option<Entry>>, Refusal> {
    convert::check_count(places.len())?;
    let places: Vec<EntryKey> = places.into_iter().map(EntryKey::from).collect();
    let store = context.stores.open_async(&context.window).await;
    let store = store.map_err(|error| Refusal::of_reading(&error))?;
    let entries = store.read_places(&places).await;
    let entries = entries.map_err(|error| Refusal::of_reading(&error))?;
    Ok(entries.into_iter().map(|it| it.map(Entry::from)).collect())
}

async fn commit(
    context: &InstanceContext,
    transaction: Transaction,
    traceparent: Option<String>,
) -> Result<Committed, Refusal> {
    let limits = **context.limits.load();
    let submission = Submission::new(transaction, &limits, traceparent, now_ms())?;
    let store = context.stores.open_async(&context.window).await;
    let store = store.map_err(|error| Refusal::of_reading(&error))?;
    if !submission.transaction.events.is_empty()
        && let Some(guard) = &context.emit_guard
        && let Some(ready) = guard.before_emit(&context.window)
    {
        ready.await.map_err(Refusal::cannot_emit)?;
    }
    let Submission { transaction, added } = submission;
    let (spans, begun) = (context.at_work.spans(), Instant::now());
    let span = spans.begin(SpanKind::StoreCommit);
    let transacted = span.ended(store.transact(transaction).await);
    let log = spans.log().map(|log| &**log);
    context.usage.commits.observe(begun.elapsed(), log);
    match transacted {
        Ok(Transacted::Committed(committed)) => Ok(committed.into()),
        Ok(Transacted::Conflict(places)) => Err(Refusal::conflict(places)),
        Err(StoreError::NotANumber { key } | StoreError::Overflow { key }) => {
            // The store names the key; the bucket is that of the first counter with such a key.
            let at = added.into_iter().find(|place| place.key == key);
            Err(Refusal::not_a_number(at, key))
        }
        Err(error) => Err(Refusal::of_commit(&error)),
    }
}

/// The time of the host's clock, in milliseconds since 1970.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
