//! Reading the folder of manifests.

use hms_disk::files::{is_manifest, read_at_most, shown_name, utf8};
use hms_disk::stamp::FileStamp;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, DirEntry};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

/// Bytes of one manifest. A real one has some hundred.
pub const MAX_MANIFEST_BYTES: u64 = 64 * 1024;

/// Files beyond the bound, and other entries that are no manifests, that are each said by name.
/// 1,000: more would not be read; the rest is counted.
const MAX_NAMED: usize = 1000;

/// How deep sub-folders are searched for manifests that are not read, and how many entries of them
/// a look reads. The search only says what is passed over: it must not make a look slow.
const MAX_DEPTH: usize = 8;
const MAX_SEARCHED: usize = 1000;

/// Whether a file has a place among those that are followed.
pub(super) enum Known {
    New,
    /// With its stamp of the last time, if it could be read then.
    Followed(Option<FileStamp>),
}

/// One manifest as it was found.
pub(super) struct ManifestFile {
    pub stamp: Option<FileStamp>,
    pub content: Content,
}

pub(super) enum Content {
    /// As last time.
    Unchanged,
    Text(String),
    /// Not readable, not UTF-8, too large, or nothing that can be a manifest.
    Bad(String),
    /// There are as many manifests as are followed without it.
    Beyond(String),
}

/// Which folder it is, by device and inode: another one under the same name, such as one that is
/// mounted over it, has others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct FolderId(u64, u64);

impl FolderId {
    fn of(dir: &Path) -> io::Result<FolderId> {
        let metadata = fs::metadata(dir)?;
        Ok(FolderId(metadata.dev(), metadata.ino()))
    }
}

/// What is in the folder.
#[derive(Default)]
pub(super) struct Listing {
    pub folder: FolderId,
    /// By file name, or by what is shown of a name that is no UTF-8 or a folder's.
    pub files: BTreeMap<String, ManifestFile>,
    /// Files beyond the bound that are not among `files`.
    pub left_out: usize,
}

impl Listing {
    /// Whether there is a manifest, be it a bad one.
    pub(super) fn has_manifest(&self) -> bool {
        self.files.keys().any(|file| is_manifest(file.as_ref()))
    }
}

/// All manifests of the folder: `*.yaml` and `*.yml` in any case, but for hidden files, which
/// editors make. At most `most` are read; those that are followed already come first, then those
/// first by name, so that one more file takes no other's place. Files of other kinds, which
/// somebody else may keep in the folder, are passed over. `word` is what messages call the folder.
///
/// # Errors
///
/// When the folder itself cannot be read, or another one takes its place meanwhile.
pub(super) fn read(
    dir: &Path,
    word: &str,
    most: usize,
    known: impl Fn(&str) -> Known,
) -> io::Result<Listing> {
    let folder = FolderId::of(dir)?;
    let mut listing = Listing {
        folder,
        files: BTreeMap::new(),
        left_out: 0,
    };
    let mut names = BTreeSet::new();
    let mut search = MAX_SEARCHED;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if is_hidden(&name) {
            continue;
        }
        let why = match (is_manifest(&name), name.to_str()) {
            (true, Some(name)) => {
                let is_new = matches!(known(name), Known::New);
                names.insert((is_new, name.to_owned()));
                if names.len() > most.saturating_add(MAX_NAMED) {
                    names.pop_last();
                    listing.left_out += 1;
                }
                continue;
            }
            (true, None) => Some("the name of the file is not UTF-8: rename it".to_owned()),
            (false, _) => passed_over(&entry, word, &mut search),
        };
        if let Some(why) = why.filter(|_| listing.files.len() < MAX_NAMED) {
            listing.files.insert(shown_name(&name), bad(None, why));
        }
    }
    for (place, (is_new, name)) in names.into_iter().enumerate() {
        if place >= most {
            let reason = format!(
                "the folder has more than {most} manifests, and no more are read: remove some"
            );
            listing.files.insert(name, beyond(reason));
            continue;
        }
        let known = match known(&name) {
            Known::Followed(stamp) if !is_new => stamp,
            _ => None,
        };
        if let Some(found) = look(&dir.join(&name), known) {
            listing.files.insert(name, found);
        }
    }
    match FolderId::of(dir)? == folder {
        true => Ok(listing),
        false => Err(io::Error::other(
            "another folder took its place while it was read",
        )),
    }
}

/// One manifest, with its name as the folder's listing has it. None for what is no manifest by its
/// name, or is gone.
pub(super) fn read_one(path: &Path) -> Option<(String, ManifestFile)> {
    let name = path.file_name().filter(|name| is_manifest(name))?;
    Some((shown_name(name), look(path, None)?))
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}

/// Why something in the folder that is no manifest is not read, where it looks as if it were to be.
fn passed_over(entry: &DirEntry, word: &str, search: &mut usize) -> Option<String> {
    let kind = entry.file_type().ok()?;
    // Container platforms mount folders as links.
    let is_folder = kind.is_dir()
        || (kind.is_symlink() && fs::metadata(entry.path()).is_ok_and(|m| m.is_dir()));
    if !is_folder {
        return None;
    }
    let first = first_manifest(&entry.path(), MAX_DEPTH, search)?;
    Some(format!(
        "sub-folders are not read, and this one has a manifest, {first}: move it up into the \
         {word}, or give the sub-folder a name that begins with '.'"
    ))
}

/// The name of a manifest below `folder`, if there is one.
fn first_manifest(folder: &Path, depth: usize, search: &mut usize) -> Option<String> {
    for entry in fs::read_dir(folder).ok()?.flatten() {
        *search = search.checked_sub(1)?;
        let name = entry.file_name();
        if is_hidden(&name) {
            continue;
        }
        if is_manifest(&name) {
            return Some(shown_name(&name));
        }
        if depth > 1 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let below = first_manifest(&entry.path(), depth - 1, search);
            if let Some(below) = below {
                return Some(format!("{}/{below}", shown_name(&name)));
            }
        }
    }
    None
}

/// None for what is gone again.
fn look(path: &Path, known: Option<FileStamp>) -> Option<ManifestFile> {
    // Follows links: container platforms mount configuration as links.
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // A link stays where a volume is away for a moment; what it serves must stay as well.
            fs::symlink_metadata(path).ok()?;
            return Some(bad(None, "it is a link that leads nowhere".into()));
        }
        Err(error) => return Some(bad(None, format!("the file cannot be read: {error}"))),
    };
    if metadata.is_dir() {
        return Some(bad(None, "it is a folder, not a manifest".into()));
    }
    if !metadata.is_file() {
        // Reading a pipe would never end.
        return Some(bad(None, "it is not a regular file".into()));
    }
    let stamp = FileStamp::of(&metadata);
    if known == Some(stamp) && stamp.is_settled(SystemTime::now()) {
        return Some(ManifestFile {
            stamp: Some(stamp),
            content: Content::Unchanged,
        });
    }
    Some(match text(path) {
        Ok(text) => ManifestFile {
            stamp: Some(stamp),
            content: Content::Text(text),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => bad(Some(stamp), format!("the file cannot be read: {error}")),
    })
}

fn bad(stamp: Option<FileStamp>, reason: String) -> ManifestFile {
    ManifestFile {
        stamp,
        content: Content::Bad(reason),
    }
}

fn beyond(reason: String) -> ManifestFile {
    ManifestFile {
        stamp: None,
        content: Content::Beyond(reason),
    }
}

fn text(path: &Path) -> io::Result<String> {
    utf8(read_at_most(path, MAX_MANIFEST_BYTES)?).map_err(io::Error::other)
}
