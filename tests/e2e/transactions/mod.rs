//! Transactions of windows: keys and events that are committed together or not at all.

mod crash;
mod rules;

use hms_harness::http::Answer;
use hms_harness::{Host, guest};
use hms_store::{StoreLimits, StoredEvent, open_file};
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The name space in which the guest keeps its keys.
const BUCKET: &str = "kept";

/// A host with the window `emitter`.
async fn host() -> Host {
    Host::with_open_windows(&[("emitter", &guest("emitter").await)]).await
}

/// Has the window do that in one transaction.
async fn transact(host: &Host, task: Value) -> Answer {
    host.call(Method::POST, "/emitter/do", &[], task.to_string())
        .await
}

/// What came of a transaction that is committed.
async fn committed(host: &Host, task: Value) -> Value {
    let answer = transact(host, task).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The error of one that is not, and its sentence.
async fn refused(host: &Host, task: Value) -> (String, String) {
    let answer = transact(host, task).await;
    assert_eq!(answer.status, 409, "{}", answer.text());
    let told = answer.json();
    let text = |name: &str| told[name].as_str().unwrap().to_owned();
    (text("error"), text("text"))
}

async fn key(host: &Host, name: &str) -> Option<String> {
    let answer = host.get(&format!("/emitter/key/{name}")).await;
    (answer.status == 200).then(|| answer.text())
}

fn event(subject: &str) -> Value {
    json!({ "kind": "test.done.v1", "subject": subject, "data": "x" })
}

/// What the store of the window holds.
struct Stored {
    keys: BTreeSet<String>,
    log: Vec<StoredEvent>,
    /// Each with the time that it waits for.
    waiting: Vec<(u64, StoredEvent)>,
}

/// Looks into the store of the window, which no host has open.
async fn stored(host: &Host) -> Stored {
    let file = host.data().join("windows/emitter/store.redb");
    let read = move || {
        let store = open_file(file, "emitter", StoreLimits::default()).unwrap();
        let mut keys = BTreeSet::new();
        let mut after = None;
        loop {
            let page = store
                .keys(BUCKET, after.as_deref(), 0, 1000)
                .wait()
                .unwrap();
            after = page.keys.last().cloned();
            keys.extend(page.keys);
            if !page.more {
                break;
            }
        }
        let mut log: Vec<StoredEvent> = Vec::new();
        loop {
            let after = log.last().map_or(0, |event| event.sequence);
            let page = store.events(after, 1000, 1 << 20).wait().unwrap();
            log.extend(page.events);
            if !page.more {
                break;
            }
        }
        let waiting = store.waiting_events(1000).wait().unwrap();
        store.close();
        Stored { keys, log, waiting }
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}
