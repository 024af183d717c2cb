//! The map of ARCHITECTURE.md against the folders.

use super::sources::root;
use std::collections::BTreeMap;
use std::path::Path;

const PAGE: &str = include_str!("../../../../ARCHITECTURE.md");

/// What stands between backticks in a line.
fn code(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The section of each crate below `host/`.
fn sections() -> BTreeMap<&'static str, &'static str> {
    let parts = PAGE.split("\n### ").skip(1);
    let parts = parts.filter_map(|part| part.split_once('\n'));
    parts
        .map(|(name, rest)| (name, rest.split("\n## ").next().unwrap()))
        .filter(|(name, _)| root().join("host").join(name).is_dir())
        .collect()
}

#[test]
fn path_in_the_architecture_exists() {
    let folders = [
        "host/", "tests/", "sdk/", "benches/", "ops/", "fuzz/", "wit/",
    ];
    let mut paths = 0;
    for path in PAGE.lines().flat_map(code) {
        if folders.iter().any(|folder| path.starts_with(folder)) {
            paths += 1;
            assert!(root().join(path).exists(), "ARCHITECTURE.md names {path}");
        }
    }
    assert!(paths > 30, "{paths}");
}

#[test]
fn file_in_a_table_of_a_crate_exists() {
    for (name, section) in sections() {
        let folder = root().join("host").join(name);
        for row in section.lines().filter(|line| line.starts_with("| `")) {
            for file in row.split('|').nth(1).into_iter().flat_map(code) {
                let exists = folder.join("src").join(file).exists() || folder.join(file).exists();
                assert!(exists, "ARCHITECTURE.md, {name}: {file}");
            }
        }
    }
}

#[test]
fn each_module_of_a_crate_is_in_its_section() {
    let sections = sections();
    assert!(sections.len() > 15, "{sections:?}");
    for (name, section) in sections {
        let named: Vec<&str> = section.lines().flat_map(code).collect();
        let is_named = |module: &str| {
            let whole = format!("host/{name}/src/{module}");
            let file = format!("{module}.rs");
            let folder = format!("{module}/");
            let mut named = named.iter();
            named.any(|it| *it == file || it.starts_with(&folder) || it.starts_with(&whole))
        };
        for entry in std::fs::read_dir(root().join("host").join(name).join("src")).unwrap() {
            let path = entry.unwrap().path();
            let module = path.file_stem().and_then(|stem| stem.to_str()).unwrap();
            let is_root = ["lib", "main"].contains(&module);
            let of_tests = module.ends_with("tests") || module == "testing";
            assert!(
                is_root || of_tests || is_named(module),
                "ARCHITECTURE.md has nothing of {}",
                path.strip_prefix(root()).unwrap_or(Path::new("")).display()
            );
        }
    }
}
