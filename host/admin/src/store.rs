//! What a window keeps in its store, for operators to look at: the buckets, the keys of one, and
//! one value.

use super::query::Query;
use super::reply;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hms_api::{StoreBuckets, StoreKeys, StoreValue};
use hms_core::body::Body;
use hms_store::{Page, Store, StoreError};
use hms_windows::{ChangeError, Registry, WindowName};
use http::{Response, StatusCode};
use std::sync::Arc;

/// Keys in one answer, if nothing is said, and the most of them.
const PAGE: u64 = 100;
const MAX_PAGE: u64 = 1_000;

/// Bytes of a value that are shown. 64 KiB.
const SHOWN_BYTES: usize = 64 << 10;

/// `GET /windows/NAME/store?bucket=NAME&after=KEY&limit=N`.
pub(super) async fn keys(
    windows: &Arc<Registry>,
    name: &WindowName,
    query: &str,
) -> Response<Body> {
    let asked = Query::read(query, &["bucket", "after", "limit"]).and_then(|query| {
        let limit = query.parsed::<u64>("limit")?.unwrap_or(PAGE);
        Ok((query, limit.clamp(1, MAX_PAGE)))
    });
    let (query, limit) = match asked {
        Ok(asked) => asked,
        Err(error) => return reply::change_error(&error),
    };
    let bucket = query.text("bucket").unwrap_or_default().to_owned();
    let none = StoreKeys {
        bucket,
        keys: Vec::new(),
        more: false,
    };
    let store = match open(windows, name).await {
        Ok(Some(store)) => store,
        Ok(None) => return reply::json(StatusCode::OK, &none),
        Err(refusal) => return refusal,
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    match store
        .keys(&none.bucket, query.text("after"), 0, limit)
        .await
    {
        Ok(page) => {
            let (keys, more) = (page.keys, page.more);
            reply::json(StatusCode::OK, &StoreKeys { keys, more, ..none })
        }
        Err(error) => refuse(&error),
    }
}

/// `GET /windows/NAME/store/buckets?after=NAME&limit=N`.
pub(super) async fn buckets(
    windows: &Arc<Registry>,
    name: &WindowName,
    query: &str,
) -> Response<Body> {
    let asked = Query::read(query, &["after", "limit"]).and_then(|query| {
        let limit = query.parsed::<u64>("limit")?.unwrap_or(PAGE);
        Ok((query, limit.clamp(1, MAX_PAGE)))
    });
    let (query, limit) = match asked {
        Ok(asked) => asked,
        Err(error) => return reply::change_error(&error),
    };
    let store = match open(windows, name).await {
        Ok(store) => store,
        Err(refusal) => return refusal,
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let page = match store {
        Some(store) => store.buckets(query.text("after"), limit).await,
        None => Ok(Page {
            keys: Vec::new(),
            more: false,
        }),
    };
    match page {
        Ok(Page { keys, more }) => {
            let buckets = keys;
            reply::json(StatusCode::OK, &StoreBuckets { buckets, more })
        }
        Err(error) => refuse(&error),
    }
}

/// `GET /windows/NAME/store/value?bucket=NAME&key=KEY`.
pub(super) async fn value(
    windows: &Arc<Registry>,
    name: &WindowName,
    query: &str,
) -> Response<Body> {
    let asked = Query::read(query, &["bucket", "key"]).and_then(|query| {
        let key = query.text("key").map(str::to_owned);
        let missing = || ChangeError::BadOption("the parameter 'key' is missing".into());
        Ok((query, key.ok_or_else(missing)?))
    });
    let (query, key) = match asked {
        Ok(asked) => asked,
        Err(error) => return reply::change_error(&error),
    };
    let bucket = query.text("bucket").unwrap_or_default();
    let found = match open(windows, name).await {
        Ok(Some(store)) => store.get(bucket, &key).await,
        Ok(None) => Ok(None),
        Err(refusal) => return refusal,
    };
    match found {
        Ok(Some(entry)) => reply::json(StatusCode::OK, &shown(bucket, key, &entry)),
        Ok(None) => {
            let detail = format!("the store of window '{name}' has no such key in this bucket");
            reply::refuse(StatusCode::NOT_FOUND, "no-such-value", detail)
        }
        Err(error) => refuse(&error),
    }
}

fn shown(bucket: &str, key: String, entry: &hms_store::Entry) -> StoreValue {
    let front = entry.value.get(..SHOWN_BYTES);
    let text = match (std::str::from_utf8(&entry.value), front) {
        (Ok(text), None) => Some(text),
        // Not in the middle of a character.
        (Ok(text), Some(_)) => text.get(..text.floor_char_boundary(SHOWN_BYTES)),
        (Err(_), _) => None,
    };
    StoreValue {
        bucket: bucket.to_owned(),
        key,
        version: entry.version,
        bytes: entry.value.len() as u64,
        base64: text
            .is_none()
            .then(|| STANDARD.encode(front.unwrap_or(&entry.value))),
        text: text.map(str::to_owned),
        cut: front.is_some(),
    }
}

/// The store of a window. None if it has not kept anything yet.
async fn open(
    windows: &Arc<Registry>,
    name: &WindowName,
) -> Result<Option<Arc<dyn Store>>, Response<Body>> {
    if let Err(error) = windows.status(name) {
        return Err(reply::not_shown(&error));
    }
    let opened = windows.stores().open_existing_async(name.as_str()).await;
    opened.map_err(|error| refuse(&error))
}

fn refuse(error: &StoreError) -> Response<Body> {
    match error {
        StoreError::KeyTooLong { .. } | StoreError::BucketTooLong { .. } => {
            reply::refuse(StatusCode::BAD_REQUEST, "bad-request", error.to_string())
        }
        error => {
            tracing::error!(%error, "admin: a store cannot be shown");
            let why = error.to_string();
            reply::refuse(StatusCode::SERVICE_UNAVAILABLE, "store-unavailable", why)
        }
    }
}
