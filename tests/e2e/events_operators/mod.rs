//! What operators see of events and do with them, by the command line and the admin API of a whole
//! host: one window emits, and another one gets it.

mod backup;
mod logs;
mod parked;
mod subscriptions;

use hms_api::{SubscriptionList, SubscriptionState, SubscriptionStatus};
use hms_harness::{Host, eventually, guest};
use http::Method;
use serde_json::json;
use std::process::Output;

/// A grants file by which the window gets the events of `emitter` at `path`, and nothing else.
fn subscription(path: &str) -> String {
    format!(
        "subscriptions:\n  all:\n    from: [emitter]\n    to: {path}\n    start: earliest\n    \
         retry: {{first: 100ms, max: 200ms}}\n"
    )
}

/// A path of the subscriber that appends what it gets to a list.
const LIST: &str = "/cas/inbox/all";

/// A path that it does not have: what is sent there is rejected.
const NOWHERE: &str = "/nowhere";

/// A host with the windows `emitter` and `inbox`, which is subscribed by that file.
async fn host(grants: &str) -> Host {
    let (emitter, inbox) = (guest("emitter").await, guest("prober").await);
    let host = Host::with_open_windows(&[("emitter", &emitter), ("inbox", &inbox)]).await;
    subscribe(&host, grants, 1).await;
    host
}

/// Writes the file of the subscriber, and waits until so many subscriptions are in force.
async fn subscribe(host: &Host, grants: &str, count: usize) {
    host.write_grants("inbox", grants);
    eventually("the file is in force", || async {
        let list: SubscriptionList = host.admin(Method::GET, "/subscriptions", "").await.read();
        let all = list.subscriptions;
        let are_new = all
            .iter()
            .all(|one| grants.contains(&one.to) && one.state != SubscriptionState::Starting);
        (all.len() == count && are_new).then_some(())
    })
    .await;
}

async fn emit(host: &Host, kind: &str, subject: &str, data: &str) {
    let event = json!({ "kind": kind, "subject": subject, "data": data });
    let task = json!({ "events": [event] }).to_string();
    let answer = host.call(Method::POST, "/emitter/do", &[], task).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// The subscription, once it is so.
async fn status(host: &Host, is_so: impl Fn(&SubscriptionStatus) -> bool) -> SubscriptionStatus {
    let path = "/windows/inbox/subscriptions/all";
    eventually("the subscription is so", || async {
        let status: SubscriptionStatus = host.admin(Method::GET, path, "").await.read();
        is_so(&status).then_some(status)
    })
    .await
}

/// What the subscriber has got, once it has so much of it.
async fn got(host: &Host, parts: &[&str]) -> String {
    eventually("the events are there", || async {
        let text = host.get("/inbox/kv/inbox/all").await.text();
        parts.iter().all(|part| text.contains(part)).then_some(text)
    })
    .await
}

/// Runs a command that must succeed, and gives what it prints.
async fn said(host: &Host, verb: &str, args: &[&str]) -> String {
    let output = host.cli(verb, args).await;
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs one that must fail, and gives its error.
async fn failed(host: &Host, verb: &str, args: &[&str]) -> String {
    let output: Output = host.cli(verb, args).await;
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// The status of a refusal of the admin API, and its code.
async fn refusal(host: &Host, method: Method, path: &str, body: &str) -> (u16, String) {
    let answer = host.admin(method, path, body).await;
    (answer.status.as_u16(), answer.problem())
}
