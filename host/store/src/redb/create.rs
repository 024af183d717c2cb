//! Creates a new store file so that a crash leaves a complete one or none.

use super::StoreError;
use super::fault::{Fault, guarded};
use super::{layout, unsynced};
use redb::{Database, Durability};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The suffix of a store file that is being created.
const UNFINISHED: &str = ".unfinished-";

/// Creates an empty store for `owner` at `path`, and its folder, unless there is a file already.
///
/// The store is created under another name and gets its final one in the last step, which fails if
/// the name is taken. So it never replaces a file, and an incomplete one never has that name.
pub(super) fn create_if_missing(path: &Path, owner: &str) -> Result<(), StoreError> {
    let io_error = |error: io::Error| Fault::from(redb::Error::Io(error)).into_error(path);
    let folder = folder_of(path);
    if fs::exists(path).map_err(io_error)? {
        // A crash, or a disk that failed, may have prevented this when the folder was created.
        return sync_folders(folder).map_err(io_error);
    }
    fs::create_dir_all(folder).map_err(io_error)?;
    let unfinished = unfinished_name(path);
    // From an earlier process with our process id, or from a failed attempt of ours.
    remove_if_there(&unfinished).map_err(io_error)?;
    unsynced::forget(path).map_err(io_error)?;
    let made = fill(&unfinished, owner)
        .map_err(|fault| fault.into_error(&unfinished))
        .and_then(|()| give_name(&unfinished, path).map_err(io_error));
    let tidied = remove_if_there(&unfinished).map_err(io_error);
    made?;
    tidied?;
    sync_folders(folder).map_err(io_error)
}

/// Deletes the store file at `path` and incomplete ones that a crash left beside it.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    remove_if_there(path)?;
    unsynced::forget(path)?;
    let folder = folder_of(path);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    let mut prefix = path.file_name().unwrap_or_default().to_os_string();
    prefix.push(UNFINISHED);
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if name
            .as_encoded_bytes()
            .starts_with(prefix.as_encoded_bytes())
        {
            remove_if_there(&entry.path())?;
        }
    }
    sync_folder(folder)
}

fn fill(path: &Path, owner: &str) -> Result<(), Fault> {
    guarded(|| {
        let db = Database::builder().create(path)?;
        found(&db, owner)?;
        db.close()?;
        Ok(())
    })
}

/// Makes a store of an empty database.
pub(super) fn found(db: &Database, owner: &str) -> Result<(), Fault> {
    let mut txn = db.begin_write()?;
    txn.set_durability(Durability::Immediate)?;
    txn.set_quick_repair(true);
    layout::found(&txn, owner)?;
    txn.commit()?;
    Ok(())
}

fn give_name(unfinished: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(unfinished, path) {
        // Another host was quicker. Opening the file shows whose it is.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        // Some file systems have no hard links. There the check at the beginning must suffice.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::Unsupported | ErrorKind::PermissionDenied
            ) =>
        {
            fs::rename(unfinished, path)
        }
        linked => linked,
    }
}

fn unfinished_name(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!("{UNFINISHED}{}", std::process::id()));
    PathBuf::from(name)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes the name of a file in `folder` durable, and that of the folder.
fn sync_folders(folder: &Path) -> io::Result<()> {
    sync_folder(folder)?;
    sync_folder(folder_of(folder))
}

/// Makes the names in a folder durable. Only Unix has and needs it.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}
