//! What operators ask.

use super::fixture::{EPOCH, clock};
use super::*;
use crate::operate::{EventsError, Shown};
use hms_api::SubscriptionState;
use hms_grants::subscription::{DeliverTo, Start, Subscription};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use std::time::{Duration, UNIX_EPOCH};
use time::OffsetDateTime;

fn at(ms: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).unwrap()
}

#[tokio::test(start_paused = true)]
async fn replay_delivers_again_in_a_further_round_what_was_done() {
    let host = Host::new(&[("b", subscription("all", "a"))]).await;
    host.emit("a", &["x", "y"]).await;
    host.caught_up("b", "all").await;
    host.pass(Duration::from_secs(60)).await;
    let from = clock();
    host.emit("a", &["x", "z"]).await;
    host.caught_up("b", "all").await;
    host.seen();
    let replayed = host.events.replay("b", "all", at(from)).await.unwrap();
    assert_eq!(replayed.events, 2);
    host.settle().await;
    host.emit("a", &["x"]).await;
    host.caught_up("b", "all").await;
    let mut rounds: Vec<_> = host
        .seen()
        .iter()
        .map(|seen| (seen.sequence, seen.round))
        .collect();
    rounds.sort_unstable();
    assert_eq!(rounds, [(3, 1), (4, 1), (5, 0)]);
    host.events.replay("b", "all", at(EPOCH)).await.unwrap();
    host.settle().await;
    host.caught_up("b", "all").await;
    let mut rounds: Vec<_> = host
        .seen()
        .iter()
        .map(|seen| (seen.sequence, seen.round))
        .collect();
    rounds.sort_unstable();
    assert_eq!(rounds, [(1, 2), (2, 2), (3, 2), (4, 2), (5, 2)]);
}

#[tokio::test(start_paused = true)]
async fn paused_subscription_delivers_nothing_until_it_is_resumed() {
    let host = Host::new(&[("b", subscription("all", "a"))]).await;
    host.events.pause("b", "all").await.unwrap();
    host.emit("a", &["x"]).await;
    host.pass(Duration::from_secs(60)).await;
    assert_eq!(host.sequences(), [0; 0]);
    let status = host.events.subscription("b", "all").unwrap();
    assert_eq!((status.lag, status.lag_seconds), (1, 60));
    host.events.resume("b", "all").await.unwrap();
    host.caught_up("b", "all").await;
    assert_eq!(host.sequences(), [1]);
}

#[tokio::test(start_paused = true)]
async fn parked_event_can_be_dropped() {
    let host = Host::new(&[("b", subscription("all", "a"))]).await;
    host.script(|_| Reply::Status(400));
    host.emit("a", &["x", "y"]).await;
    host.settle().await;
    let all = host.events.parked(Some("b"), None, None, 1).await.unwrap();
    assert_eq!((all.parked.len(), all.more), (1, true));
    let first = all.parked[0].id.clone();
    let rest = host
        .events
        .parked(None, None, Some(&first), 10)
        .await
        .unwrap();
    assert_eq!((rest.parked.len(), rest.more), (1, false));
    host.events.drop_parked(&first).await.unwrap();
    assert!(host.events.drop_parked(&first).await.is_err());
    let left = host.events.parked(None, None, None, 10).await.unwrap();
    assert_eq!(left.parked, rest.parked);
}

#[tokio::test(start_paused = true)]
async fn event_that_a_replay_parks_again_is_counted_once() {
    let host = Host::new(&[("b", subscription("all", "a"))]).await;
    host.script(|_| Reply::Status(400));
    host.emit("a", &["x"]).await;
    host.settle().await;
    host.events.replay("b", "all", at(EPOCH)).await.unwrap();
    host.settle().await;
    assert_eq!(host.seen().len(), 2);
    let parked = host.events.parked(None, None, None, 10).await.unwrap();
    assert_eq!(parked.parked.len(), 1);
    assert_eq!(host.events.subscription("b", "all").unwrap().parked, 1);
}

#[tokio::test(start_paused = true)]
async fn parked_event_of_a_source_that_left_the_file_moves_no_cursor() {
    let from = |sources: &[&str]| Subscription {
        from: sources.iter().map(|name| name.parse().unwrap()).collect(),
        ..subscription("all", "a")
    };
    let host = Host::new(&[("b", from(&["a", "c"]))]).await;
    host.script(|seen| match seen.sequence {
        2 => Reply::Status(400),
        _ => Reply::Status(200),
    });
    host.emit("a", &["x", "y", "z"]).await;
    host.settle().await;
    host.grant("b", vec![from(&["c"])]);
    host.settle().await;
    host.script(|_| Reply::Status(200));
    let parked = host.events.parked(None, None, None, 10).await.unwrap();
    host.events
        .retry_parked(&parked.parked[0].id)
        .await
        .unwrap();
    host.settle().await;
    assert_eq!(host.sequences(), [1, 2, 3, 2]);
    host.grant("b", vec![from(&["a", "c"])]);
    host.settle().await;
    assert_eq!(host.sequences(), [0; 0], "they were done");
}

#[tokio::test(start_paused = true)]
async fn subscription_begins_where_its_file_says() {
    let host = Host::new(&[]).await;
    host.emit("a", &["1", "2"]).await;
    host.pass(Duration::from_secs(10)).await;
    let time = UNIX_EPOCH + Duration::from_millis(clock());
    host.emit("a", &["3"]).await;
    let starting = |name: &str, start| Subscription {
        start,
        ..subscription(name, "a")
    };
    let all = vec![
        starting("now", Start::Now),
        starting("time", Start::At(time)),
        starting("earliest", Start::Earliest),
    ];
    host.grant("b", all);
    host.settle().await;
    host.emit("a", &["4"]).await;
    for name in ["now", "time", "earliest"] {
        host.caught_up("b", name).await;
    }
    let seen = host.seen();
    let of = |name: &str| seen.iter().filter(|seen| seen.subscription == name).count();
    assert_eq!(["now", "time", "earliest"].map(of), [1, 2, 4]);
}

#[tokio::test(start_paused = true)]
async fn window_with_undelivered_events_is_named_with_who_lacks_them() {
    let host = Host::new(&[("b", subscription("all", "a"))]).await;
    assert_eq!(host.events.undelivered("a").await, None);
    host.script(|_| Reply::Status(500));
    host.emit("a", &["x", "y"]).await;
    host.settle().await;
    let said = host.events.undelivered("a").await.unwrap();
    assert!(said.ends_with("by subscription: b/all (2)"), "{said}");
    host.script(|_| Reply::Status(200));
    host.caught_up("b", "all").await;
    assert_eq!(host.events.undelivered("a").await, None);
}

#[tokio::test(start_paused = true)]
async fn events_are_listed_and_followed() {
    let host = Host::new(&[]).await;
    host.emit("a", &["x", "y"]).await;
    let shown = Shown {
        after: 1,
        limit: 10,
        kind: Some("test.".into()),
    };
    let list = host.events.list("a", &shown).await.unwrap();
    assert_eq!((list.events.len(), list.after, list.more), (1, 2, false));
    assert_eq!(list.events[0].data.as_deref(), Some("y"));
    let before = clock();
    host.events.wait("a", 2, Duration::from_secs(5)).await;
    assert_eq!(clock() - before, 5_000);
    let (waiting, ()) = tokio::join!(
        host.events.wait("a", 2, Duration::from_secs(5)),
        host.emit("a", &["z"])
    );
    let () = waiting;
    assert!(clock() - before < 5_500);
}

#[tokio::test(start_paused = true)]
async fn event_is_shown_with_all_its_data_whatever_they_are() {
    let host = Host::new(&[]).await;
    let long = "x".repeat(5_000);
    let datas: [&[u8]; 3] = [long.as_bytes(), &[0xff, 0], b""];
    let events = datas.map(|data| hms_store::NewEvent {
        kind: "test.v1".into(),
        data: data.to_vec(),
        ..hms_store::NewEvent::default()
    });
    host.transact("a", events.into()).await;
    let list = host.events.list("a", &Shown::default()).await.unwrap();
    assert_eq!((list.events[0].bytes, &list.events[0].data), (5_000, &None));
    let mut shown = Vec::new();
    for sequence in 0..5 {
        let event = host.events.event("a", sequence).await.unwrap();
        shown.push(event.map(|event| (event.data, event.data_base64)));
    }
    let base64 = Some("/wA=".to_owned());
    assert_eq!(
        shown,
        [
            None,
            Some((Some(long), None)),
            Some((None, base64)),
            Some((None, None)),
            None
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn pause_because_of_a_target_ends_with_another_target_and_that_of_an_operator_stays() {
    let to = |path: &str| Subscription {
        to: DeliverTo::Path(path.into()),
        ..subscription("all", "a")
    };
    let host = Host::new(&[("b", to("/old"))]).await;
    host.script(|_| Reply::Status(410));
    host.emit("a", &["x"]).await;
    host.settle().await;
    let paused = || host.events.subscription("b", "all").unwrap().paused;
    assert!(paused().is_some());
    host.script(|_| Reply::Status(200));
    let slower = Subscription {
        concurrency: 1,
        ..to("/old")
    };
    host.grant("b", vec![slower]);
    host.settle().await;
    assert!(paused().is_some());
    host.grant("b", vec![to("/new")]);
    host.caught_up("b", "all").await;
    assert!(paused().is_none());
    host.events.pause("b", "all").await.unwrap();
    host.grant("b", vec![to("/newest")]);
    host.settle().await;
    assert!(paused().is_some());
}

#[tokio::test(start_paused = true)]
async fn parked_event_of_a_removed_subscription_is_listed_and_can_be_dropped_or_wait_for_it() {
    let one = subscription("all", "a");
    let host = Host::new(&[("b", one.clone())]).await;
    host.script(|_| Reply::Status(400));
    host.emit("a", &["x", "y"]).await;
    host.settle().await;
    host.grant("b", Vec::new());
    host.settle().await;
    let parked = async || {
        let list = host.events.parked(Some("b"), Some("all"), None, 10).await;
        list.unwrap().parked
    };
    let all = parked().await;
    assert_eq!(all.len(), 2);
    assert!(all.iter().all(|one| one.removed), "{all:?}");
    let refused = host.events.retry_parked(&all[0].id).await.unwrap_err();
    assert!(matches!(refused, EventsError::Removed { .. }), "{refused}");
    host.events.drop_parked(&all[0].id).await.unwrap();
    assert!(host.events.drop_parked(&all[0].id).await.is_err());
    assert!(host.events.retry_parked("b/none/1-1").await.is_err());
    host.grant("b", vec![one]);
    host.settle().await;
    let left = parked().await;
    assert_eq!((left.len(), left[0].removed), (1, false));
    host.seen();
    host.script(|_| Reply::Status(200));
    host.events.retry_parked(&left[0].id).await.unwrap();
    host.settle().await;
    assert_eq!((host.sequences(), parked().await.len()), (vec![2], 0));
}

#[tokio::test(start_paused = true)]
async fn lag_is_not_told_until_the_length_of_the_log_is_known_again() {
    let host = Host::new(&[("b", subscription("all", "a"))]).await;
    host.emit("a", &["x"]).await;
    host.caught_up("b", "all").await;
    let told = || {
        let mut registry = Registry::default();
        host.events.metrics().register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let state = host.events.subscription("b", "all").unwrap().state;
        (text.contains("subscription_lag{"), state)
    };
    assert_eq!(told(), (true, SubscriptionState::Active));
    host.events.shared.logs.doubt("a");
    assert_eq!(told(), (false, SubscriptionState::Starting));
    host.pass(Duration::from_secs(2)).await;
    assert_eq!(told(), (true, SubscriptionState::Active));
}

#[tokio::test(start_paused = true)]
async fn event_that_was_parked_in_a_replay_is_tried_again_in_the_round_of_that() {
    let mut host = Host::new(&[("b", subscription("all", "a"))]).await;
    host.emit("a", &["x"]).await;
    host.caught_up("b", "all").await;
    host.script(|_| Reply::Status(400));
    host.events.replay("b", "all", at(EPOCH)).await.unwrap();
    host.settle().await;
    host.restart().await;
    host.seen();
    host.script(|_| Reply::Status(200));
    let parked = host.events.parked(None, None, None, 10).await.unwrap();
    let id = &parked.parked[0].id;
    host.events.retry_parked(id).await.unwrap();
    host.settle().await;
    let seen = host.seen();
    // In round 0 its receipt would be known, and the handler would do nothing.
    assert_eq!((seen.len(), seen[0].round), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn parked_events_of_two_logs_with_the_same_number_are_both_tried_again() {
    let host = Host::new(&[("b", subscription("all", "a"))]).await;
    host.script(|_| Reply::Status(400));
    host.emit("a", &["old"]).await;
    host.settle().await;
    host.stores.remove("a").unwrap();
    host.events.store_deleted("a");
    host.emit("a", &["new"]).await;
    host.settle().await;
    host.seen();
    host.script(|_| Reply::In(Duration::from_secs(1)));
    let parked = host.events.parked(None, None, None, 10).await.unwrap();
    assert_eq!(parked.parked.len(), 2);
    for one in &parked.parked {
        host.events.retry_parked(&one.id).await.unwrap();
    }
    host.pass(Duration::from_secs(5)).await;
    let mut bodies: Vec<String> = host.seen().into_iter().map(|seen| seen.body).collect();
    bodies.sort();
    assert_eq!(bodies, ["new", "old"]);
    let left = host.events.parked(None, None, None, 10).await.unwrap();
    assert_eq!(left.parked, []);
}

#[tokio::test(start_paused = true)]
async fn replay_that_an_operator_asks_for_while_the_host_ends_delivers_nothing() {
    let host = Host::new(&[("b", subscription("all", "a"))]).await;
    host.emit("a", &["x"]).await;
    host.caught_up("b", "all").await;
    host.seen();
    host.events.stop().await;
    let _ = host.events.replay("b", "all", at(EPOCH)).await;
    host.settle().await;
    assert_eq!(host.sequences(), [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn events_are_undelivered_also_before_anybody_has_looked_at_their_log() {
    let host = Host::new(&[("b", subscription("all", "a"))]).await;
    host.script(|_| Reply::Fails(hms_core::error::Problem::WindowStopped));
    host.emit("a", &["x"]).await;
    host.settle().await;
    let again = host.not_started().await;
    let lacking = again.undelivered("a").await;
    assert!(lacking.unwrap().contains("b/all (1)"));
}
