//! Changes to the bytes of a component that no compiler makes.

use std::ops::Range;
use wasmparser::{Parser, Payload, TypeRef};

/// The same component with a start function that traps: a core module runs it when it is
/// instantiated, so that no instance of it can start.
pub fn trapping_at_start(component: &[u8]) -> Vec<u8> {
    // The component's first core module, without its section's header, and the module made anew.
    let module = first_module(component);
    let (at, function) = place_and_function(&component[module.clone()]);
    let mut start = vec![8];
    let mut index = Vec::new();
    leb128(function, &mut index);
    leb128(index.len() as u32, &mut start);
    start.extend(index);
    let old = &component[module.clone()];
    let new = [&old[..at], &start, &old[at..]].concat();

    // The section's size stands before it, in five bytes at most; it is found by reading it
    // backwards.
    let header = (1..=5)
        .map(|size| module.start - size)
        .find(|at| {
            component[*at - 1] == 1
                && read_leb128(&component[*at..module.start]) == Some(old.len() as u32)
        })
        .expect("the module's section header");
    let mut bytes = component[..header].to_vec();
    leb128(new.len() as u32, &mut bytes);
    bytes.extend(new);
    bytes.extend(&component[module.end..]);
    bytes
}

/// The same component with a core module beside its own that nobody uses, but that the compiler
/// must compile: functions as large as they may be, of which each value lives to the end, so that
/// finding registers for them is the more work the longer they are.
pub fn with_compile_bomb(component: &[u8]) -> Vec<u8> {
    const FUNCTIONS: u32 = 4;
    // The parser takes at most 7,654,321 bytes.
    const BODY_BYTES: usize = 7_000_000;
    const LOCALS: u32 = 5_000;

    let mut body = vec![1];
    leb128(LOCALS, &mut body);
    body.push(0x7e); // i64
    let mut local = 0;
    while body.len() < BODY_BYTES {
        // local = (local + another) inside of a block that may be left: a merge of all locals each
        // time.
        let another = (local * 7919 + 13) % LOCALS;
        body.extend([0x02, 0x40, 0x20]);
        leb128(another, &mut body);
        body.extend([0x50, 0x0d, 0x00, 0x20]); // i64.eqz, br_if 0, local.get
        leb128(local, &mut body);
        body.push(0x20);
        leb128(another, &mut body);
        body.extend([0x7c, 0x21]); // i64.add, local.set
        leb128(local, &mut body);
        body.push(0x0b);
        local = (local + 1) % LOCALS;
    }
    body.push(0x0b);

    let mut module = b"\0asm\x01\0\0\0".to_vec();
    section(1, &[1, 0x60, 0, 0], &mut module);
    let mut functions = Vec::new();
    leb128(FUNCTIONS, &mut functions);
    functions.extend([0; FUNCTIONS as usize]);
    section(3, &functions, &mut module);
    let mut code = Vec::new();
    leb128(FUNCTIONS, &mut code);
    for _ in 0..FUNCTIONS {
        leb128(body.len() as u32, &mut code);
        code.extend(&body);
    }
    section(10, &code, &mut module);

    let mut bytes = component.to_vec();
    section(1, &module, &mut bytes);
    bytes
}

fn section(id: u8, content: &[u8], out: &mut Vec<u8>) {
    out.push(id);
    leb128(content.len() as u32, out);
    out.extend(content);
}

fn first_module(component: &[u8]) -> Range<usize> {
    Parser::new(0)
        .parse_all(component)
        .find_map(|payload| match payload.unwrap() {
            Payload::ModuleSection {
                unchecked_range, ..
            } => Some(unchecked_range),
            _ => None,
        })
        .expect("a core module")
}

/// Where the start section goes, and a function without parameters and results that does nothing
/// but trap.
fn place_and_function(module: &[u8]) -> (usize, u32) {
    let (mut types, mut functions, mut imported, mut at) = (Vec::new(), Vec::new(), 0, 0);
    let mut defined = 0;
    for payload in Parser::new(0).parse_all(module) {
        match payload.unwrap() {
            Payload::TypeSection(section) => {
                for ty in section.into_iter_err_on_gc_types() {
                    let ty = ty.unwrap();
                    types.push(ty.params().is_empty() && ty.results().is_empty());
                }
            }
            Payload::ImportSection(section) => {
                let imports = section.into_imports().map(Result::unwrap);
                imported = imports
                    .filter(|import| matches!(import.ty, TypeRef::Func(_)))
                    .count() as u32;
            }
            Payload::FunctionSection(section) => {
                functions = section.into_iter().map(Result::unwrap).collect()
            }
            Payload::ExportSection(section) => at = section.range().end,
            Payload::CodeSectionEntry(body) => {
                let nullary = types[functions[defined as usize] as usize];
                // No locals; unreachable; end.
                if nullary && module[body.range()] == [0, 0, 0x0b] {
                    return (at, imported + defined);
                }
                defined += 1;
            }
            _ => {}
        }
    }
    panic!("no function only traps");
}

fn leb128(mut value: u32, out: &mut Vec<u8>) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

fn read_leb128(bytes: &[u8]) -> Option<u32> {
    let mut value = 0u32;
    for (i, byte) in bytes.iter().enumerate() {
        value |= u32::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return (i + 1 == bytes.len()).then_some(value);
        }
    }
    None
}
