//! The limits of a window: shown, and changed by a JSON Merge Patch (RFC 7396).

use super::reply;
use super::tasks::Tasks;
use super::whole::whole;
use crate::body::Body;
use crate::windows::{ChangeError, LimitsChange, Registry, WindowName};
use http::{Response, StatusCode};
use serde_json::json;
use std::sync::Arc;

/// The longest change in bytes: all limits fit many times.
const MAX_CHANGE_BYTES: usize = 16 << 10;

pub(super) fn show(windows: &Registry, name: &WindowName) -> Response<Body> {
    match windows.limits(name) {
        Ok((limits, set)) => {
            let reuse_off = windows.reuse_off(name);
            let shown = json!({ "limits": limits, "set": set, "reuse_off": reuse_off });
            reply::json(StatusCode::OK, &shown)
        }
        Err(error) => reply::not_shown(&error),
    }
}

pub(super) async fn change(
    tasks: &Tasks,
    windows: &Arc<Registry>,
    name: WindowName,
    body: Body,
) -> Response<Body> {
    let change = match whole(body, MAX_CHANGE_BYTES).await {
        Ok(body) => serde_json::from_slice::<LimitsChange>(&body),
        Err(why) => return reply::change_error(&ChangeError::Upload(why)),
    };
    let change = match change {
        Ok(change) => change,
        Err(error) => {
            return reply::change_error(&ChangeError::BadOption(format!(
                "the change is a JSON object such as {{\"memory_bytes\": 67108864, \"queue\": null}}: {error}"
            )));
        }
    };
    let windows = windows.clone();
    let change = async move {
        match windows.set_limits(&name, &change).await {
            Ok((limits, set, unsaved)) => {
                let why = unsaved.map(|unsaved| unsaved.why);
                reply::changed(json!({ "limits": limits, "set": set }), why.as_deref())
            }
            Err(error) => reply::change_error(&error),
        }
    };
    tasks.answer(change).await
}
