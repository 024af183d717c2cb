//! What holds for every kind of manifests, as tests that are generic over it.
//!
//! A kind passes [`run`]. Tests of a later crate have it by the feature `conformance`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "these are tests, whatever builds them"
)]

use super::{EditError, FileStatus, Manifest, ManifestMetrics, ManifestSet};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// Manifests that are followed.
const MOST: usize = 12;

/// Texts of a kind.
pub struct Samples<'a> {
    /// Good ones, each different, and none claims what another does.
    pub good: [&'a str; 2],
    /// A bad one.
    pub bad: &'a str,
    /// Line and column of its first fault.
    pub place: (usize, usize),
}

/// Plays every case with files of the kind `M`.
pub fn run<M: Manifest>(samples: &Samples<'_>) {
    let cases: [fn(&Folder<'_, M>); 7] = [
        bad_edit_keeps_the_last_good_and_says_where,
        empty_file_is_an_unfinished_one,
        deleted_file_goes,
        restart_with_a_bad_file_serves_the_last_good,
        files_of_others_are_passed_over,
        folder_that_is_away_takes_nothing_with_it,
        edit_is_checked_before_it_is_written,
    ];
    for case in cases {
        case(&Folder::new(samples));
    }
}

/// A folder of files of the kind.
struct Folder<'a, M> {
    dir: TempDir,
    samples: &'a Samples<'a>,
    live: Live<M>,
}

/// What serves, by file.
type Live<M> = Arc<Mutex<BTreeMap<String, Arc<M>>>>;

impl<'a, M: Manifest> Folder<'a, M> {
    fn new(samples: &'a Samples<'a>) -> Self {
        let folder = Folder {
            dir: tempfile::tempdir().unwrap(),
            samples,
            live: Arc::default(),
        };
        fs::create_dir(folder.path()).unwrap();
        folder
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("files")
    }

    /// As at a start of the host.
    fn load(&self) -> ManifestSet<M> {
        let kept = self.dir.path().join("kept.json");
        self.live.lock().clear();
        let live = self.live.clone();
        let serve = move |now| *live.lock() = now;
        let metrics = ManifestMetrics::default();
        let no_more = |_: &str, _: &M| Some(Vec::new());
        ManifestSet::load(self.path(), Some(kept), MOST, metrics, no_more, serve)
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.path().join(file), text).unwrap();
    }

    fn remove(&self, file: &str) {
        fs::remove_file(self.path().join(file)).unwrap();
    }

    /// The text of what `file` serves.
    fn serves(&self, file: &str) -> Option<String> {
        let live = self.live.lock();
        live.get(file).map(|manifest| manifest.text().to_owned())
    }

    fn is_good(&self, file: &str, nth: usize) {
        assert_eq!(self.serves(file).as_deref(), Some(self.samples.good[nth]));
    }
}

fn status<M: Manifest>(set: &ManifestSet<M>, file: &str) -> FileStatus<M> {
    let mut files = set.status().into_iter();
    files.find(|status| status.file == file).unwrap()
}

fn bad_edit_keeps_the_last_good_and_says_where<M: Manifest>(folder: &Folder<'_, M>) {
    let [first, second] = folder.samples.good;
    folder.write("a.yaml", first);
    folder.write("b.yml", second);
    let set = folder.load();
    folder.write("a.yaml", folder.samples.bad);
    set.reload();
    folder.is_good("a.yaml", 0);
    let bad = status(&set, "a.yaml");
    let fault = bad.faults.first().unwrap();
    assert_eq!((fault.line, fault.column), folder.samples.place);
    assert!(!fault.reason.is_empty() && bad.live.is_some());
    assert!(status(&set, "b.yml").faults.is_empty());
    assert!(set.outcome().unwrap().contains("1 file refused"));

    folder.remove("b.yml");
    folder.write("a.yaml", second);
    set.reload();
    folder.is_good("a.yaml", 1);
    assert!(status(&set, "a.yaml").faults.is_empty());
}

fn empty_file_is_an_unfinished_one<M: Manifest>(folder: &Folder<'_, M>) {
    folder.write("a.yaml", folder.samples.good[0]);
    let set = folder.load();
    folder.write("a.yaml", "");
    set.reload();
    folder.is_good("a.yaml", 0);
    assert!(!status(&set, "a.yaml").faults.is_empty());
}

fn deleted_file_goes<M: Manifest>(folder: &Folder<'_, M>) {
    folder.write("a.yaml", folder.samples.good[0]);
    folder.write("b.yaml", folder.samples.good[1]);
    let set = folder.load();
    folder.remove("a.yaml");
    set.reload();
    assert_eq!(folder.serves("a.yaml"), None);
    folder.is_good("b.yaml", 1);
    assert_eq!(set.status().len(), 1);
}

fn restart_with_a_bad_file_serves_the_last_good<M: Manifest>(folder: &Folder<'_, M>) {
    folder.write("a.yaml", folder.samples.good[0]);
    folder.write("b.yaml", folder.samples.good[1]);
    drop(folder.load());
    folder.write("a.yaml", folder.samples.bad);
    // And after the next.
    for _ in 0..2 {
        let set = folder.load();
        folder.is_good("a.yaml", 0);
        assert!(!status(&set, "a.yaml").faults.is_empty());
    }
    // But not what was removed meanwhile.
    folder.remove("a.yaml");
    drop(folder.load());
    folder.write("a.yaml", folder.samples.bad);
    let set = folder.load();
    assert_eq!(folder.serves("a.yaml"), None);
    assert!(status(&set, "a.yaml").live.is_none());
}

fn files_of_others_are_passed_over<M: Manifest>(folder: &Folder<'_, M>) {
    folder.write("a.yaml", folder.samples.good[0]);
    for file in ["a.wasm", "notes.txt", ".b.yaml", "c.yaml.part"] {
        folder.write(file, folder.samples.good[1]);
    }
    fs::create_dir(folder.path().join("more")).unwrap();
    let set = folder.load();
    folder.is_good("a.yaml", 0);
    assert_eq!(set.status().len(), 1);
    assert_eq!(set.saved().0.len(), 1);
}

fn folder_that_is_away_takes_nothing_with_it<M: Manifest>(folder: &Folder<'_, M>) {
    folder.write("a.yaml", folder.samples.good[0]);
    let set = folder.load();
    let away = folder.dir.path().join("away");
    fs::rename(folder.path(), &away).unwrap();
    set.reload();
    folder.is_good("a.yaml", 0);
    assert!(set.folder_fault().is_some() && set.outcome().is_err());
    // Nor over a restart.
    let set = folder.load();
    folder.is_good("a.yaml", 0);
    assert!(!set.was_read());
    fs::rename(&away, folder.path()).unwrap();
    set.reload();
    assert!(set.was_read() && set.folder_fault().is_none());
}

fn edit_is_checked_before_it_is_written<M: Manifest>(folder: &Folder<'_, M>) {
    let [first, second] = folder.samples.good;
    let set = folder.load();
    let (status, new) = set.put("a", first).unwrap();
    assert_eq!((status.file.as_str(), new), ("a.yaml", true));
    assert!(status.faults.is_empty() && status.live.is_some());
    folder.is_good("a.yaml", 0);
    let refused = set.put("a", folder.samples.bad).map(drop);
    assert!(
        matches!(&refused, Err(EditError::Refused(faults)) if !faults.is_empty()),
        "{refused:?}"
    );
    for name in ["", "../a", ".a", "a/b", "-a"] {
        let refused = set.put(name, second).map(drop);
        assert!(matches!(refused, Err(EditError::Name(_))), "{refused:?}");
    }
    folder.is_good("a.yaml", 0);
    assert_eq!(set.get("a").unwrap().1, first);
    assert!(!set.put("a", second).unwrap().1);
    folder.is_good("a.yaml", 1);
    assert_eq!(set.remove("a").unwrap(), None);
    assert!(folder.serves("a.yaml").is_none() && !folder.path().join("a.yaml").exists());
    assert!(matches!(set.remove("a"), Err(EditError::Unknown(_))));
}
