//! A copy of a store as one commit left it.
//!
//! The copy is made from the view that readers have, into a separate file, and only then passed on:
//! a slow receiver holds disk space, but no old pages of the store. Commits continue meanwhile. The
//! pages that they replace stay in the file until the copy is complete, and are then reused.

use super::fault::{Fault, guarded};
use super::layout::{self, View};
use super::{LEAST_FREE_BYTES, Scratch, Snapshot, StoreError};
use redb::backends::FileBackend;
use redb::{Database, StorageBackend};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes copied between two checks whether to continue and how much space is free. 4 MiB: some
/// milliseconds.
pub(super) const STEP_BYTES: usize = 4 << 20;

/// The longest time between two such checks, except within one value. 100 ms: a removal does not
/// have to wait for a copy on a slow disk.
pub(super) const STEP_TIME: Duration = Duration::from_millis(100);

/// Memory for the pages of a copy in progress. 8 MiB: two steps.
const CACHE_BYTES: usize = 8 << 20;

/// Why there is no copy.
pub(super) enum Stop {
    /// The store cannot be read.
    Source(Fault),
    /// The content is not that of a valid store, which nobody who uses the store would notice.
    Damaged(String),
    /// The copy cannot be written.
    Scratch(String),
    /// Not a failure: the copy is no longer wanted, or must stop.
    Ended(StoreError),
}

impl<E: Into<redb::Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Stop::Source(Fault::from(error))
    }
}

impl Snapshot {
    /// Copies the content of `view`. `open` says whether the store still is. Blocks as long as
    /// reading and writing all of it takes.
    pub(super) fn make(
        view: &View,
        scratch: &mut Scratch<'_>,
        open: &dyn Fn() -> Result<(), StoreError>,
    ) -> Result<Snapshot, Stop> {
        let folder = scratch.folder;
        let broken = |error: io::Error| Stop::Scratch(format!("{}: {error}", folder.display()));
        let file = unnamed(folder).map_err(broken)?;
        let db = database(&file).map_err(|error| Stop::Scratch(error.to_string()))?;
        let mut copied = 0_u64;
        let mut begun = Instant::now();
        let mut step = |bytes: u64| {
            // Half of the time is left to others: processor and disk.
            std::thread::sleep(begun.elapsed().min(STEP_TIME));
            copied = copied.saturating_add(bytes);
            open().map_err(Stop::Ended)?;
            let free = free_bytes(folder).map_err(broken)?;
            if free < LEAST_FREE_BYTES {
                return Err(Stop::Scratch(format!(
                    "the disk of {} has {free} bytes free, and a backup leaves {LEAST_FREE_BYTES}: \
                     free some space",
                    folder.display()
                )));
            }
            let goes_on = (scratch.go_on)(copied);
            begun = Instant::now();
            match goes_on {
                true => Ok(()),
                false => Err(Stop::Ended(StoreError::GivenUp)),
            }
        };
        step(0)?;
        layout::copy(view, &db, &mut step)?;
        db.close()
            .map_err(|error| Stop::Scratch(error.to_string()))?;
        Snapshot::of(file).map_err(broken)
    }

    /// The keys and values of `bucket`. Opens the copy and closes it again; for small stores.
    ///
    /// # Errors
    ///
    /// If the copy cannot be read.
    pub fn entries(&mut self, bucket: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let read = || -> Result<Vec<(String, Vec<u8>)>, Fault> {
            let db = database(&self.file)?;
            let view = View::of(&db)?;
            let (keys, _) = view.keys(bucket, None, 0, usize::MAX)?;
            let mut entries = Vec::with_capacity(keys.len());
            for key in keys {
                if let Some(head) = view.head(bucket, &key)? {
                    entries.push((key, view.entry(head)?.value));
                }
            }
            drop(view);
            db.close()?;
            Ok(entries)
        };
        let entries = guarded(read).map_err(|fault| fault.into_error(Path::new("the copy")))?;
        let again = self.file.try_clone().and_then(Snapshot::of);
        *self = again.map_err(|error| StoreError::Scratch {
            reason: error.to_string(),
        })?;
        Ok(entries)
    }
}

/// A file without a name, so that a crash leaves nothing of it.
fn unnamed(folder: &Path) -> io::Result<File> {
    let path = folder.join(format!(".snapshot-{}", uuid::Uuid::new_v4()));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

fn database(file: &File) -> Result<Database, redb::Error> {
    let file = file.try_clone().map_err(redb::Error::Io)?;
    let file = Unsynced(FileBackend::new(file)?);
    let mut builder = Database::builder();
    Ok(builder
        .set_cache_size(CACHE_BYTES)
        .create_with_backend(file)?)
}

/// Bytes that this user can write to the file system of `folder`.
fn free_bytes(folder: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(folder)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// A file that need not survive a crash: it is never synced, because the commits of windows would
/// wait for that.
#[derive(Debug)]
struct Unsynced(FileBackend);

impl StorageBackend for Unsynced {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
}
