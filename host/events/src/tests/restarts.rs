//! What outlives a host, and what happens again.

use super::*;
use crate::limits::EventsLimits;
use crate::records::{LOGS, LogRecord, SUBSCRIPTIONS};
use hms_core::error::Problem;
use hms_core::events::EmitGuard;
use hms_grants::subscription::{Start, Subscription};
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn acknowledged_events_are_not_delivered_again_and_others_are() {
    let mut host = Host::new(&[("b", subscription("all", "a"))]).await;
    host.script(|seen| match seen.sequence {
        1 | 3 => Reply::Status(200),
        _ => Reply::In(Duration::from_secs(3_600)),
    });
    host.emit("a", &["x", "y", "z"]).await;
    host.settle().await;
    assert_eq!(host.seen().len(), 3);
    host.crash().await;
    host.script(|_| Reply::Status(200));
    host.caught_up("b", "all").await;
    let seen = host.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].sequence, seen[0].attempt), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn delivery_answered_just_before_a_crash_is_repeated() {
    let mut host = Host::new(&[("b", subscription("all", "a"))]).await;
    host.emit("a", &["x"]).await;
    while host.windows_saw() == 0 {
        tokio::task::yield_now().await;
    }
    host.crash().await;
    host.caught_up("b", "all").await;
    assert_eq!(host.sequences(), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn attempts_outlive_the_host() {
    let mut host = Host::new(&[("b", subscription("all", "a"))]).await;
    host.script(|_| Reply::Status(500));
    host.emit("a", &["x"]).await;
    host.pass(Duration::from_secs(20)).await;
    let before = host.seen().len() as u32;
    host.crash().await;
    host.script(|_| Reply::Status(200));
    host.caught_up("b", "all").await;
    let seen = host.seen();
    assert_eq!((seen.len(), seen[0].attempt), (1, before + 1));
}

#[tokio::test(start_paused = true)]
async fn shutdown_parks_nothing_and_counts_nothing() {
    let mut host = Host::new(&[("b", subscription("all", "a"))]).await;
    host.script(|_| Reply::Fails(Problem::WindowStopped));
    host.emit("a", &["x", "y"]).await;
    host.settle().await;
    host.script(|_| Reply::In(Duration::from_secs(3_600)));
    host.pass(Duration::from_secs(5)).await;
    // Two are in flight, and are cut off.
    assert!(host.seen().iter().all(|seen| seen.attempt == 1));
    host.script(|_| Reply::Status(200));
    host.restart().await;
    host.caught_up("b", "all").await;
    let seen = host.seen();
    assert!(seen.iter().all(|seen| seen.attempt == 1), "{seen:?}");
    assert_eq!(seen.len(), 2);
    assert_eq!(host.events.subscription("b", "all").unwrap().parked, 0);
}

#[tokio::test(start_paused = true)]
async fn stores_are_dirty_from_the_first_event_to_an_orderly_end() {
    let mut host = Host::new(&[]).await;
    let record = async |host: &Host| {
        let state = &host.events.shared.state;
        state.get::<LogRecord>(LOGS, "a").await.unwrap()
    };
    host.emit("a", &["x"]).await;
    assert!(record(&host).await.unwrap().dirty);
    assert!(host.events.shared.logs.before_emit("a").is_none());
    host.restart().await;
    let expected = LogRecord {
        last: 1,
        next_due_ms: None,
        dirty: false,
    };
    assert_eq!(record(&host).await, Some(expected));
    assert!(host.events.shared.logs.before_emit("a").is_some());
}

#[tokio::test(start_paused = true)]
async fn only_stores_in_doubt_or_behind_are_opened_at_start() {
    let behind = Subscription {
        start: Start::Earliest,
        ..subscription("all", "lagging")
    };
    let done = subscription("done", "done");
    let mut host = Host::new(&[("b", behind), ("b", done)]).await;
    host.script(|seen| match seen.source.as_str() {
        "lagging" => Reply::Fails(Problem::WindowStopped),
        _ => Reply::Status(200),
    });
    for window in ["lagging", "done", "unread"] {
        host.emit(window, &["x"]).await;
    }
    host.caught_up("b", "done").await;
    host.events.stop().await;
    host.events.close().await;
    host.stores.close_all();
    host.restart().await;
    host.settle().await;
    let open = |window: &str| host.stores.get(window).is_some();
    assert_eq!(
        ["lagging", "done", "unread"].map(open),
        [true, false, false]
    );
}

#[tokio::test(start_paused = true)]
async fn store_that_was_made_anew_is_read_from_its_first_event_on() {
    let host = Host::new(&[("b", subscription("all", "a"))]).await;
    host.emit("a", &["x", "y", "z"]).await;
    host.caught_up("b", "all").await;
    host.seen();
    host.stores.remove("a").unwrap();
    host.events.store_deleted("a");
    host.emit("a", &["new"]).await;
    host.settle().await;
    let seen = host.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].sequence, seen[0].body.as_str()), (1, "new"));
}

#[tokio::test(start_paused = true)]
async fn subscription_that_was_removed_by_mistake_goes_on_where_it_was() {
    let one = subscription("all", "a");
    let host = Host::new(&[("b", one.clone())]).await;
    host.emit("a", &["x"]).await;
    host.caught_up("b", "all").await;
    host.grant("b", Vec::new());
    host.settle().await;
    assert!(host.events.subscriptions().is_empty());
    host.emit("a", &["y"]).await;
    host.pass(Duration::from_secs(3_600)).await;
    host.grant("b", vec![one.clone()]);
    host.caught_up("b", "all").await;
    assert_eq!(host.sequences(), [1, 2]);
    // After a week it is another one.
    host.grant("b", Vec::new());
    host.pass(Duration::from_secs(8 * 24 * 3_600)).await;
    let late = Subscription {
        start: Start::Now,
        ..one
    };
    host.grant("b", vec![late]);
    host.settle().await;
    host.emit("a", &["z"]).await;
    host.caught_up("b", "all").await;
    assert_eq!(host.sequences(), [3]);
}

impl Host {
    fn windows_saw(&self) -> usize {
        let seen = self.seen();
        let count = seen.len();
        self.put_back(seen);
        count
    }
}

#[tokio::test(start_paused = true)]
async fn copy_for_a_backup_says_of_no_log_that_it_is_exact_and_a_usual_end_makes_them_so() {
    let mut host = Host::new(&[("b", subscription("all", "a"))]).await;
    host.emit("a", &["x"]).await;
    host.caught_up("b", "all").await;
    host.restart().await;
    let is_dirty = async |host: &Host| {
        let state = &host.events.shared.state;
        let record: Option<LogRecord> = state.get(LOGS, "a").await.unwrap();
        record.unwrap().dirty
    };
    assert!(!is_dirty(&host).await);
    host.events.before_snapshot().await.unwrap();
    assert!(is_dirty(&host).await);
    host.restart().await;
    assert!(!is_dirty(&host).await);
}

#[tokio::test(start_paused = true)]
async fn attempts_of_an_event_end_with_its_log() {
    let mut host = Host::new(&[("b", subscription("all", "a"))]).await;
    host.script(|_| Reply::Status(500));
    host.emit("a", &["old"]).await;
    host.pass(Duration::from_secs(20)).await;
    host.stores.remove("a").unwrap();
    host.events.store_deleted("a");
    host.settle().await;
    host.restart().await;
    host.seen();
    host.script(|_| Reply::Status(200));
    host.emit("a", &["new"]).await;
    host.caught_up("b", "all").await;
    let seen = host.seen();
    assert_eq!((seen.len(), seen[0].attempt), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn subscription_that_is_put_back_reads_a_log_that_was_made_anew_from_its_first_event_on() {
    let one = subscription("all", "a");
    let host = Host::new(&[("b", one.clone())]).await;
    host.emit("a", &["x", "y"]).await;
    host.caught_up("b", "all").await;
    host.grant("b", Vec::new());
    host.settle().await;
    host.stores.remove("a").unwrap();
    host.events.store_deleted("a");
    host.settle().await;
    host.emit("a", &["1", "2", "3"]).await;
    host.seen();
    host.grant("b", vec![one]);
    host.caught_up("b", "all").await;
    let mut sequences = host.sequences();
    sequences.sort_unstable();
    assert_eq!(sequences, [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn parked_events_of_a_subscription_that_is_gone_for_long_stay_until_somebody_drops_them() {
    let one = subscription("all", "a");
    let limits = EventsLimits {
        keep: Duration::from_secs(3_600),
        ..EventsLimits::default()
    };
    let host = Host::with(&[("b", one.clone())], limits).await;
    host.script(|_| Reply::Status(400));
    host.emit("a", &["x", "y"]).await;
    host.settle().await;
    host.events.pause("b", "all").await.unwrap();
    host.grant("b", Vec::new());
    host.pass(Duration::from_secs(3 * 3_600)).await;
    let parked = async || {
        let list = host.events.parked(Some("b"), Some("all"), None, 10).await;
        list.unwrap().parked
    };
    let all = parked().await;
    assert_eq!(all.len(), 2);
    host.events.drop_parked(&all[0].id).await.unwrap();
    // All else of it is gone: it is another one.
    host.script(|_| Reply::Status(200));
    host.seen();
    let late = Subscription {
        start: Start::Now,
        ..one
    };
    host.grant("b", vec![late]);
    host.settle().await;
    host.events.retry_parked(&all[1].id).await.unwrap();
    host.emit("a", &["z"]).await;
    host.caught_up("b", "all").await;
    let mut sequences = host.sequences();
    sequences.sort_unstable();
    assert_eq!(sequences, [2, 3]);
    host.grant("b", Vec::new());
    host.pass(Duration::from_secs(2 * 3_600)).await;
    let state = &host.events.shared.state;
    assert!(state.keys(SUBSCRIPTIONS).await.unwrap().is_empty());
}
