//! Folders that are followed beside the one that is written to: each author's project has its own.

use super::Manifest;
use super::files::{Files, name_of};
use super::folder::{self, Content, Known, Listing, ManifestFile};
use hms_disk::files::is_manifest;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The folders of `dirs` that can be followed beside `dir`, each once. A file in them goes by its
/// path as text, so those whose path is no text are left out.
pub(super) fn others(dir: &Path, dirs: Vec<PathBuf>) -> Vec<PathBuf> {
    let whole = |dir: &Path| {
        let absolute = || std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        fs::canonicalize(dir).unwrap_or_else(|_| absolute())
    };
    let mut known = vec![whole(dir)];
    for dir in dirs {
        let dir = whole(&dir);
        if dir.is_absolute() && dir.to_str().is_some() && !known.contains(&dir) {
            known.push(dir);
        }
    }
    known.split_off(1)
}

/// Whether the file is in one of these folders. The names of files in the folder itself have no
/// slash.
pub(super) fn is_beside(file: &str) -> bool {
    file.starts_with('/')
}

/// Adds what is in `dir` to what was found so far; `most` files at most are read of it all.
pub(super) fn add<M: Manifest>(
    found: &mut Listing,
    files: &Files<M>,
    dir: &Path,
    word: &str,
    most: usize,
) {
    let path = |name: &str| dir.join(name).to_string_lossy().into_owned();
    let room = most.saturating_sub(found.files.len());
    let known = |name: &str| -> Known { files.known(&path(name)) };
    match folder::read(dir, word, room, known) {
        Ok(more) => {
            found.left_out += more.left_out;
            for (name, mut file) in more.files {
                if let Some(other) = same_name(found, &name) {
                    file.stamp = None;
                    file.content = Content::Bad(format!(
                        "{other} has the same name, and each name counts once: rename one of them"
                    ));
                }
                found.files.insert(path(&name), file);
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        // It takes nothing away.
        Err(error) => {
            let (folder, many) = (dir.display(), M::WORDS.many);
            tracing::warn!(%folder, %error, "cannot be read; its {many} stay as they are");
            let begins = path("");
            for (file, stamp) in files.stamps().filter(|(file, _)| file.starts_with(&begins)) {
                let content = Content::Unchanged;
                found
                    .files
                    .insert(file.clone(), ManifestFile { stamp, content });
            }
        }
    }
}

/// A file that was found already and has the name of `file`.
fn same_name(found: &Listing, file: &str) -> Option<String> {
    if !is_manifest(file.as_ref()) {
        return None;
    }
    let mut others = found.files.keys();
    let is_same = |other: &&String| is_manifest(other.as_ref()) && name_of(other) == name_of(file);
    others.find(is_same).cloned()
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::super::{ManifestMetrics, ManifestSet};
    use super::*;

    fn write(dir: &Path, file: &str, name: &str) {
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join(file), format!("name: {name}\nsize: 1KiB\n")).unwrap();
    }

    /// Each file's name in its folder, and whether it is live.
    fn states(set: &ManifestSet<Sample>) -> Vec<(String, bool)> {
        let state = |status: super::super::FileStatus<Sample>| {
            let file = Path::new(&status.file)
                .strip_prefix("/")
                .map_or("main", |_| "also");
            (
                format!("{file} {}", name_of(&status.file)),
                status.live.is_some(),
            )
        };
        set.status().into_iter().map(state).collect()
    }

    #[test]
    fn file_beside_serves_until_its_folder_goes_and_hides_none_of_the_same_name() {
        let dir = tempfile::tempdir().unwrap();
        let (main, one, two) = (
            dir.path().join("main"),
            dir.path().join("one"),
            dir.path().join("two"),
        );
        write(&main, "fees.yaml", "fees");
        let set = ManifestSet::<Sample>::load(
            &main,
            None,
            10,
            ManifestMetrics::default(),
            |_, _| Some(Vec::new()),
            |_| {},
        );
        write(&one, "permits.yaml", "permits");
        write(&one, "fees.yml", "other");
        // The folder itself and a missing one change nothing.
        set.follow_also(vec![one.clone(), main.join("../main"), two.clone()]);
        let all = [
            ("also fees", false),
            ("also permits", true),
            ("main fees", true),
        ];
        let all = all.map(|(name, live)| (name.to_owned(), live));
        assert_eq!(states(&set), all);
        let (refused, text) = set.get("permits").unwrap();
        assert!(refused.faults.is_empty() && text.contains("permits"));
        let fault = set.status()[0].faults[0].to_string();
        assert!(fault.contains("fees.yaml has the same name"), "{fault}");
        // Whoever names what is there twice means the one that serves.
        assert_eq!(set.get("fees").unwrap().0.file, "fees.yaml");
        set.put("fees", "name: fees\nsize: 3KiB\n").unwrap();
        assert!(
            fs::read_to_string(one.join("fees.yml"))
                .unwrap()
                .contains("1KiB")
        );
        // A change is written where the file is, and a new file into the folder.
        set.put("permits", "name: permits\nsize: 2KiB\n").unwrap();
        assert!(
            fs::read_to_string(one.join("permits.yaml"))
                .unwrap()
                .contains("2KiB")
        );
        set.put("new", "name: new\nsize: 2KiB\n").unwrap();
        assert!(main.join("new.yaml").is_file());
        // A backup has what is in the folder.
        assert!(set.saved().0.into_keys().eq(["fees.yaml", "new.yaml"]));

        write(&two, "late.yaml", "late");
        set.reload();
        assert!(set.get("late").is_some());
        fs::remove_dir_all(&one).unwrap();
        set.reload();
        assert!(set.get("permits").is_none());
        set.follow_also(Vec::new());
        assert!(set.get("late").is_none() && set.get("fees").is_some());
    }
}
