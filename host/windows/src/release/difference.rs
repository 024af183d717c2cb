//! The differences between a new release and the live one, and what an operator has to agree to.

use crate::ReleaseRecord;
use hms_api::{Difference, GainedAndLost};
use hms_grants::WindowGrants;
use hms_grants::ability::{Ability, abilities, gained, sentence, ungranted};
use hms_runtime::inspect::Inspection;
use std::collections::BTreeSet;

/// A new release beside the live one.
pub(crate) struct Compared {
    pub difference: Difference,
    /// What it could do and the live one cannot, as a sentence; none if nothing.
    pub asks: Option<String>,
}

/// Compares what is to be deployed as release `number` with the live release, both with what the
/// window is granted now. `trapped` are the imports of the live one, and of the new one, that no
/// window is given. Interfaces are compared without their versions: a newer version of the same is
/// no new need.
pub(crate) fn compared(
    live: &ReleaseRecord,
    number: u64,
    size: u64,
    found: &Inspection,
    trapped: [&[String]; 2],
    granted: &WindowGrants,
) -> Compared {
    let able = [&live.imports, &found.imports].map(|imports| abilities(imports, granted));
    let [before, after] = &able;
    let more = gained(before, after);
    let less = gained(after, before);
    let imports = compare(&unversioned(&live.imports), &unversioned(&found.imports));
    let may = |abilities: Vec<Ability>| abilities.into_iter().map(|each| each.may).collect();
    let [before, after] = trapped.map(|names| names.iter().cloned().collect());
    let trapped = compare(&before, &after);
    let asks = [sentence(number, &more), ends(&trapped.gained)];
    let asks: Vec<String> = asks.into_iter().flatten().collect();
    Compared {
        asks: (!asks.is_empty()).then(|| asks.join("; ")),
        difference: Difference {
            live: live.number,
            size: (live.size, size),
            exports: compare(&unversioned(&live.exports), &unversioned(&found.exports)),
            notes: ungranted(&imports.gained, granted),
            imports,
            capabilities: GainedAndLost {
                gained: may(more),
                lost: may(less),
            },
            trapped,
        },
    }
}

/// What is said of imports that no window is given; none if there are none.
fn ends(trapped: &[String]) -> Option<String> {
    let interfaces = match trapped.len() {
        0 => return None,
        1 => "1 interface ends",
        more => &format!("{more} interfaces end"),
    };
    let names = trapped.join(", ");
    Some(format!("{interfaces} the request if called: {names}"))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::numbered;
    use hms_grants::GrantsFile;
    use hms_manifest::Manifest;
    use hms_runtime::Experimental;

    fn live(imports: &[&str]) -> ReleaseRecord {
        ReleaseRecord {
            size: 10,
            imports: names(imports),
            exports: names(&["wasi:http/handler@0.3.0"]),
            ..numbered(3)
        }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    fn found(imports: &[&str]) -> Inspection {
        Inspection {
            imports: names(imports),
            exports: names(&["wasi:http/handler@0.3.0"]),
        }
    }

    fn granted(text: &str) -> WindowGrants {
        WindowGrants {
            grants: GrantsFile::parse("w", text).unwrap().grants,
            folder: "windows".into(),
            file: "w.yaml".into(),
            ..WindowGrants::default()
        }
    }

    #[test]
    fn new_capability_is_a_gain_and_a_newer_version_is_not() {
        let live = live(&["wasi:random/random@0.2.6", "wasi:filesystem/types@0.2.6"]);
        let found = found(&[
            "wasi:random/random@0.3.0",
            "wasi:http/client@0.3.0",
            "wasi:keyvalue/store@0.2.0-draft2",
        ]);
        let Compared { difference, asks } =
            compared(&live, 8, 20, &found, [&[]; 2], &WindowGrants::default());
        assert_eq!(difference.capabilities.gained, ["use its store"]);
        assert_eq!(difference.capabilities.lost, [""; 0]);
        assert_eq!(
            difference.imports.gained,
            ["wasi:http/client", "wasi:keyvalue/store"]
        );
        assert_eq!(difference.exports, GainedAndLost::default());
        assert_eq!((difference.live, difference.size), (3, (10, 20)));
        assert_eq!(
            difference.notes,
            ["imports wasi:http/client, which is not granted: its calls are refused"]
        );
        let asked = "release 8 imports wasi:keyvalue/store: it may now use its store";
        assert_eq!(asks.as_deref(), Some(asked));
    }

    #[test]
    fn import_that_is_granted_is_asked_for_once() {
        let granted = granted("outbound: [{to: https://a.example}]\n");
        let http = ["wasi:http/client@0.3.0"];
        let first = compared(&live(&[]), 4, 20, &found(&http), [&[]; 2], &granted);
        assert_eq!(
            first.asks.as_deref(),
            Some(
                "release 4 imports wasi:http/client: it may now GET and HEAD https://a.example on every path \
                 (windows/w.yaml:1)"
            )
        );
        assert!(first.difference.notes.is_empty());
        let again = compared(&live(&http), 5, 20, &found(&http), [&[]; 2], &granted);
        assert_eq!(again.asks, None);
        let less = compared(&live(&http), 5, 20, &found(&[]), [&[]; 2], &granted);
        assert_eq!(
            (less.asks, less.difference.capabilities.lost.len()),
            (None, 1)
        );
    }

    #[test]
    fn interfaces_that_end_the_request_are_asked_about_once() {
        let mut live = live(&["spin:llm/llm@3.0.0"]);
        let asks = |live: &ReleaseRecord, trapped: &[&str]| {
            let found = found(trapped);
            let granted = WindowGrants::default();
            let of_live = live.trapped(Experimental::default());
            compared(live, 4, 20, &found, [&of_live, &names(trapped)], &granted).asks
        };
        assert_eq!(asks(&live, &[]), None);
        assert_eq!(
            asks(&live, &["spin:llm/llm@3.0.0"]).as_deref(),
            Some("1 interface ends the request if called: spin:llm/llm@3.0.0")
        );
        live.trap_unknown = true;
        assert_eq!(asks(&live, &["spin:llm/llm@3.0.0"]), None);
        assert_eq!(
            asks(&live, &["acme:a/b@1.0.0", "spin:mqtt/mqtt@3.0.0"]).as_deref(),
            Some("2 interfaces end the request if called: acme:a/b@1.0.0, spin:mqtt/mqtt@3.0.0")
        );
    }
}
