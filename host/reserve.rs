//! A little space on the disk of the data folder for the host's own records.
//!
//! A window can fill the disk, and then the host could write nothing either: an operator who closes that window, or
//! revokes a key, would do so until the next restart only. So a file that holds nothing takes some space while there is
//! plenty, and is given up for such a change when the disk is full.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes of the reserve. 2 MiB: a change of a window's record takes less than a quarter of it (a test of the records
/// holds that), and 4,096 API keys of an ordinary length are a file of about 1.5 MiB.
pub const RESERVE_BYTES: usize = 2 << 20;

/// How often a reserve that was given up is tried to be made again. 10 s.
const REMAKE_PAUSE: Duration = Duration::from_secs(10);

/// The reserve of a data folder. By default there is none, and it can be asked for all the same.
#[derive(Debug, Default)]
pub struct Reserve {
    file: Option<PathBuf>,
    there: Mutex<bool>,
}

impl Reserve {
    /// The reserve in the data folder `dir`, made where it is not there. That there is no space for it is said in the log,
    /// and is no error.
    pub fn open(dir: &Path) -> Arc<Self> {
        let file = dir.join("reserve");
        let whole = |found: fs::Metadata| found.is_file() && found.len() == RESERVE_BYTES as u64;
        let there = fs::metadata(&file).is_ok_and(whole);
        let reserve = Reserve {
            file: Some(file),
            there: Mutex::new(there),
        };
        if let Err(error) = reserve.make() {
            tracing::warn!(%error, "the disk has no space for the host's reserve: what closes a window or revokes a key may not last over a restart");
        }
        Arc::new(reserve)
    }

    /// Whether it is there to be given up.
    pub fn is_there(&self) -> bool {
        *self.there()
    }

    /// Gives the space back to the disk. Whether there was any. Blocks for the removal of one file.
    pub fn give_up(&self) -> bool {
        let mut there = self.there();
        let (true, Some(file)) = (*there, &self.file) else {
            return false;
        };
        match fs::remove_file(file) {
            Ok(()) => tracing::warn!(
                "the disk is full: the host's reserve is given up for its own records"
            ),
            Err(error) => {
                tracing::error!(%error, "the host's reserve cannot be given up");
                return false;
            }
        }
        *there = false;
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
            let made = tokio::task::spawn_blocking(move || reserve.make()).await;
            if matches!(made, Ok(Ok(()))) {
                tracing::info!("the host's reserve on the disk is there again");
            }
        }
    }

    fn make(&self) -> io::Result<()> {
        let mut there = self.there();
        let (false, Some(file)) = (*there, &self.file) else {
            return Ok(());
        };
        if let Err(error) = fill(file) {
            let _ = fs::remove_file(file);
            return Err(error);
        }
        *there = true;
        Ok(())
    }

    fn there(&self) -> MutexGuard<'_, bool> {
        self.there.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
    fn the_reserve_is_made_once_given_up_once_and_made_again() {
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
        reserve.make().unwrap();
        assert!(reserve.is_there() && file.exists());
        assert!(!Reserve::default().give_up());
    }

    #[test]
    fn a_reserve_that_is_not_whole_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("reserve");
        fs::write(&file, "half").unwrap();
        assert!(Reserve::open(dir.path()).is_there());
        assert_eq!(fs::metadata(&file).unwrap().len(), RESERVE_BYTES as u64);
    }
}
