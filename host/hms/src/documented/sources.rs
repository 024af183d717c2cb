//! The sources of the host, for tests that read them.

use std::path::{Path, PathBuf};

/// The root of the repository.
pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The Rust files below a folder of the repository, each with its text. Of the crates below `host/`
/// the path is without `src`: `host/gateway/mod.rs`.
pub(super) fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|x| x == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let parts = path.components().filter(|part| part.as_os_str() != "src");
                found.push((parts.collect(), text));
            }
        }
    }
    assert!(!found.is_empty(), "no sources in {folder}");
    found
}
