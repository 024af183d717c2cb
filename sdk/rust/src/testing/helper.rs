//! The helper window: its source is in this crate, and it is built when a test needs it.

use super::build;
use super::host::made;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

const SOURCE: &str = include_str!("helper/lib.rs");

/// Its component.
pub(super) fn component() -> &'static [u8] {
    static COMPONENT: OnceLock<Vec<u8>> = OnceLock::new();
    COMPONENT.get_or_init(|| {
        let package = build::folder().join("helper");
        let kit = env!("CARGO_MANIFEST_DIR");
        let manifest = format!(
            "[package]\nname = \"hms-window-testing-helper\"\nedition = \"2024\"\n\n\
             [lib]\npath = \"lib.rs\"\ncrate-type = [\"cdylib\"]\n\n\
             [dependencies]\nhms-window = {{ path = {kit:?} }}\nserde_json = \"1\"\n\n\
             [workspace]\n"
        );
        made(fs::create_dir_all(&package), &package);
        write_if_other(&package.join("Cargo.toml"), &manifest);
        write_if_other(&package.join("lib.rs"), SOURCE);
        // The versions of the package under test, which are on this machine.
        let ours = build::package();
        let lock = ours.ancestors().map(|folder| folder.join("Cargo.lock"));
        if let Some(lock) = lock.into_iter().find(|lock| lock.is_file()) {
            let copy = package.join("Cargo.lock");
            if !copy.is_file() {
                made(fs::copy(&lock, &copy), &copy);
            }
        }
        build::component(&package)
    })
}

/// A file that is as it was is not built again.
fn write_if_other(path: &Path, text: &str) {
    if fs::read_to_string(path).ok().as_deref() != Some(text) {
        made(fs::write(path, text), path);
    }
}
