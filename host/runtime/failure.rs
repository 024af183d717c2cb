//! Why a clerk failed: from wasmtime's errors to ours.

use crate::error::Error;
use std::time::Duration;
use wasmtime::Trap;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode as ErrorCode2;
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode as ErrorCode3;

/// Raised by the epoch callback.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("used up its {} s of CPU time", .0.as_secs_f32())]
pub(super) struct CpuExhausted(pub Duration);

/// Raised by the limiter, in bytes.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("asked for more than its {0} bytes of memory")]
pub(super) struct MemoryExhausted(pub u64);

/// What a wasmtime error, met while a clerk was starting or at work, means to the client.
pub(super) fn classify(error: &wasmtime::Error) -> Error {
    if let Some(CpuExhausted(limit)) = error.downcast_ref() {
        return Error::CpuTime { limit: *limit };
    }
    if let Some(MemoryExhausted(limit)) = error.downcast_ref() {
        return Error::MemoryLimit { limit: *limit };
    }
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return Error::ClerkLimit;
    }
    if let Some(code) = error.downcast_ref::<ErrorCode3>() {
        return Error::NoResponse(format!("it returned the error {code:?}"));
    }
    if let Some(code) = error.downcast_ref::<ErrorCode2>() {
        return Error::NoResponse(format!("it returned the error {code:?}"));
    }
    if error.is::<Trap>() || error.is::<wasmtime::WasmBacktrace>() {
        return Error::ClerkTrapped;
    }
    Error::NoResponse(error.root_cause().to_string())
}
