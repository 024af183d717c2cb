//! Reading the folder of manifests.

use crate::gateway::manifest::MAX_MANIFEST_BYTES;
use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Manifests in one folder.
pub const MAX_FILES: usize = 1000;

/// A file that changed so recently may change again within the same tick of the file system's clock, so its
/// stamp proves nothing and it is read again.
const UNSETTLED: Duration = Duration::from_secs(3);

/// Tells a changed file from an unchanged one without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    modified: SystemTime,
    bytes: u64,
    inode: u64,
}

/// One manifest as it was found.
pub struct Found {
    pub stamp: Option<Stamp>,
    pub content: Content,
}

pub enum Content {
    /// As last time.
    Unchanged,
    Text(String),
    /// Not readable, not UTF-8, or too large.
    Bad(String),
}

/// All manifests of the folder by file name: `*.yaml` and `*.yml`, but for hidden files, which editors make.
/// `known` is the stamp that each had the last time.
///
/// # Errors
///
/// When the folder itself cannot be read, or has too many manifests.
pub fn read(
    dir: &Path,
    known: impl Fn(&str) -> Option<Stamp>,
) -> io::Result<BTreeMap<String, Found>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let is_manifest = name.ends_with(".yaml") || name.ends_with(".yml");
        if !is_manifest || name.starts_with('.') {
            continue;
        }
        if files.len() == MAX_FILES {
            return Err(io::Error::other(format!(
                "the folder has more than {MAX_FILES} manifests"
            )));
        }
        let known = known(&name);
        if let Some(found) = look(&entry.path(), known) {
            files.insert(name, found);
        }
    }
    Ok(files)
}

/// None for what is no regular file (reading a pipe would never end) or is gone again.
fn look(path: &Path, known: Option<Stamp>) -> Option<Found> {
    // Follows links: container platforms mount configuration as links.
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => return Some(bad(None, format!("the file cannot be read: {error}"))),
    };
    if !metadata.is_file() {
        return None;
    }
    let stamp = stamp(&metadata);
    if stamp.is_some() && stamp == known && is_settled(&metadata) {
        return Some(Found {
            stamp,
            content: Content::Unchanged,
        });
    }
    Some(match text(path) {
        Ok(text) => Found {
            stamp,
            content: Content::Text(text),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => bad(stamp, format!("the file cannot be read: {error}")),
    })
}

fn bad(stamp: Option<Stamp>, reason: String) -> Found {
    Found {
        stamp,
        content: Content::Bad(reason),
    }
}

fn text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_MANIFEST_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_MANIFEST_BYTES {
        return Err(io::Error::other(format!(
            "it is larger than {MAX_MANIFEST_BYTES} bytes"
        )));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))
}

fn stamp(metadata: &Metadata) -> Option<Stamp> {
    let modified = metadata.modified().ok()?;
    Some(Stamp {
        modified,
        bytes: metadata.len(),
        inode: metadata.ino(),
    })
}

fn is_settled(metadata: &Metadata) -> bool {
    let age = metadata.modified().ok().and_then(|at| at.elapsed().ok());
    age.is_some_and(|age| age > UNSETTLED)
}
