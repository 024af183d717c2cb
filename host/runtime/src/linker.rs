//! What a window can reach: the grants.
//!
//! Every `wasi:*` interface that a standard toolchain imports is linked, so that components work
//! unchanged. Those that lead outside have nothing behind them: no directory is pre-opened, there
//! are no arguments, and every socket address is refused. Outgoing requests ([`super::outgoing`])
//! are refused unless the operator grants them. Other imports are in [`super::interfaces`].

use super::http_types;
use super::instance::InstanceState;
use super::interfaces;
use super::outgoing;
use super::wasi;
use wasmtime::Engine;
use wasmtime::component::Linker;

/// In which versions a package is linked.
pub(crate) enum Versions {
    /// Those that were released: any 0.2 and 0.3.
    Released,
    /// Any that begins so, such as `3.`.
    Since(&'static str),
    /// Drafts, which match by their exact names.
    Exactly(&'static [&'static str]),
}

/// The packages of which a window may always import interfaces, or the interfaces of packages that
/// are not there whole.
const GRANTED: [(&str, Versions); 16] = [
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
    ("hms:store", Versions::Exactly(&["0.1.0"])),
    ("hms:telemetry", Versions::Exactly(&["0.1.0"])),
    ("wasmcloud:secrets", Versions::Since("2.")),
    ("spin:key-value", Versions::Since("3.")),
    ("spin:variables", Versions::Since("3.")),
    ("fermyon:spin/key-value", Versions::Since("2.")),
    ("fermyon:spin/variables", Versions::Since("2.")),
];

/// Packages that are linked for toolchains that import them unasked, and lead nowhere.
pub(crate) const EMPTY: [(&str, Versions); 1] = [("wasi:sockets", Versions::Released)];

/// The interfaces of a draft that the operator may switch on, and in which version.
pub(crate) const OTEL: [(&str, Versions); 3] = [
    ("wasi:otel/logs", Versions::Exactly(&["0.2.0-rc.2"])),
    ("wasi:otel/tracing", Versions::Exactly(&["0.2.0-rc.2"])),
    ("wasi:otel/types", Versions::Exactly(&["0.2.0-rc.2"])),
];

/// What windows are given only if the operator says so, because it may change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Experimental {
    /// `wasi:otel` 0.2.0-rc.2, but for its metrics.
    pub wasi_otel: bool,
}

impl Experimental {
    /// What a window may import: [`GRANTED`], and what is switched on.
    pub(crate) fn granted(self) -> impl Iterator<Item = &'static (&'static str, Versions)> {
        let otel: &'static [_] = if self.wasi_otel { &OTEL } else { &[] };
        GRANTED.iter().chain(otel)
    }
}

pub(super) fn build(
    engine: &Engine,
    experimental: Experimental,
) -> anyhow::Result<Linker<InstanceState>> {
    let mut linker = Linker::new(engine);
    wasi::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    http_types::add_to_linker(&mut linker)?;
    outgoing::add_to_linker(&mut linker)?;
    interfaces::add_to_linker(&mut linker)?;
    if experimental.wasi_otel {
        interfaces::otel::add_to_linker(&mut linker)?;
    }
    Ok(linker)
}
