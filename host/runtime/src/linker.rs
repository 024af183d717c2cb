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

/// The packages of which a window may import interfaces, or the interfaces of packages that are not
/// there whole.
pub(crate) const GRANTED: [(&str, Versions); 16] = [
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

pub(super) fn build(engine: &Engine) -> anyhow::Result<Linker<InstanceState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    http_types::add_to_linker(&mut linker)?;
    outgoing::add_to_linker(&mut linker)?;
    interfaces::add_to_linker(&mut linker)?;
    Ok(linker)
}
