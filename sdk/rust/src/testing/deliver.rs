//! Events that a test has delivered.

use super::host::{Host, until};
use super::{Answer, helper};
use crate::Event;
use serde_json::{Value, json};
use std::sync::Once;

/// The window that emits what tests deliver.
pub(super) const EMITTER: &str = "tests";

/// The attribute of such an event that says for which window it is.
pub(super) const MARK: &str = "testwindow";

/// The subscription of a window to them.
pub(super) const SUBSCRIPTION: &str = "tests";

/// What came of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// The window has answered with 2xx.
    Done,
    /// The window has refused it, or failed for a second.
    Parked {
        /// The status of the last answer, if there was one.
        status: Option<u16>,
        /// The host's words.
        why: String,
    },
}

/// Sees to it that the emitter is there.
pub(super) fn ready() {
    static READY: Once = Once::new();
    READY.call_once(|| {
        let host = Host::get();
        host.admin.deploy(EMITTER, helper::component());
        let route = json!({
            "uri": "/**",
            "hosts": [format!("{EMITTER}.test")],
            "upstream": format!("http://hms-svc-{EMITTER}"),
        });
        host.admin
            .put(&format!("/routes/{EMITTER}"), route.to_string());
    });
}

fn path(window: &str) -> String {
    format!("/windows/{window}/subscriptions/{SUBSCRIPTION}")
}

/// Waits until a new subscription is in force: it begins with what is emitted from then on.
pub(super) fn subscribed(window: &str) {
    let admin = &Host::get().admin;
    until("the subscription is active", || {
        let all: Value = admin.get(&format!("/subscriptions?window={window}"));
        (all["subscriptions"][0]["state"] == "active").then_some(())
    });
}

pub(super) fn deliver(window: &str, event: Event) -> Delivery {
    let host = Host::get();
    ready();
    let event = event.attribute(MARK, window).into_host();
    let told = json!({
        "type": event.type_,
        "subject": event.subject,
        "partition_key": event.partition_key,
        "content_type": event.content_type,
        "attributes": event.attributes,
    });
    let request = http::Request::post(format!("{}/hms-testing/emit", host.gateway))
        .header("host", format!("{EMITTER}.test"))
        .header("x-event", told.to_string());
    let answer = Answer::of(&host.client, request, event.data);
    assert_eq!(answer.status(), 200, "not an event: {}", answer.text());
    // The id ends with the sequence.
    let id: Value = answer.json();
    let sequence = id["id"]
        .as_str()
        .and_then(|id| id.rsplit('-').next()?.parse().ok());
    assert!(sequence.is_some(), "not the id of an event: {id}");
    until("the event is delivered", || {
        let status: Value = host.admin.get(&path(window));
        (status["sources"][0]["done"].as_u64() >= sequence).then_some(())
    });
    let parked: Value = host
        .admin
        .get(&format!("/parked?window={window}&limit=1000"));
    let parked = parked["parked"].as_array().into_iter().flatten();
    let mut ours = parked.filter(|it| it["event"]["sequence"].as_u64() == sequence);
    match ours.next() {
        None => Delivery::Done,
        Some(parked) => Delivery::Parked {
            status: parked["status"].as_u64().and_then(|it| it.try_into().ok()),
            why: parked["why"].as_str().unwrap_or_default().to_owned(),
        },
    }
}
