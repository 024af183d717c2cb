//! Whole hosts: a window emits by its own transactions, and another one gets it over kills.

use hms_harness::{Host, eventually, guest};
use http::Method;
use serde_json::json;

const SUBSCRIPTION: &str = "internal: false
subscriptions:
  all:
    from: [emitter]
    to: /cas/inbox/all
    start: earliest
    retry: {first: 100ms, max: 1s}
";

async fn emit(host: &Host, data: &str) {
    let task = json!({
        "set": { "last": data },
        "events": [{ "kind": "test.done.v1", "subject": "one", "data": data }],
    });
    let answer = host
        .call(Method::POST, "/emitter/do", &[], task.to_string())
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn kill_9_loses_no_event_and_keeps_their_order() {
    let windows = [
        ("emitter", guest("emitter").await),
        ("inbox", guest("prober").await),
    ];
    let windows = windows
        .each_ref()
        .map(|(name, wasm)| (*name, wasm.as_slice()));
    let mut host = Host::with_open_windows(&windows).await;
    host.write_grants("inbox", SUBSCRIPTION);
    let mut all = Vec::new();
    for round in 0..4 {
        for number in 0..10 {
            let data = format!("<{round}-{number}>");
            emit(&host, &data).await;
            all.push(data);
        }
        // In the middle of deliveries, and the second time without any pause between the kills.
        host.kill();
        host.boot().await;
        if round == 1 {
            host.kill();
            host.boot().await;
        }
    }
    let last = all.last().cloned().unwrap();
    let text = eventually("the last event is there", || async {
        let answer = host.get("/inbox/kv/inbox/all").await;
        let text = answer.text();
        text.contains(&last).then_some(text)
    })
    .await;
    let places: Vec<_> = all.iter().map(|data| text.find(data.as_str())).collect();
    assert!(places.iter().all(Option::is_some), "lost: {places:?}");
    assert!(places.is_sorted(), "out of order: {text}");
    eventually("all are acknowledged", || async {
        let sample = r#"hms_subscription_lag{window="inbox",name="all"}"#;
        (host.metric(sample).await == Some(0)).then_some(())
    })
    .await;
}
