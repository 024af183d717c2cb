//! The limits of a window: shown, and changed by a JSON Merge Patch (RFC 7396).

use super::reply;
use super::tasks::Tasks;
use super::whole::whole;
use hms_core::body::Body;
use hms_manifest::unknown;
use hms_windows::{ChangeError, LIMITS, LimitsChange, Registry, Unit, WindowName};
use http::{Response, StatusCode};
use serde_json::{Map, Value};
use std::sync::Arc;

/// The longest change in bytes: all limits fit many times.
const MAX_CHANGE_BYTES: usize = 16 << 10;

pub(super) fn show(windows: &Registry, name: &WindowName) -> Response<Body> {
    match windows.limits(name) {
        Ok(limits) => reply::json(StatusCode::OK, &limits),
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
        Ok(body) => read(&body),
        Err(why) => return reply::change_error(&ChangeError::Upload(why)),
    };
    let change = match change {
        Ok(change) => change,
        Err(why) => return reply::change_error(&ChangeError::BadOption(why)),
    };
    let windows = windows.clone();
    let change = async move {
        match windows.set_limits(&name, &change).await {
            Ok((limits, unsaved)) => {
                let why = unsaved.map(|unsaved| unsaved.why);
                reply::changed(limits, why.as_deref())
            }
            Err(error) => reply::change_error(&error),
        }
    };
    tasks.answer(change).await
}

/// Reads an [`hms_api::LimitsPatch`], field by field: an error names the limit.
///
/// # Errors
/// A sentence with what was expected.
fn read(body: &[u8]) -> Result<LimitsChange, String> {
    let change: Map<String, Value> = serde_json::from_slice(body).map_err(|error| {
        format!(
            "the body must be a JSON object such as \
             {{\"memory_bytes\": 67108864, \"queue\": null}}: {error}"
        )
    })?;
    let names = LIMITS.map(|row| row.name);
    let limits = change.into_iter().map(|(name, value)| {
        let row = LIMITS.iter().find(|row| row.name == name);
        let row = row.ok_or_else(|| unknown("limit", &name.escape_debug().to_string(), &names))?;
        let unit = match row.unit {
            Unit::Bytes => " of bytes",
            Unit::Milliseconds => " of milliseconds",
            Unit::Count => "",
        };
        match (value.as_u64(), &value) {
            (Some(number), _) => Ok((row.limit, Some(number))),
            (None, Value::Null) => Ok((row.limit, None)),
            _ => Err(format!(
                "{name}: use a whole number{unit}, or null for the default"
            )),
        }
    });
    limits.collect::<Result<_, _>>().map(LimitsChange)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unreadable_change_is_rejected_with_what_is_expected() {
        for (body, expected) in [
            (
                r#"{"queu": 1}"#,
                "unknown limit 'queu', did you mean 'queue'?",
            ),
            (r#"{"colour": 1}"#, "there are: memory_bytes, cpu_time_ms"),
            (
                r#"{"memory_bytes": "64MiB"}"#,
                "memory_bytes: use a whole number of bytes, or null",
            ),
            (r#"{"queue": -1}"#, "queue: use a whole number, or null"),
            ("[]", "a JSON object such as"),
        ] {
            let why = read(body.as_bytes()).unwrap_err();
            assert!(why.contains(expected), "{body}: {why}");
        }
        let change = read(br#"{"queue": null, "reuse": 2}"#).unwrap();
        assert_eq!(json!(change), json!({"queue": null, "reuse": 2}));
    }
}
