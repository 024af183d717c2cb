//! Transactions, apart from their events.

use super::super::super::{
    Check, Committed, Entry, EntryKey, NewEvent, Op, Store, StoreError, StoreLimits, Transacted,
    Transaction,
};
use super::super::{Subject, committed, delete, emitting, event, increment, set, swap};
use std::sync::Arc;

fn at(bucket: &str, key: &str) -> EntryKey {
    EntryKey {
        bucket: bucket.into(),
        key: key.into(),
    }
}

fn check(key: &str, version: Option<u64>) -> Check {
    let at = at("b", key);
    Check { at, version }
}

fn changing(changes: Vec<Op>) -> Transaction {
    Transaction {
        changes,
        ..Transaction::default()
    }
}

async fn entry(store: &Arc<dyn Store>, key: &str) -> Option<Entry> {
    store.get("b", key).await.unwrap()
}

pub(super) async fn transaction_does_all_or_nothing(on: &Subject<'_>) {
    let (_stores, store) = on.store(StoreLimits::default()).await;
    let first = Transaction {
        checks: vec![check("k", None), check("none", None)],
        changes: vec![
            set("k", "v"),
            increment("n", 5),
            increment("n", -2),
            delete("none"),
        ],
        ..emitting(vec![event("a", "1"), event("a", "2")], 7)
    };
    let done = committed(store.transact(first).await);
    assert_eq!(done.counters, [5, 3]);
    assert_eq!(done.event_ids.len(), 2);
    assert!(!done.repeated);
    let held = entry(&store, "n").await.unwrap();
    assert_eq!((held.value, held.version), (b"3".to_vec(), done.version));
    let k = entry(&store, "k").await.unwrap();

    let refused = Transaction {
        checks: vec![check("k", Some(k.version))],
        changes: vec![set("k", "w"), increment("k", 1)],
        cancel: vec!["none".into()],
        once: Some("o".into()),
        ..emitting(vec![event("a", "3")], 8)
    };
    let not_a_number = Err(StoreError::NotANumber { key: "k".into() });
    assert_eq!(store.transact(refused.clone()).await, not_a_number);
    assert_eq!(entry(&store, "k").await, Some(k.clone()));
    assert_eq!(store.log_state().last, 2);
    // The key was not used up.
    let good = Transaction {
        changes: vec![set("k", "w")],
        ..refused
    };
    assert!(!committed(store.transact(good).await).repeated);
    assert_eq!(store.log_state().last, 3);
    let nothing = committed(store.transact(Transaction::default()).await);
    let version = entry(&store, "k").await.unwrap().version;
    assert_eq!(
        nothing,
        Committed {
            version,
            ..Committed::default()
        }
    );
}

pub(super) async fn conflict_names_every_place_that_failed(on: &Subject<'_>) {
    let (_stores, store) = on.store(StoreLimits::default()).await;
    store
        .write(vec![set("k", "v"), set("l", "v")])
        .await
        .unwrap();
    let version = entry(&store, "k").await.unwrap().version;
    let wrong = Transaction {
        checks: vec![
            check("l", None),
            check("k", Some(version)),
            check("none", Some(1)),
            check("k", Some(version + 9)),
        ],
        changes: vec![set("k", "w")],
        once: Some("o".into()),
        ..emitting(vec![event("a", "1")], 1)
    };
    let places = vec![at("b", "l"), at("b", "none"), at("b", "k")];
    let conflict = Ok(Transacted::Conflict(places));
    assert_eq!(store.transact(wrong.clone()).await, conflict);
    assert_eq!(store.transact(wrong).await, conflict);
    assert_eq!(entry(&store, "k").await.unwrap().value, b"v");
    assert_eq!(store.log_state().last, 0);
}

pub(super) async fn swap_in_a_transaction_is_a_check_and_a_set(on: &Subject<'_>) {
    let (_stores, store) = on.store(StoreLimits::default()).await;
    let late = changing(vec![swap("k", Some(1), "v"), swap("l", Some(1), "v")]);
    let both = Ok(Transacted::Conflict(vec![at("b", "k"), at("b", "l")]));
    assert_eq!(store.transact(late).await, both);
    let first = changing(vec![set("k", "old"), swap("k", None, "new")]);
    let done = committed(store.transact(first).await);
    let k = entry(&store, "k").await.unwrap();
    assert_eq!((k.value, k.version), (b"new".to_vec(), done.version));
}

pub(super) async fn once_key_commits_once(on: &Subject<'_>) {
    let (stores, store) = on.store(StoreLimits::default()).await;
    let add = |once: &str| Transaction {
        changes: vec![increment("n", 1)],
        once: Some(once.into()),
        ..emitting(vec![event("a", "1")], 1)
    };
    let first = committed(store.transact(add("x")).await);
    let again = Transaction {
        // Comes first, so that what has changed since does not matter.
        checks: vec![check("n", None)],
        ..add("x")
    };
    let repeated = Committed {
        version: first.version,
        repeated: true,
        ..Committed::default()
    };
    assert_eq!(committed(store.transact(again.clone()).await), repeated);
    let other = committed(store.transact(add("y")).await);
    assert_eq!((other.counters, other.repeated), (vec![2], false));
    super::super::blocking(&stores, |stores| stores.close(super::super::NAME)).await;
    let store = super::super::open(&stores, super::super::NAME).await;
    assert_eq!(committed(store.transact(again).await), repeated);
    let tries = (0..8).map(|_| {
        let (store, add) = (store.clone(), add("z"));
        tokio::spawn(async move { committed(store.transact(add).await).repeated })
    });
    let mut done = 0;
    for one in tries.collect::<Vec<_>>() {
        done += usize::from(!one.await.unwrap());
    }
    assert_eq!(done, 1);
    assert_eq!(entry(&store, "n").await.unwrap().value, b"3");
    assert_eq!(store.log_state().last, 3);
}

pub(super) async fn places_are_read_over_buckets_in_one_moment(on: &Subject<'_>) {
    let limits = StoreLimits {
        max_batch_ops: 3,
        max_batch_bytes: 10,
        ..StoreLimits::default()
    };
    let (_stores, store) = on.store(limits).await;
    let other = Op::Set {
        bucket: "c".into(),
        key: "k".into(),
        value: b"other".to_vec(),
    };
    store.write(vec![other]).await.unwrap();
    store.write(vec![set("k", "v")]).await.unwrap();
    let places = [at("c", "k"), at("d", "k"), at("b", "k")];
    let found = store.read_places(&places).await.unwrap();
    let values = found
        .into_iter()
        .map(|entry| entry.map(|entry| entry.value));
    let expected = [Some(b"other".to_vec()), None, Some(b"v".to_vec())];
    assert_eq!(values.collect::<Vec<_>>(), expected);
    let twice = [at("c", "k"), at("c", "k"), at("b", "k")];
    let too_large = Err(StoreError::BatchTooLarge { limit: 10 });
    assert_eq!(store.read_places(&twice).await, too_large);
    let many = vec![at("b", "k"); 4];
    let too_many = Err(StoreError::TooMany { count: 4, limit: 3 });
    assert_eq!(store.read_places(&many).await, too_many);
}

pub(super) async fn transaction_is_bounded_in_every_part(on: &Subject<'_>) {
    let limits = StoreLimits {
        max_checks: 2,
        max_events: 2,
        max_event_bytes: 10,
        max_event_text_bytes: 8,
        max_attributes: 2,
        max_attribute_bytes: 9,
        max_once_bytes: 3,
        max_batch_ops: 3,
        max_batch_bytes: 900,
        ..StoreLimits::default()
    };
    let (_stores, store) = on.store(limits).await;
    let one = |event: NewEvent| emitting(vec![event], 0);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let text = |what| StoreError::EventTextTooLong {
        what,
        len: 9,
        limit: 8,
    };
    let long = || Some("123456789".to_owned());
    let plain = || event("a", "s");
    let with = |attributes| {
        one(NewEvent {
            attributes,
            ..plain()
        })
    };
    let too_long = |what| StoreError::TransactionTooLong {
        what,
        count: 3,
        limit: 2,
    };
    let cancelling = |names: Vec<String>| Transaction {
        cancel: names,
        ..Transaction::default()
    };
    let once = |key: &str| Transaction {
        once: Some(key.into()),
        ..Transaction::default()
    };
    let checking = Transaction {
        checks: vec![check("k", None); 3],
        ..Transaction::default()
    };
    let full = Transaction {
        changes: vec![set("k", [0; 500])],
        ..emitting(vec![plain(), plain()], 0)
    };
    let refused = [
        (checking, too_long("checks")),
        (emitting(vec![plain(); 3], 0), too_long("events")),
        (cancelling(vec!["n".into(); 3]), too_long("names to cancel")),
        (cancelling(vec!["123456789".into()]), text("name")),
        (once(""), StoreError::BadOnceKey { len: 0, limit: 3 }),
        (once("1234"), StoreError::BadOnceKey { len: 4, limit: 3 }),
        (
            changing(vec![delete("k"); 4]),
            StoreError::TooMany { count: 4, limit: 3 },
        ),
        (changing(vec![set("", "v")]), StoreError::KeyEmpty),
        (one(event("", "s")), StoreError::EventWithoutType),
        (one(event("123456789", "s")), text("type")),
        (one(event("a", "123456789")), text("subject")),
        (
            one(NewEvent {
                partition_key: long(),
                ..plain()
            }),
            text("partition key"),
        ),
        (
            one(NewEvent {
                traceparent: long(),
                ..plain()
            }),
            text("trace"),
        ),
        (
            one(NewEvent {
                content_type: "123456789".into(),
                ..plain()
            }),
            text("content type"),
        ),
        (
            one(NewEvent {
                name: long(),
                not_before_ms: Some(1),
                ..plain()
            }),
            text("name"),
        ),
        (
            one(NewEvent {
                name: Some("n".into()),
                ..plain()
            }),
            StoreError::NameWithoutTime { name: "n".into() },
        ),
        (
            one(NewEvent {
                data: vec![0; 11],
                ..plain()
            }),
            StoreError::EventTooLarge { len: 11, limit: 10 },
        ),
        (
            with(vec![pair("a", "b"); 3]),
            StoreError::TooManyAttributes { count: 3, limit: 2 },
        ),
        (
            with(vec![pair("abcde", "12345")]),
            StoreError::EventTextTooLong {
                what: "list of attributes",
                len: 10,
                limit: 9,
            },
        ),
        (full, StoreError::BatchTooLarge { limit: 900 }),
    ];
    for (transaction, error) in refused {
        assert_eq!(store.transact(transaction).await, Err(error));
    }
    assert_eq!(store.log_state().last, 0);
    let good = NewEvent {
        data: vec![0; 10],
        attributes: vec![pair("abcd", "12345")],
        partition_key: Some("12345678".into()),
        ..plain()
    };
    committed(store.transact(one(good)).await);
}

pub(super) async fn full_store_takes_transactions_that_shrink_it(on: &Subject<'_>) {
    let limits = StoreLimits {
        max_store_bytes: 1_000,
        ..StoreLimits::default()
    };
    let (_stores, store) = on.store(limits).await;
    let full = Err(StoreError::StoreFull { limit: 1_000 });
    committed(store.transact(changing(vec![set("large", [0; 900])])).await);
    let once = |changes| Transaction {
        changes,
        once: Some("o".into()),
        ..emitting(vec![event("a", "1")], 1)
    };
    // The key counts.
    assert_eq!(store.transact(once(vec![])).await, full);
    assert_eq!(store.log_state().last, 0);
    store.set_max_store_bytes(100);
    let smaller = once(vec![set("large", [0; 700])]);
    committed(store.transact(smaller).await);
    assert_eq!(store.stats().stored_bytes, 1 + 5 + 700 + 64 + 2 * (1 + 64));
    // Events do not.
    committed(store.transact(emitting(vec![event("a", "2")], 2)).await);
    assert_eq!(store.log_state().last, 2);
}
