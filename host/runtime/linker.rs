//! What a window may reach: the grants.
//!
//! Every `wasi:*` interface that a standard toolchain imports is present, so that components link unchanged, and
//! nothing stands behind those that lead outside: no directory is pre-opened, the environment and the arguments
//! are empty, every socket address and every outgoing request is refused.

use super::clerk::Clerk;
use super::keyvalue;
use super::tally::Failures;
use std::sync::Arc;
use wasmtime::Engine;
use wasmtime::component::Linker;
use wasmtime_wasi_http::{WasiBody, WasiHttpHooks};

/// The packages of which a window may import interfaces, for messages.
pub const GRANTED: [&str; 7] = [
    "wasi:cli",
    "wasi:clocks",
    "wasi:filesystem",
    "wasi:http",
    "wasi:io",
    "wasi:keyvalue",
    "wasi:random",
];

/// Packages that are linked for toolchains that import them unasked, and lead nowhere.
pub const EMPTY: [&str; 1] = ["wasi:sockets"];

pub(super) fn build(engine: &Engine) -> anyhow::Result<Linker<Clerk>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    keyvalue::add_to_linker(&mut linker)?;
    Ok(linker)
}

/// Refuses every outgoing request, and counts it: a window has no network.
pub(super) struct NoNetwork(pub Arc<Failures>);

type SendResult = Result<
    (
        http::Response<WasiBody>,
        Box<dyn Future<Output = Result<(), wasmtime_wasi_http::Error>> + Send>,
    ),
    wasmtime_wasi_http::Error,
>;

impl WasiHttpHooks for NoNetwork {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        _: Option<wasmtime_wasi_http::RequestOptions>,
        _: Box<dyn Future<Output = Result<(), wasmtime_wasi_http::Error>> + Send>,
    ) -> Box<dyn Future<Output = SendResult> + Send> {
        let to = request.uri().host().unwrap_or_default();
        let sentence = format!("a request to '{to}' was refused: a window has no network");
        self.0.count("no-network", &sentence);
        Box::new(async { Err(wasmtime_wasi_http::Error::HttpRequestDenied) })
    }

    // A window's headers were cleaned by the gateway, and what it answers is cleaned there again.
    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK_BYTES
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK_BYTES
    }
}

/// Bytes copied out of a guest in one piece. 64 KiB: larger pieces gain nothing on a socket and cost memory
/// for every transfer.
const BODY_CHUNK_BYTES: usize = 64 << 10;
