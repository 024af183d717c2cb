//! The state of a file after a failed sync.
//!
//! Linux marks pages that it could not write as clean: they are read back as if they were on disk,
//! and the next sync succeeds without them. Everything built on such pages is lost with them. So a
//! file whose sync failed is in [`Doubt`], and is used again only once its content was compared
//! with the disk.
//!
//! A new process reads the same pages from the same memory. So the doubt is also noted in a file
//! beside the store, with the id of the boot: a reboot ends the doubt, because it empties the
//! memory. For the same reason the note need not be durable.

use rustix::fs::{Advice, OFlags, fadvise};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// The suffix of the note's name.
pub(super) const NOTE: &str = ".unsynced";

/// Bytes compared at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// The alignment of a read that bypasses the page cache: no disk has larger blocks.
const ALIGN_BYTES: usize = 4 << 10;

/// Whether the content of a file is in doubt.
#[derive(Debug)]
pub(super) struct Doubt {
    path: PathBuf,
    note: PathBuf,
    failed: AtomicBool,
}

impl Doubt {
    /// Of the file at `path`.
    pub(super) fn of(path: &Path) -> Self {
        let mut note = path.as_os_str().to_owned();
        note.push(NOTE);
        Doubt {
            path: path.to_owned(),
            note: note.into(),
            failed: AtomicBool::new(false),
        }
    }

    /// Notes that a sync failed.
    pub(super) fn raise(&self) {
        if self.failed.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Err(error) = fs::write(&self.note, boot()) {
            tracing::error!(file = %self.note.display(), %error,
                "cannot be written: do not restart the host before its disk is repaired, or reboot the machine as well");
        }
    }

    /// Whether a sync failed in this process, or in an earlier one since the machine was booted,
    /// and the content has not been compared since.
    pub(super) fn is_raised(&self) -> bool {
        if self.failed.load(Ordering::Acquire) {
            return true;
        }
        match fs::read_to_string(&self.note) {
            Ok(noted) => noted == boot() || noted.is_empty(),
            Err(error) => error.kind() != ErrorKind::NotFound,
        }
    }

    /// Drops the file's pages from memory, then compares what is read from it with the disk. The
    /// file must not be open for writing. Blocks: it reads all of the file twice.
    ///
    /// # Errors
    ///
    /// If they differ, or cannot be compared; the doubt then stays.
    pub(super) fn settle(&self) -> io::Result<()> {
        let cached = OpenOptions::new().read(true).write(true).open(&self.path)?;
        // Dirty pages can still be written; those that cannot are reported here.
        cached.sync_all()?;
        // Drops clean pages, without a guarantee.
        fadvise(&cached, 0, None, Advice::DontNeed)?;
        self.compare(&cached)?;
        remove_if_there(&self.note)?;
        self.failed.store(false, Ordering::Release);
        Ok(())
    }

    fn compare(&self, cached: &File) -> io::Result<()> {
        let mut direct = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::DIRECT.bits() as i32)
            .open(&self.path)
            .map_err(|error| self.unknown(&error))?;
        let mut space = vec![0; CHUNK_BYTES + ALIGN_BYTES];
        let aligned = space.as_ptr().align_offset(ALIGN_BYTES);
        let space = space
            .get_mut(aligned..)
            .and_then(|space| space.get_mut(..CHUNK_BYTES))
            .ok_or_else(|| io::Error::other("memory could not be aligned"))?;
        let mut seen = vec![0; CHUNK_BYTES];
        let len = cached.metadata()?.len();
        let mut at = 0;
        while at < len {
            let read = direct.read(space).map_err(|error| self.unknown(&error))?;
            let (Some(on_disk), Some(seen)) = (space.get(..read), seen.get_mut(..read)) else {
                return Err(ErrorKind::InvalidData.into());
            };
            if read == 0 {
                return Err(io::Error::other(
                    "a sync failed, and the file could not be compared completely",
                ));
            }
            cached.read_exact_at(seen, at)?;
            if on_disk != seen {
                return Err(io::Error::other(
                    "a sync failed, and memory still differs from the disk",
                ));
            }
            at += read as u64;
        }
        Ok(())
    }

    fn unknown(&self, error: &io::Error) -> io::Error {
        io::Error::other(format!(
            "a sync failed, and the disk cannot be read directly ({error}): reboot the machine, or remount the disk and delete {}",
            self.note.display()
        ))
    }
}

/// Removes the note for the file at `path`, whose content is gone.
pub(super) fn forget(path: &Path) -> io::Result<()> {
    remove_if_there(&Doubt::of(path).note)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// The id of the current boot.
fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map_or_else(|_| String::new(), |id| id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file beside the test's program, which is on a disk; a temporary folder may be in memory.
    fn file(bytes: usize) -> (tempfile::TempDir, PathBuf) {
        let program = std::env::current_exe().unwrap();
        let folder = tempfile::tempdir_in(program.parent().unwrap()).unwrap();
        let path = folder.path().join("store.redb");
        fs::write(&path, vec![7; bytes]).unwrap();
        (folder, path)
    }

    #[test]
    fn doubt_outlives_the_process_and_ends_once_the_disk_is_compared() {
        for bytes in [0, 5_000, 3 * CHUNK_BYTES, 2 * CHUNK_BYTES + 100] {
            let (_folder, path) = file(bytes);
            let doubt = Doubt::of(&path);
            assert!(!doubt.is_raised());
            doubt.raise();
            assert!(doubt.is_raised());
            let next_process = Doubt::of(&path);
            assert!(next_process.is_raised());
            next_process.settle().unwrap();
            assert!(!next_process.is_raised());
            assert!(!Doubt::of(&path).is_raised());
        }
    }

    #[test]
    fn doubt_from_an_earlier_boot_is_ignored() {
        let (_folder, path) = file(1);
        fs::write(Doubt::of(&path).note, "another boot").unwrap();
        assert!(!Doubt::of(&path).is_raised());
        // Half written: it may be of this one.
        fs::write(Doubt::of(&path).note, "").unwrap();
        assert!(Doubt::of(&path).is_raised());
    }

    #[test]
    fn file_that_cannot_be_compared_stays_in_doubt() {
        let (_folder, path) = file(1);
        let doubt = Doubt::of(&path);
        doubt.raise();
        fs::remove_file(&path).unwrap();
        assert!(doubt.settle().is_err());
        assert!(doubt.is_raised() && Doubt::of(&path).is_raised());
    }
}
