//! Tells a changed file from an unchanged one without reading it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// What changes with every change of a file.
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
    /// Of a file with this metadata.
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
        Stamp {
            bytes,
            inode,
            modified: (0, 0),
            changed: (0, 0),
        }
    }
}
