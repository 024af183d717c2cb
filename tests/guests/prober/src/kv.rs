//! The store, as directly as the SDK allows.

use hms_window::{Method, Problem, Request, Response, Store, StoreError};
use serde_json::{Map, Value, json};
use std::ops::Range;

/// What the store takes as one value, so that tests can go up to it and beyond.
const VALUE_MAX_BYTES: usize = 5 * 1024 * 1024;

pub async fn one(
    request: &Request,
    method: &Method,
    bucket: &str,
    key: &str,
) -> Result<Response, Problem> {
    let store = Store::open(bucket)?;
    match *method {
        Method::GET => {
            let value = store.get_bytes(key)?.ok_or_else(Problem::not_found)?;
            Ok(Response::bytes(200, "application/octet-stream", value))
        }
        Method::PUT => {
            store.set_bytes(key, &request.body().read_to_end(VALUE_MAX_BYTES).await?)?;
            Ok(Response::empty(204))
        }
        Method::DELETE => {
            store.delete(key)?;
            Ok(Response::empty(204))
        }
        _ => Err(Problem::method_not_allowed("DELETE, GET, HEAD, PUT")),
    }
}

/// Without `limit` a page of the host's own size, by the host's own cursor.
pub fn list(request: &Request, bucket: &str) -> Result<Response, Problem> {
    let (store, cursor) = (Store::open(bucket)?, request.param::<String>("cursor")?);
    let page = match request.param("limit")? {
        Some(limit) => store.page(cursor.as_deref(), limit)?,
        None => store.keys(cursor.as_deref())?,
    };
    Ok(Response::json(
        200,
        &json!({ "keys": page.keys, "next": page.next }),
    ))
}

/// The pairs of a JSON object of strings; or `?count=&bytes=`: keys 0000000… with values of that
/// size.
pub async fn many(request: &Request, bucket: &str) -> Result<Response, Problem> {
    let pairs: Vec<(String, Vec<u8>)> = match request.param::<usize>("count")? {
        Some(count) => {
            let bytes = request.param("bytes")?.unwrap_or(1);
            (0..count)
                .map(|number| (format!("{number:07}"), vec![b'x'; bytes]))
                .collect()
        }
        None => {
            let object: Map<String, Value> = request.json().await?;
            let text = |value: Value| value.as_str().unwrap_or_default().as_bytes().to_vec();
            object
                .into_iter()
                .map(|(key, value)| (key, text(value)))
                .collect()
        }
    };
    Store::open(bucket)?.set_many(&pairs)?;
    Ok(Response::empty(204))
}

pub fn fill(bucket: &str, numbers: Range<usize>, bytes: usize) -> Result<Response, Problem> {
    const AT_ONCE: usize = 1000;
    let store = Store::open(bucket)?;
    for first in numbers.clone().step_by(AT_ONCE) {
        let pairs: Vec<(String, Vec<u8>)> = (first..numbers.end.min(first + AT_ONCE))
            .map(|number| (format!("{number:08}"), vec![b'x'; bytes]))
            .collect();
        // Others write as well: a store that has too much to do says so, and a greedy guest tries
        // again.
        while let Err(error) = store.set_many(&pairs) {
            if !matches!(error, StoreError::Unavailable(_)) {
                return Err(error.into());
            }
        }
    }
    Ok(Response::empty(204))
}

pub fn scan(bucket: &str) -> Result<Response, Problem> {
    let store = Store::open(bucket)?;
    let (mut count, mut cursor) = (0, None::<String>);
    loop {
        let page = store.keys(cursor.as_deref())?;
        count += page.keys.len();
        cursor = page.next;
        if cursor.is_none() {
            return Ok(Response::text(200, format!("{count} keys\n")));
        }
    }
}

/// Writes first, so that what is read is what could be written.
pub fn each(request: &Request, bucket: &str) -> Result<Response, Problem> {
    let key = request.param::<String>("key")?.unwrap_or_default();
    let (store, keys) = (Store::open(bucket)?, [key.clone()]);
    let done = |outcome: Result<(), StoreError>| match outcome {
        Ok(()) => json!("done"),
        Err(StoreError::Invalid(_)) => json!("invalid"),
        Err(other) => json!(other.to_string()),
    };
    let writes = json!({
        "set": done(store.set_bytes(&key, b"1")),
        "set-many": done(store.set_many(&[("beside".into(), vec![]), (key.clone(), b"1".to_vec())])),
        "increment": done(store.increment(&key, 1).map(drop)),
        "swap": done(store.update(&key, |old: Option<i64>| old.unwrap_or(0) + 1).map(drop)),
    });
    let value = store.get_bytes(&key)?;
    let reads = json!({
        "get": value.map(|value| String::from_utf8_lossy(&value).into_owned()),
        "get-many": store.get_many::<Value>(&keys)?.iter().flatten().count(),
        "exists": store.exists(&key)?,
        "listed": store.keys(None)?.keys,
    });
    let deletes = json!({
        "delete": done(store.delete(&key)),
        "delete-many": done(store.delete_many(&keys)),
        "exists": store.exists(&key)?,
    });
    Ok(Response::json(
        200,
        &json!({ "writes": writes, "reads": reads, "deletes": deletes }),
    ))
}

pub fn increment(request: &Request, bucket: &str, key: &str) -> Result<Response, Problem> {
    let sum = Store::open(bucket)?.increment(key, request.param("by")?.unwrap_or(1))?;
    Ok(Response::json(200, &sum))
}

pub async fn append(request: &Request, bucket: &str, key: &str) -> Result<Response, Problem> {
    let word = String::from_utf8_lossy(&request.body().read_to_end(1024).await?).into_owned();
    let list = Store::open(bucket)?.update(key, |old: Option<Vec<String>>| {
        let mut list = old.unwrap_or_default();
        list.push(word.clone());
        list
    })?;
    Ok(Response::json(200, &list))
}
