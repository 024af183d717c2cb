//! Reads the watched folder.

use crate::WindowName;
use hms_disk::stamp::FileStamp;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Components of one folder that are followed. 10,000: the same as for routes. Each further one is
/// refused.
pub(super) const MAX_FILES: usize = 10_000;

/// Further ones that are reported by name. 1,000: nobody would read more; the rest is counted.
const MAX_NAMED: usize = 1000;

/// What is in a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FolderScan {
    /// The components by file name.
    pub files: BTreeMap<OsString, FileStamp>,
    /// Files with the name of a component that are not accepted, with the reason.
    pub refused: BTreeMap<OsString, String>,
    /// Components beyond the bound: those in `refused`, and those in neither list.
    pub over_limit: usize,
}

impl FolderScan {
    /// Whether there is neither a component nor anything with the name of one.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.refused.is_empty()
    }

    /// The windows of the files, accepted or not. None if there are more files than are listed,
    /// because there may then be one for any window.
    pub(super) fn windows(&self) -> Option<BTreeSet<WindowName>> {
        let files = self.files.keys().chain(self.refused.keys());
        let named = files.filter_map(|file| WindowName::from_file(Path::new(file)).ok());
        (self.over_limit <= MAX_NAMED).then(|| named.collect())
    }
}

/// Every regular file `*.wasm` of the folder, in any case, except hidden ones, which copies in
/// progress often use. At most `most`: first those for which `has_place` is true, then by name, so
/// that one more file displaces no other.
///
/// # Errors
///
/// If the folder cannot be read.
pub(super) fn read(
    dir: &Path,
    most: usize,
    has_place: &dyn Fn(&OsStr) -> bool,
) -> io::Result<FolderScan> {
    let mut found = FolderScan::default();
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(dir)? {
        let file = entry?.file_name();
        if is_component(&file) {
            names.insert((!has_place(&file), file));
            if names.len() > most.saturating_add(MAX_NAMED) {
                names.pop_last();
                found.over_limit += 1;
            }
        }
    }
    for (place, (_, file)) in names.into_iter().enumerate() {
        if place >= most {
            let why = format!("the folder has more than {most} components: remove some");
            found.refused.insert(file, why);
            found.over_limit += 1;
            continue;
        }
        match look(&dir.join(&file)) {
            Some(Ok(stamp)) => found.files.insert(file, stamp).map(drop),
            Some(Err(why)) => found.refused.insert(file, why).map(drop),
            None => None,
        };
    }
    Ok(found)
}

/// None for a file that is gone again, and for a folder.
fn look(path: &Path) -> Option<Result<FileStamp, String>> {
    // Follows links: container platforms mount files as links.
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::symlink_metadata(path).ok()?;
            return Some(Err("it is a link that leads nowhere".into()));
        }
        Err(error) => return Some(Err(format!("it cannot be read: {error}"))),
    };
    if metadata.is_dir() {
        return Some(Err("it is a folder, not a component".into()));
    }
    match metadata.is_file() {
        true => Some(Ok(FileStamp::of(&metadata))),
        false => Some(Err("it is not a regular file".into())),
    }
}

/// Whether a file of that name counts as a component.
pub(super) fn is_component(file: &OsStr) -> bool {
    let name = file.as_bytes();
    name.to_ascii_lowercase().ends_with(b".wasm") && !name.starts_with(b".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(found: &BTreeMap<OsString, impl Sized>) -> Vec<&str> {
        found.keys().map(|name| name.to_str().unwrap()).collect()
    }

    #[test]
    fn files_over_the_limit_are_refused_one_by_one_and_displace_no_other() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["a.wasm", "b.WASM", "c.wasm", ".d.wasm", "a.yaml"] {
            fs::write(dir.path().join(file), "x").unwrap();
        }
        let found = read(dir.path(), 3, &|_| false).unwrap();
        assert_eq!(names(&found.files), ["a.wasm", "b.WASM", "c.wasm"]);
        assert_eq!((found.refused.len(), found.over_limit), (0, 0));
        let found = read(dir.path(), 2, &|file| file == "c.wasm").unwrap();
        assert_eq!(names(&found.files), ["a.wasm", "c.wasm"]);
        assert_eq!(names(&found.refused), ["b.WASM"]);
        assert_eq!(found.over_limit, 1);
        let windows = found.windows().unwrap();
        assert!(windows.contains(&"b".parse().unwrap()), "{windows:?}");
    }

    #[test]
    fn file_belongs_to_its_window_however_it_is_spelled() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["my_desk.wasm", "other.WASM", "plain.wasm", "Bad Name.wasm"] {
            fs::write(dir.path().join(file), "x").unwrap();
        }
        let found = read(dir.path(), 2, &|_| false).unwrap();
        let windows: Vec<String> = (found.windows().unwrap().iter())
            .map(ToString::to_string)
            .collect();
        assert_eq!(windows, ["my-desk", "other", "plain"]);
        let beyond = FolderScan {
            over_limit: MAX_NAMED + 1,
            ..found
        };
        assert_eq!(beyond.windows(), None);
    }

    #[test]
    fn component_named_entry_that_is_no_file_is_refused_with_a_reason() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("folder.wasm")).unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("link.wasm")).unwrap();
        let found = read(dir.path(), 9, &|_| false).unwrap();
        assert_eq!(names(&found.refused), ["folder.wasm", "link.wasm"]);
        assert!(found.refused["link.wasm".as_ref() as &OsStr].contains("nowhere"));
    }
}
