//! The file is what docs/store-format.md says: it is read here by redb alone.

use super::super::{RedbStore, Store};
use super::{OWNER, bare_limits, block_on, increment, set};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

const HEADS: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("heads");
const BLOBS: TableDefinition<u64, &[u8]> = TableDefinition::new("blobs");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const NAMES: TableDefinition<&str, &str> = TableDefinition::new("owner");

#[test]
fn store_file_matches_its_documentation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let store = RedbStore::open_file(&path, OWNER, bare_limits()).unwrap();
    let ops = vec![
        set("c", [7; 1_025]),
        set("b", [8; 1_024]),
        increment("a", 42),
    ];
    block_on(store.write(ops)).unwrap();
    store.close();

    let db = Database::open(&path).unwrap();
    let read = db.begin_read().unwrap();
    let mut heads = Vec::new();
    for row in read.open_table(HEADS).unwrap().iter().unwrap() {
        let (key, head) = row.unwrap();
        let (bucket, key) = key.value();
        heads.push((format!("{bucket}/{key}"), head.value().to_vec()));
    }
    let head = |version: u64, kind: u8, rest: &[u8]| {
        [version.to_le_bytes().as_slice(), &[kind], rest].concat()
    };
    let expected = [
        ("b/a".to_owned(), head(3, 0, b"42")),
        ("b/b".to_owned(), head(2, 0, &[8; 1_024])),
        ("b/c".to_owned(), head(1, 1, &1_025_u64.to_le_bytes())),
    ];
    assert_eq!(heads, expected);
    let blobs = read.open_table(BLOBS).unwrap();
    let blobs: Vec<_> = blobs.iter().unwrap().map(Result::unwrap).collect();
    let [(version, value)] = &blobs[..] else {
        panic!("{} values lie apart", blobs.len());
    };
    assert_eq!((version.value(), value.value()), (1, [7; 1_025].as_slice()));
    let meta = read.open_table(META).unwrap();
    let number = |name: &str| meta.get(name).unwrap().map(|number| number.value());
    assert_eq!(number("format"), Some(1));
    assert_eq!(number("version"), Some(3));
    let stored = 1_025 + 1_024 + 2 + 3 * (1 + 1 + 64);
    assert_eq!(number("stored-bytes"), Some(stored));
    assert_eq!(meta.iter().unwrap().count(), 3);
    let owner = read.open_table(NAMES).unwrap();
    let name = owner.get("name").unwrap().unwrap();
    assert_eq!(name.value(), OWNER);
    assert_eq!(owner.iter().unwrap().count(), 1);
}
