//! The power goes at every access in turn: what was acknowledged is there afterwards, whole.

use super::super::{Applied, Store};
use super::disk::{Disk, Trouble};
use super::{bare_limits, block_on, increment, open, set};

const ROUNDS: usize = 3;

/// What a run was told had been done, and what it had asked for.
#[derive(Default)]
pub(super) struct Acknowledged {
    pub(super) single: Vec<usize>,
    pub(super) pairs: Vec<usize>,
    pub(super) count: i64,
    pub(super) asked: i64,
}

fn small(round: usize) -> Vec<u8> {
    format!("small {round}").into_bytes()
}

/// Large enough to lie apart from its head.
fn large(round: usize) -> Vec<u8> {
    vec![round as u8; 5_000]
}

/// Writes in groups: a value, a counter, and a pair that is there whole or not at all.
pub(super) async fn work(store: &dyn Store, seen: &mut Acknowledged) {
    for round in 0..ROUNDS {
        let single = store.write(vec![set(&format!("single {round}"), small(round))]);
        let count = store.write(vec![increment("count", 1)]);
        let pair = store.write(vec![
            set(&format!("left {round}"), large(round)),
            set(&format!("right {round}"), small(round)),
            set("replaced", large(round)),
        ]);
        seen.asked += 1;
        if single.await.is_ok() {
            seen.single.push(round);
        }
        if let Ok(applied) = count.await {
            let [Applied::Counter(now)] = applied[..] else {
                panic!("{applied:?}")
            };
            // Never fewer than were acknowledged, whatever came between.
            assert!(now > seen.count && now <= seen.asked, "{now}");
            seen.count = now;
        }
        if pair.await.is_ok() {
            seen.pairs.push(round);
        }
    }
}

pub(super) fn check(store: &dyn Store, seen: &Acknowledged) {
    let value = |key: &str| store.get("b", key).unwrap().map(|entry| entry.value);
    for round in 0..ROUNDS {
        let single = value(&format!("single {round}"));
        assert!(single.is_some() || !seen.single.contains(&round));
        assert!(single.is_none_or(|value| value == small(round)));
        let left = value(&format!("left {round}"));
        let right = value(&format!("right {round}"));
        assert_eq!(left.is_some(), right.is_some(), "half a write");
        assert!(left.is_some() || !seen.pairs.contains(&round));
        assert!(left.is_none_or(|value| value == large(round)));
    }
    let count = value("count").map_or(0, |text| {
        String::from_utf8(text).unwrap().parse::<i64>().unwrap()
    });
    assert!(count >= seen.count && count <= seen.asked, "{count}");
    check_books(store);
}

/// The bytes that the store counts are those that it holds.
pub(super) fn check_books(store: &dyn Store) {
    let keys = store.keys("b", None, 0, usize::MAX).unwrap().keys;
    let sum: usize = keys
        .iter()
        .map(|key| 1 + key.len() + store.get("b", key).unwrap().unwrap().value.len() + 64)
        .sum();
    assert_eq!(store.stats().stored_bytes, sum as u64);
}

#[test]
fn no_acknowledged_write_is_lost_by_a_crash_at_any_access() {
    let empty = Disk::new().after_power_loss(1);
    for at in 1.. {
        let disk = Disk::of(empty.clone());
        disk.arm(Trouble::PowerLoss(at));
        let mut seen = Acknowledged::default();
        if let Ok(store) = open(&disk, bare_limits()) {
            block_on(work(&store, &mut seen));
            store.close();
        }
        for seed in [0, 1, at * 2 + 1, at * 7 + 3] {
            let after = Disk::of(disk.after_power_loss(seed));
            check(&open(&after, bare_limits()).unwrap(), &seen);
        }
        if !disk.struck() {
            assert_eq!(seen.pairs.len(), ROUNDS);
            assert!(at > 100, "a run of {at} accesses cannot have been whole");
            break;
        }
    }
}

#[test]
fn no_acknowledged_write_is_lost_by_a_crash_during_the_repair_after_a_crash() {
    let empty = Disk::new().after_power_loss(1);
    for at in (20..).step_by(23) {
        let disk = Disk::of(empty.clone());
        disk.arm(Trouble::PowerLoss(at));
        let mut seen = Acknowledged::default();
        if let Ok(store) = open(&disk, bare_limits()) {
            block_on(work(&store, &mut seen));
        }
        let image = disk.after_power_loss(at);
        for again in 1.. {
            let disk = Disk::of(image.clone());
            disk.arm(Trouble::PowerLoss(again));
            if let Ok(store) = open(&disk, bare_limits()) {
                store.close();
            }
            let after = Disk::of(disk.after_power_loss(again));
            check(&open(&after, bare_limits()).unwrap(), &seen);
            if !disk.struck() {
                break;
            }
        }
        if !disk.struck() {
            break;
        }
    }
}

/// Syncs that a run of [`work`] makes, at least; the test says so where there are more.
const MAX_SYNCS: u64 = 100;

#[test]
fn no_acknowledged_write_is_lost_by_a_crash_at_any_access_after_a_failed_sync() {
    let empty = Disk::new().after_power_loss(1);
    let mut struck = 0;
    for sync in 1..MAX_SYNCS {
        let mut failed = false;
        for later in (0..).step_by(3) {
            let disk = Disk::of(empty.clone());
            disk.arm(Trouble::FailSync(sync, later));
            let mut seen = Acknowledged::default();
            if let Ok(store) = open(&disk, bare_limits()) {
                block_on(work(&store, &mut seen));
                store.close();
            }
            failed = disk.sync_failed();
            for seed in [0, later * 2 + 1, later * 7 + 3] {
                let after = Disk::of(disk.after_power_loss(seed));
                match open(&after, bare_limits()) {
                    Ok(store) => check(&store, &seen),
                    Err(error) => panic!("sync {sync} failed, power lost {later} later: {error}"),
                }
            }
            if !disk.struck() {
                break;
            }
            struck += 1;
        }
        if !failed {
            assert!(struck > 100, "{struck} crashes are too few to have tried");
            return;
        }
    }
    panic!("a run has more syncs than {MAX_SYNCS}");
}
