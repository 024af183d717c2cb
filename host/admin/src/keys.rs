//! API keys of machine callers: create, list, revoke.

use super::reply;
use super::tasks::Tasks;
use super::whole::whole;
use hms_api::{CreatedKey, Key, KeyList, NewKey, RevokedKey};
use hms_core::body::Body;
use hms_core::units::Lifetime;
use hms_disk::files::is_full_disk;
use hms_gateway::Gateway;
use hms_gateway::plugins::auth::{ApiKey, KeyError};
use http::{HeaderValue, Response, StatusCode, header};
use std::time::Duration;

/// The longest order in bytes: a user and as many scopes as fit a header, escaped.
const MAX_ORDER_BYTES: usize = 64 << 10;

pub(super) fn list(gateway: &Gateway) -> Response<Body> {
    let keys = gateway.api_keys();
    let list = KeyList {
        keys: keys.list().into_iter().map(Key::from).collect(),
        unsaved: keys.unsaved().map(|unsaved| (*unsaved).clone()),
    };
    reply::json(StatusCode::OK, &list)
}

/// 201 with the key, which is stored nowhere else.
pub(super) async fn add(tasks: &Tasks, gateway: &Gateway, body: Body) -> Response<Body> {
    let order = match whole(body, MAX_ORDER_BYTES).await {
        Ok(body) => read(&body),
        Err(why) => return reply::refuse(StatusCode::BAD_REQUEST, "upload-broken", why),
    };
    let order = match order {
        Ok(order) => order,
        Err(why) => {
            let form = r#"the body must be a JSON object such as {"user": "robot", "scopes": ["payments.read"], "expires-in": "30d"}"#;
            return bad(format!("{form}: {why}"));
        }
    };
    let (order, lifetime) = order;
    let keys = gateway.api_keys().clone();
    let made = blocking(move || keys.add(&order.user, &order.scopes, lifetime));
    tasks.answer(async { added(made.await) }).await
}

/// The order, and how long the key is valid.
///
/// # Errors
/// What is wrong with it, as a sentence.
fn read(body: &[u8]) -> Result<(NewKey, Option<Duration>), String> {
    let order: NewKey = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let lifetime = order.expires_in.as_deref().map(str::parse::<Lifetime>);
    let lifetime = lifetime
        .transpose()
        .map_err(|why| format!("expires-in: {why}"))?;
    Ok((order, lifetime.map(Lifetime::duration)))
}

fn added(made: Result<(ApiKey, String), KeyError>) -> Response<Body> {
    match made {
        Ok((key, text)) => {
            let created = CreatedKey {
                about: key.into(),
                key: text,
            };
            let mut response = reply::json(StatusCode::CREATED, &created);
            let never = HeaderValue::from_static("no-store");
            response.headers_mut().insert(header::CACHE_CONTROL, never);
            response
        }
        Err(error) => refuse(&error),
    }
}

/// The answer says if the disk has not accepted the change; the key is refused anyway.
pub(super) async fn revoke(tasks: &Tasks, gateway: &Gateway, id: &str) -> Response<Body> {
    let (keys, id) = (gateway.api_keys().clone(), id.to_owned());
    let change = async move {
        let name = id.clone();
        match blocking(move || keys.revoke(&name)).await {
            Ok(unsaved) => {
                let why = unsaved.as_ref().map(|unsaved| unsaved.why.as_str());
                reply::changed(RevokedKey { revoked: id }, why)
            }
            Err(error) => refuse(&error),
        }
    };
    tasks.answer(change).await
}

/// Off the request threads, because it waits for the disk.
async fn blocking<T: Send + 'static>(
    change: impl FnOnce() -> Result<T, KeyError> + Send + 'static,
) -> Result<T, KeyError> {
    tokio::task::spawn_blocking(change)
        .await
        .unwrap_or_else(|error| Err(KeyError::Io(std::io::Error::other(error))))
}

fn bad(detail: String) -> Response<Body> {
    reply::refuse(StatusCode::BAD_REQUEST, "bad-request", detail)
}

fn refuse(error: &KeyError) -> Response<Body> {
    let (status, code) = match error {
        KeyError::Bad(_) => (StatusCode::BAD_REQUEST, "bad-request"),
        KeyError::Full => (StatusCode::CONFLICT, "too-many-keys"),
        KeyError::Unknown(_) => (StatusCode::NOT_FOUND, "no-such-key"),
        KeyError::Io(error) if is_full_disk(error) => (StatusCode::INSUFFICIENT_STORAGE, "disk"),
        KeyError::Io(_) => (StatusCode::INTERNAL_SERVER_ERROR, "disk"),
    };
    if status.is_server_error() {
        tracing::error!(%error, "admin: a change failed");
    }
    reply::refuse(status, code, error.to_string())
}
