//! Looks for windows below folders.

use super::file::{WINDOW_TOML, WindowFile};
use std::fs;
use std::path::{Path, PathBuf};

/// How deep below the given folder a window may lie. 8: a workspace's `teams/a/services/b` has 4.
const MAX_DEPTH: usize = 8;

/// Folders that are looked at. 10,000, which takes well below a second; the windows beyond are not
/// found, which is said.
const MAX_FOLDERS: usize = 10_000;

/// The file by which a folder says that it is a cache: every target folder of cargo has it.
pub(in crate::cli) const CACHE_TAG: &str = "CACHEDIR.TAG";

/// Folders that hold what tools have made or fetched.
const OF_TOOLS: [&str; 5] = ["node_modules", "vendor", "target", "venv", "__pycache__"];

/// What lies below the folders.
#[derive(Debug, Default)]
pub(super) struct FoundProjects {
    /// The windows that say how they are built.
    pub windows: Vec<WindowFile>,
    /// The folders with a `Cargo.toml`, each before those below it.
    pub packages: Vec<PathBuf>,
    /// What is wrong, as sentences.
    pub faults: Vec<String>,
    folders: usize,
}

/// Looks below `roots`, whose links are resolved, but not into the folders `except`.
pub(super) fn find(roots: &[PathBuf], except: &[PathBuf]) -> FoundProjects {
    let mut found = FoundProjects::default();
    for root in roots {
        found.walk(root, except, 0);
    }
    if found.folders > MAX_FOLDERS {
        found.faults.push(format!(
            "there are more than {MAX_FOLDERS} folders, and windows in the rest are not found: name the folders of the \
             windows, or mark folders without windows with a {CACHE_TAG}"
        ));
    }
    found
}

impl FoundProjects {
    fn walk(&mut self, dir: &Path, except: &[PathBuf], depth: usize) {
        self.folders += 1;
        if self.folders > MAX_FOLDERS || except.iter().any(|other| other == dir) {
            return;
        }
        if dir.join("Cargo.toml").is_file() {
            self.packages.push(dir.to_owned());
        }
        if dir.join(WINDOW_TOML).is_file() {
            match WindowFile::read(dir) {
                Ok(window) => self.windows.push(window),
                Err(faults) => self.faults.extend(faults),
            }
            // What is below a window is its own.
            return;
        }
        if depth == MAX_DEPTH {
            return;
        }
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let mut below: Vec<PathBuf> = entries
            // Links to folders are not followed: they may lead in a circle.
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .filter(|path| !is_passed_over(path))
            .collect();
        below.sort();
        for dir in below {
            self.walk(&dir, except, depth + 1);
        }
    }
}

/// Hidden folders, caches, and folders of tools.
fn is_passed_over(dir: &Path) -> bool {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') || OF_TOOLS.contains(&&*name) || dir.join(CACHE_TAG).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_found_at_any_depth_but_not_in_caches_or_folders_of_tools() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let toml = "build = \"true\"\nwasm = \"w.wasm\"\n";
        let window = |path: &str| {
            fs::create_dir_all(root.join(path)).unwrap();
            fs::write(root.join(path).join(WINDOW_TOML), toml).unwrap();
        };
        for path in [
            "a",
            "b/c/d",
            "b/node_modules/x",
            ".git/x",
            "vendor/x",
            "data/x",
            "venv/x",
            "1/2/3/4/5/6/7/8/9",
        ] {
            window(path);
        }
        window("cache/x");
        fs::write(root.join("cache").join(CACHE_TAG), "").unwrap();
        fs::create_dir_all(root.join("b/rust")).unwrap();
        fs::write(root.join("b/rust/Cargo.toml"), "").unwrap();
        fs::create_dir_all(root.join("bad")).unwrap();
        fs::write(root.join("bad").join(WINDOW_TOML), "x = 1\n").unwrap();
        let found = find(std::slice::from_ref(&root), &[root.join("data")]);
        let dirs = |dirs: &[&str]| dirs.iter().map(|dir| root.join(dir)).collect::<Vec<_>>();
        let windows: Vec<_> = found.windows.into_iter().map(|window| window.dir).collect();
        assert_eq!(windows, dirs(&["a", "b/c/d"]));
        assert_eq!(found.packages, dirs(&["b/rust"]));
        let is_of_bad = |fault: &String| fault.contains("/bad/window.toml:1: ");
        assert!(!found.faults.is_empty() && found.faults.iter().all(is_of_bad));
    }
}
