//! Reading costs what is read, not what is stored.

use super::super::{Page, Store, StoreLimits};
use super::disk::Disk;
use super::{bare_limits, block_on, open, set};

#[test]
fn get_reads_few_pages_however_many_keys_exist() {
    let disk = Disk::new();
    let store = open(&disk, bare_limits()).unwrap();
    let cost_of_get = || {
        let before = disk.read_bytes();
        assert!(store.get("b", "key 00000").wait().unwrap().is_some());
        disk.read_bytes() - before
    };
    let mut costs = Vec::new();
    block_on(async {
        for thousand in 0..20 {
            let ops = (0..1_000).map(|i| set(&format!("key {:05}", thousand * 1_000 + i), [0; 50]));
            store.write(ops.collect()).await.unwrap();
            costs.push(cost_of_get());
        }
    });
    let (first, last) = (costs[0], costs[19]);
    assert!(last <= first + 2 * 4_096, "{costs:?}");
    assert!(last <= 32 * 1_024, "{costs:?}");
}

#[test]
fn listing_and_existence_checks_read_no_values() {
    let disk = Disk::new();
    let store = open(&disk, bare_limits()).unwrap();
    block_on(async {
        for i in 0..100 {
            let op = set(&format!("{i:03}"), vec![0; 60_000]);
            store.write(vec![op]).await.unwrap();
        }
    });
    let before = disk.read_bytes();
    assert_eq!(
        store.keys("b", None, 0, 1_000).wait().unwrap().keys.len(),
        100
    );
    assert!(store.exists("b", "099").wait().unwrap());
    let cost = disk.read_bytes() - before;
    assert!(cost < 60_000, "{cost} bytes read");
}

#[test]
fn replaced_and_deleted_values_free_their_space() {
    let disk = Disk::new();
    let store = open(&disk, bare_limits()).unwrap();
    let size = || disk.after_power_loss(1).len();
    block_on(async {
        let fill = async |from: u8| {
            for i in 0..20 {
                let op = set(&format!("{i}"), vec![from + i; 60_000]);
                store.write(vec![op]).await.unwrap();
            }
        };
        fill(0).await;
        fill(1).await;
        let full = size();
        for round in 2..12 {
            fill(round).await;
        }
        assert!(size() <= full, "grew from {full} to {}", size());
    });
}

#[test]
fn page_limit_is_between_one_and_its_bound() {
    let limits = StoreLimits {
        max_keys_per_page: 3,
        ..bare_limits()
    };
    let store = open(&Disk::new(), limits).unwrap();
    block_on(store.write((0..5).map(|i| set(&i.to_string(), "")).collect())).unwrap();
    let page = |keys: &[&str], more| Page {
        keys: keys.iter().map(ToString::to_string).collect(),
        more,
    };
    assert_eq!(
        store.keys("b", None, 0, 0).wait().unwrap(),
        page(&["0"], true)
    );
    assert_eq!(
        store.keys("b", None, 0, 100).wait().unwrap(),
        page(&["0", "1", "2"], true)
    );
    assert_eq!(
        store.keys("b", Some("2"), 0, 100).wait().unwrap(),
        page(&["3", "4"], false)
    );
    assert_eq!(
        store.keys("b", Some("0"), 3, 100).wait().unwrap(),
        page(&["4"], false)
    );
    assert_eq!(
        store.keys("b", None, u64::MAX, 1).wait().unwrap(),
        page(&[], false)
    );
    assert_eq!(
        store.keys("none", None, 0, 1).wait().unwrap(),
        page(&[], false)
    );
}

#[test]
fn versions_increase_and_are_never_reused() {
    let disk = Disk::new();
    let mut last = 0;
    for _ in 0..3 {
        let store = open(&disk, bare_limits()).unwrap();
        block_on(async {
            for _ in 0..3 {
                store.write(vec![set("k", "same")]).await.unwrap();
                let version = store.get("b", "k").wait().unwrap().unwrap().version;
                assert!(version > last);
                last = version;
                store.write(vec![super::delete("k")]).await.unwrap();
            }
        });
        store.close();
    }
}
