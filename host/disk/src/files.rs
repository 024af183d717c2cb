//! Writing a file so that a crash leaves the old one or the new one, and names of files as text.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// What the owner alone may read.
const PRIVATE: u32 = 0o600;

/// The content of a file that is to have at most so many bytes.
///
/// # Errors
/// When it cannot be read, or has more.
pub fn read_at_most(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path)?;
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(io::Error::other(format!("it is larger than {most} bytes"))),
        false => Ok(bytes),
    }
}

/// Writes a file wholly or not at all. On disk when this returns.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(path, bytes, None)
}

/// The same, with mode 0600.
pub fn write_whole_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(path, bytes, Some(PRIVATE))
}

fn write(path: &Path, bytes: &[u8], mode: Option<u32>) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Hidden, so that beside a manifest it is no manifest.
    let beside = path.with_file_name(format!(".{name}.new"));
    if let Err(error) = fill(&beside, bytes, mode).and_then(|()| fs::rename(&beside, path)) {
        // On a full disk half a file would hold the space that the next try needs.
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    sync_folder(folder_of(path))
}

fn fill(path: &Path, bytes: &[u8], mode: Option<u32>) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    if let Some(mode) = mode {
        options.mode(mode);
    }
    let mut file = options.open(path)?;
    if let Some(mode) = mode {
        // One that a crash left behind may have another.
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    file.write_all(bytes)?;
    file.sync_all()
}

/// Removes a file. On disk when this returns.
pub fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    sync_folder(folder_of(path))
}

/// Makes the names in `folder` durable.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    fs::File::open(folder)?.sync_all()
}

/// The folder that a file is in: `.` for a name alone.
pub fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes a folder and those above it, and says how many were made: so many from `path` upwards.
///
/// # Errors
/// When one cannot be made. Then none is left.
pub fn make_folders(path: &Path, mode: u32) -> io::Result<usize> {
    let missing =
        |folder: &&Path| !folder.as_os_str().is_empty() && fs::symlink_metadata(folder).is_err();
    let made = path.ancestors().take_while(missing).count();
    let result = DirBuilder::new().recursive(true).mode(mode).create(path);
    if result.is_err() {
        remove_folders(path, made);
    }
    result.map(|()| made)
}

/// Removes what [`make_folders`] made, where nothing is in it.
pub fn remove_folders(path: &Path, made: usize) {
    for folder in path.ancestors().take(made) {
        let _ = fs::remove_dir(folder);
    }
}

/// A file name as text. The bytes of one that is no UTF-8 are escaped, so that no two are shown
/// alike.
pub fn shown_name(name: &OsStr) -> String {
    match name.to_str() {
        Some(name) => name.to_owned(),
        None => format!("{name:?}").trim_matches('"').to_owned(),
    }
}

/// The text of a file, or what its bytes are instead.
pub fn utf8(bytes: Vec<u8>) -> Result<String, &'static str> {
    String::from_utf8(bytes).map_err(|error| match error.as_bytes() {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "it is UTF-16: save it as UTF-8",
        _ => "it is not UTF-8",
    })
}

/// Whether a write failed because the disk is full.
pub fn is_full_disk(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Whether a file of that name in the routes folder is taken for a manifest, where it is not
/// hidden.
pub fn is_manifest(name: &OsStr) -> bool {
    let name = name.as_bytes().to_ascii_lowercase();
    name.ends_with(b".yaml") || name.ends_with(b".yml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_file_is_private_whatever_was_there_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::write(&path, "old").unwrap();
        fs::write(dir.path().join(".secret.new"), "half").unwrap();
        write_whole_private(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn file_is_read_up_to_its_limit_and_rejected_beyond_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "four").unwrap();
        assert_eq!(read_at_most(&path, 4).unwrap(), b"four");
        let refused = read_at_most(&path, 3).unwrap_err();
        assert_eq!(refused.to_string(), "it is larger than 3 bytes");
    }

    #[test]
    fn only_folders_that_were_created_are_removed_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("there/a/b");
        fs::create_dir(dir.path().join("there")).unwrap();
        let made = make_folders(&path, 0o700).unwrap();
        assert_eq!((made, path.is_dir()), (2, true));
        assert_eq!(make_folders(&path, 0o700).unwrap(), 0);
        fs::write(dir.path().join("there/a/kept"), "").unwrap();
        remove_folders(&path, made);
        assert!(!path.exists() && dir.path().join("there/a/kept").exists());
        assert!(make_folders(&dir.path().join("there/a/kept/x/y"), 0o700).is_err());
    }

    #[test]
    fn failed_replacement_leaves_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        fs::create_dir(&path).unwrap();
        assert!(write_whole(&path, b"new").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
