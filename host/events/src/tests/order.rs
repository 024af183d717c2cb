//! Which events go when.

use super::*;
use crate::limits::{EventsLimits, MAX_UNFINISHED};
use crate::operate::EventsError;
use hms_grants::subscription::{AfterPark, Filter, Order, Start, Subscription};
use hms_store::conformance::Memory;
use hms_store::{Backend, Store, StoreError, StoreId, StoreLimits};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn event_is_delivered_at_once_and_the_cursor_moves() {
    let host = Host::new(&[("b", subscription("all", "a"))]).await;
    let before = super::fixture::clock();
    host.emit("a", &["x"]).await;
    host.caught_up("b", "all").await;
    let seen = host.seen();
    assert_eq!(seen.len(), 1);
    let first = &seen[0];
    assert_eq!(
        (first.window.as_str(), first.sequence, first.body.as_str()),
        ("b", 1, "x")
    );
    assert_eq!((first.attempt, first.round), (1, 0));
    assert!(first.at_ms - before <= 20, "{} ms", first.at_ms - before);
    let status = host.events.subscription("b", "all").unwrap();
    assert_eq!((status.sources[0].done, status.parked), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn poison_event_at_the_head_of_a_key_lets_the_others_flow() {
    let host = Host::new(&[("b", subscription("all", "a"))]).await;
    host.script(|seen| match seen.body.as_str() {
        "k" if seen.sequence == 1 => Reply::Status(500),
        _ => Reply::Status(200),
    });
    host.emit("a", &["k", "k", "x", "y", "k", "x"]).await;
    host.settle().await;
    let mut sequences = host.sequences();
    sequences.retain(|sequence| *sequence != 1);
    sequences.sort_unstable();
    assert_eq!(sequences, [3, 4, 6], "those of key k wait");
    let status = host.events.subscription("b", "all").unwrap();
    assert_eq!(
        (status.sources[0].done, status.lag, status.blocked_keys),
        (0, 3, 1)
    );
    host.script(|_| Reply::Status(200));
    host.caught_up("b", "all").await;
    assert_eq!(host.sequences(), [1, 2, 5]);
}

#[tokio::test(start_paused = true)]
async fn no_order_means_that_nothing_waits() {
    let unordered = Subscription {
        order: Order::None,
        ..subscription("all", "a")
    };
    let host = Host::new(&[("b", unordered)]).await;
    host.script(|seen| match seen.sequence {
        1 => Reply::Status(500),
        _ => Reply::Status(200),
    });
    host.emit("a", &["k", "k", "k"]).await;
    host.settle().await;
    let mut sequences = host.sequences();
    sequences.dedup();
    assert!(
        sequences.contains(&2) && sequences.contains(&3),
        "{sequences:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn deliveries_at_once_are_bounded_for_a_subscription_and_for_the_host() {
    let subjects: Vec<String> = (0..40).map(|i| i.to_string()).collect();
    let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
    for (in_flight, most) in [(64, 16), (5, 5)] {
        let limits = EventsLimits {
            in_flight,
            ..EventsLimits::default()
        };
        let both = [
            ("b", subscription("all", "a")),
            ("c", subscription("all", "a")),
        ];
        let host = Host::with(&both, limits).await;
        host.script(|_| Reply::In(Duration::from_secs(1)));
        host.emit("a", &subjects).await;
        host.caught_up("b", "all").await;
        host.caught_up("c", "all").await;
        assert_eq!(host.most_at_once(), most);
        assert_eq!(host.seen().len(), 80);
    }
}

#[tokio::test(start_paused = true)]
async fn subscription_reads_no_more_than_its_bound_and_goes_on_by_itself() {
    let unordered = Subscription {
        order: Order::None,
        ..subscription("all", "a")
    };
    let host = Host::new(&[("b", unordered)]).await;
    host.script(|_| Reply::Status(503));
    let events = (0..MAX_UNFINISHED + 500).map(|i| super::fixture::event(&i.to_string()));
    host.transact("a", events.collect()).await;
    host.pass(Duration::from_secs(30)).await;
    let highest = host.seen().iter().map(|seen| seen.sequence).max();
    assert_eq!(highest, Some(MAX_UNFINISHED as u64));
    let subscriber = host.events.shared.subscriber("b", "all").unwrap();
    assert_eq!(subscriber.inner.lock().flow.unfinished(), MAX_UNFINISHED);
    host.script(|_| Reply::Status(200));
    host.caught_up("b", "all").await;
    let mut sequences = host.sequences();
    sequences.sort_unstable();
    assert_eq!(
        sequences,
        (1..=MAX_UNFINISHED as u64 + 500).collect::<Vec<_>>()
    );
}

#[tokio::test(start_paused = true)]
async fn slow_consumer_costs_no_memory() {
    let host = Host::new(&[("b", subscription("all", "a"))]).await;
    host.script(|_| Reply::In(Duration::from_millis(100)));
    for _ in 0..8 {
        let events = (0..250).map(|i| super::fixture::event(&i.to_string()));
        host.transact("a", events.collect()).await;
        host.pass(Duration::from_secs(1)).await;
        let subscriber = host.events.shared.subscriber("b", "all").unwrap();
        assert!(subscriber.inner.lock().flow.unfinished() <= MAX_UNFINISHED);
    }
    host.caught_up("b", "all").await;
    assert_eq!(host.seen().len(), 2_000);
}

#[tokio::test(start_paused = true)]
async fn two_subscriptions_of_one_source_both_get_all() {
    let both = [
        ("b", subscription("one", "a")),
        ("b", subscription("two", "a")),
    ];
    let host = Host::new(&both).await;
    host.script(|seen| match (seen.subscription.as_str(), seen.attempt) {
        ("two", 1) => Reply::Status(503),
        _ => Reply::Status(200),
    });
    host.emit("a", &["x", "y"]).await;
    host.caught_up("b", "one").await;
    host.caught_up("b", "two").await;
    let seen = host.seen();
    let of = |name: &str| seen.iter().filter(|seen| seen.subscription == name).count();
    assert_eq!((of("one"), of("two")), (2, 4));
}

#[tokio::test(start_paused = true)]
async fn filter_passes_over_what_is_not_wanted() {
    let filtered = Subscription {
        filters: vec![Filter::Exact(vec![("subject".into(), "x".into())])],
        after_park: AfterPark::Hold,
        ..subscription("some", "a")
    };
    let host = Host::new(&[("b", filtered)]).await;
    host.emit("a", &["y", "x", "y", "x", "y"]).await;
    host.caught_up("b", "some").await;
    assert_eq!(host.sequences(), [2, 4]);
    let status = host.events.subscription("b", "some").unwrap();
    assert_eq!(status.sources[0].done, 5);
}

/// Stores of which one cannot be opened.
struct Broken(Memory);

impl Backend for Broken {
    fn open(&self, name: &str, create: bool) -> Result<Option<Arc<dyn Store>>, StoreError> {
        match name {
            "broken" => Err(StoreError::Corrupt {
                path: name.into(),
                reason: "a test says so".into(),
            }),
            _ => self.0.open(name, create),
        }
    }

    fn list(&self) -> Result<BTreeMap<String, StoreId>, StoreError> {
        self.0.list()
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.0.remove(name)
    }
}

#[tokio::test(start_paused = true)]
async fn source_whose_store_fails_keeps_no_other_of_the_subscription_waiting() {
    let both = Subscription {
        from: vec!["broken".parse().unwrap(), "a".parse().unwrap()],
        ..subscription("both", "a")
    };
    let stores = Box::new(Broken(Memory::new(StoreLimits::default())));
    let host = Host::over(&[("b", both)], EventsLimits::default(), stores).await;
    host.emit("a", &["x", "y"]).await;
    host.pass(Duration::from_secs(5)).await;
    assert_eq!(host.sequences(), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn subscription_that_cannot_be_read_is_not_said_to_be_resumed() {
    let stores = Box::new(Broken(Memory::new(StoreLimits::default())));
    let all = subscription("all", "a");
    let host = Host::over(&[("b", all.clone())], EventsLimits::default(), stores).await;
    host.events.pause("b", "all").await.unwrap();
    let both = Subscription {
        from: vec!["a".parse().unwrap(), "broken".parse().unwrap()],
        start: Start::Now,
        ..all.clone()
    };
    host.grant("b", vec![both]);
    host.settle().await;
    let refused = host.events.resume("b", "all").await.unwrap_err();
    assert!(matches!(refused, EventsError::NotRead), "{refused}");
    host.grant("b", vec![all]);
    host.settle().await;
    assert!(
        host.events
            .resume("b", "all")
            .await
            .unwrap()
            .paused
            .is_none()
    );
}
