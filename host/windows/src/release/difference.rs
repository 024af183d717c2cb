//! The differences between a new release and the live one.

use crate::ReleaseRecord;
use hms_api::{Difference, GainedAndLost};
use hms_runtime::inspect::unknown;
use std::collections::BTreeSet;

/// Compares what is to be deployed with the live release. Interfaces are compared without their
/// versions: a newer version of the same is no new need.
pub(crate) fn difference(
    live: &ReleaseRecord,
    size: u64,
    imports: &[String],
    exports: &[String],
    trap_unknown: bool,
) -> Difference {
    let trapped = match trap_unknown {
        true => unknown(imports),
        false => Vec::new(),
    };
    Difference {
        live: live.number,
        size: (live.size, size),
        exports: compare(&unversioned(&live.exports), &unversioned(exports)),
        imports: compare(&unversioned(&live.imports), &unversioned(imports)),
        capabilities: compare(&capabilities(&live.imports), &capabilities(imports)),
        trapped: compare(
            &live.trapped().into_iter().collect(),
            &trapped.into_iter().collect(),
        ),
    }
}

/// Whether an operator has to agree.
pub(crate) fn needs_consent(difference: &Difference) -> bool {
    !difference.capabilities.gained.is_empty() || !difference.trapped.gained.is_empty()
}

/// What an operator has to agree to, in words.
pub(crate) fn asks(difference: &Difference) -> String {
    let mut asks = Vec::new();
    let capabilities = &difference.capabilities.gained;
    if !capabilities.is_empty() {
        asks.push(format!(
            "it needs more capabilities than release {}: {}",
            difference.live,
            capabilities.join(", ")
        ));
    }
    let trapped = &difference.trapped.gained;
    let interfaces = match trapped.len() {
        0 => return asks.join("; "),
        1 => "1 interface ends",
        more => &format!("{more} interfaces end"),
    };
    asks.push(format!(
        "{interfaces} the request if called: {}",
        trapped.join(", ")
    ));
    asks.join("; ")
}

fn compare(before: &BTreeSet<String>, after: &BTreeSet<String>) -> GainedAndLost {
    GainedAndLost {
        gained: after.difference(before).cloned().collect(),
        lost: before.difference(after).cloned().collect(),
    }
}

fn unversioned(names: &[String]) -> BTreeSet<String> {
    let bare = |name: &String| name.split('@').next().unwrap_or_default().to_owned();
    names.iter().map(bare).collect()
}

fn capabilities(imports: &[String]) -> BTreeSet<String> {
    imports
        .iter()
        .filter_map(|name| capability(name))
        .map(str::to_owned)
        .collect()
}

/// What an interface lets a window reach, beyond what every program needs. `network` and `files`
/// require consent although no window gets either yet: a release that begins to import them
/// deserves a look.
fn capability(import: &str) -> Option<&'static str> {
    let name = import.split('@').next().unwrap_or_default();
    match name.split_once('/')? {
        ("wasi:keyvalue", _) => Some("store"),
        ("wasi:http", "client" | "outgoing-handler" | "handler") | ("wasi:sockets", _) => {
            Some("network")
        }
        ("wasi:filesystem", _) => Some("files"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::OffsetDateTime;

    fn live(imports: &[&str]) -> ReleaseRecord {
        ReleaseRecord {
            number: 3,
            digest: String::new(),
            size: 10,
            deployed_at: OffsetDateTime::UNIX_EPOCH,
            by: String::new(),
            imports: names(imports),
            exports: names(&["wasi:http/handler@0.3.0"]),
            fallback: false,
            trap_unknown: false,
            fate: None,
        }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn new_capability_is_a_gain_and_a_newer_version_is_not() {
        let live = live(&["wasi:random/random@0.2.6", "wasi:filesystem/types@0.2.6"]);
        let imports = names(&[
            "wasi:random/random@0.3.0",
            "wasi:http/client@0.3.0",
            "wasi:keyvalue/store@0.2.0-draft2",
        ]);
        let found = difference(&live, 20, &imports, &live.exports, false);
        assert_eq!(found.capabilities.gained, ["network", "store"]);
        assert_eq!(found.capabilities.lost, ["files"]);
        assert_eq!(
            found.imports.gained,
            ["wasi:http/client", "wasi:keyvalue/store"]
        );
        assert_eq!(found.exports, GainedAndLost::default());
        assert_eq!((found.live, found.size), (3, (10, 20)));
        assert!(needs_consent(&found));
        assert_eq!(
            asks(&found),
            "it needs more capabilities than release 3: network, store"
        );
    }

    #[test]
    fn interfaces_that_end_the_request_are_asked_about_once() {
        let mut live = live(&["spin:llm/llm@3.0.0"]);
        let imports = names(&["spin:llm/llm@3.0.0", "wasi:random/random@0.3.0"]);
        let between = |live: &ReleaseRecord, imports: &[String], trap| {
            difference(live, 20, imports, &live.exports, trap)
        };
        assert!(!needs_consent(&between(&live, &imports, false)));
        let asked = between(&live, &imports, true);
        assert!(needs_consent(&asked));
        assert_eq!(
            asks(&asked),
            "1 interface ends the request if called: spin:llm/llm@3.0.0"
        );
        live.trap_unknown = true;
        assert!(!needs_consent(&between(&live, &imports, true)));
        let more = names(&[
            "spin:llm/llm@3.0.0",
            "spin:mqtt/mqtt@3.0.0",
            "acme:a/b@1.0.0",
        ]);
        assert_eq!(
            asks(&between(&live, &more, true)),
            "2 interfaces end the request if called: acme:a/b@1.0.0, spin:mqtt/mqtt@3.0.0"
        );
    }
}
