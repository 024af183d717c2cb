//! What the tests over whole hosts share: `emitter`, which emits what it is told to, and windows of
//! the guest `subscriber`, which write down what they get.

use hms_harness::{Host, eventually, guest};
use hms_store::{Store, StoreLimits, open_file};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What a subscriber wrote down of a delivery.
#[derive(Debug, Deserialize)]
pub(super) struct Delivery {
    pub(super) id: String,
    pub(super) subject: Option<String>,
    pub(super) data: String,
    pub(super) attempt: u32,
}

/// A host with the window `emitter`, and `subscribers`.
pub(super) async fn host(subscribers: &[&str]) -> Host {
    let (emitter, subscriber) = (guest("emitter").await, guest("subscriber").await);
    let mut windows = vec![("emitter", emitter.as_slice())];
    windows.extend(
        subscribers
            .iter()
            .map(|name| (*name, subscriber.as_slice())),
    );
    Host::with_open_windows(&windows).await
}

/// A subscription `all` of everything that `emitter` emits, with an effect that is there once and
/// attempts in quick succession; and with `more` lines of its own.
pub(super) fn all(more: &[&str]) -> String {
    let mut text = "subscriptions:\n  all:\n    from: [emitter]\n    start: earliest\n".to_owned();
    let has = |name: &str| more.iter().any(|line| line.starts_with(name));
    let usual = ["to: /once", "retry: {first: 100ms, max: 200ms}"];
    let usual = usual.iter().filter(|line| !has(&line[..3]));
    for line in more.iter().chain(usual) {
        text.push_str(&format!("    {line}\n"));
    }
    text
}

/// What a subscriber answers to events that do not say it themselves.
pub(super) fn answering(reply: &Value) -> String {
    format!("config: {{reply: '{reply}'}}\n")
}

pub(super) fn event(subject: &str, data: impl Into<String>) -> Value {
    json!({ "kind": "test.done.v1", "subject": subject, "data": data.into() })
}

/// Has `emitter` do that in one transaction.
pub(super) async fn transact(host: &Host, task: &Value) -> Value {
    let answer = host.call(Method::POST, "/emitter/do", &[], task.to_string());
    let answer = answer.await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Has `emitter` emit in one transaction. Gives the ids.
pub(super) async fn emit(host: &Host, events: &[Value]) -> Vec<String> {
    let done = transact(host, &json!({ "events": events })).await;
    serde_json::from_value(done["ids"].clone()).unwrap()
}

pub(super) async fn deliveries(host: &Host, window: &str) -> Vec<Delivery> {
    host.get(&format!("/{window}/deliveries")).await.read()
}

/// How often the effect of each event is there, by its id.
pub(super) async fn effects(host: &Host, window: &str) -> BTreeMap<String, u64> {
    host.get(&format!("/{window}/effects")).await.read()
}

/// Waits until the effects of all of `ids` are there, and of nothing else, each once.
pub(super) async fn each_once(host: &Host, window: &str, ids: &[String]) {
    let effects = eventually("all effects are there", || async {
        let effects = effects(host, window).await;
        let all = ids.iter().all(|id| effects.contains_key(id));
        all.then_some(effects)
    })
    .await;
    let wanted: BTreeMap<String, u64> = ids.iter().map(|id| (id.clone(), 1)).collect();
    assert_eq!(effects, wanted);
}

/// Waits until a delivery of `window` has these data.
pub(super) async fn delivered(host: &Host, window: &str, data: &str) {
    eventually(&format!("{data} is delivered"), || async {
        let all = deliveries(host, window).await;
        all.iter().any(|one| one.data == data).then_some(())
    })
    .await;
}

/// A gauge of the subscription `all` of `window`.
pub(super) async fn gauge(host: &Host, name: &str, window: &str) -> Option<u64> {
    let sample = format!("hms_subscription_{name}{{window=\"{window}\",name=\"all\"}}");
    host.metric(&sample).await
}

/// Waits until it is that.
pub(super) async fn gauge_is(host: &Host, name: &str, window: &str, value: u64) {
    eventually(&format!("{name} of {window} is {value}"), || async {
        (gauge(host, name, window).await == Some(value)).then_some(())
    })
    .await;
}

/// How many deliveries to `window` came to that.
pub(super) async fn outcomes(host: &Host, window: &str, outcome: &str) -> u64 {
    let labels = format!("window=\"{window}\",subscription=\"all\",outcome=\"{outcome}\"");
    let sample = format!("hms_deliveries_total{{{labels}}}");
    host.metric(&sample).await.unwrap_or(0)
}

/// Waits until at least one did.
pub(super) async fn came_to(host: &Host, window: &str, outcome: &str) {
    eventually(&format!("a delivery to {window} is {outcome}"), || async {
        (outcomes(host, window, outcome).await > 0).then_some(())
    })
    .await;
}

/// Has the subscription `all` of `window` deliver everything once more.
pub(super) async fn replay(host: &Host, window: &str) {
    let path = format!("/windows/{window}/subscriptions/all/replay");
    let from = json!({ "from": "2020-01-01T00:00:00Z" }).to_string();
    let answer = host.admin(Method::POST, &path, from).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// What DATA/events.redb has of the subscription `all` of a window.
pub(super) struct Noted {
    /// The data of each parked event.
    pub(super) parked: Vec<String>,
    /// How often events were tried that are not finished, by their place in the log.
    pub(super) tried: BTreeMap<u64, u64>,
}

/// Looks there, while no host runs.
pub(super) async fn noted(host: &Host, window: &str) -> Noted {
    let file = host.data().join("events.redb");
    let id = format!("{window}/all");
    let read = move || {
        let store = open_file(file, "events", StoreLimits::default()).unwrap();
        let of = |bucket: &str| values(&*store, &format!("{bucket}/{id}"));
        let parked = of("parked");
        let payloads = of("payloads");
        let ids = |all: &[(String, Vec<u8>)]| -> Vec<String> {
            all.iter().map(|(id, _)| id.clone()).collect()
        };
        assert_eq!(ids(&parked), ids(&payloads));
        // The data stand below one line of JSON.
        let data = |(_, payload): &(String, Vec<u8>)| {
            let text = String::from_utf8_lossy(payload).into_owned();
            text.split_once('\n').unwrap().1.to_owned()
        };
        let tried = of("tries").into_iter().map(|(key, value)| {
            let sequence = key.rsplit_once('/').unwrap().1.parse().unwrap();
            let tries: Value = serde_json::from_slice(&value).unwrap();
            (sequence, tries["count"].as_u64().unwrap())
        });
        let noted = Noted {
            parked: payloads.iter().map(data).collect(),
            tried: tried.collect(),
        };
        store.close();
        noted
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

fn values(store: &dyn Store, bucket: &str) -> Vec<(String, Vec<u8>)> {
    let page = store.keys(bucket, None, 0, 1000).wait().unwrap();
    assert!(!page.more);
    let value = |key: String| {
        let entry = store.get(bucket, &key).wait().unwrap().unwrap();
        (key, entry.value)
    };
    page.keys.into_iter().map(value).collect()
}
