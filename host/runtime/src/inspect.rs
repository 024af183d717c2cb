//! Inspects an uploaded file before it is compiled: whether it is a window, and if not, why not.

use super::linker::{EMPTY, GRANTED};
use wasmparser::{ComponentExternalKind, Encoding, Parser, Payload, Validator, WasmFeatures};

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
    /// It needs packages that the host does not provide. Holds these imports.
    #[error("unsupported imports: {}; a window can import only {}", list(.0), granted())]
    UnknownImport(Vec<String>),
    /// It was built for a prerelease of WASI. Holds these interfaces.
    #[error(
        "built for a draft of WASI, which this host does not support: {}; build it with tools for \
         the released WASI 0.2 or 0.3, whose interfaces end in @0.2.x or @0.3.x", list(.0)
    )]
    Draft(Vec<String>),
    /// It needs another version of a supported package. Holds these interfaces.
    #[error(
        "unsupported versions of interfaces: {}; build it for WASI 0.2 or 0.3{KEYVALUE}", list(.0)
    )]
    UnknownVersion(Vec<String>),
}

/// Named in addition, because `wasi:keyvalue` exists only in drafts.
const KEYVALUE: &str = ", and wasi:keyvalue@0.2.0-draft or @0.2.0-draft2";

impl Refusal {
    /// The stable name of the refusal, as in the problem's `type`.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::Empty | Refusal::NotWasm(_) => "not-a-component",
            Refusal::CoreModule => "core-module",
            Refusal::Truncated(_) => "truncated",
            Refusal::Invalid(_) => "invalid-component",
            Refusal::MissingExport(_) => "missing-export",
            Refusal::UnknownImport(_) => "unknown-import",
            Refusal::Draft(_) => "draft-interface",
            Refusal::UnknownVersion(_) => "unknown-version",
        }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "nothing".into();
    }
    names.join(", ")
}

fn granted() -> String {
    GRANTED.join(", ")
}

const HANDLERS: [&str; 2] = ["wasi:http/handler@0.3.", "wasi:http/incoming-handler@0.2."];

/// The only package of which drafts are linked: it has not been released.
const DRAFTED: &str = "wasi:keyvalue";

/// The linked versions of [`DRAFTED`]. Drafts match exactly.
const DRAFTS: [&str; 2] = ["0.2.0-draft", "0.2.0-draft2"];

/// The linked versions of all other packages, with any patch number.
const RELEASED: [&str; 2] = ["0.2.", "0.3."];

/// How the version of an interface relates to those that are linked.
#[derive(Debug, PartialEq, Eq)]
enum Version {
    Linked,
    Draft,
    Unknown,
}

fn version(name: &str) -> Version {
    let (interface, version) = name.split_once('@').unwrap_or((name, ""));
    if interface.split('/').next() == Some(DRAFTED) {
        return match DRAFTS.contains(&version) {
            true => Version::Linked,
            false => Version::Unknown,
        };
    }
    let number = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    let mut released = RELEASED
        .iter()
        .filter_map(|begin| version.strip_prefix(begin));
    match released.next() {
        Some(patch) if number(patch) => Version::Linked,
        _ if version.contains('-') => Version::Draft,
        _ => Version::Unknown,
    }
}

/// Inspects a whole file. Takes time in proportion to its size, so request threads must not call
/// it.
///
/// # Errors
/// Why the file is not a window.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, Refusal> {
    check_magic(bytes)?;
    let inspection = read(bytes)?;
    let known = |name: &String| {
        let package = name.split('/').next().unwrap_or_default();
        GRANTED.contains(&package) || EMPTY.contains(&package)
    };
    let unknown: Vec<String> = inspection
        .imports
        .iter()
        .filter(|name| !known(name))
        .cloned()
        .collect();
    if !unknown.is_empty() {
        return Err(Refusal::UnknownImport(unknown));
    }
    let begun = |name: &&String| HANDLERS.iter().any(|handler| name.starts_with(handler));
    let needed = || {
        let exports = inspection.exports.iter().filter(begun);
        inspection.imports.iter().chain(exports)
    };
    let of = |wanted: Version| -> Vec<String> {
        needed()
            .filter(|name| version(name) == wanted)
            .cloned()
            .collect()
    };
    let (drafts, versions) = (of(Version::Draft), of(Version::Unknown));
    if !drafts.is_empty() {
        return Err(Refusal::Draft(drafts));
    }
    if !versions.is_empty() {
        return Err(Refusal::UnknownVersion(versions));
    }
    let is_handler = |name: &String| HANDLERS.iter().any(|handler| name.starts_with(handler));
    if !inspection.exports.iter().any(is_handler) {
        return Err(Refusal::MissingExport(inspection.exports));
    }
    Ok(inspection)
}

fn check_magic(bytes: &[u8]) -> Result<(), Refusal> {
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

fn read(bytes: &[u8]) -> Result<Inspection, Refusal> {
    let fault = |error: wasmparser::BinaryReaderError| {
        // wasmparser has no code for a file that ends too early, only this message.
        if error.message().contains("unexpected end") {
            Refusal::Truncated(bytes.len() as u64)
        } else {
            Refusal::Invalid(error.to_string())
        }
    };
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

    const EMPTY_MODULE: &[u8] = b"\0asm\x01\0\0\0";
    const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn every_invalid_file_is_reported_as_what_it_is() {
        let code = |bytes: &[u8]| inspect(bytes).map_err(|refusal| refusal.code());
        assert_eq!(code(b""), Err("not-a-component"));
        assert_eq!(code(b"hello"), Err("not-a-component"));
        assert_eq!(code(b"\x7fELF\x02\x01"), Err("not-a-component"));
        assert_eq!(code(b"\0asm"), Err("truncated"));
        assert_eq!(code(EMPTY_MODULE), Err("core-module"));
        assert_eq!(code(EMPTY_COMPONENT), Err("missing-export"));
    }

    #[test]
    fn only_released_interfaces_and_keyvalue_drafts_are_linked() {
        for (name, stands) in [
            ("wasi:http/handler@0.3.0", Version::Linked),
            ("wasi:http/types@0.2.0", Version::Linked),
            ("wasi:cli/stdout@0.2.12", Version::Linked),
            ("wasi:sockets/types@0.3.1", Version::Linked),
            ("wasi:keyvalue/store@0.2.0-draft", Version::Linked),
            ("wasi:keyvalue/store@0.2.0-draft2", Version::Linked),
            ("wasi:http/handler@0.3.0-rc-2026-01-06", Version::Draft),
            ("wasi:http/types@0.3.0-draft", Version::Draft),
            ("wasi:io/streams@0.2.0-rc-2023-11-10", Version::Draft),
            ("wasi:cli/environment@0.4.0-rc-1", Version::Draft),
            ("wasi:keyvalue/store@0.2.0-draft3", Version::Unknown),
            ("wasi:keyvalue/store@0.2.0", Version::Unknown),
            ("wasi:cli/stdout@0.1.0", Version::Unknown),
            ("wasi:cli/stdout@1.0.0", Version::Unknown),
            ("wasi:cli/stdout@0.2.", Version::Unknown),
            ("wasi:cli/stdout@0.20.0", Version::Unknown),
            ("wasi:cli/stdout", Version::Unknown),
        ] {
            assert_eq!(version(name), stands, "{name}");
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
        assert!(inspect(&component(released, handler)).is_ok());
        for (component, names) in [
            (component(types, handler), vec![types]),
            (component(released, drafted), vec![drafted]),
            (component(types, drafted), vec![types, drafted]),
        ] {
            let refused = inspect(&component).unwrap_err();
            assert_eq!(refused.code(), "draft-interface");
            let said = refused.to_string();
            assert!(names.iter().all(|name| said.contains(name)), "{said}");
            assert!(said.contains("released WASI 0.2 or 0.3"), "{said}");
        }
        let old = inspect(&component("wasi:cli/stdout@0.1.0", handler)).unwrap_err();
        assert_eq!(old.code(), "unknown-version");
    }

    #[test]
    fn section_that_ends_early_is_truncated() {
        let mut bytes = EMPTY_COMPONENT.to_vec();
        bytes.extend([0, 40, 4, b'n', b'a']);
        assert_eq!(inspect(&bytes).map_err(|r| r.code()), Err("truncated"));
    }

    proptest! {
        #[test]
        fn inspection_never_panics(tail in proptest::collection::vec(any::<u8>(), 0..200), module: bool) {
            let mut bytes = if module { EMPTY_MODULE } else { EMPTY_COMPONENT }.to_vec();
            bytes.extend(&tail);
            let _ = inspect(&bytes);
            let _ = inspect(&tail);
        }
    }
}
