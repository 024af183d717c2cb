//! A file that is not a whole store of this window is refused, with its name, and left as it is.

use super::super::unsynced::Doubt;
use super::super::{RedbStore, Store, StoreError, StoreLimits};
use super::{OWNER, bare_limits, block_on, open, set, written};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn open_file(path: &Path) -> Result<RedbStore, StoreError> {
    RedbStore::open_file(path, OWNER, bare_limits())
}

/// A closed store with some content, small and large.
fn filled() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a window/store.redb");
    let store = open_file(&path).unwrap();
    block_on(async {
        for i in 0..40_u8 {
            let ops = vec![
                set(&format!("small {i}"), [i; 300]),
                set(&format!("large {i}"), [i; 3_000]),
            ];
            store.write(ops).await.unwrap();
        }
    });
    store.close();
    (folder, path)
}

/// Reads all that [`filled`] wrote; `Ok` only if all of it is right.
fn read_all(store: &RedbStore) -> Result<(), StoreError> {
    for i in 0..40_u8 {
        let small = store.get("b", &format!("small {i}")).wait()?;
        assert_eq!(small.map(|entry| entry.value), Some(vec![i; 300]));
        let large = store.get("b", &format!("large {i}")).wait()?;
        assert_eq!(large.map(|entry| entry.value), Some(vec![i; 3_000]));
    }
    assert_eq!(store.keys("b", None, 0, 1_000).wait()?.keys.len(), 80);
    Ok(())
}

fn assert_refused(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
    match open_file(path) {
        Err(StoreError::Corrupt { path: named, .. }) => assert_eq!(named, path),
        Err(other) => panic!("refused as {other}"),
        Ok(_) => panic!("{} bytes were taken for a store", content.len()),
    }
    assert!(fs::read(path).unwrap() == content, "the file was changed");
}

#[test]
fn empty_file_is_not_taken_for_a_new_store() {
    let (_folder, path) = filled();
    assert_refused(&path, b"");
}

#[test]
fn zeroed_or_random_file_is_rejected() {
    let (_folder, path) = filled();
    let len = fs::read(&path).unwrap().len();
    assert_refused(&path, &vec![0; len]);
    let mut dice = 88_172_645_463_325_252_u64;
    let random: Vec<u8> = (0..len)
        .map(|_| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            dice as u8
        })
        .collect();
    assert_refused(&path, &random);
    assert_refused(&path, b"this is a text");
}

#[test]
fn truncated_file_is_rejected_or_whole() {
    let (_folder, path) = filled();
    let whole = fs::read(&path).unwrap();
    let mut refused = 0;
    for len in (1..whole.len()).step_by(whole.len() / 97 + 1) {
        fs::write(&path, &whole[..len]).unwrap();
        match open_file(&path).and_then(|store| read_all(&store)) {
            Ok(()) => {}
            Err(StoreError::Corrupt { .. }) => refused += 1,
            Err(other) => panic!("cut to {len}: {other}"),
        }
    }
    assert!(refused > 50, "{refused}");
}

#[test]
fn file_with_a_hole_never_silently_lacks_a_key() {
    let (_folder, path) = filled();
    let whole = fs::read(&path).unwrap();
    let mut refused = 0;
    for page in 0..whole.len() / 4_096 {
        let mut content = whole.clone();
        content[page * 4_096..(page + 1) * 4_096].fill(0);
        fs::write(&path, &content).unwrap();
        match open_file(&path).and_then(|store| read_all(&store)) {
            Ok(()) => {}
            Err(StoreError::Corrupt { .. }) => refused += 1,
            Err(other) => panic!("without page {page}: {other}"),
        }
    }
    assert!(refused > 10, "{refused}");
}

#[test]
fn foreign_database_is_rejected() {
    let (_folder, path) = filled();
    fs::remove_file(&path).unwrap();
    drop(redb::Database::create(&path).unwrap());
    assert!(matches!(open_file(&path), Err(StoreError::Corrupt { .. })));
}

#[test]
fn store_of_another_window_is_rejected() {
    let (_folder, path) = filled();
    let refused = RedbStore::open_file(&path, "docs", StoreLimits::default()).err();
    assert_eq!(
        refused,
        Some(StoreError::WrongOwner {
            path: path.clone(),
            owner: OWNER.into(),
            expected: "docs".into()
        })
    );
    read_all(&open_file(&path).unwrap()).unwrap();
}

#[test]
fn open_file_is_not_opened_twice() {
    let (_folder, path) = filled();
    let first = open_file(&path).unwrap();
    assert_eq!(
        open_file(&path).err(),
        Some(StoreError::InUse { path: path.clone() })
    );
    drop(first);
    read_all(&open_file(&path).unwrap()).unwrap();
}

#[test]
fn leftovers_of_an_interrupted_creation_do_not_stop_a_new_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let unfinished = format!("store.redb.unfinished-{}", std::process::id());
    fs::write(folder.path().join(unfinished), [1; 100]).unwrap();
    let store = open_file(&path).unwrap();
    assert_eq!(block_on(store.write(vec![set("k", "v")])), written(1));
    let files = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, 1);
}

#[test]
fn store_damaged_while_open_is_closed_and_returns_once_mended() {
    let (_folder, path) = filled();
    let whole = fs::read(&path).unwrap();
    let store = open_file(&path).unwrap();
    fs::write(&path, vec![0; whole.len()]).unwrap();
    block_on(async {
        let failed = store.write(vec![set("k", "v")]).await;
        assert!(
            matches!(failed, Err(StoreError::Corrupt { .. })),
            "{failed:?}"
        );
    });
    assert!(matches!(
        store.get("b", "small 0").wait(),
        Err(StoreError::Corrupt { .. })
    ));
    fs::write(&path, &whole).unwrap();
    // Without a runtime the call that finds it broken opens it again, for the next one.
    let _ = store.get("b", "small 0").wait();
    read_all(&store).unwrap();
    assert_eq!(store.stats().reopened, 1);
}

#[test]
fn simulated_disk_without_a_store_is_rejected() {
    let disk = super::Disk::of(vec![0; 100_000]);
    assert!(matches!(
        open(&disk, bare_limits()),
        Err(StoreError::Corrupt { .. })
    ));
}

#[test]
fn store_with_a_failed_sync_is_compared_with_its_disk_whoever_opens_it() {
    let program = std::env::current_exe().unwrap();
    let folder = tempfile::tempdir_in(program.parent().unwrap()).unwrap();
    let path = folder.path().join("a window/store.redb");
    let store = open_file(&path).unwrap();
    assert_eq!(block_on(store.write(vec![set("k", "v")])), written(1));
    store.close();
    let note = path.with_file_name("store.redb.unsynced");
    Doubt::of(&path).raise();
    assert!(note.exists());
    let store = open_file(&path).unwrap();
    assert!(!note.exists());
    assert_eq!(store.get("b", "k").wait().unwrap().unwrap().value, b"v");
    store.close();
    // A new store has nothing to do with the one before.
    Doubt::of(&path).raise();
    fs::remove_file(&path).unwrap();
    open_file(&path).unwrap();
    assert!(!note.exists());
}
