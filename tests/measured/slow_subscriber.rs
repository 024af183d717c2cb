//! A subscriber that is slower than what it subscribes to costs the host no memory: what it has not
//! taken lies in the log.

use hms_harness::process::held;
use hms_harness::rest::SMALL_POOL;
use hms_harness::{Host, eventually, guest};
use http::Method;
use serde_json::json;

/// Events of one transaction, and their bytes: about 1 MiB.
const BATCH: usize = 250;
const BYTES: usize = 4_000;

/// It takes eight of them a second.
const SUBSCRIPTION: &str = "subscriptions:
  all: {from: [emitter], to: /sleep, start: earliest, order: none}
";

async fn emit(host: &Host, batches: usize) {
    let event = json!({ "kind": "test.done.v1", "bytes": BYTES });
    let task = json!({ "events": vec![event; BATCH] }).to_string();
    for _ in 0..batches {
        let answer = host.call(Method::POST, "/emitter/do", &[], task.as_str());
        let answer = answer.await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[tokio::test]
async fn events_that_a_slow_subscriber_has_not_taken_fill_no_memory() {
    let _alone = super::alone().await;
    let (emitter, slow) = (guest("emitter").await, guest("prober").await);
    let windows = [("emitter", &*emitter), ("slow", &*slow)];
    let host = Host::with_open_windows_and(&windows, &SMALL_POOL).await;
    host.write_grants("slow", SUBSCRIPTION);
    let of = async |what: &str| {
        let sample = format!("hms_subscription_{what}{{window=\"slow\",name=\"all\"}}");
        host.metric(&sample).await
    };
    // What it knows ahead, the cache of the store and the host's own reserves are full.
    emit(&host, 24).await;
    eventually("it is at work", || async {
        (of("in_flight").await? > 0).then_some(())
    })
    .await;
    let before = held(host.pid());
    const MORE: usize = 72;
    emit(&host, MORE).await;
    let after = held(host.pid());
    let lag = of("lag").await.unwrap();
    assert!(lag > (MORE * BATCH) as u64, "it is not slow: {lag}");
    // A fifth of what was emitted meanwhile.
    assert!(
        after.private_dirty_kib < before.private_dirty_kib + 14 * 1024,
        "{before:?}, then {after:?}"
    );
}
