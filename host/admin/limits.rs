//! The limits of a window: shown, and changed by a JSON Merge Patch (RFC 7396).

use super::reply;
use crate::body::Body;
use crate::linger::Inbound;
use crate::windows::{ChangeError, LimitsChange, LimitsSet, Registry, WindowLimits, WindowName};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde_json::json;

/// The longest change in bytes: all limits fit many times.
const MAX_CHANGE_BYTES: usize = 16 << 10;

pub(super) async fn show(windows: &Registry, name: &WindowName) -> Response<Body> {
    answer(windows.limits(name).await)
}

pub(super) async fn change(windows: &Registry, name: &WindowName, body: Inbound) -> Response<Body> {
    let change = match Limited::new(body, MAX_CHANGE_BYTES).collect().await {
        Ok(body) => serde_json::from_slice::<LimitsChange>(&body.to_bytes()),
        Err(error) => return reply::change_error(&ChangeError::Upload(error.to_string())),
    };
    let change = match change {
        Ok(change) => change,
        Err(error) => {
            return reply::change_error(&ChangeError::BadOption(format!(
                "the change is a JSON object such as {{\"memory_bytes\": 67108864, \"queue\": null}}: {error}"
            )));
        }
    };
    answer(windows.set_limits(name, &change).await)
}

fn answer(result: Result<(WindowLimits, LimitsSet), ChangeError>) -> Response<Body> {
    match result {
        Ok((limits, set)) => reply::json(StatusCode::OK, &json!({ "limits": limits, "set": set })),
        Err(error) => reply::change_error(&error),
    }
}
