//! Holds the pages of docs/ to the code, so that nobody has to remember them.

mod architecture;
mod arrows;
mod public;
mod sources;

use hms_core::error::TABLE;
use sources::sources;
use std::collections::BTreeMap;

/// Every text right behind each `mark` in the sources of these files, white space between them
/// aside; tests are left out.
fn named_behind(mark: &str, files: &[&str]) -> Vec<String> {
    let mut names = Vec::new();
    for (path, text) in sources("host") {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        if path.to_string_lossy().contains("tests") || !files.iter().any(|it| path.ends_with(it)) {
            continue;
        }
        for behind in code.split(mark).skip(1) {
            let literal = behind.trim_start().strip_prefix('"');
            let name = literal.and_then(|literal| literal.split('"').next());
            names.extend(name.map(str::to_owned));
        }
    }
    names
}

#[test]
fn operations_page_lists_every_code_of_the_admin_api() {
    let page = include_str!("../../../docs/operations.md");
    let files = [
        "admin/api.rs",
        "admin/events.rs",
        "admin/grants.rs",
        "admin/keys.rs",
        "admin/limits.rs",
        "admin/manifests.rs",
        "admin/reply.rs",
        "admin/requests.rs",
        "admin/routes.rs",
        "admin/store.rs",
        "admin/tasks.rs",
        "admin/windows.rs",
        "windows/error.rs",
    ];
    // A status and the code behind it, in a call or in a pair.
    let mut codes = Vec::new();
    let all = sources("host");
    for file in files {
        assert!(all.iter().any(|(path, _)| path.ends_with(file)), "{file}");
    }
    for (path, text) in all {
        if files.iter().any(|file| path.ends_with(file)) {
            for behind in text.split("StatusCode::").skip(1) {
                let next = behind.split_once(',').map(|(_, next)| next.trim_start());
                let literal = next.and_then(|next| next.strip_prefix('"'));
                codes.extend(
                    literal
                        .and_then(|text| text.split('"').next())
                        .map(str::to_owned),
                );
            }
        }
    }
    let refusals = named_behind("=>", &["runtime/inspect.rs"]);
    codes.extend(refusals.into_iter().filter(|code| !code.contains(' ')));
    codes.sort();
    codes.dedup();
    assert!(codes.len() > 30, "{codes:?}");
    for code in codes {
        assert!(
            page.contains(&format!("`{code}`")),
            "docs/operations.md lacks `{code}`"
        );
    }
}

#[test]
fn errors_page_lists_every_code_with_its_status_and_fault_and_no_other() {
    // Of the rows with one code each status and each fault once, in the order of the table.
    let mut expected: BTreeMap<&str, (Vec<String>, Vec<String>)> = BTreeMap::new();
    for row in TABLE {
        let (statuses, faults) = expected.entry(row.code).or_default();
        for (told, said) in [
            (statuses, row.status.to_string()),
            (faults, row.fault.name().to_owned()),
        ] {
            if !told.contains(&said) {
                told.push(said);
            }
        }
    }
    let page = include_str!("../../../docs/errors.md");
    let (_, codes) = page.split_once("\n## Codes\n").unwrap();
    let mut found = BTreeMap::new();
    for line in codes.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [code, status, fault, when, what_to_do] = cells.as_slice() else {
            panic!("{line}");
        };
        assert!(!when.is_empty() && !what_to_do.is_empty(), "{line}");
        let list = |cell: &str| cell.split("; ").map(str::to_owned).collect::<Vec<_>>();
        let row = (list(status), list(fault));
        assert_eq!(found.insert(code.trim_matches('`'), row), None, "{line}");
    }
    assert_eq!(found, expected);
}

#[test]
fn observability_page_lists_every_metric() {
    let page = include_str!("../../../docs/observability.md");
    let of = |prefix: &str, mark: &str, file: &str| {
        let names = named_behind(mark, &[file]);
        // A file that was renamed would be left out without a word.
        assert!(!names.is_empty(), "{file} has no name behind {mark}");
        let names = names.iter().map(|name| format!("`hms_{prefix}{name}"));
        names.collect::<Vec<_>>()
    };
    let names = [
        of("", "registry.register(", "admin/metrics.rs"),
        of("", "encode_descriptor(", "admin/metrics.rs"),
        of("", "(", "admin/window_metrics.rs"),
        of("", "registry.register(", "release/measured.rs"),
        of("", "registry.register(", "otlp/mod.rs"),
        of("admin_", "admin.register(", "admin/metrics.rs"),
        of("admin_", "registry.register(", "net/connection_limit.rs"),
        of("gateway_", "registry.register(", "net/connection_limit.rs"),
        of("gateway_", "registry.register(", "gateway/metrics.rs"),
        of("outgoing_", "registry.register(", "outbound/metrics.rs"),
        of("", "registry.register(", "events/metrics.rs"),
        of("", "gauge(", "events/metrics.rs"),
        of("", "encoder.encode_descriptor(", "events/metrics.rs"),
    ];
    let names = names.concat();
    assert!(names.len() > 30, "{names:?}");
    for name in names {
        let ends = ["`", "{", "_total`", "_total{"];
        assert!(
            ends.iter()
                .any(|end| page.contains(&format!("{name}{end}"))),
            "docs/observability.md lacks {name}`"
        );
    }
}

#[test]
fn threat_model_names_existing_tests() {
    let page = include_str!("../../../docs/threat-model.md");
    let mut all = String::new();
    for folder in ["host", "tests/browser", "tests/e2e", "tests/measured"] {
        all.extend(sources(folder).into_iter().map(|(_, text)| text));
    }
    // Names of tests are sentences; nothing else in the page's code marks is as long.
    let names = page.split('`').skip(1).step_by(2);
    let tests: Vec<&str> = names
        .filter(|name| name.matches('_').count() >= 3)
        .collect();
    assert!(tests.len() > 20, "{tests:?}");
    for name in tests {
        assert!(
            all.contains(&format!("fn {name}(")),
            "no test is called {name}"
        );
    }
}
