//! A store's file as redb sees it: redb's [`FileBackend`], plus two things.
//!
//! - A read that must not wait takes only what is in memory (`RWF_NOWAIT`), and ends otherwise.
//!
//! - A failed sync puts the file in doubt.

use super::file::Medium;
use super::unsynced::Doubt;
use super::waiting::{may_wait, would_wait};
use parking_lot::Mutex;
use redb::backends::FileBackend;
use redb::{BackendError, Database, DatabaseError, StorageBackend, StorageError};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IoSliceMut};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long a read of a page may take, on a file system that cannot say whether it would wait,
/// before the file counts as slow. 2 ms: a page in memory takes microseconds.
const SLOW_READ: Duration = Duration::from_millis(2);

/// How long it then counts as slow. 10 s: in that time, a slow disk blocks request threads for one
/// page.
const SLOW_TIME: Duration = Duration::from_secs(10);

/// The file of a store on the disk.
#[derive(Debug)]
pub(super) struct DiskMedium {
    path: PathBuf,
    cache_bytes: usize,
    signs: Arc<Signs>,
}

/// What is known about the file, whether or not it is open.
#[derive(Debug)]
struct Signs {
    doubt: Doubt,
    bytes: AtomicU64,
    /// Whether its file system lacks reads that do not wait.
    always_waits: AtomicBool,
    slow_until: Mutex<Option<Instant>>,
    /// In development builds, how long each read of the disk takes.
    delay: Option<Duration>,
}

impl DiskMedium {
    pub(super) fn new(path: PathBuf, cache_bytes: usize) -> Self {
        let signs = Signs {
            doubt: Doubt::of(&path),
            bytes: AtomicU64::new(0),
            always_waits: AtomicBool::new(false),
            slow_until: Mutex::new(None),
            delay: delay_of(&path),
        };
        DiskMedium {
            path,
            cache_bytes,
            signs: Arc::new(signs),
        }
    }
}

impl Medium for DiskMedium {
    fn open(&self, check: bool) -> Result<Database, DatabaseError> {
        let file = OpenOptions::new().read(true).write(true).open(&self.path)?;
        let bytes = file.metadata()?.len();
        if bytes == 0 {
            // redb would make a new database of it.
            let empty = io::Error::new(ErrorKind::InvalidData, "it is empty");
            return Err(StorageError::from(empty).into());
        }
        self.signs.bytes.store(bytes, Relaxed);
        // An earlier process may have failed to write some pages, without anybody being told.
        let signs = self.signs.clone();
        let file = DiskFile {
            reads: file.try_clone()?,
            file: FileBackend::new(file)?,
            signs,
        };
        file.sync_data()?;
        Database::builder()
            .set_cache_size(self.cache_bytes)
            .set_check_integrity_on_open(check)
            .create_with_backend(file)
    }

    fn is_in_doubt(&self) -> bool {
        self.signs.doubt.is_raised()
    }

    fn settle(&self) -> io::Result<()> {
        self.signs.doubt.settle()
    }

    fn bytes(&self) -> u64 {
        self.signs.bytes.load(Relaxed)
    }
}

#[derive(Debug)]
struct DiskFile {
    file: FileBackend,
    /// The same open file, for reads that [`FileBackend`] does not have.
    reads: File,
    signs: Arc<Signs>,
}

impl DiskFile {
    /// Reads what is in memory. False if that is not everything, or on an error, which the read
    /// that waits will meet again.
    fn read_at_once(&self, offset: u64, out: &mut [u8]) -> bool {
        if self.signs.delay.is_some() {
            return false;
        }
        if self.signs.always_waits.load(Relaxed) {
            return self.read_while_fast(offset, out);
        }
        let mut done = 0;
        while let Some(rest) = out.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = offset.saturating_add(done as u64);
            let mut rest = [IoSliceMut::new(rest)];
            match preadv2(&self.reads, &mut rest, at, ReadWriteFlags::NOWAIT) {
                Ok(read @ 1..) => done += read,
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                    self.signs.always_waits.store(true, Relaxed);
                    return self.read_while_fast(offset, out);
                }
                Ok(_) | Err(_) => return false,
            }
        }
        true
    }

    /// Reads if the file system cannot say whether that waits: after a slow read, not again for
    /// some time.
    fn read_while_fast(&self, offset: u64, out: &mut [u8]) -> bool {
        let slow_until = || self.signs.slow_until.lock();
        let begun = Instant::now();
        if slow_until().is_some_and(|until| begun < until) {
            return false;
        }
        let read = self.file.read(offset, out);
        let now = Instant::now();
        if now.saturating_duration_since(begun) > SLOW_READ {
            *slow_until() = Some(now + SLOW_TIME);
        }
        read.is_ok()
    }
}

impl StorageBackend for DiskFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if !may_wait() {
            if self.read_at_once(offset, out) {
                return Ok(());
            }
            would_wait();
        }
        if let Some(delay) = self.signs.delay {
            std::thread::sleep(delay);
        }
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        self.signs.bytes.store(len, Relaxed);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let synced = self.file.sync_data();
        if synced.is_err() {
            self.signs.doubt.raise();
        }
        synced
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

/// In development builds, `HMS_SLOW_STORE=WINDOW:MS` simulates a slow disk under the store of that
/// window: nothing of it is in memory, and each read takes so many milliseconds.
fn delay_of(path: &Path) -> Option<Duration> {
    if !cfg!(debug_assertions) {
        return None;
    }
    let wanted = std::env::var("HMS_SLOW_STORE").ok()?;
    let (window, ms) = wanted.split_once(':')?;
    let folder = path.parent()?.file_name()?;
    (folder == window)
        .then(|| ms.parse().ok().map(Duration::from_millis))
        .flatten()
}
