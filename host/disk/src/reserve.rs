//! A little space on the disk of the data folder for the host's own records.
//!
//! A window can fill the disk, and then the host could write nothing either: an operator who closes
//! that window, or revokes a key, would do so until the next restart only. So a file that holds
//! nothing takes some space while there is plenty, and is given up for such a change when the disk
//! is full.

use crate::files::is_full_disk;
use parking_lot::{Mutex, MutexGuard};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// Bytes of the reserve. 2 MiB: a change of a window's record takes less than a quarter of it (a
/// test of the records holds that), and 4,096 API keys of an ordinary length are a file of about
/// 1.5 MiB.
pub const RESERVE_BYTES: usize = 2 << 20;

/// Bytes that must be free before it is made. Twice its own: what it takes then was of no use to
/// anybody who found the disk full, and a write at the same time finds space.
const FREE_BYTES: u64 = 2 * RESERVE_BYTES as u64;

/// How often a reserve that was given up is tried to be made again. 10 s.
const REMAKE_PAUSE: Duration = Duration::from_secs(10);

/// The reserve of a data folder. By default there is none, and it can be asked for all the same.
#[derive(Debug, Default)]
pub struct Reserve {
    file: Option<PathBuf>,
    there: AtomicBool,
    /// Held while it is made or given up, which takes as long as the disk does.
    at_work: Mutex<()>,
}

impl Reserve {
    /// The reserve in the data folder `dir`, made where it is not there. That there is no space for
    /// it is said in the log, and is no error.
    pub fn open(dir: &Path) -> Arc<Self> {
        let file = dir.join("reserve");
        let whole = |found: fs::Metadata| found.is_file() && found.len() == RESERVE_BYTES as u64;
        let there = fs::metadata(&file).is_ok_and(whole);
        let reserve = Reserve {
            file: Some(file),
            there: AtomicBool::new(there),
            at_work: Mutex::default(),
        };
        if let Err(error) = reserve.make(free_bytes) {
            let path = dir.join("reserve");
            let why = match is_full_disk(&error) {
                true => "no disk space for the host's reserve",
                false => "cannot create the host's reserve",
            };
            tracing::warn!(path = %path.display(), %error, "{why}: closing a window or revoking a key may not survive a restart");
        }
        Arc::new(reserve)
    }

    /// Whether it is there to be given up. Waits for nothing.
    pub fn is_there(&self) -> bool {
        self.there.load(Relaxed)
    }

    /// Gives the space back to the disk. Whether there was any. Blocks for the removal of one file.
    pub fn give_up(&self) -> bool {
        let _at_work = self.at_work();
        let (true, Some(file)) = (self.is_there(), &self.file) else {
            return false;
        };
        match fs::remove_file(file) {
            Ok(()) => {
                tracing::warn!("the disk is full: releasing the host's reserve for its own records")
            }
            Err(error) => {
                tracing::error!(%error, "cannot release the host's reserve");
                return false;
            }
        }
        self.there.store(false, Relaxed);
        true
    }

    /// Makes it again whenever it was given up, as soon as the disk has space. Never ends.
    pub async fn keep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(REMAKE_PAUSE).await;
            if self.is_there() {
                continue;
            }
            let reserve = self.clone();
            let made = tokio::task::spawn_blocking(move || reserve.make(free_bytes)).await;
            if matches!(made, Ok(Ok(()))) {
                tracing::info!("the host's disk reserve exists again");
            }
        }
    }

    /// Writes it where `free_bytes` says that there is space enough: one that does not fit must not
    /// fill the disk only to find that out.
    fn make(&self, free_bytes: impl FnOnce(&Path) -> io::Result<u64>) -> io::Result<()> {
        let _at_work = self.at_work();
        let (false, Some(file)) = (self.is_there(), &self.file) else {
            return Ok(());
        };
        let free = free_bytes(file.parent().unwrap_or(file))?;
        if free < FREE_BYTES {
            let why = format!("{free} bytes are free, and {FREE_BYTES} must be");
            return Err(io::Error::new(io::ErrorKind::StorageFull, why));
        }
        if let Err(error) = fill(file) {
            let _ = fs::remove_file(file);
            return Err(error);
        }
        self.there.store(true, Relaxed);
        Ok(())
    }

    fn at_work(&self) -> MutexGuard<'_, ()> {
        self.at_work.lock()
    }
}

/// Bytes that this user can write to the file system of `dir`.
fn free_bytes(dir: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(dir)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Random bytes: of zeros a file system that compresses, or leaves holes, would keep nothing free.
fn fill(path: &Path) -> io::Result<()> {
    let mut bytes = vec![0; RESERVE_BYTES];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(&bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserve_is_created_once_given_up_once_and_created_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("reserve");
        let reserve = Reserve::open(dir.path());
        assert_eq!(fs::metadata(&file).unwrap().len(), RESERVE_BYTES as u64);
        let before = fs::read(&file).unwrap();
        drop(reserve);
        let reserve = Reserve::open(dir.path());
        assert_eq!(fs::read(&file).unwrap(), before, "it was there already");
        assert!(reserve.give_up() && !file.exists() && !reserve.is_there());
        assert!(!reserve.give_up());
        reserve.make(free_bytes).unwrap();
        assert!(reserve.is_there() && file.exists());
        assert!(!Reserve::default().give_up());
    }

    #[test]
    fn reserve_is_created_only_where_twice_its_space_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("reserve");
        let reserve = Reserve::open(dir.path());
        assert!(reserve.give_up());
        let refused = reserve.make(|_| Ok(FREE_BYTES - 1)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
        assert!(!file.exists() && !reserve.is_there());
        reserve.make(|_| Ok(FREE_BYTES)).unwrap();
        assert!(file.exists() && reserve.is_there());
    }

    #[test]
    fn presence_of_the_reserve_is_known_while_it_is_being_created() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::open(dir.path());
        assert!(reserve.give_up());
        let made = reserve.make(|_| {
            // As a slow disk would hold it.
            assert!(!reserve.is_there());
            Ok(FREE_BYTES)
        });
        made.unwrap();
    }

    #[test]
    fn incomplete_reserve_is_created_anew() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("reserve");
        fs::write(&file, "half").unwrap();
        assert!(Reserve::open(dir.path()).is_there());
        assert_eq!(fs::metadata(&file).unwrap().len(), RESERVE_BYTES as u64);
    }
}
