//! A window that does for a test what only a window can: it emits events, and, deployed for a
//! moment under the name of the window under test, reads and writes the store of that name.

use hms_window::{Event, Method, Problem, Request, Response, Store, transaction, window};
use serde_json::{Value, json};

window!(handle);

async fn handle(request: Request) -> Result<Response, Problem> {
    match (request.method(), &*request.segments()) {
        (&Method::POST, ["hms-testing", "emit"]) => emit(&request).await,
        (method, ["hms-testing", "store"]) => store(&request, &method.clone()).await,
        // A delivery, which is tried again when the window is back.
        _ => Err(Problem::new(503, "testing", "the store is being looked at")),
    }
}

/// The header has what the event is, and the body its data.
async fn emit(request: &Request) -> Result<Response, Problem> {
    let no_event = || Problem::bad_request("there is no event");
    let event = request.text("x-event").ok_or_else(no_event)?;
    let event: Value = serde_json::from_str(event).map_err(|_| no_event())?;
    let text = |name: &str| event[name].as_str();
    let data = request.body().read_to_end(64 << 10).await?;
    let kind = text("type").unwrap_or_default();
    let mut emitted = Event::bytes(kind, text("content_type").unwrap_or_default(), data);
    if let Some(subject) = text("subject") {
        emitted = emitted.subject(subject);
    }
    if let Some(key) = text("partition_key") {
        emitted = emitted.partition_key(key);
    }
    for pair in event["attributes"].as_array().into_iter().flatten() {
        if let (Some(name), Some(value)) = (pair[0].as_str(), pair[1].as_str()) {
            emitted = emitted.attribute(name, value);
        }
    }
    let done = transaction(|tx| tx.emit(emitted.clone()))?;
    Ok(Response::json(200, &json!({ "id": done.event_ids.last() })))
}

async fn store(request: &Request, method: &Method) -> Result<Response, Problem> {
    let store = Store::open(&request.param::<String>("part")?.unwrap_or_default())?;
    let key: Option<String> = request.param("key")?;
    let Some(key) = key else {
        let (mut keys, mut cursor) = (Vec::new(), None);
        loop {
            let page = store.keys(cursor.as_deref())?;
            keys.extend(page.keys);
            cursor = page.next;
            if cursor.is_none() {
                return Ok(Response::json(200, &keys));
            }
        }
    };
    match *method {
        Method::GET => {
            let value = store.get_bytes(&key)?.ok_or_else(Problem::not_found)?;
            Ok(Response::bytes(200, "application/octet-stream", value))
        }
        Method::PUT => {
            let value = request.body().read_to_end(4 << 20).await?;
            store.set_bytes(&key, &value)?;
            Ok(Response::empty(204))
        }
        _ => {
            store.delete(&key)?;
            Ok(Response::empty(204))
        }
    }
}
