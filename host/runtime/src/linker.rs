//! What a window can reach: the grants.
//!
//! Every `wasi:*` interface that a standard toolchain imports is present, so that components link
//! unchanged, and nothing stands behind those that lead outside: no directory is pre-opened, there
//! are no arguments, every socket address and every outgoing request is refused. What else there is
//! to import is in [`super::interfaces`].

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

/// In which versions a package is linked.
pub(crate) enum Versions {
    /// Those that were released: any 0.2 and 0.3.
    Released,
    /// Any that begins so, such as `3.`.
    Since(&'static str),
    /// Drafts, which match by their exact names.
    Exactly(&'static [&'static str]),
}

/// The packages of which a window may import interfaces, or the interfaces of packages that are not
/// there whole.
pub(crate) const GRANTED: [(&str, Versions); 14] = [
    ("wasi:cli", Versions::Released),
    ("wasi:clocks", Versions::Released),
    (
        "wasi:config",
        Versions::Exactly(&["0.2.0-rc.1", "0.2.0-draft", "0.2.0-draft-2024-09-27"]),
    ),
    ("wasi:filesystem", Versions::Released),
    ("wasi:http", Versions::Released),
    ("wasi:io", Versions::Released),
    (
        "wasi:keyvalue",
        Versions::Exactly(&["0.2.0-draft", "0.2.0-draft2"]),
    ),
    ("wasi:logging", Versions::Exactly(&["0.1.0-draft"])),
    ("wasi:random", Versions::Released),
    ("wasmcloud:secrets", Versions::Since("2.")),
    ("spin:key-value", Versions::Since("3.")),
    ("spin:variables", Versions::Since("3.")),
    ("fermyon:spin/key-value", Versions::Since("2.")),
    ("fermyon:spin/variables", Versions::Since("2.")),
];

/// Packages that are linked for toolchains that import them unasked, and lead nowhere.
pub(crate) const EMPTY: [(&str, Versions); 1] = [("wasi:sockets", Versions::Released)];

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
