//! What a component can do by what it imports and exports, in plain words.

use hms_runtime::inspect::Inspection;

/// What each interface, or each of a package, stands for. The first that fits counts; those with
/// no words are plumbing of the others.
const WORDS: [(&str, &str); 25] = [
    ("wasi:http/types@", ""),
    (
        "wasi:http/handler@",
        "stand between a route and its window, as a middleware",
    ),
    (
        "wasi:http/",
        "call services and other windows, as far as the grants allow",
    ),
    ("wasi:keyvalue/", "keep data in its store"),
    ("spin:key-value/", "keep data in its store"),
    ("fermyon:spin/key-value@", "keep data in its store"),
    (
        "hms:store/",
        "change several keys at once, emit events and set timers",
    ),
    (
        "wasi:config/",
        "read its configuration and revealed secrets",
    ),
    (
        "spin:variables/",
        "read its configuration and revealed secrets",
    ),
    (
        "fermyon:spin/variables@",
        "read its configuration and revealed secrets",
    ),
    ("wasmcloud:secrets/", "read revealed secrets"),
    ("wasi:logging/", "log lines with a level"),
    ("hms:telemetry/", "name parts of its work in traces"),
    (
        "wasi:cli/environment@",
        "read the environment that the grants set",
    ),
    ("wasi:otel/tracing@", "name parts of its work in traces"),
    ("wasi:otel/logs@", "log lines with a level"),
    ("wasi:otel/types@", ""),
    ("wasi:cli/std", "write lines to its log"),
    ("wasi:cli/", ""),
    ("wasi:clocks/", "know the time"),
    ("wasi:random/", "make random numbers"),
    ("wasi:filesystem/", "ask for files, of which there are none"),
    ("wasi:sockets/", "ask for sockets, which are refused"),
    ("wasi:io/", ""),
    ("hms:window/", ""),
];

/// Each ability once, what it serves first.
pub(super) fn abilities(found: &Inspection) -> Vec<String> {
    let mut can: Vec<String> = Vec::new();
    for (begin, version) in [
        ("wasi:http/handler@0.3.", "0.3"),
        ("wasi:http/incoming-handler@0.2.", "0.2"),
    ] {
        if found.exports.iter().any(|name| name.starts_with(begin)) {
            can.push(format!("answer HTTP requests (WASI {version})"));
        }
    }
    for (begin, words) in WORDS {
        let is_first = |name: &str| {
            let mut all = WORDS.iter().map(|(begin, _)| begin);
            all.find(|begin| name.starts_with(**begin)) == Some(&begin)
        };
        let mut imports = found.imports.iter();
        if imports.any(|name| is_first(name)) && !words.is_empty() {
            let words = words.to_owned();
            if !can.contains(&words) {
                can.push(words);
            }
        }
    }
    can
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abilities_are_told_once_each_and_plumbing_not_at_all() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let found = Inspection {
            exports: names(&["wasi:http/incoming-handler@0.2.3"]),
            imports: names(&[
                "fermyon:spin/key-value@2.0.0",
                "wasi:cli/exit@0.2.3",
                "wasi:cli/stderr@0.2.3",
                "wasi:cli/stdout@0.2.3",
                "wasi:http/outgoing-handler@0.2.3",
                "wasi:http/types@0.2.3",
                "wasi:io/streams@0.2.3",
                "wasi:keyvalue/store@0.2.0-draft",
            ]),
        };
        assert_eq!(
            abilities(&found),
            [
                "answer HTTP requests (WASI 0.2)",
                "call services and other windows, as far as the grants allow",
                "keep data in its store",
                "write lines to its log",
            ]
        );
    }
}
