//! What is in the folder, what of it is read, and what serves where it cannot be.

use super::*;
use crate::files::name_of;

#[test]
fn manifest_is_accepted_with_any_extension_spelling_and_a_byte_order_mark() {
    let fixture = Fixture::open(&[
        ("a.YAML", &manifest("a")),
        ("b.Yml", &manifest("b")),
        ("c.yaml", &format!("\u{feff}{}", manifest("c"))),
        ("d.yaml", &format!("\u{feff}{}nonsense: 1\n", manifest("d"))),
        ("e.yaml", "\u{feff}"),
    ]);
    for (name, file) in [("a", "a.YAML"), ("b", "b.Yml"), ("c", "c.yaml")] {
        assert_eq!(fixture.serves(name).as_deref(), Some(file));
    }
    let fault = fixture.fault("d.yaml").unwrap();
    assert!(fault.starts_with("line 3, column 1: "), "{fault}");
    assert!(fixture.fault("e.yaml").unwrap().contains("empty"));
    let utf16: Vec<u8> = manifest("f")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    fs::write(
        fixture.dir.path().join("f.yaml"),
        [&[0xff, 0xfe][..], &utf16].concat(),
    )
    .unwrap();
    fixture.set.reload();
    assert!(fixture.fault("f.yaml").unwrap().contains("UTF-16"));
}

#[test]
fn manifest_is_read_again_though_size_and_mtime_are_unchanged() {
    let fixture = Fixture::open(&[("a.yaml", &manifest("a"))]);
    let path = fixture.dir.path().join("a.yaml");
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    for name in ["b", "c"] {
        fs::write(&path, manifest(name)).unwrap();
        let file = fs::File::options().append(true).open(&path).unwrap();
        file.set_modified(long_ago).unwrap();
        fixture.set.reload();
        assert_eq!(fixture.serves(name).as_deref(), Some("a.yaml"));
    }
}

#[test]
fn manifest_like_entries_that_make_nothing_are_reported() {
    use std::os::unix::ffi::OsStrExt;
    let fixture = Fixture::open(&[("b.yaml", &manifest("b"))]);
    let dir = fixture.dir.path();
    for (below, file) in [
        ("team/more", "a.yaml"),
        ("empty", "notes.txt"),
        (".git", "a.yaml"),
    ] {
        fs::create_dir_all(dir.join(below)).unwrap();
        fs::write(dir.join(below).join(file), manifest("a")).unwrap();
    }
    let odd = dir.join(std::ffi::OsStr::from_bytes(b"o\xffdd.yaml"));
    fs::write(odd, manifest("odd")).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.join("link.yaml")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, dir.join("pipe.yaml"), 0o600.into()).unwrap();
    fixture.set.reload();
    let status = fixture.set.status();
    let files: Vec<&str> = status.iter().map(|status| status.file.as_str()).collect();
    assert_eq!(
        files,
        ["b.yaml", "link.yaml", r"o\xFFdd.yaml", "pipe.yaml", "team"]
    );
    assert!(fixture.fault("team").unwrap().contains("more/a.yaml"));
    assert!(
        fixture
            .fault(r"o\xFFdd.yaml")
            .unwrap()
            .contains("not UTF-8")
    );
    assert!(
        fixture
            .fault("link.yaml")
            .unwrap()
            .contains("leads nowhere")
    );
    assert!(fixture.fault("pipe.yaml").unwrap().contains("regular"));
    assert!(fixture.serves("b").is_some() && fixture.serves("a").is_none());
}

#[test]
fn dangling_link_keeps_its_last_good_manifest() {
    let fixture = Fixture::open(&[(".target", &manifest("a"))]);
    let (dir, away) = (fixture.dir.path(), fixture.dir.path().join(".away"));
    std::os::unix::fs::symlink(".target", dir.join("a.yaml")).unwrap();
    fixture.set.reload();
    assert!(fixture.serves("a").is_some());
    fs::rename(dir.join(".target"), &away).unwrap();
    fixture.set.reload();
    assert!(fixture.serves("a").is_some() && fixture.fault("a.yaml").is_some());
    fixture.remove("a.yaml");
    assert!(fixture.serves("a").is_none());
}

/// A manifest for each number, in files that come in this order.
fn numbered(numbers: std::ops::Range<usize>) -> Vec<(String, String)> {
    let file = |n| (format!("r{n:02}.yaml"), manifest(&format!("/r{n:02}")));
    numbers.map(file).collect()
}

#[test]
fn files_beyond_the_limit_are_rejected_one_by_one_and_the_others_followed() {
    let files = numbered(0..MOST);
    let files: Vec<(&str, &str)> = files.iter().map(|(f, t)| (&**f, &**t)).collect();
    let fixture = Fixture::open(&files);
    // The first by name of all, and still it takes no other's place.
    fixture.write("a.yaml", &manifest("a"));
    let fault = fixture.fault("a.yaml").unwrap();
    assert!(
        fault.contains(&format!("more than {MOST} manifests")),
        "{fault}"
    );
    assert!(fixture.serves("a").is_none() && fixture.set.folder_fault().is_none());
    fixture.write("r05.yaml", &manifest("edited"));
    assert!(fixture.serves("edited").is_some() && fixture.serves("r05").is_none());

    // Nor does one by the admin API, which writes nothing.
    for name in ["new", "a"] {
        let before = fs::read_to_string(fixture.dir.path().join(format!("{name}.yaml"))).ok();
        let refused = fixture.set.put(name, &manifest("n"));
        assert!(matches!(refused, Err(EditError::Full(MOST))), "{refused:?}");
        let after = fs::read_to_string(fixture.dir.path().join(format!("{name}.yaml"))).ok();
        assert_eq!(before, after);
    }
    fixture.set.put("r05", &manifest("again")).unwrap();
    fixture.remove("r00.yaml");
    assert!(fixture.serves("a").is_some() && fixture.fault("a.yaml").is_none());
}

#[test]
fn files_that_served_before_a_restart_take_precedence_at_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let (samples, kept) = (dir.path().join("samples"), dir.path().join("kept.json"));
    fs::create_dir(&samples).unwrap();
    let load = || Set::load(&samples, Some(kept.clone()), MOST);
    for (file, text) in numbered(0..MOST) {
        fs::write(samples.join(file), text).unwrap();
    }
    drop(load());
    fs::write(samples.join("a.yaml"), manifest("a")).unwrap();
    let set = load();
    for (_, text) in numbered(0..MOST) {
        let name = text.lines().next().unwrap().trim_start_matches("name: ");
        assert!(set.serves(name).is_some(), "{name}");
    }
    assert!(set.serves("a").is_none());
}

#[test]
fn unreadable_folder_at_startup_serves_the_manifests_of_the_last_run() {
    let dir = tempfile::tempdir().unwrap();
    let (samples, kept) = (dir.path().join("samples"), dir.path().join("kept.json"));
    let (away, loop_) = (dir.path().join("away"), dir.path().join("loop"));
    fs::create_dir(&samples).unwrap();
    for (file, path) in [("a.yaml", "a"), ("b.yaml", "b")] {
        fs::write(samples.join(file), manifest(path)).unwrap();
    }
    let load = || Set::load(&samples, Some(kept.clone()), MOST);
    assert!(load().was_read());
    // A volume that is away: not there, and not to be reached, which nobody can read as root
    // either.
    fs::rename(&samples, &away).unwrap();
    for hidden in [false, true] {
        if hidden {
            std::os::unix::fs::symlink(&loop_, &samples).unwrap();
            std::os::unix::fs::symlink(&loop_, &loop_).unwrap();
        }
        // Twice: the first start must not have forgotten them.
        for _ in 0..2 {
            let set = load();
            let serves = |name| set.serves(name).is_some();
            assert!(serves("a") && serves("b"), "hidden: {hidden}");
            assert!(!set.was_read() && set.folder_fault().is_some());
            set.reload();
            assert!(serves("a") && !set.was_read());
            let refused = set.put("n", &manifest("n"));
            assert!(
                matches!(refused, Err(EditError::Unreadable(_))),
                "{refused:?}"
            );
        }
    }
    let set = load();
    fs::remove_file(&samples).unwrap();
    fs::rename(&away, &samples).unwrap();
    fs::remove_file(samples.join("b.yaml")).unwrap();
    fs::write(samples.join("a.yaml"), "name: c").unwrap();
    set.reload();
    let serves = |name| set.serves(name).is_some();
    assert!(set.was_read() && set.folder_fault().is_none());
    assert!(serves("a") && !serves("b"), "a.yaml is bad, b.yaml is gone");
}

/// A folder of samples with a place for their last good texts, where another folder can be mounted.
struct Volume {
    dir: tempfile::TempDir,
}

impl Volume {
    fn new(files: &[&str]) -> Volume {
        let dir = tempfile::tempdir().unwrap();
        let volume = Volume { dir };
        fs::create_dir(volume.samples()).unwrap();
        for file in files {
            let text = manifest(name_of(file));
            fs::write(volume.samples().join(file), text).unwrap();
        }
        volume
    }

    fn samples(&self) -> std::path::PathBuf {
        self.dir.path().join("samples")
    }

    /// Leaves an empty folder in its place.
    fn unmount(&self) {
        fs::rename(self.samples(), self.dir.path().join("away")).unwrap();
        fs::create_dir(self.samples()).unwrap();
    }

    fn mount(&self) {
        fs::remove_dir_all(self.samples()).unwrap();
        fs::rename(self.dir.path().join("away"), self.samples()).unwrap();
    }

    fn load(&self) -> Set {
        let kept = self.dir.path().join("kept.json");
        Set::load(&self.samples(), Some(kept), MOST)
    }
}

fn serves(set: &Set, name: &str) -> bool {
    set.serves(name).is_some()
}

#[test]
fn empty_folder_at_startup_removes_nothing_until_confirmed() {
    let volume = Volume::new(&["a.yaml", "b.yaml"]);
    assert!(volume.load().was_read());
    volume.unmount();
    // Twice: the first start must not have forgotten them.
    for _ in 0..2 {
        let set = volume.load();
        set.reload();
        assert!(serves(&set, "a") && serves(&set, "b") && !set.was_read());
        assert!(set.outcome().unwrap_err().contains("SIGHUP"));
        let put = set.put("n", &manifest("n"));
        assert!(matches!(put, Err(EditError::Unreadable(_))), "{put:?}");
    }
    let set = volume.load();
    volume.mount();
    set.reload();
    assert!(set.was_read() && set.folder_fault().is_none() && serves(&set, "b"));

    // What is removed meanwhile stays so: before the volume is back, over a restart, and after it.
    volume.unmount();
    let set = volume.load();
    assert!(set.remove("a").unwrap().is_some());
    assert!(!serves(&set, "a") && serves(&set, "b") && !set.was_read());
    assert!(!serves(&volume.load(), "a"));
    volume.mount();
    set.reload();
    assert!(!serves(&set, "a") && serves(&set, "b") && set.was_read());
    assert!(!volume.samples().join("a.yaml").exists());

    // Confirmed by an operator, be it as a whole or one by one.
    volume.unmount();
    let set = volume.load();
    set.reload_as_it_is();
    assert!(set.was_read() && !serves(&set, "b") && set.outcome().is_ok());
    volume.mount();
    assert!(serves(&volume.load(), "b"));
    volume.unmount();
    let set = volume.load();
    set.remove("b").unwrap();
    set.reload();
    assert!(set.was_read() && set.status().is_empty());
    volume.mount();
    set.reload();
    assert!(!serves(&set, "b") && !volume.samples().join("b.yaml").exists());
}

#[test]
fn empty_folder_that_never_had_a_manifest_is_read() {
    assert!(Volume::new(&[]).load().was_read());
}

#[test]
fn unmount_removes_nothing_and_the_last_manifest_can_be_deleted() {
    let volume = Volume::new(&["a.yaml", "b.yaml"]);
    let set = volume.load();
    volume.unmount();
    set.reload();
    assert!(serves(&set, "a") && set.folder_fault().is_some() && set.was_read());
    assert!(set.remove("a").unwrap().is_some());
    set.reload();
    volume.mount();
    set.reload();
    assert!(!serves(&set, "a") && serves(&set, "b") && set.folder_fault().is_none());
    assert!(!volume.samples().join("a.yaml").exists());
    // The same folder without its files is what somebody made of it.
    fs::remove_file(volume.samples().join("b.yaml")).unwrap();
    set.reload();
    assert!(!serves(&set, "b") && set.folder_fault().is_none());
    assert!(volume.load().was_read());
}

#[test]
fn removed_manifest_serves_when_written_anew() {
    let volume = Volume::new(&["a.yaml"]);
    let set = volume.load();
    volume.unmount();
    set.reload();
    set.remove("a").unwrap();
    set.reload();
    assert!(set.status().is_empty());
    fs::write(volume.samples().join("a.yaml"), manifest("a")).unwrap();
    set.reload();
    assert!(serves(&set, "a") && volume.samples().join("a.yaml").exists());
    // Nor is one removed that is too large to be read.
    let withdraw = || set.withdraw(&mut set.files(), "a.yaml", "the disk fails");
    withdraw();
    fs::write(volume.samples().join("a.yaml"), "#".repeat(70_000)).unwrap();
    set.reload();
    set.reload();
    assert!(!serves(&set, "a") && volume.samples().join("a.yaml").exists());
}

#[test]
fn backup_takes_the_last_good_text_where_the_current_one_is_missing() {
    let volume = Volume::new(&["a.yaml", "b.yaml", "c.yaml"]);
    let set = volume.load();
    let write = |file: &str, text: &str| fs::write(volume.samples().join(file), text).unwrap();
    fs::remove_file(volume.samples().join("a.yaml")).unwrap();
    std::os::unix::fs::symlink("nowhere", volume.samples().join("a.yaml")).unwrap();
    write("b.yaml", "name: bad");
    write("large.yaml", &"#".repeat(70_000));
    fs::create_dir(volume.samples().join("team")).unwrap();
    write("team/t.yaml", "");
    set.reload();
    for set in [&set, &volume.load()] {
        let (saved, more) = set.saved();
        let text = |file: &str| saved[file].as_deref().unwrap().to_owned();
        assert_eq!(text("a.yaml"), manifest("a"));
        assert_eq!(text("b.yaml"), "name: bad");
        assert!(saved["large.yaml"].as_ref().unwrap_err().contains("larger"));
        assert_eq!((saved.len(), more), (4, 0));
    }
}

#[test]
fn manifest_removed_while_the_folder_is_away_stops_serving() {
    let fixture = Fixture::open(&[("a.yaml", &manifest("a")), ("b.yaml", &manifest("b"))]);
    let away = fixture.dir.path().with_extension("away");
    fs::rename(fixture.dir.path(), &away).unwrap();
    assert!(
        fixture.set.remove("a").unwrap().is_some(),
        "it is said that the file may be there"
    );
    assert!(fixture.serves("a").is_none() && fixture.serves("b").is_some());
    fs::rename(&away, fixture.dir.path()).unwrap();
    fixture.set.reload();
    assert!(fixture.serves("a").is_none() && !fixture.dir.path().join("a.yaml").exists());
}

#[test]
fn ten_thousand_conflicting_files_are_decided_quickly() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..10_000 {
        fs::write(dir.path().join(format!("{n:05}.yaml")), manifest("a")).unwrap();
    }
    let started = Instant::now();
    let set = Set::load(dir.path(), None, 10_000);
    assert_eq!(set.serves("a").as_deref(), Some("00000.yaml"));
    assert_eq!(
        set.status().iter().filter(|s| !s.faults.is_empty()).count(),
        9_999
    );
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "{:?}",
        started.elapsed()
    );
}
