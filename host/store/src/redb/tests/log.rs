//! The log in the file: its format, its damage and its copies.

use super::super::{LogBounds, RedbStore, Scratch, Snapshot, Store, StoreError};
use super::{OWNER, bare_limits, block_on, set};
use crate::conformance::{committed, emitting, event, timer};
use crate::{NewEvent, Transaction};
use redb::{Database, ReadableDatabase, TableDefinition, TableHandle};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const EVENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("events");
const WAITING: TableDefinition<(u64, u64), &[u8]> = TableDefinition::new("waiting");
const NAMES: TableDefinition<&str, (u64, u64)> = TableDefinition::new("names");
const ONCE: TableDefinition<&str, (u64, u64)> = TableDefinition::new("once");
const ONCE_TIMES: TableDefinition<(u64, &str), ()> = TableDefinition::new("once_times");

fn open(path: &Path) -> Result<RedbStore, StoreError> {
    RedbStore::open_file(path, OWNER, bare_limits())
}

fn new() -> (TempDir, PathBuf, RedbStore) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let store = open(&path).unwrap();
    (folder, path, store)
}

/// A closed store with three events, one that waits, and a `once` key.
fn filled() -> (TempDir, PathBuf) {
    let (folder, path, store) = new();
    let all = Transaction {
        once: Some("o".into()),
        changes: vec![set("k", "v")],
        ..emitting(
            vec![
                event("a", "1"),
                event("a", "2"),
                event("a", "3"),
                timer("t", "n", 50),
            ],
            7,
        )
    };
    committed(block_on(store.transact(all)));
    store.close();
    (folder, path)
}

/// Changes the closed file with redb alone.
fn alter(path: &Path, change: impl FnOnce(&redb::WriteTransaction)) {
    let db = Database::open(path).unwrap();
    let mut txn = db.begin_write().unwrap();
    // As a host does.
    txn.set_quick_repair(true);
    change(&txn);
    txn.commit().unwrap();
}

fn meta(path: &Path, name: &str) -> Option<u64> {
    let db = Database::open(path).unwrap();
    let read = db.begin_read().unwrap();
    let meta = read.open_table(META).unwrap();
    meta.get(name).unwrap().map(|number| number.value())
}

fn tables(path: &Path) -> Vec<String> {
    let db = Database::open(path).unwrap();
    let read = db.begin_read().unwrap();
    let names = read.list_tables().unwrap();
    let mut names: Vec<String> = names.map(|table| table.name().to_owned()).collect();
    names.sort();
    names
}

fn take(store: &RedbStore, folder: &Path) -> Result<Snapshot, StoreError> {
    store.snapshot(&mut Scratch {
        folder,
        go_on: &mut |_| true,
    })
}

#[test]
fn file_keeps_format_1_until_the_log_is_needed() {
    let old = ["blobs", "heads", "meta", "owner"];
    let (_folder, path, store) = new();
    store.set_log_bounds(LogBounds {
        max_bytes: 0,
        needed_from: 0,
    });
    block_on(async {
        let plain = Transaction {
            changes: vec![set("k", "v")],
            cancel: vec!["n".into()],
            ..Transaction::default()
        };
        committed(store.transact(plain).await);
        let refused = Transaction {
            once: Some("o".into()),
            ..emitting(vec![event("a", "1")], 1)
        };
        // In one commit with a write.
        let (refused, write) = (store.transact(refused), store.write(vec![set("l", "v")]));
        assert_eq!(refused.await, Err(StoreError::OutboxFull { limit: 0 }));
        write.await.unwrap();
        committed(store.promote_due(9, 9).await);
        committed(store.trim(9, 9).await);
    });
    store.close();
    assert_eq!(meta(&path, "format"), Some(1));
    assert_eq!(meta(&path, "log-id"), None);
    assert_eq!(tables(&path), old);
}

#[test]
fn first_event_waiting_event_or_once_key_makes_format_2() {
    let once = Transaction {
        once: Some("o".into()),
        ..Transaction::default()
    };
    let first = [
        once,
        emitting(vec![event("a", "1")], 1),
        emitting(vec![timer("a", "1", 9)], 1),
    ];
    for transaction in first {
        let (_folder, path, store) = new();
        block_on(store.write(vec![set("k", "v")])).unwrap();
        committed(block_on(store.transact(transaction)));
        store.close();
        assert_eq!(meta(&path, "format"), Some(2));
        let all = [
            "blobs",
            "events",
            "heads",
            "meta",
            "names",
            "once",
            "once_times",
            "owner",
            "waiting",
        ];
        assert_eq!(tables(&path), all);
        let store = open(&path).unwrap();
        assert!(store.exists("b", "k").wait().unwrap());
    }
}

#[test]
fn log_matches_its_documentation() {
    let (_folder, path, store) = new();
    let text = |text: &str| Some(text.to_owned());
    let whole = NewEvent {
        kind: "a".into(),
        subject: text("s"),
        partition_key: text("p"),
        content_type: "c/d".into(),
        data: b"data\n\0".to_vec(),
        attributes: vec![("x".into(), "y".into())],
        traceparent: text("t"),
        not_before_ms: Some(90),
        name: text("n"),
    };
    let all = Transaction {
        once: Some("o".into()),
        changes: vec![set("k", "v")],
        ..emitting(vec![event("a", "1"), whole.clone()], 7)
    };
    committed(block_on(store.transact(all)));
    store.close();

    let id = meta(&path, "log-id").unwrap();
    assert_eq!(meta(&path, "log-number"), Some(2));
    assert_eq!(meta(&path, "log-last"), Some(1));
    let bytes = (1 + 1 + 256) + (1 + 1 + 1 + 3 + 2 + 1 + 1 + 6 + 256);
    assert_eq!(meta(&path, "log-bytes"), Some(bytes));
    let stored = (1 + 1 + 1 + 64) + 2 * (1 + 64);
    assert_eq!(meta(&path, "stored-bytes"), Some(stored));
    let db = Database::open(&path).unwrap();
    let read = db.begin_read().unwrap();
    let events = read.open_table(EVENTS).unwrap();
    let row = events.get(1).unwrap().unwrap().value().to_vec();
    let expected =
        format!("{{\"id\":\"{id:016x}-1\",\"time\":7,\"type\":\"a\",\"subject\":\"1\"}}\n");
    assert_eq!(String::from_utf8(row).unwrap(), expected);
    let waiting = read.open_table(WAITING).unwrap();
    let row = waiting.get((90, 2)).unwrap().unwrap().value().to_vec();
    let expected = format!(
        "{{\"id\":\"{id:016x}-2\",\"time\":7,\"type\":\"a\",\"subject\":\"s\",\"partition_key\":\"p\",\
         \"content_type\":\"c/d\",\"attributes\":[[\"x\",\"y\"]],\"traceparent\":\"t\",\
         \"not_before\":90,\"name\":\"n\"}}\ndata\n\0"
    );
    assert_eq!(String::from_utf8(row).unwrap(), expected);
    let names = read.open_table(NAMES).unwrap();
    assert_eq!(names.get("n").unwrap().unwrap().value(), (90, 2));
    let once = read.open_table(ONCE).unwrap();
    assert_eq!(once.get("o").unwrap().unwrap().value(), (1, 7));
    let times = read.open_table(ONCE_TIMES).unwrap();
    assert!(times.get((7, "o")).unwrap().is_some());
}

#[test]
fn newer_format_is_rejected_with_both_numbers() {
    let (_folder, path) = filled();
    for format in [0, 3, u64::MAX] {
        alter(&path, |txn| {
            txn.open_table(META)
                .unwrap()
                .insert("format", format)
                .unwrap();
        });
        match open(&path).err() {
            Some(StoreError::Corrupt { reason, .. }) => {
                let said = format!("its format is {format}, and this host knows 1 to 2");
                assert_eq!(reason, said);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(meta(&path, "format"), Some(format));
    }
    alter(&path, |txn| {
        txn.open_table(META).unwrap().insert("format", 2).unwrap();
    });
    assert_eq!(open(&path).unwrap().log_state().last, 3);
}

#[test]
fn file_of_format_2_without_one_of_its_parts_is_rejected() {
    let rows = ["log-id", "log-number", "log-last", "log-bytes"];
    for part in ["events", "waiting", "names", "once", "once_times"]
        .iter()
        .chain(&rows)
    {
        let (_folder, path) = filled();
        alter(&path, |txn| {
            if rows.contains(part) {
                txn.open_table(META).unwrap().remove(part).unwrap();
                return;
            }
            let deleted = match *part {
                "events" => txn.delete_table(EVENTS),
                "waiting" => txn.delete_table(WAITING),
                "names" => txn.delete_table(NAMES),
                "once" => txn.delete_table(ONCE),
                _ => txn.delete_table(ONCE_TIMES),
            };
            assert!(deleted.unwrap());
        });
        let opened = open(&path).err();
        assert!(
            matches!(opened, Some(StoreError::Corrupt { .. })),
            "{part}: {opened:?}"
        );
    }
}

#[test]
fn copy_has_the_log_and_gives_ids_of_its_own() {
    let (folder, path) = filled();
    let store = open(&path).unwrap();
    let copy = take(&store, folder.path()).unwrap();
    let target = folder.path().join("restored.redb");
    std::io::copy(
        &mut copy.into_file(),
        &mut fs::File::create(&target).unwrap(),
    )
    .unwrap();
    let restored = open(&target).unwrap();
    assert_eq!(restored.log_state(), store.log_state());
    let all = |store: &RedbStore| store.events(0, 9, usize::MAX).wait().unwrap();
    assert_eq!(all(&restored), all(&store));
    let waiting = |store: &RedbStore| store.waiting_events(9).wait().unwrap();
    assert_eq!(waiting(&restored), waiting(&store));
    let again = Transaction {
        once: Some("o".into()),
        ..Transaction::default()
    };
    assert!(committed(block_on(restored.transact(again))).repeated);
    let next = |store: &RedbStore| {
        let next = store.transact(emitting(vec![timer("t", "n", 60)], 8));
        committed(block_on(next)).event_ids
    };
    assert_ne!(next(&restored), next(&store));
    assert_eq!(restored.log_state().waiting, 1);
    // What was changed since is whole, too.
    take(&restored, folder.path()).unwrap();
}

#[test]
fn damage_that_nobody_notices_fails_the_copy() {
    type Damage = fn(&redb::WriteTransaction);
    let damages: [(&str, Damage); 8] = [
        ("a hole", |txn| {
            txn.open_table(EVENTS).unwrap().remove(2).unwrap();
        }),
        ("no end", |txn| {
            txn.open_table(EVENTS).unwrap().remove(3).unwrap();
        }),
        ("no beginning", |txn| {
            txn.open_table(EVENTS).unwrap().remove(1).unwrap();
        }),
        ("a wrong sum", |txn| {
            txn.open_table(META)
                .unwrap()
                .insert("log-bytes", 1)
                .unwrap();
        }),
        ("no event of a name", |txn| {
            txn.open_table(NAMES).unwrap().insert("m", (1, 1)).unwrap();
        }),
        ("no time of a key", |txn| {
            txn.open_table(ONCE_TIMES)
                .unwrap()
                .remove((7, "o"))
                .unwrap();
        }),
        ("a key too many", |txn| {
            txn.open_table(ONCE).unwrap().insert("p", (1, 1)).unwrap();
            txn.open_table(ONCE_TIMES)
                .unwrap()
                .insert((1, "p"), ())
                .unwrap();
        }),
        ("an unreadable event", |txn| {
            let row = b"{\"id\":\"\"}\n".as_slice();
            txn.open_table(EVENTS).unwrap().insert(2, row).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let (folder, path) = filled();
        alter(&path, damage);
        let store = open(&path).unwrap();
        let copied = take(&store, folder.path()).err();
        assert!(
            matches!(copied, Some(StoreError::Corrupt { .. })),
            "{what}: {copied:?}"
        );
    }
}

#[test]
fn unreadable_event_closes_the_store_and_is_not_skipped() {
    for row in [b"no line".as_slice(), b"{}\n", b"\n", b""] {
        let (_folder, path) = filled();
        alter(&path, |txn| {
            txn.open_table(EVENTS).unwrap().insert(2, row).unwrap();
        });
        let store = open(&path).unwrap();
        let read = store.events(0, 9, usize::MAX).wait();
        assert!(matches!(read, Err(StoreError::Corrupt { .. })), "{read:?}");
    }
}
