//! What the answers to deliveries do.

use super::fixture::clock;
use super::*;
use hms_core::error::Problem;
use hms_grants::subscription::{AfterPark, Subscription};
use std::time::Duration;

async fn parked(host: &Host) -> Vec<hms_api::ParkedEvent> {
    host.events
        .parked(None, None, None, 1_000)
        .await
        .unwrap()
        .parked
}

#[tokio::test(start_paused = true)]
async fn event_whose_time_is_over_is_parked_once_with_its_payload() {
    let host = Host::new(&[("b", subscription("all", "a"))]).await;
    host.script(|seen| match seen.sequence {
        1 => Reply::Status(500),
        _ => Reply::Status(200),
    });
    host.emit("a", &["k", "k"]).await;
    host.caught_up("b", "all").await;
    let parked = parked(&host).await;
    assert_eq!(parked.len(), 1);
    let event = &parked[0];
    assert_eq!(
        (event.event.sequence, event.event.data.as_deref()),
        (1, Some("k"))
    );
    assert_eq!((event.status, event.retrying), (Some(500), false));
    let seen = host.seen();
    let first = seen.iter().find(|seen| seen.sequence == 1).unwrap().at_ms;
    let last = seen.iter().rfind(|seen| seen.sequence == 1).unwrap();
    assert_eq!(event.attempts, last.attempt);
    assert!(
        (600_000..601_000).contains(&(last.at_ms - first)),
        "{}",
        last.at_ms - first
    );
    assert_eq!(seen.iter().filter(|seen| seen.sequence == 2).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn parked_event_holds_its_key_until_somebody_decides() {
    let hold = Subscription {
        after_park: AfterPark::Hold,
        ..subscription("all", "a")
    };
    let mut host = Host::new(&[("b", hold)]).await;
    host.script(|seen| match seen.body.as_str() {
        "k" => Reply::Status(422),
        _ => Reply::Status(200),
    });
    host.emit("a", &["k", "k", "x"]).await;
    host.settle().await;
    assert_eq!(parked(&host).await.len(), 1);
    // The hold outlives the host.
    host.restart().await;
    host.script(|_| Reply::Status(200));
    host.seen();
    host.settle().await;
    assert_eq!(host.sequences(), [0; 0]);
    let id = parked(&host).await[0].id.clone();
    host.events.retry_parked(&id).await.unwrap();
    host.caught_up("b", "all").await;
    assert_eq!(host.sequences(), [1, 2]);
    assert!(parked(&host).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn gone_pauses_and_nothing_is_lost() {
    let mut host = Host::new(&[("b", subscription("all", "a"))]).await;
    host.script(|_| Reply::Status(410));
    host.emit("a", &["x", "x"]).await;
    host.settle().await;
    let status = host.events.subscription("b", "all").unwrap();
    assert_eq!(status.state, hms_api::SubscriptionState::Paused);
    assert_eq!((host.sequences(), status.parked), (vec![1], 0));
    host.restart().await;
    host.script(|_| Reply::Status(200));
    host.settle().await;
    assert_eq!(host.sequences(), [0; 0], "it is still paused");
    host.events.resume("b", "all").await.unwrap();
    host.caught_up("b", "all").await;
    assert_eq!(host.sequences(), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn release_that_rejects_all_pauses_and_after_it_all_are_delivered() {
    let mut host = Host::new(&[("b", subscription("all", "a"))]).await;
    host.script(|_| Reply::Status(404));
    let subjects: Vec<String> = (0..40).map(|i| (i % 5).to_string()).collect();
    let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
    host.emit("a", &subjects).await;
    host.settle().await;
    let status = host.events.subscription("b", "all").unwrap();
    assert_eq!(status.state, hms_api::SubscriptionState::Paused);
    let rejected = host.seen().len();
    assert!((20..28).contains(&rejected), "{rejected}");
    assert!(parked(&host).await.iter().all(|event| event.retrying));
    // A restart in between changes nothing.
    host.restart().await;
    host.script(|_| Reply::Status(200));
    host.events.resume("b", "all").await.unwrap();
    host.settle().await;
    host.caught_up("b", "all").await;
    let seen = host.seen();
    for key in 0..5 {
        let of_key = seen.iter().filter(|seen| seen.subject == key.to_string());
        let sequences: Vec<u64> = of_key.map(|seen| seen.sequence).collect();
        let expected: Vec<u64> = (1..=40)
            .filter(|sequence| (sequence - 1) % 5 == key)
            .collect();
        assert_eq!(sequences, expected, "key {key}");
    }
    assert!(parked(&host).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn few_rejections_are_parked_and_the_rest_goes_on() {
    let host = Host::new(&[("b", subscription("all", "a"))]).await;
    host.script(|seen| match seen.sequence % 2 {
        0 => Reply::Status(301),
        _ => Reply::Status(200),
    });
    let subjects: Vec<String> = (0..100).map(|i| i.to_string()).collect();
    let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
    host.emit("a", &subjects).await;
    host.caught_up("b", "all").await;
    let status = host.events.subscription("b", "all").unwrap();
    assert_eq!(
        (status.state, status.parked),
        (hms_api::SubscriptionState::Active, 50)
    );
}

#[tokio::test(start_paused = true)]
async fn unseen_delivery_is_no_attempt() {
    for problem in [
        Problem::WindowNotDeployed,
        Problem::WindowStopped,
        Problem::WindowTripped,
        Problem::InstanceLimit,
        Problem::StoreUnavailable,
        Problem::DrainDeadline,
    ] {
        let host = Host::new(&[("b", subscription("all", "a"))]).await;
        host.script(move |_| Reply::Fails(problem));
        host.emit("a", &["x"]).await;
        // Longer than the time of its retries.
        host.pass(Duration::from_secs(1_000)).await;
        let seen = host.seen();
        assert!(seen.iter().all(|seen| seen.attempt == 1), "{problem:?}");
        assert!(
            (400..1_000).contains(&seen.len()),
            "{problem:?}: {}",
            seen.len()
        );
        host.script(|_| Reply::Status(200));
        host.caught_up("b", "all").await;
        assert_eq!(host.seen().len(), 1);
        assert!(parked(&host).await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn trap_is_an_attempt_and_retry_after_is_obeyed_up_to_the_longest_pause() {
    let host = Host::new(&[("b", subscription("all", "a"))]).await;
    host.script(|seen| match seen.attempt {
        1 => Reply::Fails(Problem::InstanceTrapped),
        2 => Reply::After(429, "30"),
        3 => Reply::After(503, "4000"),
        _ => Reply::Status(200),
    });
    let began = clock();
    host.emit("a", &["x"]).await;
    host.caught_up("b", "all").await;
    let seen = host.seen();
    let attempts: Vec<u32> = seen.iter().map(|seen| seen.attempt).collect();
    assert_eq!(attempts, [1, 2, 3, 4]);
    assert!((seen[2].at_ms - seen[1].at_ms).abs_diff(30_000) < 100);
    assert!((seen[3].at_ms - seen[2].at_ms).abs_diff(60_000) < 100);
    assert!(seen[1].at_ms - began <= 1_100);
}

#[tokio::test(start_paused = true)]
async fn rejected_events_that_are_resumed_before_they_are_on_disk_are_not_lost() {
    let host = Host::new(&[("b", subscription("all", "a"))]).await;
    host.script(|_| Reply::Status(404));
    let subjects: Vec<String> = (0..20).map(|i| i.to_string()).collect();
    let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
    host.emit("a", &subjects).await;
    // No time passes meanwhile, so that nothing is committed.
    let subscriber = host.events.shared.subscriber("b", "all").unwrap();
    while subscriber.status().paused.is_none() {
        tokio::task::yield_now().await;
    }
    host.script(|_| Reply::Status(200));
    host.seen();
    subscriber.resume();
    host.settle().await;
    let mut sequences = host.sequences();
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=20).collect::<Vec<u64>>());
    assert!(parked(&host).await.is_empty());
}
