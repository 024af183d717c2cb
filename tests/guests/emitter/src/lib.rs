//! A window that does in one transaction what it is told to, by the SDK.
//!
//!     POST /do          a [`Task`] as JSON; what came of it: 200, or 409 with the error
//!     POST /bump/{key}  reads a number, and sets it one higher; the number that was set
//!     GET  /key/{key}   the text at a key, or 404
//!     POST /work        a span of its own with a transaction in it, and one in it that fails
//!     ANY  /event       the event that is delivered, as JSON; ?reject parks it

use hms_window::{
    Event, Method, Problem, Request, Response, Store, StoreError, Transaction, TransactionError,
    span, transaction, window,
};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

window!(handle);

/// Of a transaction.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Task {
    once: Option<String>,
    read: Vec<String>,
    set: BTreeMap<String, String>,
    add: BTreeMap<String, i64>,
    delete: Vec<String>,
    events: Vec<NewEvent>,
    timers: Vec<Timer>,
    /// Name and subject.
    cancel: Vec<(String, String)>,
    /// Refuses after all that.
    refuse: bool,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct NewEvent {
    kind: String,
    subject: Option<String>,
    partition_key: Option<String>,
    content_type: Option<String>,
    data: String,
    /// So many bytes in place of `data`.
    bytes: usize,
    attributes: Vec<(String, String)>,
    not_before_ms: Option<u64>,
}

#[derive(Deserialize)]
struct Timer {
    name: String,
    subject: String,
    after_ms: u64,
}

async fn handle(request: Request) -> Result<Response, Problem> {
    let store = Store::open("kept")?;
    match (request.method(), &*request.segments()) {
        (&Method::POST, ["do"]) => {
            let body = request.body().read_to_end(32 << 20).await?;
            let task = serde_json::from_slice(&body);
            let task = task.map_err(|error| Problem::bad_request(error.to_string()))?;
            Ok(told(run(&store, &task)))
        }
        (&Method::POST, ["bump", key]) => {
            let done = transaction(|tx| {
                let next = tx.get::<u64>(&store, key)?.unwrap_or(0) + 1;
                tx.set(&store, key, &next)?;
                Ok(next)
            })?;
            Ok(Response::json(200, &done.into_value()?))
        }
        (&Method::GET, ["key", key]) => {
            let bytes = store.get_bytes(key)?.ok_or_else(Problem::not_found)?;
            Ok(Response::text(200, String::from_utf8_lossy(&bytes)))
        }
        (&Method::POST, ["work"]) => {
            let _whole = span("the whole work");
            transaction(|tx| {
                tx.set(&store, "worked", &1u64)?;
                Ok(())
            })?;
            span("what fails").fail();
            Ok(Response::text(200, "done"))
        }
        (_, ["event"]) => event(&request).await,
        _ => Err(Problem::not_found()),
    }
}

type Outcome = Result<serde_json::Value, TransactionError>;

fn run(store: &Store, task: &Task) -> Outcome {
    let mut read = BTreeMap::new();
    let done = transaction(|tx| {
        read.clear();
        for key in &task.read {
            let bytes = tx.get_bytes(store, key)?;
            let text = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            read.insert(key.clone(), text);
        }
        change(tx, store, task)
    })?;
    Ok(json!({
        "read": read,
        "ids": done.event_ids,
        "counters": done.counters,
        "repeated": done.repeated(),
    }))
}

fn change(tx: &mut Transaction<'_>, store: &Store, task: &Task) -> Result<(), TransactionError> {
    if let Some(once) = &task.once {
        tx.once(once.as_str())?;
    }
    for (key, text) in &task.set {
        tx.set_bytes(store, key, text.as_str());
    }
    for (key, by) in &task.add {
        tx.increment(store, key, *by);
    }
    for key in &task.delete {
        tx.delete(store, key);
    }
    for event in &task.events {
        tx.emit(made(event))?;
    }
    for Timer {
        name,
        subject,
        after_ms,
    } in &task.timers
    {
        tx.timer(name, subject, Duration::from_millis(*after_ms), "due")?;
    }
    for (name, subject) in &task.cancel {
        tx.cancel(name, subject)?;
    }
    match task.refuse {
        true => Err(Problem::new(409, "refused", "as asked").into()),
        false => Ok(()),
    }
}

fn made(new: &NewEvent) -> Event {
    let content_type = new.content_type.as_deref().unwrap_or("text/plain");
    let data = match new.bytes {
        0 => new.data.clone().into_bytes(),
        bytes => vec![b'x'; bytes],
    };
    let mut event = Event::bytes(&new.kind, content_type, data);
    if let Some(subject) = &new.subject {
        event = event.subject(subject);
    }
    if let Some(key) = &new.partition_key {
        event = event.partition_key(key);
    }
    for (name, value) in &new.attributes {
        event = event.attribute(name, value);
    }
    if let Some(ms) = new.not_before_ms {
        event = event.not_before_ms(ms);
    }
    event
}

fn told(outcome: Outcome) -> Response {
    let error = match outcome {
        Ok(done) => return Response::json(200, &done),
        Err(error) => error,
    };
    let kind = match &error {
        TransactionError::Store(StoreError::Full(_)) => "store-full",
        TransactionError::Store(StoreError::Invalid(_)) => "invalid",
        TransactionError::Store(StoreError::Unavailable(_)) => "unavailable",
        TransactionError::Store(_) => "store",
        TransactionError::OutboxFull(_) => "outbox-full",
        TransactionError::EventRefused(_) => "event-refused",
        TransactionError::Unknown(_) => "unknown",
        TransactionError::Repeated => "repeated",
        TransactionError::Refused(_) => "refused",
    };
    Response::json(409, &json!({ "error": kind, "text": error.to_string() }))
}

async fn event(request: &Request) -> Result<Response, Problem> {
    let event = request.event().await?;
    if request.query() == "reject" {
        return Err(Problem::reject("as asked"));
    }
    let told = json!({
        "id": event.id(), "source": event.source(), "kind": event.kind(),
        "subject": event.subject(), "sequence": event.sequence(), "attempt": event.attempt(),
        "round": event.replay_round(), "subscription": event.subscription(),
        "data": String::from_utf8_lossy(event.data()),
    });
    Ok(Response::json(200, &told))
}
