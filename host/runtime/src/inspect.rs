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
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NONE: Experimental = Experimental { wasi_otel: false };
    const OTEL: Experimental = Experimental { wasi_otel: true };
    const EMPTY_MODULE: &[u8] = b"\0asm\x01\0\0\0";
    const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn every_invalid_file_is_reported_as_what_it_is() {
        let code = |bytes: &[u8]| inspect(bytes, false, NONE).map_err(|refusal| refusal.code());
        assert_eq!(code(b""), Err("not-a-component"));
        assert_eq!(code(b"hello"), Err("not-a-component"));
        assert_eq!(code(b"\x7fELF\x02\x01"), Err("not-a-component"));
        assert_eq!(code(b"\0asm"), Err("truncated"));
        assert_eq!(code(EMPTY_MODULE), Err("core-module"));
        assert_eq!(code(EMPTY_COMPONENT), Err("missing-export"));
    }

    #[test]
    fn only_released_versions_are_linked_and_of_drafted_packages_their_drafts() {
        for (name, stands) in [
            ("wasi:http/handler@0.3.0", Support::Linked),
            ("wasi:http/types@0.2.0", Support::Linked),
            ("wasi:cli/stdout@0.2.12", Support::Linked),
            ("wasi:sockets/types@0.3.1", Support::Linked),
            ("wasi:keyvalue/store@0.2.0-draft", Support::Linked),
            ("wasi:keyvalue/store@0.2.0-draft2", Support::Linked),
            ("wasi:http/handler@0.3.0-rc-2026-01-06", Support::Draft),
            ("wasi:http/types@0.3.0-draft", Support::Draft),
            ("wasi:io/streams@0.2.0-rc-2023-11-10", Support::Draft),
            ("wasi:cli/environment@0.4.0-rc-1", Support::Draft),
            ("wasi:keyvalue/store@0.2.0-draft3", Support::OtherVersion),
            ("wasi:keyvalue/store@0.2.0", Support::OtherVersion),
            ("wasi:cli/stdout@0.1.0", Support::OtherVersion),
            ("wasi:cli/stdout@1.0.0", Support::OtherVersion),
            ("wasi:cli/stdout@0.2.", Support::OtherVersion),
            ("wasi:cli/stdout@0.20.0", Support::OtherVersion),
            ("wasi:cli/stdout", Support::OtherVersion),
            ("wasi:config/store@0.2.0-rc.1", Support::Linked),
            ("wasi:config/store@0.2.0-draft-2024-09-27", Support::Linked),
            ("wasi:config/store@0.2.0-rc.2", Support::OtherVersion),
            ("wasi:config/runtime@0.2.0", Support::OtherVersion),
            ("wasi:logging/logging@0.1.0-draft", Support::Linked),
            ("wasi:logging/logging", Support::OtherVersion),
            ("spin:key-value/key-value@3.0.0", Support::Linked),
            ("spin:variables/variables@3.1.0", Support::Linked),
            ("spin:variables/variables@3.0.0-rc.1", Support::OtherVersion),
            ("spin:variables/variables@4.0.0", Support::OtherVersion),
            ("spin:llm/llm@3.0.0", Support::Unknown),
            ("fermyon:spin/key-value@2.0.0", Support::Linked),
            ("fermyon:spin/key-value", Support::OtherVersion),
            ("fermyon:spin/llm@2.0.0", Support::Unknown),
            ("wasmcloud:secrets/reveal@2.1.0", Support::Linked),
            ("wasmcloud:secrets/store@1.0.0", Support::OtherVersion),
            ("hms:store/transactions@0.1.0", Support::Linked),
            ("hms:telemetry/spans@0.1.0", Support::Linked),
            ("hms:store/transactions@0.2.0", Support::OtherVersion),
            ("wasi:configuration/store@0.2.0", Support::Unknown),
            ("api-key", Support::Unknown),
        ] {
            assert_eq!(support(name, NONE), stands, "{name}");
        }
    }

    /// A component that imports and exports an instance without anything in it.
    fn component(import: &str, export: &str) -> Vec<u8> {
        let text = format!(
            r#"(component (import "{import}" (instance)) (instance $i) (export "{export}" (instance $i)))"#
        );
        wat::parse_str(text).unwrap()
    }

    #[test]
    fn draft_interface_is_rejected_by_name_before_compilation() {
        let (released, handler) = ("wasi:http/types@0.3.0", "wasi:http/handler@0.3.0");
        let (types, drafted) = (
            "wasi:http/types@0.3.0-rc-2026-01-06",
            "wasi:http/handler@0.3.0-rc-2026-01-06",
        );
        assert!(inspect(&component(released, handler), false, NONE).is_ok());
        for (component, names) in [
            (component(types, handler), vec![types]),
            (component(released, drafted), vec![drafted]),
            (component(types, drafted), vec![types, drafted]),
        ] {
            let refused = inspect(&component, false, NONE).unwrap_err();
            assert_eq!(refused.code(), "draft-interface");
            let said = refused.to_string();
            assert!(names.iter().all(|name| said.contains(name)), "{said}");
            assert!(said.contains("released WASI 0.2 or 0.3"), "{said}");
        }
        let old = inspect(&component("wasi:cli/stdout@0.1.0", handler), false, NONE).unwrap_err();
        assert_eq!(old.code(), "unknown-version");
    }

    #[test]
    fn unknown_imports_are_let_in_by_the_flag_that_the_refusal_names_and_exports_are_not() {
        let (handler, drafted) = (
            "wasi:http/handler@0.3.0",
            "wasi:http/handler@0.3.0-rc-2026-01-06",
        );
        for (import, code) in [
            ("spin:llm/llm@3.0.0", "unknown-import"),
            ("wasi:http/types@0.3.0-rc-2026-01-06", "draft-interface"),
            ("wasi:keyvalue/store@0.2.0-draft3", "unknown-version"),
        ] {
            let good = component(import, handler);
            let refused = inspect(&good, false, NONE).unwrap_err();
            assert_eq!(refused.code(), code);
            assert!(refused.to_string().contains("--trap-unknown"), "{refused}");
            let inspection = inspect(&good, true, NONE).unwrap();
            assert_eq!(unknown(&inspection.imports, NONE), [import]);
            let refused = inspect(&component(import, drafted), true, NONE).unwrap_err();
            assert_eq!(refused.code(), "draft-interface");
            let said = refused.to_string();
            assert!(
                said.contains(drafted) && !said.contains("--trap-unknown"),
                "{said}"
            );
        }
        let old = inspect(
            &component("wasi:keyvalue/store@0.2.0-draft3", handler),
            false,
            NONE,
        );
        let said = old.unwrap_err().to_string();
        assert!(
            said.contains("wasi:keyvalue@0.2.0-draft or @0.2.0-draft2"),
            "{said}"
        );
    }

    #[test]
    fn advice_is_given_for_every_import_that_is_not_there() {
        for (import, part) in [
            (
                "spin:llm/llm@3.0.0",
                "call the model's API over wasi:http; or, if it is never called",
            ),
            ("acme:vault/doors@1.0.0", "remove what needs it"),
            ("wasi:http/types@0.3.0-rc-2026-01-06", "a draft"),
            (
                "wasi:keyvalue/store@0.2.0",
                "this host has @0.2.0-draft or @0.2.0-draft2",
            ),
            ("spin:variables/variables@4.0.0", "this host has @3.x"),
            ("wasi:cli/stdout@1.0.0", "this host has @0.2.x or @0.3.x"),
        ] {
            let advice = advice(import, NONE).unwrap();
            assert!(advice.contains(part), "{import}: {advice}");
        }
        assert_eq!(advice("wasi:http/types@0.3.0", NONE), None);
        assert_eq!(advice("wasi:sockets/tcp@0.2.0", NONE), None);
    }

    #[test]
    fn interface_behind_a_flag_is_refused_with_the_flag_and_accepted_with_it() {
        let handler = "wasi:http/handler@0.3.0";
        let otel = "wasi:otel/tracing@0.2.0-rc.2";
        let good = component(otel, handler);
        let refused = inspect(&good, false, NONE).unwrap_err();
        assert_eq!(refused.code(), "unknown-import");
        assert!(refused.to_string().contains("--wasi-otel"), "{refused}");
        assert!(advice(otel, NONE).unwrap().contains("--wasi-otel"));
        assert!(inspect(&good, false, OTEL).is_ok());
        assert_eq!(advice(otel, OTEL), None);
        let trapped = inspect(&good, true, NONE).unwrap();
        assert_eq!(unknown(&trapped.imports, NONE), [otel]);
        assert!(unknown(&trapped.imports, OTEL).is_empty());

        let old = component("wasi:otel/logs@0.2.0-rc.1", handler);
        let refused = inspect(&old, false, OTEL).unwrap_err();
        assert_eq!(refused.code(), "unknown-version");
        assert!(refused.to_string().contains("wasi:otel/logs@0.2.0-rc.2"));
        let metrics = "wasi:otel/metrics@0.2.0-rc.2";
        for experimental in [NONE, OTEL] {
            let refused = inspect(&component(metrics, handler), false, experimental);
            let refused = refused.unwrap_err();
            assert_eq!(refused.code(), "unknown-import");
            assert!(!refused.to_string().contains("--wasi-otel"), "{refused}");
            assert!(advice(metrics, experimental).unwrap().contains("the host"));
        }
    }

    #[test]
    fn section_that_ends_early_is_truncated() {
        let mut bytes = EMPTY_COMPONENT.to_vec();
        bytes.extend([0, 40, 4, b'n', b'a']);
        assert_eq!(
            inspect(&bytes, false, NONE).map_err(|r| r.code()),
            Err("truncated")
        );
    }

    proptest! {
        #[test]
        fn inspection_never_panics(tail in proptest::collection::vec(any::<u8>(), 0..200), module: bool) {
            let mut bytes = if module { EMPTY_MODULE } else { EMPTY_COMPONENT }.to_vec();
            bytes.extend(&tail);
            let _ = inspect(&bytes, module, NONE);
            let _ = inspect(&tail, !module, NONE);
        }
    }
}
