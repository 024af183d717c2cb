//! A [`Backend`] that keeps each store in a file of its own.

use super::waiting::READERS;
use super::{Backend, RedbStore, Store, StoreError, StoreId, StoreLimits, check_name, create};
use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The file of a store, in the folder of its window.
const FILE_NAME: &str = "store.redb";

/// The stores under one folder, each in `ROOT/NAME/store.redb`.
pub(crate) struct RedbFiles {
    root: PathBuf,
    limits: StoreLimits,
    /// Permits for reads of all its stores that wait for the disk.
    readers: Arc<Semaphore>,
}

impl RedbFiles {
    /// Uses `root` as it is; folders are created with the stores.
    pub(crate) fn new(root: PathBuf, limits: StoreLimits) -> Self {
        RedbFiles {
            root,
            limits,
            readers: Arc::new(Semaphore::new(READERS)),
        }
    }

    fn path_of(&self, name: &str) -> Result<PathBuf, StoreError> {
        check_name(name)?;
        Ok(self.root.join(name).join(FILE_NAME))
    }

    fn listed(&self) -> io::Result<BTreeMap<String, StoreId>> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
            entries => entries?,
        };
        let mut stored = BTreeMap::new();
        for entry in entries {
            let Ok(name) = entry?.file_name().into_string() else {
                continue;
            };
            let Ok(path) = self.path_of(&name) else {
                continue;
            };
            match fs::metadata(&path) {
                Ok(file) => stored.insert(name, id_of(&file)),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                // The error is reported when the store is opened.
                Err(_) => stored.insert(name, StoreId::default()),
            };
        }
        Ok(stored)
    }
}

impl Backend for RedbFiles {
    fn open(&self, name: &str, create: bool) -> Result<Option<Arc<dyn Store>>, StoreError> {
        let path = self.path_of(name)?;
        if !create && !path.exists() {
            return Ok(None);
        }
        let opened = RedbStore::open_file(path, name, self.limits.clone())?;
        Ok(Some(Arc::new(opened.sharing(&self.readers))))
    }

    /// Also removes the window's folder, if nothing else is in it.
    fn remove(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path_of(name)?;
        create::remove(&path).map_err(|error| StoreError::Io {
            path,
            reason: error.to_string(),
        })?;
        if let Err(error) = fs::remove_dir(self.root.join(name))
            && !matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty
            )
        {
            tracing::warn!(window = name, %error, "cannot remove the empty folder of a removed store");
        }
        Ok(())
    }

    fn list(&self) -> Result<BTreeMap<String, StoreId>, StoreError> {
        self.listed().map_err(|error| StoreError::Unlisted {
            reason: error.to_string(),
        })
    }
}

/// A file number may be reused. If the file system does not record the creation time, that goes
/// unnoticed.
fn id_of(file: &Metadata) -> StoreId {
    StoreId::new(file.ino(), file.created().ok())
}
