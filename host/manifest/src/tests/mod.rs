mod folder;

use super::conformance::{self, Samples};
use super::sample::Sample;
use super::*;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Manifests that are followed, so few that tests reach it.
const MOST: usize = 12;

fn manifest(name: &str) -> String {
    format!("name: {name}\nsize: 1KiB\n")
}

/// A set, and what of it serves.
struct Set {
    set: Arc<ManifestSet<Sample>>,
    live: Arc<Mutex<BTreeMap<String, Arc<Sample>>>>,
}

impl Set {
    fn load(dir: &Path, kept: Option<PathBuf>, most: usize) -> Set {
        let live = Arc::<Mutex<BTreeMap<_, _>>>::default();
        let serving = live.clone();
        let serve = move |now| *serving.lock() = now;
        let metrics = ManifestMetrics::default();
        let no_more = |_: &str, _: &Sample| Some(Vec::new());
        let set = ManifestSet::load(dir, kept, most, metrics, no_more, serve);
        let set = Arc::new(set);
        Set { set, live }
    }

    /// The file that serves the sample called `name`.
    fn serves(&self, name: &str) -> Option<String> {
        let live = self.live.lock();
        let mut found = live.iter().filter(|(_, sample)| sample.name == name);
        let file = found.next().map(|(file, _)| file.clone());
        assert!(found.next().is_none(), "two files serve {name}");
        file
    }

    fn fault(&self, file: &str) -> Option<String> {
        let mut files = self.set.status().into_iter();
        let status = files.find(|status| status.file == file).unwrap();
        let said: Vec<String> = status.faults.iter().map(ToString::to_string).collect();
        (!said.is_empty()).then(|| said.join("\n"))
    }
}

impl Deref for Set {
    type Target = Arc<ManifestSet<Sample>>;

    fn deref(&self) -> &Self::Target {
        &self.set
    }
}

/// A folder and its set, reloaded by hand.
struct Fixture {
    dir: tempfile::TempDir,
    set: Set,
}

impl Fixture {
    fn open(files: &[(&str, &str)]) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in files {
            fs::write(dir.path().join(file), text).unwrap();
        }
        let set = Set::load(dir.path(), None, MOST);
        Fixture { dir, set }
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.dir.path().join(file), text).unwrap();
        self.set.reload();
    }

    fn remove(&self, file: &str) {
        fs::remove_file(self.dir.path().join(file)).unwrap();
        self.set.reload();
    }

    fn serves(&self, name: &str) -> Option<String> {
        self.set.serves(name)
    }

    fn fault(&self, file: &str) -> Option<String> {
        self.set.fault(file)
    }
}

#[test]
fn sample_conforms() {
    conformance::run::<Sample>(&Samples {
        good: ["name: a\nsize: 1KiB\n", "name: b\nsize: 2KiB # more\n"],
        bad: "name: a\nsize: much\n",
        place: (2, 7),
    });
}

#[test]
fn conflict_names_both_files_and_the_live_manifest_stays() {
    let fixture = Fixture::open(&[("m.yaml", &manifest("x"))]);
    fixture.write("a.yaml", "size: 1KiB\nname: x\n");
    assert_eq!(fixture.serves("x").as_deref(), Some("m.yaml"));
    assert_eq!(
        fixture.fault("a.yaml").unwrap(),
        "line 2, column 1: x is claimed by m.yaml and a.yaml: m.yaml keeps it; choose another for \
         one of them"
    );
    let put = fixture.set.put("b", &manifest("x"));
    assert!(matches!(put, Err(EditError::Claimed(_))), "{put:?}");
    let tried = fixture.set.try_put("b", &manifest("x"));
    assert!(matches!(tried, Err(EditError::Claimed(_))), "{tried:?}");
    fixture.remove("m.yaml");
    assert_eq!(fixture.serves("x").as_deref(), Some("a.yaml"));
    assert_eq!(fixture.fault("a.yaml"), None);
}

#[test]
fn manifest_that_is_tried_is_checked_and_not_written() {
    let fixture = Fixture::open(&[("m.yaml", &manifest("x"))]);
    fixture.set.try_put("m", &manifest("y")).unwrap();
    fixture.set.try_put("new", &manifest("z")).unwrap();
    let refused = fixture.set.try_put("m", "name: x\nsize: much\n");
    let Err(EditError::Refused(faults)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((faults[0].line, faults[0].column), (2, 7));
    let name = fixture.set.try_put("../m", &manifest("x"));
    assert!(matches!(name, Err(EditError::Name(_))), "{name:?}");
    assert_eq!(fixture.serves("x").as_deref(), Some("m.yaml"));
    assert_eq!(fixture.serves("z"), None);
    assert!(!fixture.dir.path().join("new.yaml").exists());
}

#[test]
fn manifest_that_falls_back_takes_what_it_had_from_a_newcomer() {
    let fixture = Fixture::open(&[("a.yaml", &manifest("a")), ("b.yaml", &manifest("b"))]);
    // a.yaml wants what b.yaml has, and c.yaml wants what a.yaml had.
    fs::write(fixture.dir.path().join("a.yaml"), manifest("b")).unwrap();
    fixture.write("c.yaml", &manifest("a"));
    assert_eq!(fixture.serves("a").as_deref(), Some("a.yaml"));
    assert_eq!(fixture.serves("b").as_deref(), Some("b.yaml"));
    assert!(fixture.fault("a.yaml").is_some() && fixture.fault("c.yaml").is_some());
}

/// A set of `dir` whose files are refused by their check while `refuses` says so of them.
fn checked(
    dir: &Path,
    refuses: impl Fn(&str) -> bool + Send + Sync + 'static,
) -> ManifestSet<Sample> {
    answered(dir, move |file| Some(refuses(file)))
}

/// The same, where the check may not be able to say.
fn answered(
    dir: &Path,
    refuses: impl Fn(&str) -> Option<bool> + Send + Sync + 'static,
) -> ManifestSet<Sample> {
    let check = move |file: &str, _: &Sample| {
        Some(match refuses(file)? {
            true => vec![Fault::whole("it is not to be here")],
            false => Vec::new(),
        })
    };
    let metrics = ManifestMetrics::default();
    ManifestSet::load(dir, None, MOST, metrics, check, |_| {})
}

#[test]
fn file_that_the_check_alone_refuses_is_checked_with_each_look() {
    let dir = tempfile::tempdir().unwrap();
    for (file, text) in [("a.yaml", manifest("a")), ("b.yaml", "nonsense".to_owned())] {
        fs::write(dir.path().join(file), text).unwrap();
    }
    let refuses = Arc::new(Mutex::new(true));
    let now = refuses.clone();
    let set = checked(dir.path(), move |_| *now.lock());
    let states = |set: &ManifestSet<Sample>| {
        let live = |status: FileStatus<Sample>| status.live.is_some() && status.faults.is_empty();
        set.status().into_iter().map(live).collect::<Vec<_>>()
    };
    set.reload();
    assert_eq!(states(&set), [false, false]);
    *refuses.lock() = false;
    set.reload();
    assert_eq!(states(&set), [true, false]);
}

#[test]
fn refused_file_stays_refused_while_its_check_cannot_say() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yaml"), manifest("a")).unwrap();
    let says = Arc::new(Mutex::new(Some(true)));
    let now = says.clone();
    let set = answered(dir.path(), move |_| *now.lock());
    for (said, is_live) in [
        (Some(true), false),
        (None, false),
        (Some(false), true),
        (None, true),
    ] {
        *says.lock() = said;
        set.reload();
        let status = set.status().remove(0);
        assert_eq!(status.live.is_some(), is_live, "{said:?}");
        assert_eq!(status.faults.is_empty(), is_live, "{said:?}");
    }
}

#[test]
fn change_of_a_file_beside_is_checked_as_the_file_that_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let [main, beside] = ["main", "beside"].map(|name| dir.path().join(name));
    for folder in [&main, &beside] {
        fs::create_dir(folder).unwrap();
    }
    fs::write(beside.join("a.yml"), manifest("a")).unwrap();
    let bad = Arc::new(Mutex::new(String::new()));
    let now = bad.clone();
    let set = checked(&main, move |file| file == *now.lock());
    set.follow_also(vec![beside.clone()]);
    let file = fs::canonicalize(beside.join("a.yml")).unwrap();
    *bad.lock() = file.to_str().unwrap().to_owned();
    let put = set.put("a", &manifest("other"));
    assert!(matches!(put, Err(EditError::Refused(_))), "{put:?}");
    *bad.lock() = "a.yaml".to_owned();
    assert!(set.put("a", &manifest("other")).is_ok());
    // One that is there only since the last look.
    fs::write(beside.join("b.yaml"), manifest("b")).unwrap();
    let file = fs::canonicalize(beside.join("b.yaml")).unwrap();
    *bad.lock() = file.to_str().unwrap().to_owned();
    let put = set.put("b", &manifest("another"));
    assert!(matches!(put, Err(EditError::Refused(_))), "{put:?}");
}

#[test]
fn messages_call_the_kind_by_its_words() {
    let said = |error: EditError| error.said(&Sample::WORDS);
    for (error, expected) in [
        (
            EditError::Name("/".into()),
            "'/' is not a valid name for a sample: use letters,",
        ),
        (EditError::Unknown("a".into()), "there is no sample 'a'"),
        (
            EditError::Unreadable("gone".into()),
            "the samples folder cannot be read (gone): nothing was written, and the samples stay",
        ),
        (
            EditError::Unanswered,
            "the disk of the samples folder does not answer: the change is made once it does, or \
             not at all; GET /samples says which",
        ),
    ] {
        let said = said(error);
        assert!(said.starts_with(expected), "{said}");
    }
    let fixture = Fixture::open(&[("a.yaml", "nonsense")]);
    assert!(fixture.set.outcome().unwrap().contains("`hms samples`"));
}

#[test]
fn last_good_texts_are_kept_under_the_word_of_the_kind() {
    let dir = tempfile::tempdir().unwrap();
    let (samples, kept) = (dir.path().join("samples"), dir.path().join("kept.json"));
    fs::create_dir(&samples).unwrap();
    fs::write(samples.join("a.yaml"), manifest("a")).unwrap();
    drop(Set::load(&samples, Some(kept.clone()), MOST));
    let folder = fs::canonicalize(&samples).unwrap();
    assert_eq!(
        fs::read_to_string(&kept).unwrap(),
        format!(
            "{{\n  \"folder\": \"{}\",\n  \"named\": \"{}\",\n  \"samples\": {{\n    \"a.yaml\": \
             \"name: a\\nsize: 1KiB\\n\"\n  }}\n}}",
            folder.display(),
            samples.display(),
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_file_is_live_within_a_second() {
    let fixture = Fixture::open(&[("a.yaml", &manifest("a"))]);
    fixture.set.watch();
    for round in 0..3 {
        let name = format!("round-{round}");
        let draft = fixture.dir.path().join(".a.yaml.swp");
        fs::write(&draft, manifest(&name)).unwrap();
        fs::rename(&draft, fixture.dir.path().join("a.yaml")).unwrap();
        let changed = Instant::now();
        while fixture.serves(&name).is_none() {
            assert!(changed.elapsed() < Duration::from_secs(1), "round {round}");
            tokio::task::yield_now().await;
        }
    }
}

#[test]
fn folder_status_does_not_wait_for_a_scan() {
    let fixture = Fixture::open(&[("a.yaml", &manifest("a"))]);
    // As while a look waits for the disk.
    let _looking = fixture.set.files();
    assert_eq!(fixture.set.status().len(), 1);
    assert_eq!(fixture.set.folder_fault(), None);
    assert_eq!(fixture.set.get("a").unwrap().1, manifest("a"));
    assert_eq!(fixture.set.saved().0.len(), 1);
}

#[test]
fn change_waits_a_bounded_time_for_a_scan() {
    let dir = tempfile::tempdir().unwrap();
    let set = Set::load(dir.path(), None, MOST).set;
    let mut set = Arc::into_inner(set).unwrap();
    set.look_time = Duration::from_millis(50);
    let looking = set.files();
    let put = set.put("a", &manifest("a"));
    assert!(matches!(put, Err(EditError::Busy(_))), "{put:?}");
    let removed = set.remove("a");
    assert!(matches!(removed, Err(EditError::Busy(_))), "{removed:?}");
    drop(looking);
    assert!(set.put("a", &manifest("a")).unwrap().1);
}

#[test]
fn removed_manifest_serves_no_more_though_its_file_is_still_there() {
    let fixture = Fixture::open(&[("a.yaml", &manifest("a")), ("b.yaml", &manifest("b"))]);
    // As where the disk does not let the file be removed.
    let withdraw = || {
        fixture
            .set
            .withdraw(&mut fixture.set.files(), "a.yaml", "the disk fails")
    };
    let file = fixture.dir.path().join("a.yaml");
    withdraw();
    assert!(fixture.serves("a").is_none() && fixture.serves("b").is_some());
    assert!(fixture.fault("a.yaml").unwrap().contains("the disk fails"));
    // Its name is free for another.
    fixture.write("b.yaml", &manifest("a"));
    assert_eq!(fixture.serves("a").as_deref(), Some("b.yaml"));
    assert!(!file.exists(), "it is tried again with the next look");
    fixture.write("b.yaml", &manifest("b"));
    assert_eq!(fixture.set.status().len(), 1);

    // Somebody who changes the file wants it, and so does who puts the same text there once more.
    fixture.write("a.yaml", &manifest("a"));
    withdraw();
    fixture.write("a.yaml", &manifest("changed"));
    assert!(fixture.serves("changed").is_some() && file.exists());
    withdraw();
    fixture.set.put("a", &manifest("changed")).unwrap();
    assert!(fixture.serves("changed").is_some() && file.exists());
    assert_eq!(fixture.set.remove("a").unwrap(), None);
    assert!(fixture.serves("changed").is_none() && !file.exists());
}
