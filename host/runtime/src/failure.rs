//! From wasmtime's errors to ours.

use super::error::InstanceError;
use super::error_text::{ERROR_BYTES, cut};
use hms_core::error::Cause;
use hms_grants::{WindowGrants, mask};
use std::sync::Arc;
use std::time::Duration;
use wasmtime::Trap;
use wasmtime::component::ResourceTableError;
use wasmtime_wasi_http::FieldMapError;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode as ErrorCode2;
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode as ErrorCode3;

/// Raised by the epoch callback.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("used up its {} s of CPU time", .0.as_secs_f32())]
pub(super) struct CpuExhausted(pub Duration);

/// Raised by the limiter; holds bytes.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("asked for more than its {0} bytes of memory")]
pub(super) struct MemoryExhausted(pub u64);

/// Raised by the hook on host calls; holds the allowed calls per second.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("made more than {0} calls a second to the host")]
pub(super) struct HostCallsExhausted(pub u64);

/// Raised by a function that stands in for an import which no window is given: its whole name, as
/// in `spin:llm/llm@2.0.0#infer`.
#[derive(Debug, Clone, thiserror::Error)]
#[error("called {0}, which this host does not provide")]
pub(super) struct UnknownImportCalled(pub Arc<str>);

/// wasmtime has no type for a guest's own table of handles being full.
const HANDLES_FULL: &str = "handle limit exceeded";

/// Nor for a guest that passes too much to the host in one call, or asks for too much.
const CALL_TOO_LARGE: [&str; 2] = [
    "fuel allocated for hostcalls has been exhausted",
    "exceeds limit",
];

/// The failure that a client sees for a wasmtime error while an instance was starting or running.
/// The guest's words are without the secrets that its window is `granted` to read.
pub(super) fn classify(error: &wasmtime::Error, granted: &WindowGrants) -> InstanceError {
    if let Some(CpuExhausted(limit)) = error.downcast_ref() {
        return InstanceError::CpuTime { limit: *limit };
    }
    if let Some(MemoryExhausted(limit)) = error.downcast_ref() {
        return InstanceError::MemoryLimit { limit: *limit };
    }
    if let Some(HostCallsExhausted(limit)) = error.downcast_ref() {
        return InstanceError::HostCalls { limit: *limit };
    }
    if let Some(UnknownImportCalled(function)) = error.downcast_ref() {
        let function = cut(ERROR_BYTES, format_args!("{function}"));
        return InstanceError::UnknownImportCalled(function.into());
    }
    let root = cut(ERROR_BYTES, format_args!("{}", error.root_cause()));
    if matches!(error.downcast_ref(), Some(ResourceTableError::Full)) || root.contains(HANDLES_FULL)
    {
        return InstanceError::HandleLimit;
    }
    if let Some(FieldMapError::TotalSizeTooBig | FieldMapError::TooManyFields) =
        error.downcast_ref()
    {
        return InstanceError::ResponseHeadersTooLarge;
    }
    if CALL_TOO_LARGE.iter().any(|words| root.contains(words)) {
        return InstanceError::HostCallTooLarge;
    }
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return InstanceError::PoolFull;
    }
    if let Some(code) = error.downcast_ref::<ErrorCode3>() {
        return InstanceError::NoResponse(returned(code, granted));
    }
    if let Some(code) = error.downcast_ref::<ErrorCode2>() {
        return InstanceError::NoResponse(returned(code, granted));
    }
    if error.is::<Trap>() || error.is::<wasmtime::WasmBacktrace>() {
        return InstanceError::Trapped;
    }
    InstanceError::NoResponse(without_secrets(&root, granted))
}

/// The innermost cause of `error`, without the secrets that the window is `granted` to read.
pub(super) fn root_cause(error: &wasmtime::Error, granted: &WindowGrants) -> Cause {
    let root = cut(ERROR_BYTES, format_args!("{}", error.root_cause()));
    without_secrets(&root, granted)
}

/// The text of an error that a guest returned.
fn returned(code: &dyn std::fmt::Debug, granted: &WindowGrants) -> Cause {
    let said = cut(ERROR_BYTES, format_args!("it returned the error {code:?}"));
    without_secrets(&said, granted)
}

fn without_secrets(said: &str, granted: &WindowGrants) -> Cause {
    Cause::of(match said.len() > ERROR_BYTES {
        true => mask::masked_beginning(granted, said),
        false => mask::masked(granted, said),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hms_core::error::RequestError;
    use hms_grants::Secret;

    #[test]
    fn error_that_a_guest_returns_is_told_without_its_secrets() {
        let mut granted = WindowGrants::default();
        granted.grants.reveal.insert("key".into());
        let secret = Secret::new(b"sk_live_42".to_vec());
        granted.secrets.insert("key".into(), secret);
        for fill in ["", &".".repeat(ERROR_BYTES - 60)] {
            let words = format!("{fill}the key sk_live_42 was refused, sk_live_42");
            let code = ErrorCode3::InternalError(Some(words));
            let error = wasmtime::Error::from(code);
            let told = RequestError::from(classify(&error, &granted)).in_full();
            assert!(!told.contains("sk_"), "{told}");
            assert!(told.contains("InternalError"), "{told}");
            let error = wasmtime::Error::msg(format!("{fill}no start with sk_live_42, sk_live_42"));
            let told = root_cause(&error.context("instantiation"), &granted);
            let told = RequestError::from(InstanceError::Start(told)).in_full();
            assert!(!told.contains("sk_") && told.contains("no start"), "{told}");
        }
    }
}
