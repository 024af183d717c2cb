//! Where a backup or a data folder may be made, and what is left where it is not.

use super::super::place::{check_target, resolve};
use super::*;

/// All names below `folder`, with the locks.
fn all_below(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            names.push(path.strip_prefix(folder).unwrap().display().to_string());
            if !path.is_symlink() && path.is_dir() {
                folders.push(path);
            }
        }
    }
    names.sort();
    names
}

fn restore_to(source: Source, data: &Path, routes: Option<&Path>) -> Result<Restored, String> {
    let restore = Restore {
        data,
        routes,
        grants: None,
        incomplete: false,
        tell: &mut |_, _| {},
    };
    restore.run(source).map_err(|error| format!("{error:#}"))
}

/// A data folder of a host that has run, with the routes folder that it had.
fn data_of_a_host(root: &Path) -> (PathBuf, PathBuf) {
    let (data, routes) = (root.join("data"), root.join("routes"));
    fs::create_dir(&routes).unwrap();
    drop(DataFolder::take(&data).unwrap());
    fs::write(data.join("host.redb"), "").unwrap();
    let kept = serde_json::json!({ "folder": &routes, "routes": {} });
    fs::write(data.join("routes.json"), kept.to_string()).unwrap();
    (data, routes)
}

#[test]
fn path_is_resolved_through_links_and_parents_before_it_exists() {
    let dir = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(dir.path()).unwrap();
    fs::create_dir_all(root.join("q/in")).unwrap();
    symlink(root.join("q"), root.join("link")).unwrap();
    for (path, expected) in [
        ("q", "q"),
        ("new/deep", "new/deep"),
        ("link/x/y", "q/x/y"),
        ("link/../x", "x"),
        ("new/../x", "x"),
        ("new/../link/x", "q/x"),
        ("new/./../link/in/../x", "q/x"),
    ] {
        assert_eq!(
            resolve(&root.join(path)).unwrap(),
            root.join(expected),
            "{path}"
        );
    }
    fs::write(root.join("file"), "").unwrap();
    assert!(resolve(&root.join("file/x")).is_err());
}

#[test]
fn restore_into_a_backup_and_backup_inside_a_backup_are_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new();
    let backup = sample.folder(dir.path());
    let link = dir.path().join("link");
    symlink(&backup, &link).unwrap();
    let before = all_below(dir.path());
    let beside = dir.path().join("beside");
    for place in [
        backup.clone(),
        backup.join("x"),
        backup.join("x/y"),
        link.join("x"),
        backup.join("windows/../x"),
        dir.path().join("new/../backup/x"),
    ] {
        let places = [(&place, None), (&beside, Some(place.as_path()))];
        let sources: [fn(&Sample, &Path) -> Source; 2] = [
            |_, backup| Source::open(backup).unwrap(),
            // It may be another one.
            |sample, _| stream(sample.tar()),
        ];
        for (data, routes) in places {
            for source in sources {
                let why = restore_to(source(&sample, &backup), data, routes).unwrap_err();
                assert!(why.contains("is inside the backup"), "{why}");
            }
        }
        let mut tell = |_: &str, _| {};
        let why = Save::new(&place, &mut tell).err().unwrap().to_string();
        assert!(
            why.contains("is inside the backup") || why.contains("not empty"),
            "{why}"
        );
    }
    // One that has lost its head is known all the same.
    fs::rename(backup.join("backup.json"), dir.path().join("head")).unwrap();
    let source = Source::open(&link).unwrap();
    let why = restore_to(source, &backup.join("x"), None).unwrap_err();
    assert!(why.contains("is inside the backup"), "{why}");
    fs::rename(dir.path().join("head"), backup.join("backup.json")).unwrap();
    assert_eq!(all_below(dir.path()), before);
    verify_folder(&backup).unwrap();
    // Around it, or one inside of the other.
    let open = || Source::open(&backup).unwrap();
    for (data, routes, part) in [
        ("", None, "is inside --data"),
        ("beside", Some(""), "is inside --routes"),
        ("d", Some("d"), "is inside the other"),
        ("d", Some("d/windows"), "is inside the other"),
        ("r/d", Some("r"), "is inside the other"),
    ] {
        let routes = routes.map(|routes| dir.path().join(routes));
        let why = restore_to(open(), &dir.path().join(data), routes.as_deref()).unwrap_err();
        assert!(why.contains(part), "{data} {routes:?}: {why}");
    }
    assert_eq!(all_below(dir.path()), before);
    let data = dir.path().join("d");
    restore_to(open(), &data, Some(&data.join("routes"))).unwrap();
}

#[test]
fn backup_inside_a_data_folder_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let (data, routes) = data_of_a_host(dir.path());
    symlink(&routes, dir.path().join("link")).unwrap();
    let check = |target: &Path, data: Option<&Path>| {
        let place = resolve(target).unwrap();
        check_target(&place, data).map_err(|error| error.to_string())
    };
    for (target, part) in [
        (data.join("bk"), "inside the data folder"),
        (data.join("windows/bk/1"), "inside the data folder"),
        (routes.join("bk"), "inside the routes folder"),
        (routes.clone(), "inside the routes folder"),
        (dir.path().join("link/bk"), "inside the routes folder"),
    ] {
        let why = check(&target, Some(&data)).unwrap_err();
        assert!(why.contains(part), "{why}");
    }
    // Its data folder shows itself. Another folder of the name is none.
    assert!(check(&data.join("bk"), None).is_err());
    assert_eq!(check(&dir.path().join("bk"), Some(&data)), Ok(()));
    assert_eq!(check(&dir.path().join("bk"), Some(dir.path())), Ok(()));
    let before = all_below(dir.path());
    let mut tell = |_: &str, _| {};
    assert!(Save::new(&data.join("bk"), &mut tell).is_err());
    assert_eq!(all_below(dir.path()), before);
}

#[test]
fn failed_restore_leaves_existing_folders_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new();
    let tar = sample.tar();
    let cut = || stream(tar[..tar.len() / 2].to_vec());
    let (data, routes) = (dir.path().join("a/data"), dir.path().join("b/routes"));
    restore_to(cut(), &data, Some(&routes)).unwrap_err();
    assert_eq!(all_below(dir.path()), [""; 0]);
    // After the routes are in their place.
    let mut late = Sample::new();
    for (path, _) in &mut late.files {
        match path.as_str() {
            "keys.json" => *path = "routes/0.yaml".into(),
            "routes/team/b.yaml" => *path = "routes/a.yaml/b.yaml".into(),
            _ => {}
        }
    }
    let late = late.with_entries();
    fs::create_dir_all(&data).unwrap();
    let why = restore_to(stream(late.tar()), &data, Some(&routes)).unwrap_err();
    assert!(why.contains("cannot be written"), "{why}");
    assert_eq!(all_below(dir.path()), ["a", "a/data"]);
    // What an interrupted one left goes too.
    fs::write(data.join(RESTORING), "").unwrap();
    fs::write(data.join("lock"), "1").unwrap();
    restore_to(cut(), &data, None).unwrap_err();
    assert_eq!(all_below(dir.path()), ["a", "a/data"]);
    // A folder of somebody else stays as it was, with its mode.
    fs::write(data.join("theirs"), "").unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    let why = restore_to(stream(tar.clone()), &data, None).unwrap_err();
    assert!(why.contains("not empty"), "{why}");
    assert_eq!(all_below(&data), ["theirs"]);
    let mode = fs::metadata(&data).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
}

#[test]
fn abandoned_backup_removes_its_own_files_only() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new();
    let tar = sample.tar();
    for there in [false, true] {
        let target = dir.path().join("target");
        if there {
            fs::create_dir(&target).unwrap();
        }
        let mut tell = |_: &str, _| {};
        let mut save = Save::new(&target, &mut tell).unwrap();
        read_stream(&tar[..tar.len() / 2], &mut save).unwrap_err();
        assert!(target.join("windows/a/store.redb").exists());
        drop(save);
        assert_eq!(target.exists(), there);
    }
    let target = dir.path().join("target");
    let mut tell = |_: &str, _| {};
    let mut save = Save::new(&target, &mut tell).unwrap();
    // Another host's, which began at the same time.
    fs::write(target.join("host.redb"), "theirs").unwrap();
    let why = read_stream(&*tar, &mut save).unwrap_err();
    assert!(format!("{why:#}").contains("cannot be written"), "{why:#}");
    drop(save);
    assert_eq!(all_below(&target), ["host.redb"]);
}
