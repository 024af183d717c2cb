//! API keys of machine callers: made, listed, revoked.

use super::reply;
use crate::body::Body;
use crate::gateway::Gateway;
use crate::gateway::plugins::auth::{ApiKeys, KeyError, parse_lifetime};
use crate::linger::Inbound;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use serde_json::json;

/// The longest order in bytes: a user and as many scopes as fit a header, escaped.
const MAX_ORDER_BYTES: usize = 64 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Order {
    user: String,
    #[serde(default)]
    scopes: Vec<String>,
    expires_in: Option<String>,
}

pub(super) fn list(gateway: &Gateway) -> Response<Body> {
    let keys = gateway.api_keys().list();
    reply::json(StatusCode::OK, &json!({ "keys": keys }))
}

/// 201 with the key; it is nowhere else.
pub(super) async fn add(gateway: &Gateway, body: Inbound) -> Response<Body> {
    let order = match Limited::new(body, MAX_ORDER_BYTES).collect().await {
        Ok(body) => serde_json::from_slice::<Order>(&body.to_bytes()),
        Err(error) => {
            return reply::refuse(StatusCode::BAD_REQUEST, "upload-broken", error.to_string());
        }
    };
    let order = match order {
        Ok(order) => order,
        Err(error) => {
            let form = r#"a key is asked for by a JSON object such as {"user": "robot", "scopes": ["payments.read"], "expires-in": "30d"}"#;
            return bad(format!("{form}: {error}"));
        }
    };
    let lifetime = match order.expires_in.as_deref().map(parse_lifetime).transpose() {
        Ok(lifetime) => lifetime,
        Err(expected) => return bad(format!("expires-in: {expected}")),
    };
    let made = change(gateway, move |keys| {
        keys.add(&order.user, &order.scopes, lifetime)
    });
    match made.await {
        Ok((key, text)) => {
            let mut shown = json!(key);
            shown["key"] = json!(text);
            let mut response = reply::json(StatusCode::CREATED, &shown);
            let never = HeaderValue::from_static("no-store");
            response.headers_mut().insert(header::CACHE_CONTROL, never);
            response
        }
        Err(error) => refuse(&error),
    }
}

pub(super) async fn revoke(gateway: &Gateway, id: &str) -> Response<Body> {
    let name = id.to_owned();
    match change(gateway, move |keys| keys.revoke(&name)).await {
        Ok(()) => reply::json(StatusCode::OK, &json!({ "revoked": id })),
        Err(error) => refuse(&error),
    }
}

/// Away from the threads of requests: it waits for the disk.
async fn change<T: Send + 'static>(
    gateway: &Gateway,
    change: impl FnOnce(&ApiKeys) -> Result<T, KeyError> + Send + 'static,
) -> Result<T, KeyError> {
    let keys = gateway.api_keys().clone();
    tokio::task::spawn_blocking(move || change(&keys))
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
        KeyError::Io(_) => (StatusCode::INTERNAL_SERVER_ERROR, "disk"),
    };
    if status.is_server_error() {
        tracing::error!(%error, "admin: a change was not made");
    }
    reply::refuse(status, code, error.to_string())
}
