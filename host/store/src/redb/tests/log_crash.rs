//! The power goes at every access in turn: an event is there with the keys of its transaction, or
//! neither is, and a transaction that is tried again has its effect once.

use super::super::{LogBounds, Store, StoreError, Transacted, Transaction};
use super::disk::{Disk, Trouble};
use super::{bare_limits, block_on, increment, open, set};
use crate::conformance::{emitting, event, timer};

const ROUNDS: u64 = 3;

/// When the timers are due.
const DUE: u64 = 50;

/// A key, a counter, an event and a timer.
fn round(round: u64) -> Transaction {
    let subject = round.to_string();
    Transaction {
        once: Some(format!("once {round}")),
        changes: vec![set(&format!("key {round}"), "v"), increment("count", 1)],
        ..emitting(
            vec![event("e", &subject), timer("t", &subject, DUE + round)],
            round,
        )
    }
}

/// The rounds that were acknowledged. Between them the log is changed in the other ways.
async fn work(store: &dyn Store) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    for number in 0..ROUNDS {
        // In a group with others.
        let done = store.transact(round(number));
        let write = store.write(vec![set("written", number.to_string())]);
        match done.await {
            Ok(Transacted::Committed(_)) => acknowledged.push(number),
            Ok(other) => panic!("{other:?}"),
            Err(_) => {}
        }
        let _ = write.await;
        let _ = store.promote_due(DUE + number, 9).await;
    }
    store.set_log_bounds(LogBounds {
        needed_from: 2,
        ..LogBounds::default()
    });
    let _ = store.trim(u64::MAX, 0).await;
    acknowledged
}

fn check(store: &dyn Store, acknowledged: &[u64]) {
    let state = store.log_state();
    let log = store
        .events(0, usize::MAX, usize::MAX)
        .wait()
        .unwrap()
        .events;
    let waiting = store.waiting_events(usize::MAX).wait().unwrap();
    let sequences: Vec<u64> = log.iter().map(|event| event.sequence).collect();
    let expected: Vec<u64> = match state.first {
        0 => Vec::new(),
        first => (first..=state.last).collect(),
    };
    assert_eq!(sequences, expected, "{state:?}");
    assert!(state.first <= 2);
    let all = log.iter().chain(waiting.iter().map(|(_, event)| event));
    let bytes: u64 = all.map(|event| event.event.cost()).sum();
    assert_eq!((state.bytes, state.waiting), (bytes, waiting.len() as u64));
    assert_eq!(state.next_due_ms, waiting.first().map(|(due, _)| *due));

    let mut done = 0;
    for number in 0..ROUNDS {
        let is_there = store.exists("b", &format!("key {number}")).wait().unwrap();
        assert!(
            is_there || !acknowledged.contains(&number),
            "round {number} is lost"
        );
        done += u64::from(is_there);
        let of = |kind: &str| {
            let all = log.iter().chain(waiting.iter().map(|(_, event)| event));
            let subject = number.to_string();
            let same = all.filter(|event| event.event.kind == kind);
            same.filter(|event| event.event.subject.as_deref() == Some(&subject))
                .count()
        };
        // The first event may have been trimmed.
        let trimmed = number == 0 && state.first != 1;
        if !trimmed {
            assert_eq!(of("e"), usize::from(is_there), "round {number}: {log:?}");
        }
        assert_eq!(of("t"), usize::from(is_there), "round {number}: {log:?}");
    }
    assert_eq!(state.last + state.waiting, 2 * done);
    let count = store.get("b", "count").wait().unwrap();
    let count = count.map_or(0, |entry| {
        String::from_utf8(entry.value).unwrap().parse().unwrap()
    });
    assert_eq!(done, count);
}

/// Tries everything once more.
fn check_again(store: &dyn Store) {
    block_on(async {
        let done = work(store).await;
        assert_eq!(done.len() as u64, ROUNDS);
        check(store, &done);
        let count = store.get("b", "count").await.unwrap().unwrap();
        assert_eq!(count.value, ROUNDS.to_string().into_bytes());
    });
}

/// Has the power go at access `at` of [`work`] on `image`. None: it did not come to that.
fn crash(image: &[u8], at: u64) -> Option<(Disk, Vec<u64>)> {
    let disk = Disk::of(image.to_vec());
    disk.arm(Trouble::PowerLoss(at));
    let mut acknowledged = Vec::new();
    if let Ok(store) = open(&disk, bare_limits()) {
        acknowledged = block_on(work(&store));
        store.close();
    }
    disk.struck().then_some((disk, acknowledged))
}

#[test]
fn crash_at_any_access_keeps_events_and_keys_together() {
    let empty = Disk::new().after_power_loss(1);
    let mut crashes = 0;
    for at in 1.. {
        let Some((disk, acknowledged)) = crash(&empty, at) else {
            break;
        };
        crashes += 1;
        for seed in [0, 1, at * 2 + 1, at * 7 + 3] {
            let after = Disk::of(disk.after_power_loss(seed));
            let store = open(&after, bare_limits()).unwrap();
            check(&store, &acknowledged);
            if seed == 1 {
                check_again(&store);
            }
        }
    }
    assert!(crashes > 100, "{crashes} crashes are too few to have tried");
}

#[test]
fn second_crash_while_all_is_tried_again_keeps_events_and_keys_together() {
    let empty = Disk::new().after_power_loss(1);
    let mut crashes = 0;
    for at in (10..).step_by(37) {
        let Some((disk, first)) = crash(&empty, at) else {
            break;
        };
        let image = disk.after_power_loss(at);
        for again in (1..).step_by(11) {
            let Some((disk, second)) = crash(&image, again) else {
                break;
            };
            crashes += 1;
            let after = Disk::of(disk.after_power_loss(again));
            let store = open(&after, bare_limits()).unwrap();
            check(&store, &[&first[..], &second].concat());
            check_again(&store);
        }
    }
    assert!(crashes > 30, "{crashes} crashes are too few to have tried");
}

#[test]
fn log_state_is_that_of_the_disk_after_a_failed_commit() {
    let disk = Disk::new();
    let store = open(&disk, bare_limits()).unwrap();
    block_on(async {
        store.transact(round(0)).await.unwrap();
        let mut failed = 0;
        for number in 1..20 {
            disk.arm(Trouble::FailSync(1, u64::MAX / 2));
            let done = store.transact(round(number)).await;
            failed += usize::from(matches!(done, Err(StoreError::Io { .. })));
            // As soon as it is read again.
            let log = loop {
                match store.events(0, 99, usize::MAX).await {
                    Ok(page) => break page.events,
                    Err(_) => tokio::time::sleep(std::time::Duration::from_millis(1)).await,
                }
            };
            assert_eq!(store.log_state().last, log.len() as u64);
        }
        assert!(failed > 0);
    });
}
