//! A copy of a store, for a backup: where it is made, and what it is.

use std::fs::File;
use std::io::{self, Seek};
use std::path::Path;

/// Bytes that stay free on the disk of a copy. 64 MiB: windows must not find the disk full because
/// of a backup.
pub const LEAST_FREE_BYTES: u64 = 64 << 20;

/// Where a copy is made, and how it is watched.
pub struct Scratch<'a> {
    /// The folder of the file, which has no name there once it is open.
    pub folder: &'a Path,
    /// Is told the bytes of entries copied so far, at least every 4 MiB or 100 ms, and says whether
    /// to go on.
    pub go_on: &'a mut dyn FnMut(u64) -> bool,
}

/// A store as it was at one moment: a whole store file, as docs/store-format.md has it, whatever
/// keeps the store itself. It goes with this.
#[derive(Debug)]
pub struct Snapshot {
    pub(super) file: File,
    bytes: u64,
}

impl Snapshot {
    pub(super) fn of(mut file: File) -> io::Result<Self> {
        file.rewind()?;
        let bytes = file.metadata()?.len();
        Ok(Snapshot { file, bytes })
    }

    /// The size of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The file, to be read from its beginning.
    pub fn into_file(self) -> File {
        self.file
    }
}
