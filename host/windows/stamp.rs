//! Tells a changed file from an unchanged one without reading it.

use serde::{Deserialize, Serialize};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// What changes with every change of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileStamp {
    pub bytes: u64,
    inode: u64,
    /// Seconds and nanoseconds. Whoever writes a file can set this one back,
    modified: (i64, i64),
    /// but not this one.
    changed: (i64, i64),
}

impl FileStamp {
    /// Of a file with this metadata.
    pub fn of(metadata: &Metadata) -> Self {
        FileStamp {
            bytes: metadata.len(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether nothing was done to the file but what leaves its content alone, such as another mode or a link to it: as far
    /// as its writer does not set the time of the last write back.
    pub fn same_write(&self, other: &FileStamp) -> bool {
        let changed = self.changed;
        *self == FileStamp { changed, ..*other }
    }

    #[cfg(test)]
    pub fn fake(bytes: u64, inode: u64) -> Self {
        FileStamp {
            bytes,
            inode,
            modified: (0, 0),
            changed: (0, 0),
        }
    }
}
