//! Holds the direction of the dependencies, so that nobody has to remember it.

use std::path::{Path, PathBuf};

/// The sources below a folder of the host.
pub fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("host")
        .join(folder);
    let mut found = Vec::new();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|x| x == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "no sources in {folder}");
    found
}

/// Fails where code (not a comment) of `folder` has one of `words`.
fn never_named(folder: &str, words: &[&str]) {
    for (path, text) in sources(folder) {
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for word in words {
                assert!(
                    !code.contains(word),
                    "{}:{}: {folder} must not name {word}",
                    path.display(),
                    number + 1
                );
            }
        }
    }
}

#[test]
fn wasmtime_is_named_only_in_the_runtime() {
    for folder in ["admin", "cli", "gateway", "store", "windows"] {
        never_named(folder, &["wasmtime"]);
    }
}

#[test]
fn the_store_knows_neither_http_nor_wit_nor_anything_above_it() {
    never_named("store", &["http::", "hyper", "crate::"]);
}

#[test]
fn redb_is_named_only_in_the_store() {
    for folder in ["admin", "backup", "cli", "gateway", "runtime", "windows"] {
        never_named(folder, &["redb::"]);
    }
}

#[test]
fn dependencies_point_down_from_gateway_and_admin_over_windows_and_runtime_to_store() {
    never_named(
        "runtime",
        &[
            "crate::windows",
            "crate::gateway",
            "crate::admin",
            "crate::cli",
        ],
    );
    never_named("windows", &["crate::gateway", "crate::admin", "crate::cli"]);
    never_named("gateway", &["crate::runtime", "crate::admin", "crate::cli"]);
    never_named("admin", &["crate::runtime", "crate::cli"]);
}

/// The gateway's own arrows. Tests may look anywhere.
#[test]
fn inside_the_gateway_imports_point_from_the_server_over_plugins_to_upstreams() {
    let above: [(&str, &[&str]); 4] = [
        (
            "request",
            &["server", "plugins", "routes", "upstream", "config"],
        ),
        ("routes", &["server", "upstream", "config"]),
        ("upstream", &["server", "plugins", "config"]),
        ("plugins", &["server", "config"]),
    ];
    for (folder, above) in above {
        for (path, text) in sources(&format!("gateway/{folder}")) {
            if path.to_string_lossy().contains("tests") {
                continue;
            }
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for line in code.lines().filter(|line| !line.contains("//")) {
                for name in above {
                    let named = format!("gateway::{name}::");
                    assert!(!line.contains(&named), "{}: {line}", path.display());
                }
            }
        }
    }
}

#[test]
fn the_table_of_failures_knows_nothing_of_those_who_fail() {
    let others = [
        "wasmtime",
        "crate::runtime",
        "crate::windows",
        "crate::gateway",
        "crate::store",
        "crate::admin",
        "crate::cli",
    ];
    never_named("error", &others);
    let code = include_str!("error.rs").lines();
    let code = code.filter(|line| !line.trim_start().starts_with("//"));
    for line in code {
        assert!(!others.iter().any(|word| line.contains(word)), "{line}");
    }
}

#[test]
fn the_threat_model_names_tests_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/threat-model.md")).unwrap();
    let mut all = String::new();
    for folder in ["../host", "../tests/e2e", "../tests/measured"] {
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
