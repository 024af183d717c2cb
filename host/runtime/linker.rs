//! What a window may reach: the grants.
//!
//! Every `wasi:*` interface that a standard toolchain imports is present, so that components link unchanged, and
//! nothing stands behind those that lead outside: no directory is pre-opened, the environment and the arguments
//! are empty, every socket address and every outgoing request is refused.

use super::clerk::Clerk;
use super::keyvalue;
use super::middleware;
use super::tally::Failures;
use crate::next::Next;
use std::sync::Arc;
use wasmtime::Engine;
use wasmtime::component::Linker;
use wasmtime_wasi_http::{DEFAULT_FORBIDDEN_HEADERS, WasiBody, WasiHttpHooks};

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
    middleware::add_to_linker(&mut linker)?;
    keyvalue::add_to_linker(&mut linker)?;
    Ok(linker)
}

/// What happens to a request that a guest sends. A window has no network, so it is refused, and counted; but a middleware's
/// goes on along its own request's way.
pub(super) struct Outside {
    pub failures: Arc<Failures>,
    /// Where requests go on to, at a middleware.
    pub next: Option<Next>,
    going_on: bool,
}

impl Outside {
    pub fn new(failures: Arc<Failures>) -> Self {
        Outside {
            failures,
            next: None,
            going_on: false,
        }
    }

    /// The next request that is sent goes on.
    pub fn goes_on(&mut self) {
        self.going_on = true;
    }
}

type SendResult = Result<
    (
        http::Response<WasiBody>,
        Box<dyn Future<Output = Result<(), wasmtime_wasi_http::Error>> + Send>,
    ),
    wasmtime_wasi_http::Error,
>;

impl WasiHttpHooks for Outside {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        _: Option<wasmtime_wasi_http::RequestOptions>,
        _: Box<dyn Future<Output = Result<(), wasmtime_wasi_http::Error>> + Send>,
    ) -> Box<dyn Future<Output = SendResult> + Send> {
        let going_on = std::mem::take(&mut self.going_on);
        if let (true, Some(next)) = (going_on, &self.next) {
            let passed_on = middleware::pass_on(next.clone(), request);
            return Box::new(async {
                let done: Box<dyn Future<Output = _> + Send> = Box::new(async { Ok(()) });
                Ok((passed_on.await?, done))
            });
        }
        let sentence = if going_on {
            "it called on, but no route has it as a middleware (wasm)".to_owned()
        } else {
            let to = request.uri().host().unwrap_or_default();
            format!("a request to '{to}' was refused: a window has no network")
        };
        self.failures.count("no-network", &sentence);
        Box::new(async { Err(wasmtime_wasi_http::Error::HttpRequestDenied) })
    }

    // As the default is, without a closure made for each name.
    fn is_forbidden_header(&mut self, name: &http::HeaderName) -> bool {
        DEFAULT_FORBIDDEN_HEADERS.contains(name)
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
