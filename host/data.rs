//! The data folder: made when missing, this user's alone, and one host's at a time.

use crate::permissions::secure_data;
use anyhow::{Context, bail};
use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The file that is in a data folder while a backup is restored into it.
pub const RESTORING: &str = "restoring";

/// A data folder that is ours until this is dropped.
pub struct DataFolder {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Takes the folder, making it (mode 0700) where it is missing. One that other users can read
    /// is closed to them.
    ///
    /// # Errors
    /// When it cannot be made, other users can write it, another host has it, or a restore into it
    /// has not ended.
    pub fn take(path: &Path) -> anyhow::Result<Self> {
        let folder = Self::take_unfinished(path)?;
        if path.join(RESTORING).exists() {
            bail!(
                "a restore into the data folder {} has not ended, so what is in it is not whole: \
                 restore the backup again",
                path.display()
            );
        }
        Ok(folder)
    }

    /// The same where a restore into it may not have ended: to restore into it.
    ///
    /// # Errors
    /// As [`DataFolder::take`].
    pub fn take_unfinished(path: &Path) -> anyhow::Result<Self> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| {
                format!(
                    "the data folder {} cannot be made; choose another with --data",
                    path.display()
                )
            })?;
        secure_data(path)?;
        let file = path.join("lock");
        let mut lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&file)
            .with_context(|| {
                format!(
                    "{} cannot be opened; is the data folder writable?",
                    file.display()
                )
            })?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = lock.read_to_string(&mut holder);
                bail!(
                    "the data folder {} is in use by another hms (process {}): stop that one, or choose another folder with \
                     --data",
                    path.display(),
                    holder.trim()
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("{} cannot be locked", file.display()));
            }
        }
        lock.set_len(0)
            .and_then(|()| write!(lock, "{}", std::process::id()))
            .with_context(|| format!("{} cannot be written", file.display()))?;
        Ok(DataFolder {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_host_at_a_time_and_the_second_is_told_which() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let first = DataFolder::take(&path).unwrap();
        let error = DataFolder::take(&path).err().unwrap().to_string();
        assert!(
            error.contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        drop(first);
        DataFolder::take(&path).unwrap();
    }
}
