//! The data folder: made when missing, this user's alone, and one host's at a time.

use crate::files::{make_folders, remove_folders};
use crate::permissions::secure_data;
use anyhow::{Context, bail};
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The file that is in a data folder while a backup is restored into it.
pub const RESTORING: &str = "restoring";

/// The file by which a data folder is one process's at a time. It stays when that has ended.
pub const LOCK: &str = "lock";

/// A data folder that is ours until this is dropped.
pub struct DataFolder {
    path: PathBuf,
    /// How many folders were made for it, from `path` upwards.
    made: usize,
    lock: Lock,
}

struct Lock {
    _file: File,
    /// Whether there was none before.
    is_new: bool,
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
                "a restore into the data folder {} was interrupted, so it is incomplete: restore \
                 the backup again",
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
        let made = make_folders(path, 0o700).with_context(|| {
            format!(
                "cannot create the data folder {}; choose another with --data",
                path.display()
            )
        })?;
        let locked = secure_data(path).and_then(|()| Lock::take(path));
        if locked.is_err() {
            remove_folders(path, made);
        }
        Ok(DataFolder {
            path: path.to_owned(),
            made,
            lock: locked?,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many folders were made for it, from itself upwards.
    pub fn made(&self) -> usize {
        self.made
    }

    /// Gives it up as it was found: without the lock where this made it, or where `with_lock` says
    /// that it is of no use, and without the folders that were made for it and are empty.
    pub fn give_back(self, with_lock: bool) {
        if self.lock.is_new || with_lock {
            // While it is held: whoever has it open sees that it is not the folder's any more.
            let _ = fs::remove_file(self.path.join(LOCK));
        }
        remove_folders(&self.path, self.made);
    }
}

impl Lock {
    fn take(path: &Path) -> anyhow::Result<Self> {
        let file = path.join(LOCK);
        let (mut lock, is_new) = open(&file).with_context(|| {
            format!(
                "cannot open {}; is the data folder writable?",
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
        if !is_at(&lock, &file) {
            bail!(
                "the data folder {} is in use by another hms, which is shutting down: try again",
                path.display()
            );
        }
        let written = lock
            .set_len(0)
            .and_then(|()| write!(lock, "{}", std::process::id()));
        if written.is_err() && is_new {
            let _ = fs::remove_file(&file);
        }
        written.with_context(|| format!("{} cannot be written", file.display()))?;
        Ok(Lock {
            _file: lock,
            is_new,
        })
    }
}

/// Opens the lock, and says whether it was made for that.
fn open(file: &Path) -> io::Result<(File, bool)> {
    let mut options = File::options();
    options.read(true).write(true);
    match options.clone().create_new(true).open(file) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made.map(|made| (made, true)),
    }
    let opened = options.create(true).truncate(false).open(file)?;
    Ok((opened, false))
}

/// Whether `file` is still that file. [`DataFolder::give_back`] removes one that is held.
fn is_at(open: &File, file: &Path) -> bool {
    let of = |found: fs::Metadata| (found.dev(), found.ino());
    match (open.metadata(), fs::metadata(file)) {
        (Ok(open), Ok(found)) => of(open) == of(found),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_folder_has_one_host_and_the_second_learns_its_process() {
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

    #[test]
    fn released_data_folder_is_left_as_it_was_found() {
        let parent = tempfile::tempdir().unwrap();
        let made = parent.path().join("a/data");
        DataFolder::take(&made).unwrap().give_back(false);
        assert!(!parent.path().join("a").exists());
        fs::create_dir_all(&made).unwrap();
        DataFolder::take(&made).unwrap().give_back(false);
        assert_eq!(fs::read_dir(&made).unwrap().count(), 0);
        drop(DataFolder::take(&made).unwrap());
        DataFolder::take(&made).unwrap().give_back(false);
        assert!(made.join(LOCK).exists(), "it was there before");
        DataFolder::take(&made).unwrap().give_back(true);
        assert_eq!(fs::read_dir(&made).unwrap().count(), 0);
    }

    #[test]
    fn lock_file_removed_during_opening_does_not_count() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join(LOCK);
        let (first, is_new) = open(&file).unwrap();
        assert!(is_new && is_at(&first, &file));
        fs::remove_file(&file).unwrap();
        assert!(!is_at(&first, &file));
        let (_second, is_new) = open(&file).unwrap();
        assert!(is_new && !is_at(&first, &file));
    }
}
