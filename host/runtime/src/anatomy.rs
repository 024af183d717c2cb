//! What a component consists of, for its author: the size of each part, and what made it.

use super::inspect::{Refusal, check_magic, fault};
use std::collections::BTreeMap;
use std::ops::Range;
use wasmparser::{CustomSectionReader, KnownCustom, Name, Parser, Payload, ProducersSectionReader};

/// Names of tools, and of sections, that are kept. 64: real components have about ten.
const MAX_NAMES: usize = 64;

/// Bytes of such a name that are kept.
const NAME_BYTES: usize = 200;

/// The section in which the SDK of a window says what it is, as `hms-window 0.1.0`.
pub const SDK_SECTION: &str = "hms-sdk";

/// The parts of a component.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Anatomy {
    /// The core modules, in their order.
    pub modules: Vec<Module>,
    /// The custom sections of the component itself and of those in it, by name: bytes.
    pub custom: BTreeMap<String, u64>,
    /// What made it: by kind (`language`, `processed-by`, `sdk`), each tool with its version.
    pub producers: BTreeMap<String, BTreeMap<String, String>>,
    /// The SDK it is written with, if that says so.
    pub sdk: Option<String>,
}

/// A core module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Module {
    /// As its tools call it.
    pub name: Option<String>,
    /// All of it.
    pub bytes: u64,
    /// Its functions.
    pub code: u64,
    /// What its memory begins with.
    pub data: u64,
    /// Its custom sections, by name: bytes.
    pub custom: BTreeMap<String, u64>,
}

/// Takes a file apart. Takes time in proportion to its size. What cannot be read of names is left
/// out.
///
/// # Errors
/// Why it is not WebAssembly.
pub fn anatomy(bytes: &[u8]) -> Result<Anatomy, Refusal> {
    check_magic(bytes)?;
    let mut anatomy = Anatomy::default();
    // Of each module or component that is open, the end, and which module it is.
    let mut open: Vec<Option<usize>> = Vec::new();
    let mut next = None;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| fault(bytes, &error))?;
        let module = open.last().copied().flatten();
        match payload {
            Payload::Version { .. } => open.push(next.take()),
            Payload::End(_) => {
                open.pop();
            }
            Payload::ModuleSection {
                unchecked_range, ..
            } => {
                next = Some(anatomy.modules.len());
                anatomy.modules.push(Module {
                    bytes: length(&unchecked_range),
                    ..Module::default()
                });
            }
            Payload::CodeSectionStart { range, .. } => {
                anatomy.of(module, |module| module.code += length(&range));
            }
            Payload::DataSection(section) => {
                let bytes = length(&section.range());
                anatomy.of(module, |module| module.data += bytes);
            }
            Payload::CustomSection(section) => anatomy.take_custom(module, &section),
            _ => {}
        }
    }
    Ok(anatomy)
}

impl Anatomy {
    fn of(&mut self, module: Option<usize>, change: impl FnOnce(&mut Module)) {
        if let Some(module) = module.and_then(|module| self.modules.get_mut(module)) {
            change(module);
        }
    }

    fn take_custom(&mut self, module: Option<usize>, section: &CustomSectionReader<'_>) {
        let bytes = length(&section.range());
        if section.name() == SDK_SECTION && self.sdk.is_none() {
            self.sdk = Some(short(&String::from_utf8_lossy(section.data())));
        }
        match section.as_known() {
            KnownCustom::Producers(producers) => self.take_producers(producers),
            KnownCustom::Name(names) => {
                let name = names.into_iter().flatten().find_map(|name| match name {
                    Name::Module { name, .. } => Some(short(name)),
                    _ => None,
                });
                self.of(module, |module| module.name = name);
            }
            _ => {}
        }
        let module = module.and_then(|module| self.modules.get_mut(module));
        let sections = module.map_or(&mut self.custom, |module| &mut module.custom);
        let name = short(section.name());
        if sections.contains_key(&name) || sections.len() < MAX_NAMES {
            *sections.entry(name).or_default() += bytes;
        }
    }

    fn take_producers(&mut self, producers: ProducersSectionReader<'_>) {
        for field in producers.into_iter().flatten() {
            let kind = self.producers.entry(field.name.to_owned()).or_default();
            for value in field.values.into_iter().flatten() {
                if kind.len() < MAX_NAMES {
                    kind.insert(short(value.name), short(value.version));
                }
            }
        }
    }
}

fn length(range: &Range<usize>) -> u64 {
    range.len() as u64
}

fn short(name: &str) -> String {
    name[..name.floor_char_boundary(NAME_BYTES)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_producers_of_every_module_are_counted() {
        let text = r#"(component
            (core module $one
                (memory 1) (data (i32.const 0) "0123456789")
                (func (export "f") (nop) (nop))
                (@custom "hms-sdk" "hms-window 0.1.0")
                (@producers (language "Rust" "") (processed-by "rustc" "1.95.0")))
            (core module $two (func) (@custom "x" "abc"))
            (@custom "about" "a component"))"#;
        let bytes = wat::parse_str(text).unwrap();
        let anatomy = anatomy(&bytes).unwrap();
        let [one, two] = anatomy.modules.as_slice() else {
            panic!("{anatomy:?}");
        };
        assert_eq!(one.name.as_deref(), Some("one"));
        assert!(one.data >= 10 && one.code >= 4 && one.bytes > one.data + one.code);
        assert!(two.custom["x"] >= 3 && two.data == 0);
        assert!(anatomy.custom["about"] >= 11);
        assert_eq!(anatomy.sdk.as_deref(), Some("hms-window 0.1.0"));
        assert_eq!(anatomy.producers["processed-by"]["rustc"], "1.95.0");
        assert!(anatomy.producers["language"].contains_key("Rust"));
    }

    #[test]
    fn damaged_file_is_refused_and_a_core_module_read() {
        assert_eq!(
            anatomy(b"\0asm\x0d\0\x01\0\0\x28\x04na")
                .unwrap_err()
                .code(),
            "truncated"
        );
        assert_eq!(anatomy(b"hello").unwrap_err().code(), "not-a-component");
        assert_eq!(anatomy(b"\0asm\x01\0\0\0").unwrap(), Anatomy::default());
    }
}
