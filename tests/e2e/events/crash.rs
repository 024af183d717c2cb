//! A host that ends in the middle of deliveries, with a crash and without.

use super::office::{
    all, answering, came_to, delivered, deliveries, each_once, emit, event, gauge_is, host, noted,
};
use hms_harness::Host;
use hms_harness::http::try_request;
use http::Method;
use serde_json::json;
use std::collections::BTreeMap;

/// A host that ends at `point` once it delivers `crash`, after it has delivered `before`.
async fn crashed(point: &str) -> (Host, Vec<String>) {
    let mut host = host(&["inbox"]).await;
    host.write_grants("inbox", &all(&[]));
    let ids = emit(&host, &[event("one", "before")]).await;
    each_once(&host, "inbox", &ids).await;
    host.terminate().await;
    host.boot_with(&[("HMS_CRASH_AFTER", point)]).await;
    let task = json!({ "events": [event("one", "crash")] }).to_string();
    let url = format!("{}/emitter/do", host.gateway());
    // It may end before it has answered.
    let _ = try_request(Method::POST, &url, &[], task.into_bytes()).await;
    host.ended().await;
    (host, ids)
}

/// How often that was delivered, once what comes after it is there. Each has one effect.
async fn times(host: &Host, mut ids: Vec<String>) -> usize {
    ids.extend(emit(host, &[event("one", "after")]).await);
    delivered(host, "inbox", "after").await;
    let all = deliveries(host, "inbox").await;
    let of_crash: Vec<_> = all.iter().filter(|one| one.data == "crash").collect();
    ids.push(of_crash[0].id.clone());
    assert!(of_crash.iter().all(|one| one.attempt == 1), "{all:?}");
    each_once(host, "inbox", &ids).await;
    of_crash.len()
}

#[tokio::test]
async fn event_that_was_taken_and_not_noted_is_delivered_again_with_one_effect() {
    const POINT: &str = "delivered";
    let (mut host, ids) = crashed(POINT).await;
    // And once more, before the host is even ready.
    host.open_until_it_ends(&[("HMS_CRASH_AFTER", POINT)]).await;
    host.boot().await;
    assert_eq!(times(&host, ids).await, 3);
}

#[tokio::test]
async fn event_that_was_noted_is_not_delivered_again_after_a_crash() {
    let (mut host, ids) = crashed("acknowledged").await;
    host.boot().await;
    assert_eq!(times(&host, ids).await, 1);
}

#[tokio::test]
async fn host_that_ends_parks_nothing_and_counts_no_attempt_of_what_was_not_tried() {
    let mut host = host(&["inbox"]).await;
    let failing = answering(&json!({ "status": 503 }));
    host.write_grants("inbox", &format!("{}{failing}", all(&[])));
    let events = ["1st", "2nd", "3rd"].map(|data| event("one", data));
    let ids = emit(&host, &events).await;
    came_to(&host, "inbox", "again").await;
    assert!(host.terminate().await.success());
    let noted = noted(&host, "inbox").await;
    assert_eq!(noted.parked, [""; 0]);
    assert_eq!(noted.tried.keys().copied().collect::<Vec<_>>(), [1]);

    host.write_grants("inbox", &all(&[]));
    host.boot().await;
    each_once(&host, "inbox", &ids).await;
    let mut attempts: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for one in deliveries(&host, "inbox").await {
        attempts.entry(one.data).or_default().push(one.attempt);
    }
    // Each attempt of the first is a failure that was noted, but the last.
    let tries = noted.tried[&1] as u32 + 1;
    assert_eq!(attempts["1st"], (1..=tries).collect::<Vec<_>>());
    assert_eq!((&*attempts["2nd"], &*attempts["3rd"]), (&[1][..], &[1][..]));
    gauge_is(&host, "lag", "inbox", 0).await;
}
