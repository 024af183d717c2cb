//! Tells a changed file from an unchanged one without reading it.

use serde::{Deserialize, Serialize};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

/// A file that was written so recently may be written again within the same tick of the file
/// system's clock. 3 s: beyond the tick of every file system, FAT's two seconds included.
const UNSETTLED: Duration = Duration::from_secs(3);

/// What changes with every change of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStamp {
    /// The length of the file.
    pub bytes: u64,
    inode: u64,
    /// Seconds and nanoseconds. Whoever writes a file can set this one back,
    modified: (i64, i64),
    /// but not this one.
    changed: (i64, i64),
}

impl FileStamp {
    /// Of a file with this metadata.
    pub fn of(metadata: &Metadata) -> Self {
        FileStamp {
            bytes: metadata.len(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether nothing was done to the file but what leaves its content alone, such as another mode
    /// or a link to it: as far as its writer does not set the time of the last write back.
    pub fn same_write(&self, other: &FileStamp) -> bool {
        let changed = self.changed;
        *self == FileStamp { changed, ..*other }
    }

    /// Whether a file that still has this stamp at `now` is as it was when the stamp was taken. One
    /// that changed a moment ago, or in the future, has to be read again.
    pub fn is_settled(&self, now: SystemTime) -> bool {
        let at = |(seconds, nanos): (i64, i64)| {
            let seconds = Duration::from_secs(u64::try_from(seconds).ok()?);
            SystemTime::UNIX_EPOCH.checked_add(seconds + Duration::from_nanos(nanos as u64))
        };
        // Some file systems have no time of the last change, and others let a writer set the time
        // of the last write.
        [self.changed, self.modified].into_iter().all(|time| {
            let age = at(time).and_then(|at| now.duration_since(at).ok());
            age.is_some_and(|age| age > UNSETTLED)
        })
    }

    /// A stamp for tests that is older than any pause.
    #[cfg(any(test, feature = "testing"))]
    pub fn fake(bytes: u64, inode: u64) -> Self {
        FileStamp {
            bytes,
            inode,
            modified: (0, 0),
            changed: (0, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn file_settles_a_moment_after_its_last_change_whatever_its_mtime_says() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "1").unwrap();
        let file = fs::File::options().append(true).open(&path).unwrap();
        let now = SystemTime::now();
        file.set_modified(now - 10 * UNSETTLED).unwrap();
        let stamp = FileStamp::of(&fs::metadata(&path).unwrap());
        assert!(!stamp.is_settled(now));
        assert!(!stamp.is_settled(now - UNSETTLED));
        assert!(stamp.is_settled(now + 2 * UNSETTLED));
        // Where there is no time of the last change.
        let stamp = FileStamp {
            modified: stamp.changed,
            changed: (0, 0),
            ..stamp
        };
        assert!(!stamp.is_settled(now));
    }

    #[test]
    fn mode_change_is_the_same_write_and_new_content_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let stamp = || FileStamp::of(&fs::metadata(&path).unwrap());
        fs::write(&path, "1").unwrap();
        let first = stamp();
        let mut permissions = fs::metadata(&path).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&path, permissions).unwrap();
        assert!(stamp().same_write(&first));
        fs::remove_file(&path).unwrap();
        fs::write(&path, "22").unwrap();
        assert!(!stamp().same_write(&first));
    }
}
