//! A trap, as its author reads it: what happened, then where, the author's own functions first.

use super::error_text::{ERROR_BYTES, cut};
use wasmtime::{FrameInfo, FrameSymbol, WasmBacktrace};

/// Frames that are told. 16: where a mistake is, is in the first two or three.
const MAX_FRAMES: usize = 16;

/// Bytes of one frame. 512: names of generic functions are long.
const FRAME_BYTES: usize = 512;

/// Crates that are not the author's, but below and above the author's code in each trap: of the
/// language, of the bindings, and our own.
const LIBRARIES: [&str; 14] = [
    "core",
    "std",
    "alloc",
    "__rustc",
    "rustc_demangle",
    "wit_bindgen",
    "wit_bindgen_rt",
    "wasip2",
    "wasip3",
    "wasi",
    "wstd",
    "futures_util",
    "futures_core",
    "hms_window",
];

/// Functions of the same kind that belong to no crate.
const OF_LANGUAGE: [&str; 9] = [
    "rust_",
    "__rust_",
    "__rdl_",
    "_start",
    "abort",
    "cabi_",
    "[",
    "wit-component:",
    "panic_",
];

/// Where the source of libraries is, as debug information has it. The last two are our own crate in
/// a clone.
const LIBRARY_PATHS: [&str; 6] = [
    "/rustc/",
    "/.cargo/registry/",
    "/.cargo/git/",
    "/library/std/",
    "/sdk/src/",
    "/sdk/rust/src/",
];

/// A function that was at work.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Frame {
    /// Its name for people, if it has one.
    name: Option<String>,
    /// Its number in the core module.
    index: u32,
    /// File and line, if the component has them.
    place: Option<String>,
}

/// The lines that are written of an error which ended an instance.
pub(super) fn lines(error: &wasmtime::Error) -> Vec<String> {
    let backtrace = error.downcast_ref::<WasmBacktrace>();
    let said = backtrace.map(|trace| cut(ERROR_BYTES, format_args!("{trace}")));
    let mut causes: Vec<String> = Vec::new();
    for cause in error.chain() {
        // The trace is among the causes, and told better below.
        let text = cut(ERROR_BYTES, format_args!("{cause}"));
        let is_trace = text.is_empty() || said.as_ref() == Some(&text);
        if !is_trace && causes.last() != Some(&text) {
            causes.push(text);
        }
    }
    let mut lines = vec![format!("failed: {}", causes.join(": ").replace('\n', " "))];
    let frames: Vec<Frame> = backtrace.map_or_else(Vec::new, |trace| {
        trace.frames().iter().flat_map(frames).collect()
    });
    lines.extend(authors_frames(&frames));
    lines
}

/// The function of a frame, after those that the compiler has put into it.
fn frames(frame: &FrameInfo) -> Vec<Frame> {
    let index = frame.func_index();
    // With its crate, which debug information of lines alone does not name.
    let whole = frame.func_name().map(readable);
    let Some((own, inlined)) = frame.symbols().split_last() else {
        return vec![Frame {
            name: whole,
            index,
            place: None,
        }];
    };
    let inlined = inlined.iter().map(|symbol| Frame {
        // Some are only `{closure#0}`, of which the place says more.
        name: symbol.name().map(readable).filter(|name| !name.is_empty()),
        index,
        place: place(symbol),
    });
    let own = Frame {
        name: whole,
        index,
        place: place(own),
    };
    inlined.chain([own]).collect()
}

fn place(symbol: &FrameSymbol) -> Option<String> {
    let file = symbol.file()?;
    Some(match symbol.line() {
        Some(line) => format!("{file}:{line}"),
        None => file.to_owned(),
    })
}

/// A name without the marks of the compiler.
fn readable(name: &str) -> String {
    let name = cut(
        FRAME_BYTES,
        format_args!("{:#}", rustc_demangle::demangle(name)),
    );
    // The body of an asynchronous function, or of a closure, is known by where it is written.
    let name = name.find("::{").map_or(name.as_str(), |end| &name[..end]);
    match name.starts_with('{') {
        true => String::new(),
        false => name.to_owned(),
    }
}

/// The frames from the first to the last of the author's own, or all where none is.
fn authors_frames(frames: &[Frame]) -> Vec<String> {
    // Where the named functions of a library are, its others are as well.
    let roots = frames.iter().filter(|frame| is_of_library_crate(frame));
    let roots: Vec<&str> = roots
        .filter_map(|frame| root(frame.place.as_deref()?))
        .collect();
    let is_own = |frame: &Frame| {
        let root = frame.place.as_deref().and_then(root);
        !is_library(frame) && !root.is_some_and(|root| roots.contains(&root))
    };
    let first = frames.iter().position(is_own);
    let last = frames.iter().rposition(is_own);
    let (begin, end) = first
        .zip(last)
        .unwrap_or((0, frames.len().saturating_sub(1)));
    let own = frames.get(begin..=end).unwrap_or_default();
    let mut lines: Vec<String> = Vec::new();
    for frame in own {
        let line = frame.line();
        // A function that calls itself, and the parts of an asynchronous one.
        if lines.last() != Some(&line) {
            lines.push(line);
        }
    }
    let more = lines.len().saturating_sub(MAX_FRAMES);
    lines.truncate(MAX_FRAMES);
    if more > 0 {
        lines.push(format!("  … and {more} more"));
    }
    lines
}

/// The folder of the package that a place is in.
fn root(place: &str) -> Option<&str> {
    place.rsplit_once("/src/").map(|(root, _)| root)
}

impl Frame {
    fn line(&self) -> String {
        let line = match (&self.place, &self.name) {
            (Some(place), Some(name)) => format!("  at {place} in {name}"),
            (Some(place), None) => format!("  at {place}"),
            (None, Some(name)) => format!("  in {name}"),
            (None, None) => format!(
                "  in function {}, which has no name: build it without `strip`",
                self.index
            ),
        };
        cut(FRAME_BYTES, format_args!("{line}"))
    }
}

fn is_library(frame: &Frame) -> bool {
    let in_library = |place: &String| LIBRARY_PATHS.iter().any(|path| place.contains(path));
    if frame.place.as_ref().is_some_and(in_library) {
        return true;
    }
    // What a project has copied in.
    if frame
        .place
        .as_ref()
        .is_some_and(|place| place.contains("/vendor/"))
    {
        return true;
    }
    let Some(name) = &frame.name else {
        return false;
    };
    let begins = |begin: &&str| name.starts_with(*begin);
    is_of_library_crate(frame) || OF_LANGUAGE.iter().any(begins)
}

fn is_of_library_crate(frame: &Frame) -> bool {
    let name = frame.name.as_deref().unwrap_or_default();
    // `<fees::Fee as core::fmt::Display>::fmt` is of fees.
    let name = name.trim_start_matches(['<', '&', '*', '(']);
    let name = name.trim_start_matches("dyn ").trim_start_matches("mut ");
    let of = name.split_once("::").map(|(of, _)| of);
    of.is_some_and(|of| LIBRARIES.contains(&of))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(name: &str, place: Option<&str>) -> Frame {
        Frame {
            name: Some(readable(name)).filter(|name| !name.is_empty()),
            index: 7,
            place: place.map(str::to_owned),
        }
    }

    #[test]
    fn trap_is_told_from_the_authors_first_frame_to_the_last() {
        let frames = [
            frame("__rustc::rust_panic", None),
            frame("core::panicking::panic_fmt", None),
            frame("_ZN4core6option13unwrap_failed17h0123456789abcdefE", None),
            frame("fees::total::{{closure}}", Some("src/lib.rs:12")),
            frame("<core::iter::Map<I,F> as core::iter::Iterator>::next", None),
            frame("fees::handle::{{closure}}", Some("src/lib.rs:7")),
            frame(
                "fees::handle::{{closure}}::{{closure}}",
                Some("src/lib.rs:7"),
            ),
            frame("{async_block#0}", Some("/sdk/src/lib.rs:3")),
            frame("hms_window::serve::answer", Some("/sdk/src/serve.rs:3")),
            frame("x", Some("/p/vendor/hms-window/src/serve.rs:3")),
            frame("[async-lift]wasi:http/handler#handle", None),
        ];
        assert_eq!(
            authors_frames(&frames),
            [
                "  at src/lib.rs:12 in fees::total",
                "  in <core::iter::Map<I,F> as core::iter::Iterator>::next",
                "  at src/lib.rs:7 in fees::handle",
            ]
        );
    }

    #[test]
    fn authors_frames_are_told_by_name_and_place() {
        let is = |name: &str, place| is_library(&frame(name, place));
        assert!(is("<alloc::vec::Vec<T> as core::ops::Index>::index", None));
        assert!(is(
            "fees::x",
            Some("/root/.cargo/registry/src/index/fees-1/src/lib.rs:1")
        ));
        assert!(!is("<fees::Fee as core::fmt::Display>::fmt", None));
        assert!(!is("handle_request", None));
        assert!(!is("core", None));
        let nameless = Frame {
            name: None,
            index: 7,
            place: None,
        };
        assert!(authors_frames(&[nameless])[0].contains("function 7, which has no name"));
        let closure = frame("{closure#0}", Some("src/lib.rs:3"));
        assert_eq!(authors_frames(&[closure]), ["  at src/lib.rs:3"]);
    }

    // What a name of C++ stands for grows by a factor of 20 with each 64 bytes of such a name.
    #[test]
    fn name_of_a_function_is_not_read_as_one_of_cpp() {
        let name = "_Z1f1aIiE";
        let wat = format!("(module (func ${name} (export \"f\") unreachable))");
        let engine = wasmtime::Engine::default();
        let module = wasmtime::Module::new(&engine, wat::parse_str(wat).unwrap()).unwrap();
        let mut store = wasmtime::Store::new(&engine, ());
        let instance = wasmtime::Instance::new(&mut store, &module, &[]).unwrap();
        let function = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
        let error = function.call(&mut store, ()).unwrap_err();
        assert!(format!("{error:?}").contains(name), "{error:?}");
    }

    #[test]
    fn long_traces_and_names_are_cut() {
        let frames: Vec<Frame> = (0..40).map(|n| frame(&format!("f{n}::g"), None)).collect();
        let lines = authors_frames(&frames);
        assert_eq!(lines.len(), MAX_FRAMES + 1);
        assert_eq!(lines.last().unwrap(), "  … and 24 more");
        let long = frame(&"x".repeat(10_000), Some("src/lib.rs:1"));
        assert!(authors_frames(&[long])[0].len() <= FRAME_BYTES + '…'.len_utf8());
        let library = [frame("core::a", None), frame("std::b", None)];
        assert_eq!(authors_frames(&library), ["  in core::a", "  in std::b"]);
        assert!(authors_frames(&[]).is_empty());
    }
}
