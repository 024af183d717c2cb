//! A backup is taken as it was written, and in no other form: each kind of damage, and each name
//! that leads elsewhere.

mod place;
mod unreadable;

use super::restore::{Restore, Restored};
use super::save::Save;
use super::source::{Source, Verify, Whole};
use super::stream::{read_stream, write_note};
use super::{FORMAT, FileEntry, Head, Manifest, Member, Missing, manifest::hex, sum_of};
use hms_disk::data::{DataFolder, LOCK, RESTORING};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Cursor;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};
use time::OffsetDateTime;

const ROUTE: &str = "uri: /a/**\nupstream: http://hms-svc-a\n";

/// A backup as a host would write it.
struct Sample {
    manifest: Manifest,
    files: Vec<(String, Vec<u8>)>,
}

impl Sample {
    fn new() -> Self {
        let moment = OffsetDateTime::UNIX_EPOCH;
        let head = Head {
            format: FORMAT,
            hms: "0.1.0".into(),
            begun: moment,
        };
        let artifact = format!("artifacts/{}.wasm", hex(&Sha256::digest(b"component")));
        let kept = format!(r#"{{"folder":"/old/routes","routes":{{"a.yaml":{ROUTE:?}}}}}"#);
        let kept_grants = r#"{"folder":"/old/windows","grants":{"a.yaml":"internal: true"}}"#;
        let files: Vec<(String, Vec<u8>)> = [
            ("backup.json", serde_json::to_vec(&head).unwrap()),
            ("windows/a/store.redb", vec![7; 300_000]),
            ("windows/b-2/store.redb", Vec::new()),
            ("host.redb", vec![1; 2_000]),
            (artifact.as_str(), b"component".to_vec()),
            ("idempotency.redb", vec![2; 5_000]),
            ("events.redb", vec![3; 1_000]),
            ("keys.json", b"{\"keys\":[]}".to_vec()),
            ("routes.json", kept.into_bytes()),
            ("grants.json", kept_grants.into()),
            ("grants/a.yaml", b"internal: true\n".to_vec()),
            ("routes/a.yaml", ROUTE.into()),
            ("routes/team/b.yaml", b"uri: /b\n".to_vec()),
            ("admin.token", vec![b't'; 43]),
        ]
        .map(|(path, bytes)| (path.to_owned(), bytes))
        .into();
        let manifest = Manifest {
            head,
            ended: moment,
            complete: true,
            secrets: true,
            files: Vec::new(),
            missing: Vec::new(),
            removed: Vec::new(),
        };
        Sample { manifest, files }.with_entries()
    }

    /// Every file, with the manifest and its hash.
    fn all(&self) -> Vec<(String, Vec<u8>)> {
        let json = self.manifest.to_json();
        let sum = sum_of(&json).into_bytes();
        let mut all = self.files.clone();
        all.push(("manifest.json".into(), json));
        all.push(("manifest.json.sha256".into(), sum));
        all
    }

    /// With a manifest of the files as they are now.
    fn with_entries(mut self) -> Self {
        let entry = |(path, bytes): &(String, Vec<u8>)| FileEntry {
            path: path.clone(),
            bytes: bytes.len() as u64,
            sha256: hex(&Sha256::digest(bytes)),
            taken: OffsetDateTime::UNIX_EPOCH,
        };
        self.manifest.files = self.files.iter().map(entry).collect();
        self
    }

    fn tar(&self) -> Vec<u8> {
        tar_of(&self.all())
    }

    fn folder(&self, root: &Path) -> PathBuf {
        let folder = root.join("backup");
        for (path, bytes) in self.all() {
            let place = folder.join(path);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, bytes).unwrap();
        }
        folder
    }
}

fn tar_of(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (path, bytes) in files {
        append(&mut tar, path.as_bytes(), EntryType::Regular, bytes);
    }
    tar.into_inner().unwrap()
}

/// An entry under a name that the library itself would refuse to write.
fn append(tar: &mut Builder<Vec<u8>>, path: &[u8], kind: EntryType, bytes: &[u8]) {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..path.len()].copy_from_slice(path);
    header.set_entry_type(kind);
    header.set_size(bytes.len() as u64);
    if kind == EntryType::Symlink || kind == EntryType::Link {
        header.set_link_name("/etc/passwd").unwrap();
    }
    header.set_cksum();
    tar.append(&header, bytes).unwrap();
}

fn verify(tar: &[u8]) -> Result<Whole, String> {
    let read = read_stream(tar, &mut Verify(&mut |_, _| {}));
    read.map_err(|error| format!("{error:#}"))
}

fn verify_folder(folder: &Path) -> Result<Whole, String> {
    let read = Source::open(folder).unwrap();
    let read = read.read(&mut Verify(&mut |_, _| {}));
    read.map_err(|error| format!("{error:#}"))
}

fn restore(source: Source, data: &Path, incomplete: bool) -> Result<Restored, String> {
    let restore = Restore {
        data,
        routes: None,
        grants: None,
        incomplete,
        tell: &mut |_, _| {},
    };
    restore.run(source).map_err(|error| format!("{error:#}"))
}

fn stream(tar: Vec<u8>) -> Source {
    Source::Stream(Box::new(Cursor::new(tar)))
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name != LOCK).collect();
    names.sort();
    names
}

#[test]
fn backup_verifies_as_a_stream_and_as_an_unpacked_folder() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new();
    assert_eq!(verify(&sample.tar()).unwrap().manifest, sample.manifest);
    let folder = dir.path().join("saved");
    let mut tell = |_: &str, _| {};
    let mut save = Save::new(&folder, &mut tell).unwrap();
    let whole = read_stream(&*sample.tar(), &mut save).unwrap();
    assert!(verify_folder(&folder).unwrap_err().contains("not complete"));
    save.finish(&whole).unwrap();
    assert_eq!(verify_folder(&folder).unwrap().manifest, sample.manifest);
    for file in ["manifest.json", "windows/a/store.redb", "admin.token"] {
        let mode = fs::metadata(folder.join(file)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600, "{file}");
    }
    // It is not written over.
    let again = Save::new(&folder, &mut tell).err().unwrap().to_string();
    assert!(again.contains("not empty"), "{again}");
    assert!(verify_folder(&folder).is_ok());
}

#[test]
fn flipped_bit_in_any_file_is_detected() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new();
    let folder = sample.folder(dir.path());
    for (path, bytes) in sample.all() {
        let places = match bytes.len() {
            0 => vec![],
            len => vec![0, len / 2, len - 1],
        };
        for at in places {
            let mut spoilt = bytes.clone();
            spoilt[at] ^= 1;
            fs::write(folder.join(&path), &spoilt).unwrap();
            let why = verify_folder(&folder).unwrap_err();
            let known = ["damaged", "newer hms", "cannot be read", "not of this"];
            assert!(
                known.iter().any(|word| why.contains(word)),
                "{path} {at}: {why}"
            );
        }
        fs::write(folder.join(&path), &bytes).unwrap();
    }
    assert!(verify_folder(&folder).is_ok());
}

#[test]
fn missing_truncated_and_extra_files_are_detected() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new();
    let folder = sample.folder(dir.path());
    for (path, bytes) in sample.all() {
        fs::remove_file(folder.join(&path)).unwrap();
        let why = verify_folder(&folder).unwrap_err();
        let known = [
            "is missing",
            "are missing",
            "not a backup",
            "no backup.json",
        ];
        assert!(known.iter().any(|word| why.contains(word)), "{path}: {why}");
        if !bytes.is_empty() {
            fs::write(folder.join(&path), &bytes[..bytes.len() - 1]).unwrap();
            assert!(verify_folder(&folder).is_err(), "{path}");
        }
        fs::write(folder.join(&path), &bytes).unwrap();
    }
    for extra in ["windows/c/store.redb", "routes/c.yaml", "dev-secret"] {
        let place = folder.join(extra);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(&place, "x").unwrap();
        let why = verify_folder(&folder).unwrap_err();
        assert!(why.contains("not in the manifest"), "{why}");
        fs::remove_file(&place).unwrap();
    }
    fs::write(folder.join("notes.txt"), "x").unwrap();
    assert!(verify_folder(&folder).unwrap_err().contains("notes.txt"));
    fs::remove_file(folder.join("notes.txt")).unwrap();
    // A link leads out of what the manifest is about.
    fs::rename(folder.join("keys.json"), dir.path().join("keys.json")).unwrap();
    symlink(dir.path().join("keys.json"), folder.join("keys.json")).unwrap();
    assert!(verify_folder(&folder).unwrap_err().contains("keys.json"));
}

#[test]
fn stream_truncated_anywhere_is_incomplete() {
    let sample = Sample::new();
    let tar = sample.tar();
    // What ends a tar is 1,024 zeros, before which the last file fills its block.
    let last = tar.len() - 1024 - 512;
    let mut cuts: Vec<usize> = (0..last).step_by(512).collect();
    cuts.extend([1, 513, 700, last - 1, last, last + 1, last + 40]);
    for cut in cuts {
        let why = verify(&tar[..cut]).unwrap_err();
        let known = ["not complete", "cut short", "damaged", "not a backup"];
        assert!(known.iter().any(|word| why.contains(word)), "{cut}: {why}");
    }
    verify(&tar[..tar.len() - 1024]).unwrap();
}

#[test]
fn stream_member_cannot_escape_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let head = Sample::new().files.remove(0);
    let long = format!("{}/../../x", "routes/a".repeat(11));
    let names = [
        "../x",
        "/tmp/x",
        "windows/../x/store.redb",
        "windows/../../store.redb",
        "windows/A/store.redb",
        "windows/a/b/store.redb",
        "windows/a/other",
        "artifacts/../x.wasm",
        "artifacts/native/x",
        "routes/../x.yaml",
        "routes//x.yaml",
        "routes/./x.yaml",
        "routes/a/../../../x.yaml",
        "routes/.hidden",
        "routes/",
        "routes/a\nb",
        "restoring",
        "lock",
        "./host.redb",
        "host.redb/",
        "windows",
        "",
        &long,
    ];
    for name in names {
        assert_eq!(Member::parse(name), None, "{name:?}");
        let files = [head.clone(), (name.to_owned(), b"x".to_vec())];
        let why = restore(stream(tar_of(&files)), &dir.path().join("data"), true);
        let why = why.unwrap_err();
        assert!(why.contains("is not a file of a backup"), "{name:?}: {why}");
    }
    // By a longer name than fits a header.
    let mut tar = Builder::new(tar_of(std::slice::from_ref(&head)));
    tar.get_mut().truncate(1024);
    append(
        &mut tar,
        b"long",
        EntryType::GNULongName,
        b"routes/../../x\0",
    );
    append(&mut tar, b"routes/x.yaml", EntryType::Regular, b"x");
    let why = restore(
        stream(tar.into_inner().unwrap()),
        &dir.path().join("data"),
        true,
    );
    assert!(why.unwrap_err().contains("is not a file of a backup"));
    for kind in [
        EntryType::Symlink,
        EntryType::Link,
        EntryType::Directory,
        EntryType::Fifo,
        EntryType::Char,
        EntryType::XHeader,
        EntryType::GNUSparse,
    ] {
        let mut tar = Builder::new(tar_of(std::slice::from_ref(&head)));
        tar.get_mut().truncate(1024);
        append(&mut tar, b"host.redb", kind, b"");
        let why = restore(
            stream(tar.into_inner().unwrap()),
            &dir.path().join("data"),
            true,
        );
        assert!(why.unwrap_err().contains("not a regular file"), "{kind:?}");
    }
    assert_eq!(entries(dir.path()), [""; 0]);
}

#[test]
fn duplicate_file_foreign_tar_and_newer_format_are_rejected() {
    let sample = Sample::new();
    let mut files = sample.all();
    files.insert(3, files[2].clone());
    assert!(verify(&tar_of(&files)).unwrap_err().contains("twice"));
    let foreign = tar_of(&[("host.redb".into(), b"x".to_vec())]);
    assert!(
        verify(&foreign)
            .unwrap_err()
            .contains("not a backup of hms")
    );
    assert!(verify(&[b'x'; 4096]).is_err());
    assert!(verify(b"").unwrap_err().contains("not complete"));
    let newer = br#"{"format":2,"hms":"9.0.0","begun":"?","more":[]}"#;
    let tar = tar_of(&[("backup.json".into(), newer.to_vec())]);
    let why = verify(&tar).unwrap_err();
    assert!(
        why.contains("use a newer hms") && why.contains("9.0.0"),
        "{why}"
    );
}

#[test]
fn notes_in_a_stream_are_skipped_by_their_length() {
    for text in ["", "a", &"long ".repeat(50)] {
        let note = write_note(text);
        let length = note.split(|byte| *byte == b' ').next().unwrap();
        let length: usize = std::str::from_utf8(length).unwrap().parse().unwrap();
        assert_eq!(length, note.len(), "as pax has it");
    }
}

#[test]
fn backup_restores_to_a_data_folder_whose_routes_know_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new();
    let data = dir.path().join("data");
    let restored = restore(stream(sample.tar()), &data, false).unwrap();
    assert_eq!(restored.routes, data.join("routes"));
    assert_eq!(restored.grants, Some(data.join("grants")));
    for (path, bytes) in &sample.files {
        let place = data.join(path);
        match path.as_str() {
            "backup.json" => assert!(!place.exists()),
            "routes.json" => {
                let kept: serde_json::Value =
                    serde_json::from_slice(&fs::read(&place).unwrap()).unwrap();
                let folder = fs::canonicalize(data.join("routes")).unwrap();
                assert_eq!(kept["folder"], folder.to_str().unwrap());
                assert_eq!(kept["routes"]["a.yaml"], ROUTE);
            }
            "grants.json" => {
                let kept: serde_json::Value =
                    serde_json::from_slice(&fs::read(&place).unwrap()).unwrap();
                let folder = fs::canonicalize(data.join("grants")).unwrap();
                assert_eq!(kept["folder"], folder.to_str().unwrap());
            }
            _ => assert_eq!(fs::read(&place).unwrap(), *bytes, "{path}"),
        }
    }
    assert!(!data.join(RESTORING).exists() && !data.join("manifest.json").exists());
    drop(DataFolder::take(&data).unwrap());
    let over = restore(stream(sample.tar()), &data, false).unwrap_err();
    assert!(over.contains("not empty"), "{over}");
}

#[test]
fn failed_restore_leaves_no_folder_and_an_interrupted_one_is_recognised() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new();
    let data = dir.path().join("data");
    let tar = sample.tar();
    let why = restore(stream(tar[..tar.len() / 2].to_vec()), &data, false).unwrap_err();
    assert!(why.contains("cut short"), "{why}");
    assert!(!data.exists());
    // As a crash leaves it.
    fs::create_dir(&data).unwrap();
    fs::write(data.join(RESTORING), "").unwrap();
    fs::create_dir_all(data.join("windows/x")).unwrap();
    fs::write(data.join("windows/x/store.redb"), "half").unwrap();
    fs::write(data.join("host.redb"), "half").unwrap();
    let refused = DataFolder::take(&data).err().unwrap().to_string();
    assert!(refused.contains("was interrupted"), "{refused}");
    restore(stream(tar), &data, false).unwrap();
    assert!(!data.join("windows/x").exists());
    DataFolder::take(&data).unwrap();
}

#[test]
fn restore_into_a_folder_in_use_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let _host = DataFolder::take(&data).unwrap();
    let why = restore(stream(Sample::new().tar()), &data, false).unwrap_err();
    assert!(why.contains("in use by another hms"), "{why}");
}

#[test]
fn restored_routes_need_an_empty_folder_or_identical_files() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new();
    let routes = dir.path().join("routes");
    let into = |data: &str| {
        let data = dir.path().join(data);
        let restore = Restore {
            data: &data,
            routes: Some(&routes),
            grants: None,
            incomplete: false,
            tell: &mut |_, _| {},
        };
        let restored = restore.run(stream(sample.tar()));
        restored.map_err(|error| {
            assert_eq!(entries(&data), [""; 0]);
            format!("{error:#}")
        })
    };
    into("first").unwrap();
    assert_eq!(entries(&routes), ["a.yaml", "team"]);
    let file = routes.join("a.yaml");
    fs::rename(&file, dir.path().join("kept")).unwrap();
    symlink(dir.path().join("kept"), &file).unwrap();
    into("second").unwrap();
    assert!(file.is_symlink(), "what is the same stays as it is");
    fs::write(routes.join("a.yaml"), "uri: /other\n").unwrap();
    assert!(into("third").unwrap_err().contains("a different a.yaml"));
    fs::write(routes.join("a.yaml"), ROUTE).unwrap();
    fs::write(routes.join("more.yaml"), ROUTE).unwrap();
    assert!(into("third").unwrap_err().contains("more.yaml"));
    assert_eq!(fs::read_to_string(routes.join("more.yaml")).unwrap(), ROUTE);
    fs::remove_file(routes.join("more.yaml")).unwrap();
    // As a repository, or a write that a crash cut, leaves them: the host passes them over.
    fs::create_dir(routes.join(".git")).unwrap();
    for file in [".git/HEAD", ".a.yaml.new", "README.md"] {
        fs::write(routes.join(file), "no manifest").unwrap();
    }
    into("third").unwrap();
    assert_eq!(
        fs::read_to_string(routes.join("README.md")).unwrap(),
        "no manifest"
    );
}

#[test]
fn incomplete_backup_is_restored_only_on_request_and_never_brings_back_removed_windows() {
    let dir = tempfile::tempdir().unwrap();
    let mut sample = Sample::new();
    sample.manifest.complete = false;
    sample.manifest.missing.push(Missing {
        path: "windows/c/store.redb".into(),
        why: "it is damaged".into(),
    });
    sample
        .manifest
        .removed
        .push("windows/b-2/store.redb".into());
    let removed = |file: &FileEntry| file.path == "windows/b-2/store.redb";
    sample.manifest.files.retain(|file| !removed(file));
    let data = dir.path().join("data");
    // What is missing counts, whatever the manifest makes of it.
    let mut wrong = sample.manifest.clone();
    wrong.complete = true;
    std::mem::swap(&mut wrong, &mut sample.manifest);
    assert!(restore(stream(sample.tar()), &data, false).is_err());
    std::mem::swap(&mut wrong, &mut sample.manifest);
    let why = restore(stream(sample.tar()), &data, false).unwrap_err();
    assert!(
        why.contains("windows/c/store.redb (it is damaged)") && why.contains("--allow-incomplete"),
        "{why}"
    );
    assert_eq!(entries(&data), [""; 0]);
    restore(stream(sample.tar()), &data, true).unwrap();
    assert_eq!(entries(&data.join("windows")), ["a"]);
    let folder = dir.path().join("saved");
    let mut tell = |_: &str, _| {};
    let mut save = Save::new(&folder, &mut tell).unwrap();
    let whole = read_stream(&*sample.tar(), &mut save).unwrap();
    save.finish(&whole).unwrap();
    assert_eq!(entries(&folder.join("windows")), ["a"]);
    verify_folder(&folder).unwrap();
}
