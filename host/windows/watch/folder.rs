//! Reading the folder of components.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Components in one folder. 1,000: as many as there may be routes.
const MAX_FILES: usize = 1000;

/// The components of a folder by file name.
pub(super) type Found = BTreeMap<OsString, Stamp>;

/// Tells a changed file from an unchanged one without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub bytes: u64,
    inode: u64,
    /// Seconds and nanoseconds. Whoever writes a file can set this one back,
    modified: (i64, i64),
    /// but not this one.
    changed: (i64, i64),
}

impl Stamp {
    pub fn of(metadata: &Metadata) -> Self {
        Stamp {
            bytes: metadata.len(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// When the file was last changed in any way, in nanoseconds since 1970.
    pub fn changed_unix_ns(&self) -> i128 {
        i128::from(self.changed.0) * 1_000_000_000 + i128::from(self.changed.1)
    }

    #[cfg(test)]
    pub fn fake(bytes: u64, inode: u64) -> Self {
        let (modified, changed) = ((0, 0), (0, 0));
        Stamp {
            bytes,
            inode,
            modified,
            changed,
        }
    }
}

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
