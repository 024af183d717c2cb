//! What a window can reach: the grants.
//!
//! Every `wasi:*` interface that a standard toolchain imports is linked, so that components work
//! unchanged. Those that lead outside have nothing behind them: no directory is pre-opened,
//! environment and arguments are empty, and every socket address and outgoing request is refused.

use super::failures::Failures;
use super::host_memory::{BODY_CHUNK_BYTES, write_bytes};
use super::http_types;
use super::instance::InstanceState;
use super::interfaces;
use super::middleware::{self, PassedOn};
use std::sync::Arc;
use wasmtime::Engine;
use wasmtime::component::Linker;
use wasmtime_wasi_http::{DEFAULT_FORBIDDEN_HEADERS, WasiBody, WasiHttpHooks};

/// The packages whose interfaces a window may import, for messages.
pub(crate) const GRANTED: [&str; 7] = [
    "wasi:cli",
    "wasi:clocks",
    "wasi:filesystem",
    "wasi:http",
    "wasi:io",
    "wasi:keyvalue",
    "wasi:random",
];

/// Packages that are linked because toolchains always import them, and that reach nothing.
pub(crate) const EMPTY: [&str; 1] = ["wasi:sockets"];

pub(super) fn build(engine: &Engine) -> anyhow::Result<Linker<InstanceState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    http_types::add_to_linker(&mut linker)?;
    middleware::add_to_linker(&mut linker)?;
    interfaces::add_to_linker(&mut linker)?;
    Ok(linker)
}

/// What happens to a request that a guest sends. A window has no network, so it is refused and
/// counted; a middleware's request continues in the chain of its own request.
pub(super) struct Outside {
    pub failures: Arc<Failures>,
    /// The handling of the request being sent, if it is forwarded; None if it is sent out.
    pub passed_on: Option<PassedOn>,
    /// Bytes of one piece of an outgoing WASI 0.2 body.
    write_bytes: usize,
}

impl Outside {
    /// For an instance with so much memory.
    pub(crate) fn new(failures: Arc<Failures>, memory_limit: u64) -> Self {
        Outside {
            write_bytes: write_bytes(memory_limit),
            failures,
            passed_on: None,
        }
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
        let (reason, sentence) = match self.passed_on.take() {
            Some(PassedOn::Along(along)) => {
                let answer = along.answer(request);
                return Box::new(async {
                    let done: Box<dyn Future<Output = _> + Send> = Box::new(async { Ok(()) });
                    Ok((answer.await?, done))
                });
            }
            Some(PassedOn::Refused(reason, sentence)) => (reason, sentence.to_owned()),
            None => {
                let to = request.uri().host().unwrap_or_default();
                let sentence = format!("a request to '{to}' was refused: a window has no network");
                ("no-network", sentence)
            }
        };
        self.failures.count(reason, &sentence);
        Box::new(async { Err(wasmtime_wasi_http::Error::HttpRequestDenied) })
    }

    // Like the default, but without a closure for each name.
    fn is_forbidden_header(&mut self, name: &http::HeaderName) -> bool {
        DEFAULT_FORBIDDEN_HEADERS.contains(name)
    }

    // The gateway has cleaned the headers for a window, and cleans its answer too.
    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        self.write_bytes
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK_BYTES
    }
}
