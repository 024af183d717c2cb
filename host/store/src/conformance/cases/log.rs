//! The log of events.

use super::super::super::{
    Committed, EventsPage, LogBounds, LogState, NewEvent, Store, StoreError, StoreLimits,
    StoredEvent, Transaction,
};
use super::super::{
    NAME, Subject, blocking, committed, emitting, event, increment, open, set, timer,
};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// All of the log.
async fn log(store: &Arc<dyn Store>) -> Vec<StoredEvent> {
    let page = store.events(0, usize::MAX, usize::MAX).await.unwrap();
    assert!(!page.more);
    page.events
}

/// Sequence and subject of each event of a page.
fn seen(page: &EventsPage) -> Vec<(u64, &str)> {
    let events = page.events.iter();
    let seen = events.map(|event| (event.sequence, event.event.subject.as_deref().unwrap()));
    seen.collect()
}

pub(super) async fn log_is_dense_under_concurrent_transactions(on: &Subject<'_>) {
    let (_stores, store) = on.store(StoreLimits::default()).await;
    let tasks = (0..8).map(|task| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut ids = Vec::new();
            for round in 0..10 {
                let both = vec![
                    event("a", &format!("{task}/{round}")),
                    event("b", &format!("{task}/{round}")),
                ];
                let transaction = Transaction {
                    changes: vec![increment("n", 2)],
                    ..emitting(both, 1)
                };
                ids.extend(committed(store.transact(transaction).await).event_ids);
                // Ordinary writes go in between.
                store.write(vec![set("k", "v")]).await.unwrap();
            }
            ids
        })
    });
    let mut ids = BTreeSet::new();
    for task in tasks.collect::<Vec<_>>() {
        ids.extend(task.await.unwrap());
    }
    let log = log(&store).await;
    let sequences: Vec<u64> = log.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, (1..=160).collect::<Vec<_>>());
    let logged: BTreeSet<String> = log.iter().map(|event| event.id.clone()).collect();
    assert_eq!(logged, ids);
    for pair in log.chunks(2) {
        assert_eq!(pair[0].event.subject, pair[1].event.subject);
        assert_eq!((&*pair[0].event.kind, &*pair[1].event.kind), ("a", "b"));
    }
    let value = store.get("b", "n").await.unwrap().unwrap().value;
    assert_eq!(value, b"160");
    let bytes = log.iter().map(|event| event.event.cost()).sum();
    let state = LogState {
        first: 1,
        last: 160,
        bytes,
        waiting: 0,
        next_due_ms: None,
    };
    assert_eq!(store.log_state(), state);
}

pub(super) async fn page_of_the_log_is_bounded_by_count_and_bytes(on: &Subject<'_>) {
    let (_stores, store) = on.store(StoreLimits::default()).await;
    assert_eq!(store.events(0, 9, 9_999).await, Ok(EventsPage::default()));
    let large = |subject: &str| NewEvent {
        data: vec![7; 1_000],
        ..event("a", subject)
    };
    let all = ["1", "2", "3", "4", "5"].map(large).to_vec();
    committed(store.transact(emitting(all, 1)).await);
    let page = async |after, limit, bytes| store.events(after, limit, bytes).await.unwrap();
    let two = page(0, 2, usize::MAX).await;
    assert_eq!((seen(&two), two.more), (vec![(1, "1"), (2, "2")], true));
    let rest = page(2, 3, usize::MAX).await;
    assert_eq!(
        (seen(&rest), rest.more),
        (vec![(3, "3"), (4, "4"), (5, "5")], false)
    );
    let by_bytes = page(1, 9, 2 * large("2").cost() as usize).await;
    assert_eq!(
        (seen(&by_bytes), by_bytes.more),
        (vec![(2, "2"), (3, "3")], true)
    );
    let at_least_one = page(1, 9, 0).await;
    assert_eq!(
        (seen(&at_least_one), at_least_one.more),
        (vec![(2, "2")], true)
    );
    for after in [5, 6, u64::MAX] {
        assert_eq!(page(after, 9, 9_999).await, EventsPage::default());
    }
}

pub(super) async fn event_keeps_all_that_was_said(on: &Subject<'_>) {
    let (_stores, store) = on.store(StoreLimits::default()).await;
    let text = |text: &str| Some(text.to_owned());
    let events = vec![
        NewEvent {
            kind: "gov.payment.paid.v1".into(),
            subject: text("ä \"\n\u{0}"),
            partition_key: text(""),
            content_type: "application/json".into(),
            data: b"\n{}\n\xff".to_vec(),
            attributes: vec![("a".into(), "\n".into()), ("a".into(), String::new())],
            traceparent: text("00-1-2-01"),
            not_before_ms: Some(4),
            name: text("n"),
        },
        NewEvent {
            kind: "b".into(),
            ..NewEvent::default()
        },
    ];
    let ids = committed(store.transact(emitting(events.clone(), 5)).await).event_ids;
    let expected = events.into_iter().zip(ids).zip(1..);
    let expected: Vec<_> = expected
        .map(|((event, id), sequence)| StoredEvent {
            sequence,
            id,
            time_ms: 5,
            event,
        })
        .collect();
    assert_eq!(log(&store).await, expected);
}

pub(super) async fn due_events_are_appended_in_the_order_of_their_times(on: &Subject<'_>) {
    let (_stores, store) = on.store(StoreLimits::default()).await;
    let times = [("c", 30), ("a", 10), ("b", 20), ("a too", 10)];
    let timers = times
        .map(|(subject, due)| timer("t", subject, due))
        .to_vec();
    let ids = committed(store.transact(emitting(timers, 5)).await).event_ids;
    assert_eq!(log(&store).await, []);
    let state = store.log_state();
    assert_eq!((state.first, state.last, state.waiting), (0, 0, 4));
    assert_eq!(state.next_due_ms, Some(10));
    let waiting = store.waiting_events(3).await.unwrap();
    let due: Vec<_> = waiting
        .iter()
        .map(|(due, event)| (*due, event.id.as_str()))
        .collect();
    assert_eq!(due, [(10, &*ids[1]), (10, &*ids[3]), (20, &*ids[2])]);
    assert_eq!((waiting[0].1.sequence, waiting[0].1.time_ms), (0, 5));

    let none = committed(store.promote_due(9, 9).await);
    assert_eq!(none, Committed::default());
    let first = committed(store.promote_due(25, 1).await);
    assert_eq!(first.event_ids, [ids[1].clone()]);
    committed(
        store
            .transact(emitting(vec![event("now", "now")], 25))
            .await,
    );
    let rest = committed(store.promote_due(25, 9).await);
    assert_eq!(rest.event_ids, [ids[3].clone(), ids[2].clone()]);
    let page = store.events(0, 9, usize::MAX).await.unwrap();
    assert_eq!(seen(&page), [(1, "a"), (2, "now"), (3, "a too"), (4, "b")]);
    assert_eq!(page.events[0].id, ids[1]);
    let emitted_at: Vec<u64> = page.events.iter().map(|event| event.time_ms).collect();
    assert_eq!(emitted_at, [10, 25, 10, 20]);
    let bytes = page
        .events
        .iter()
        .map(|event| event.event.cost())
        .sum::<u64>();
    let bytes = bytes + timer("t", "c", 30).cost();
    let state = LogState {
        first: 1,
        last: 4,
        bytes,
        waiting: 1,
        next_due_ms: Some(30),
    };
    assert_eq!(store.log_state(), state);
}

pub(super) async fn waiting_event_is_replaced_and_cancelled_by_its_name(on: &Subject<'_>) {
    let (_stores, store) = on.store(StoreLimits::default()).await;
    let of = |kind: &str, due| timer(kind, "n", due);
    let unnamed = NewEvent {
        name: None,
        ..timer("unnamed", "u", 50)
    };
    let first = vec![of("first", 10), unnamed.clone(), of("second", 20)];
    committed(store.transact(emitting(first, 1)).await);
    let kinds = async || {
        let waiting = store.waiting_events(9).await.unwrap().into_iter();
        waiting
            .map(|(due, event)| (due, event.event.kind))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        kinds().await,
        [(20, "second".into()), (50, "unnamed".into())]
    );
    committed(store.transact(emitting(vec![of("third", 70)], 1)).await);
    assert_eq!(
        kinds().await,
        [(50, "unnamed".into()), (70, "third".into())]
    );
    assert_eq!(
        store.log_state().bytes,
        unnamed.cost() + of("third", 70).cost()
    );
    // Cancelled before it is emitted again.
    let again = Transaction {
        cancel: vec!["n".into(), "never there".into()],
        ..emitting(vec![of("fourth", 60)], 1)
    };
    committed(store.transact(again).await);
    assert_eq!(
        kinds().await,
        [(50, "unnamed".into()), (60, "fourth".into())]
    );
    // One that is not to wait replaces, too.
    committed(store.transact(emitting(vec![of("now", 1)], 1)).await);
    assert_eq!(kinds().await, [(50, "unnamed".into())]);
    committed(store.promote_due(50, 9).await);
    let cancel = Transaction {
        cancel: vec!["n".into()],
        ..Transaction::default()
    };
    committed(store.transact(cancel).await);
    let page = store.events(0, 9, usize::MAX).await.unwrap();
    assert_eq!(seen(&page), [(1, "n"), (2, "u")]);
    assert_eq!(store.log_state().waiting, 0);
    assert_eq!(
        store.log_state().bytes,
        unnamed.cost() + of("now", 1).cost()
    );
}

pub(super) async fn full_outbox_drops_only_what_nobody_needs(on: &Subject<'_>) {
    let (_stores, store) = on.store(StoreLimits::default()).await;
    let emit = |subject: &str| store.transact(emitting(vec![event("a", subject)], 1));
    let cost = event("a", "1").cost();
    let bound = |events: u64, needed_from| {
        let max_bytes = events * cost;
        store.set_log_bounds(LogBounds {
            max_bytes,
            needed_from,
        });
    };
    bound(3, 0);
    for subject in ["1", "2", "3"] {
        committed(emit(subject).await);
    }
    let full = Err(StoreError::OutboxFull { limit: 3 * cost });
    assert_eq!(emit("4").await, full);
    let with_a_key = Transaction {
        changes: vec![set("k", "v")],
        ..emitting(vec![event("a", "4")], 1)
    };
    // The others of its group go on.
    let refused = store.transact(with_a_key);
    let other = store.write(vec![set("l", "v")]);
    assert_eq!((refused.await, other.await.is_ok()), (full.clone(), true));
    assert_eq!(store.exists("b", "k").await, Ok(false));
    assert_eq!(store.exists("b", "l").await, Ok(true));
    // What emits nothing is not concerned.
    committed(
        store
            .transact(Transaction {
                cancel: vec!["n".into()],
                ..Transaction::default()
            })
            .await,
    );

    bound(3, 2);
    committed(emit("4").await);
    assert_eq!((store.log_state().first, store.log_state().last), (2, 4));
    assert_eq!(emit("5").await, full, "the second is needed");
    bound(3, u64::MAX);
    let two = vec![event("a", "5"), event("a", "6")];
    committed(store.transact(emitting(two, 1)).await);
    let state = LogState {
        first: 4,
        last: 6,
        bytes: 3 * cost,
        waiting: 0,
        next_due_ms: None,
    };
    assert_eq!(store.log_state(), state);
    // No room could be enough, so none is made.
    let four = vec![event("a", "7"); 4];
    assert_eq!(store.transact(emitting(four, 1)).await, full);
    assert_eq!(store.log_state(), state);
    // A log over a bound that was lowered does not grow.
    bound(1, u64::MAX);
    committed(emit("6").await);
    bound(1, 0);
    let smaller = LogState {
        first: 5,
        last: 7,
        ..state
    };
    assert_eq!(store.log_state(), smaller);
    assert_eq!(emit("7").await, Err(StoreError::OutboxFull { limit: cost }));
    bound(3, u64::MAX);
    // What waits counts, and is promoted all the same.
    let waiting = NewEvent {
        name: None,
        ..timer("a", "7", 9)
    };
    committed(store.transact(emitting(vec![waiting], 1)).await);
    assert_eq!((store.log_state().first, store.log_state().waiting), (6, 1));
    bound(3, 0);
    committed(store.promote_due(9, 9).await);
    assert_eq!((store.log_state().first, store.log_state().last), (6, 8));
}

pub(super) async fn old_events_and_once_keys_are_trimmed(on: &Subject<'_>) {
    let limits = StoreLimits {
        once_time: Duration::from_millis(100),
        ..StoreLimits::default()
    };
    let (_stores, store) = on.store(limits).await;
    let emit = |now_ms: u64| {
        let once = Transaction {
            once: Some(now_ms.to_string()),
            ..emitting(vec![event("a", "s")], now_ms)
        };
        store.transact(once)
    };
    for now in [10, 20, 30, 40] {
        committed(emit(now).await);
    }
    let cost = event("a", "s").cost();
    let trim = async |before, now| committed(store.trim(before, now).await).counters;
    assert_eq!(trim(100, 110).await, [0], "all is needed, and remembered");
    store.set_log_bounds(LogBounds {
        needed_from: 3,
        ..LogBounds::default()
    });
    assert_eq!(trim(20, 100).await, [1]);
    assert_eq!(store.log_state().first, 2);
    assert_eq!(trim(100, 100).await, [1]);
    assert_eq!(store.log_state().first, 3);
    // Over the bound, age does not matter.
    store.set_log_bounds(LogBounds {
        max_bytes: cost,
        needed_from: 9,
    });
    assert_eq!(trim(0, 100).await, [1]);
    assert_eq!(
        (store.log_state().first, store.log_state().bytes),
        (4, cost)
    );
    store.set_log_bounds(LogBounds {
        needed_from: 9,
        ..LogBounds::default()
    });
    assert_eq!(trim(100, 125).await, [3]);
    let state = LogState {
        last: 4,
        ..LogState::default()
    };
    assert_eq!(store.log_state(), state);
    assert_eq!(store.stats().stored_bytes, 2 * 2 * (2 + 64));
    let repeated = async |now| committed(emit(now).await).repeated;
    assert!(!repeated(10).await && repeated(30).await && repeated(40).await);
    assert_eq!((store.log_state().first, store.log_state().last), (5, 5));
}

pub(super) async fn reopened_log_is_as_it_was_closed(on: &Subject<'_>) {
    let (stores, store) = on.store(StoreLimits::default()).await;
    assert_eq!(store.log_state(), LogState::default());
    let both = vec![event("a", "1"), timer("t", "n", 50)];
    let ids = committed(store.transact(emitting(both, 1)).await).event_ids;
    let (before, state) = (log(&store).await, store.log_state());
    assert_eq!(store.stats().log_bytes, state.bytes);
    assert_eq!((store.stats().events, store.stats().events_waiting), (2, 1));
    blocking(&stores, |stores| stores.close(NAME)).await;
    let closed = Err(StoreError::Closed);
    assert_eq!(store.events(0, 9, 9).await, closed);
    assert_eq!(
        store.transact(emitting(vec![event("a", "2")], 2)).await,
        Err(StoreError::Closed)
    );
    let store = open(&stores, NAME).await;
    assert_eq!(store.log_state(), state);
    assert_eq!(log(&store).await, before);
    let next = committed(store.transact(emitting(vec![timer("t", "n", 40)], 2)).await);
    assert!(!ids.contains(&next.event_ids[0]));
    let log_of = |id: &str| id.split_once('-').unwrap().0.to_owned();
    assert_eq!(log_of(&next.event_ids[0]), log_of(&ids[0]));
    assert_eq!(log_of(&ids[0]).len(), 16);
    assert_eq!(store.log_state().next_due_ms, Some(40));
    assert_eq!(store.log_state().waiting, 1);
}

pub(super) async fn successor_of_a_removed_store_repeats_no_id(on: &Subject<'_>) {
    let (stores, store) = on.store(StoreLimits::default()).await;
    let emit = || emitting(vec![event("a", "1")], 1);
    let old = committed(store.transact(emit()).await).event_ids;
    stores.set_max_log_bytes(NAME, 1_000);
    stores.set_needed_from(NAME, 9);
    blocking(&stores, |stores| stores.remove(NAME))
        .await
        .unwrap();
    let store = open(&stores, NAME).await;
    assert_eq!(store.log_state(), LogState::default());
    let new = committed(store.transact(emit()).await).event_ids;
    assert_ne!(old, new);
    assert_eq!(store.log_state().first, 1);
    // Its events are not those that nobody needs any more.
    for _ in 0..2 {
        committed(store.transact(emit()).await);
    }
    let full = Err(StoreError::OutboxFull { limit: 1_000 });
    assert_eq!(store.transact(emit()).await, full);
}

pub(super) async fn observers_are_told_of_every_change(on: &Subject<'_>) {
    let (stores, store) = on.store(StoreLimits::default()).await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let observer = told.clone();
    stores.observe_logs(Arc::new(move |name: &str, state| {
        observer.lock().push((name.to_owned(), state));
    }));
    let take = || std::mem::take(&mut *told.lock());
    assert_eq!(take(), [], "there is nothing to tell");
    let now = |store: &Arc<dyn Store>| (NAME.to_owned(), store.log_state());
    committed(
        store
            .transact(emitting(vec![event("a", "1"), timer("t", "n", 9)], 1))
            .await,
    );
    assert_eq!(take(), [now(&store)]);
    store.write(vec![set("k", "v")]).await.unwrap();
    let once = Transaction {
        once: Some("o".into()),
        ..Transaction::default()
    };
    committed(store.transact(once).await);
    assert_eq!(take(), [], "the log is as it was");
    committed(store.promote_due(9, 9).await);
    assert_eq!(take(), [now(&store)]);
    committed(store.promote_due(9, 9).await);
    assert_eq!(take(), []);
    blocking(&stores, |stores| stores.close(NAME)).await;
    let store = open(&stores, NAME).await;
    assert_eq!(take(), [now(&store)], "as it is found");
    stores.set_needed_from(NAME, 2);
    committed(store.trim(100, 1).await);
    assert_eq!(store.log_state().first, 2);
    assert_eq!(take(), [now(&store)]);
    let other = open(&stores, "other").await;
    committed(other.transact(emitting(vec![event("a", "1")], 1)).await);
    assert_eq!(take(), [("other".to_owned(), other.log_state())]);
}
