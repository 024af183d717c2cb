//! Inspects an uploaded file before it is compiled: whether it is a window, and if not, why not.

use super::linker::{EMPTY, Experimental, OTEL, Versions};
use wasmparser::{
    BinaryReaderError, ComponentExternalKind, Encoding, Parser, Payload, Validator, WasmFeatures,
};

/// What a component says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// Interfaces it imports, as `package/interface@version`, sorted.
    pub imports: Vec<String>,
    /// Interfaces it exports, in the same form.
    pub exports: Vec<String>,
}

/// Why a file is not a window. Authors read the message, which says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No bytes.
    #[error("the file is empty: build it again, and deploy the result")]
    Empty,
    /// It does not begin like WebAssembly. Says what it is, or appears to be.
    #[error("not a WebAssembly component: the file {0}")]
    NotWasm(&'static str),
    /// It is WebAssembly, but below the component model.
    #[error(
        "a core module, not a component: build it for the target wasm32-wasip2, or wrap it with \
         `wasm-tools component new`"
    )]
    CoreModule,
    /// It ends early. Holds its size in bytes.
    #[error(
        "truncated: the file ends inside a section, after {0} bytes; copy it or build it again"
    )]
    Truncated(u64),
    /// It fails validation. Holds the error of the validator.
    #[error("not a valid component: {0}; build it again with current tools")]
    Invalid(String),
    /// It cannot serve HTTP. Holds its exports.
    #[error(
        "no HTTP handler is exported: a window must export wasi:http/handler@0.3.x or \
         wasi:http/incoming-handler@0.2.x; this component exports {}", list(.0)
    )]
    MissingExport(Vec<String>),
    /// It needs packages that the host does not provide. Holds these imports, and what is provided.
    #[error(
        "unsupported imports: {}; a window can import only {}{}. {TRAP_UNKNOWN}",
        list(.0), granted(*.1), needed_flag(.0.iter().map(String::as_str), *.1)
    )]
    UnknownImport(Vec<String>, Experimental),
    /// It was built for a prerelease of WASI. Holds these interfaces, and whether all of them are
    /// imports.
    #[error(
        "built for a draft of WASI, which this host does not support: {}; build it with tools for \
         the released WASI 0.2 or 0.3, whose interfaces end in @0.2.x or @0.3.x{}",
        list(.0), hint(*.1)
    )]
    Draft(Vec<String>, bool),
    /// It needs another version of a supported package. Likewise.
    #[error(
        "unsupported versions of interfaces: {}; build it for WASI 0.2 or 0.3{}{}",
        list(.0), drafts(.0), hint(*.1)
    )]
    UnknownVersion(Vec<String>, bool),
}

/// What to do about imports that are there for nothing.
const TRAP_UNKNOWN: &str =
    "If it never calls them, deploy it with --trap-unknown: a call then ends the request";

/// [`TRAP_UNKNOWN`], where imports alone are why.
fn hint(imports: bool) -> String {
    match imports {
        true => format!(". {TRAP_UNKNOWN}"),
        false => String::new(),
    }
}

/// The drafts that are linked of the packages of these names.
fn drafts(names: &[String]) -> String {
    let of = |package: &str| names.iter().any(|name| in_package(name, package));
    let all = Experimental { wasi_otel: true };
    let known = all.granted().filter_map(|(package, versions)| {
        let Versions::Exactly(versions) = versions else {
            return None;
        };
        of(package).then(|| format!(", and {package}@{}", versions.join(" or @")))
    });
    known.collect()
}

impl Refusal {
    /// The stable name of the refusal, as in the problem's `type`.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::Empty | Refusal::NotWasm(_) => "not-a-component",
            Refusal::CoreModule => "core-module",
            Refusal::Truncated(_) => "truncated",
            Refusal::Invalid(_) => "invalid-component",
            Refusal::MissingExport(_) => "missing-export",
            Refusal::UnknownImport(..) => "unknown-import",
            Refusal::Draft(..) => "draft-interface",
            Refusal::UnknownVersion(..) => "unknown-version",
        }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "nothing".into();
    }
    names.join(", ")
}

fn granted(experimental: Experimental) -> String {
    let packages = experimental.granted().map(|(package, _)| *package);
    packages.collect::<Vec<_>>().join(", ")
}

/// Which flag of the host these imports need, as the end of a sentence. Nothing where they need
/// none that it does not have.
pub(crate) fn needed_flag<'a>(
    imports: impl IntoIterator<Item = &'a str>,
    experimental: Experimental,
) -> &'static str {
    let mut imports = imports.into_iter();
    match !experimental.wasi_otel && imports.any(is_otel) {
        true => "; start the host with --wasi-otel for wasi:otel 0.2.0-rc.2 (tracing and logs)",
        false => "",
    }
}

/// Whether it is in an interface that may be switched on.
fn is_otel(import: &str) -> bool {
    OTEL.iter()
        .any(|(interface, _)| in_package(import, interface))
}

const HANDLERS: [&str; 2] = ["wasi:http/handler@0.3.", "wasi:http/incoming-handler@0.2."];

/// How far this host supports an interface.
#[derive(Debug, PartialEq, Eq)]
enum Support {
    Linked,
    /// Another version is, and this is a draft of WASI.
    Draft,
    /// Another version is.
    OtherVersion,
    /// Nothing of its package is.
    Unknown,
}

fn support(name: &str, experimental: Experimental) -> Support {
    let (interface, version) = name.split_once('@').unwrap_or((name, ""));
    let mut granted = experimental.granted().chain(&EMPTY);
    let Some((_, versions)) = granted.find(|(package, _)| in_package(interface, package)) else {
        return Support::Unknown;
    };
    let linked = match versions {
        Versions::Exactly(versions) => versions.contains(&version),
        Versions::Since(begin) => version.strip_prefix(begin).is_some_and(|rest| {
            let mut numbers = rest.split('.');
            numbers.clone().count() == 2 && numbers.all(is_number)
        }),
        Versions::Released => {
            let patch = ["0.2.", "0.3."].iter();
            let mut patch = patch.filter_map(|begin| version.strip_prefix(begin));
            patch.next().is_some_and(is_number)
        }
    };
    match versions {
        _ if linked => Support::Linked,
        Versions::Released if version.contains('-') => Support::Draft,
        _ => Support::OtherVersion,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether an interface is `package`, or in it.
fn in_package(interface: &str, package: &str) -> bool {
    let rest = interface.strip_prefix(package);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '@']))
}

/// Whether the import of that name is linked for windows.
pub(crate) fn is_linked(name: &str, experimental: Experimental) -> bool {
    support(name, experimental) == Support::Linked
}

/// Those of `imports` that no window is given.
pub fn unknown(imports: &[String], experimental: Experimental) -> Vec<String> {
    let is_unknown = |name: &&String| !is_linked(name, experimental);
    let unknown = imports.iter().filter(is_unknown);
    unknown.cloned().collect()
}

/// Inspects a whole file. Takes time in proportion to its size, so not for a request thread. With
/// `trap_unknown` it may import what no window is given.
///
/// # Errors
/// Why it is not a window.
pub fn inspect(
    bytes: &[u8],
    trap_unknown: bool,
    experimental: Experimental,
) -> Result<Inspection, Refusal> {
    check_magic(bytes)?;
    let inspection = read(bytes)?;
    let imports = match trap_unknown {
        true => &[],
        false => inspection.imports.as_slice(),
    };
    let begun = |name: &&String| HANDLERS.iter().any(|handler| name.starts_with(handler));
    let exports = || inspection.exports.iter().filter(begun);
    let of = |wanted: Support| -> (Vec<String>, bool) {
        let is = |name: &&String| support(name, experimental) == wanted;
        let needed = imports.iter().chain(exports()).filter(is);
        (needed.cloned().collect(), !exports().any(|name| is(&name)))
    };
    let (unknown, _) = of(Support::Unknown);
    if !unknown.is_empty() {
        return Err(Refusal::UnknownImport(unknown, experimental));
    }
    let (drafts, imported) = of(Support::Draft);
    if !drafts.is_empty() {
        return Err(Refusal::Draft(drafts, imported));
    }
    let (versions, imported) = of(Support::OtherVersion);
    if !versions.is_empty() {
        return Err(Refusal::UnknownVersion(versions, imported));
    }
    let is_handler = |name: &String| HANDLERS.iter().any(|handler| name.starts_with(handler));
    if !inspection.exports.iter().any(is_handler) {
        return Err(Refusal::MissingExport(inspection.exports));
    }
    Ok(inspection)
}

pub(crate) fn check_magic(bytes: &[u8]) -> Result<(), Refusal> {
    if bytes.is_empty() {
        return Err(Refusal::Empty);
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(Refusal::NotWasm(match bytes {
            [0x7f, b'E', b'L', b'F', ..] => {
                "is native code (ELF, or precompiled by wasmtime); deploy the .wasm it was made from"
            }
            [0x1f, 0x8b, ..] => "is gzip-compressed; deploy the .wasm inside",
            [b'P', b'K', ..] => "is a zip archive; deploy the .wasm inside",
            _ if bytes.starts_with(b"(component") || bytes.starts_with(b"(module") => {
                "is WebAssembly text; convert it with `wasm-tools parse`"
            }
            _ => "does not begin with the WebAssembly magic number",
        }));
    }
    if bytes.len() < 8 {
        return Err(Refusal::Truncated(bytes.len() as u64));
    }
    Ok(())
}

/// What a fault of the parser says of the whole file.
pub(crate) fn fault(bytes: &[u8], error: &BinaryReaderError) -> Refusal {
    // wasmparser has no code for a file that ends too early, only this message.
    match error.message().contains("unexpected end") {
        true => Refusal::Truncated(bytes.len() as u64),
        false => Refusal::Invalid(error.to_string()),
    }
}

/// What a component says of itself, be it a window or not. Takes time in proportion to its size.
///
/// # Errors
/// Why it is no component.
pub fn interfaces(bytes: &[u8]) -> Result<Inspection, Refusal> {
    check_magic(bytes)?;
    read(bytes)
}

/// What to do about an import that this host does not provide. None for one that it does.
pub fn advice(import: &str, experimental: Experimental) -> Option<String> {
    let granted = experimental
        .granted()
        .find(|(package, _)| in_package(import, package));
    let instead = INSTEAD
        .iter()
        .find(|(package, _)| in_package(import, package));
    match support(import, experimental) {
        Support::Linked => None,
        Support::Draft => {
            Some("a draft: build it with tools for the released WASI 0.2 or 0.3".into())
        }
        Support::OtherVersion => {
            let versions = match granted.map(|(_, versions)| versions) {
                Some(Versions::Exactly(versions)) => format!("@{}", versions.join(" or @")),
                Some(Versions::Since(begin)) => format!("@{begin}x"),
                Some(Versions::Released) | None => "@0.2.x or @0.3.x".into(),
            };
            Some(format!("another version: this host has {versions}"))
        }
        Support::Unknown if is_otel(import) => {
            Some("start the host with --wasi-otel, which has it in version 0.2.0-rc.2".into())
        }
        Support::Unknown => {
            let instead = instead.map_or("remove what needs it", |(_, instead)| instead);
            Some(format!(
                "{instead}; or, if it is never called, deploy with --trap-unknown"
            ))
        }
    }
}

/// What windows use in place of packages of other hosts.
const INSTEAD: [(&str, &str); 15] = [
    (
        "wasi:otel/metrics",
        "leave it to the host, which counts requests, times and failures (docs/observability.md)",
    ),
    (
        "wasi:blobstore",
        "keep the data in the store (wasi:keyvalue)",
    ),
    (
        "wasi:messaging",
        "emit and receive events (hms:store, docs/events.md)",
    ),
    (
        "wasmcloud:messaging",
        "emit and receive events (hms:store, docs/events.md)",
    ),
    ("wasmcloud:bus", "call other windows over wasi:http"),
    (
        "wasi:sql",
        "call the database through an HTTP service (wasi:http)",
    ),
    (
        "wasmcloud:postgres",
        "call the database through an HTTP service (wasi:http)",
    ),
    ("spin:sqlite", "keep the data in the store (wasi:keyvalue)"),
    (
        "spin:postgres",
        "call the database through an HTTP service (wasi:http)",
    ),
    (
        "fermyon:spin/sqlite",
        "keep the data in the store (wasi:keyvalue)",
    ),
    (
        "fermyon:spin/postgres",
        "call the database through an HTTP service (wasi:http)",
    ),
    (
        "fermyon:spin/mysql",
        "call the database through an HTTP service (wasi:http)",
    ),
    (
        "fermyon:spin/redis",
        "keep the data in the store (wasi:keyvalue)",
    ),
    ("fermyon:spin/llm", "call the model's API over wasi:http"),
    ("spin:llm", "call the model's API over wasi:http"),
];

fn read(bytes: &[u8]) -> Result<Inspection, Refusal> {
    let fault = |error: BinaryReaderError| fault(bytes, &error);
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    let mut depth = 0u32;
    let mut imports = Vec::new();
    let mut exports = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(fault)?;
        validator.payload(&payload).map_err(fault)?;
        match payload {
            Payload::Version {
                encoding: Encoding::Module,
                ..
            } if depth == 0 => {
                return Err(Refusal::CoreModule);
            }
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    imports.push(import.map_err(fault)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    let export = export.map_err(fault)?;
                    if export.kind == ComponentExternalKind::Instance {
                        exports.push(export.name.name.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    imports.sort();
    exports.sort();
    Ok(Inspection { imports, exports })
}

#[cfg(test)]
mod tests;
