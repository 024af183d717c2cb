//! Reading the folder of components.

use crate::windows::stamp::Stamp;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Components in one folder. 1,000: as many as there may be routes.
const MAX_FILES: usize = 1000;

/// The components of a folder by file name.
pub(super) type Found = BTreeMap<OsString, Stamp>;

/// Every regular file `*.wasm` of the folder, but for hidden ones, which are what a copy in progress is often called.
///
/// # Errors
/// When the folder cannot be read, or holds too many.
pub(super) fn read(dir: &Path) -> io::Result<Found> {
    let mut found = Found::new();
    for entry in fs::read_dir(dir)? {
        let file = entry?.file_name();
        if !is_component(&file) {
            continue;
        }
        // Follows links: container platforms mount files as links. What is gone again is no error.
        let Ok(metadata) = fs::metadata(dir.join(&file)) else {
            continue;
        };
        if !metadata.is_file() {
            continue;
        }
        if found.len() == MAX_FILES {
            let message = format!("the folder has more than {MAX_FILES} components");
            return Err(io::Error::other(message));
        }
        found.insert(file, Stamp::of(&metadata));
    }
    Ok(found)
}

/// Whether a file of that name is taken for a component.
pub(super) fn is_component(file: &OsStr) -> bool {
    let name = file.as_bytes();
    name.ends_with(b".wasm") && !name.starts_with(b".")
}
