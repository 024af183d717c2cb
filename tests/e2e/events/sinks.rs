//! Events that are delivered to a service.

use super::office::{emit, gauge_is, replay};
use hms_harness::grants::Grants;
use hms_harness::host::open_route;
use hms_harness::services::{Reply, Server};
use hms_harness::{Host, Options, eventually, guest};
use serde_json::json;

const KEY: &str = "sink-5d21c7e90b";

/// A host whose window `inbox` has the events of `emitter` sent to `path` of `service`.
async fn host(service: &Server, grants: &Grants, path: &str, more: &str) -> Host {
    let host = Host::start_with(Options {
        args: grants.args(),
        routes: vec![("emitter.yaml", open_route("emitter"))],
        up: None,
    })
    .await;
    host.deploy("emitter", &guest("emitter").await).await;
    grants.secret("key", KEY);
    let url = service.url();
    grants.write(
        "inbox",
        &format!(
            "outbound:\n  - to: \"{url}\"\n    methods: [POST]\n    paths: [/sink, /gone]\n    \
             private: [127.0.0.0/8]\n    inject: {{authorization: \"Bearer {{key}}\"}}\n\
             secrets:\n  key: {{file: secrets/key}}\n\
             subscriptions:\n  all:\n    from: [emitter]\n    to: {url}{path}\n    \
             start: earliest\n    retry: {{first: 100ms, max: 100ms}}\n{more}"
        ),
    );
    host
}

#[tokio::test]
async fn service_gets_events_in_either_mode_with_a_secret_and_again_after_a_failure() {
    for (mode, media) in [
        ("binary", "application/json"),
        ("structured", "application/cloudevents+json; charset=UTF-8"),
    ] {
        let grants = Grants::new();
        let service = Server::start(|_| Reply::new(202, json!({}))).await;
        service.fail(hms_harness::services::Fault::Status(503), 1);
        let more = format!("    content: {mode}\n");
        let host = host(&service, &grants, "/sink", &more).await;
        let event = json!({
            "kind": "test.done.v1", "subject": "7", "content_type": "application/json",
            "data": "{\"a\":[1]}", "attributes": [["office", "K\u{f6}ln"]],
        });
        let ids = emit(&host, &[event]).await;
        gauge_is(&host, "lag", "inbox", 0).await;
        let seen = eventually("it came again", || async {
            let seen = service.seen();
            (seen.len() == 2).then_some(seen)
        })
        .await;
        for seen in &seen {
            assert_eq!(
                (seen.method.as_str(), seen.path.as_str()),
                ("POST", "/sink")
            );
            assert_eq!(seen.header("authorization"), format!("Bearer {KEY}"));
            assert_eq!(seen.header("content-type"), media);
        }
        let seen = &seen[1];
        if mode == "binary" {
            assert_eq!(seen.json(), json!({ "a": [1] }));
            assert_eq!(seen.header("ce-id"), ids[0]);
            assert_eq!(seen.header("ce-type"), "test.done.v1");
            assert_eq!(seen.header("ce-source"), "urn:hms:window:emitter");
            assert_eq!(seen.header("ce-office"), "K%C3%B6ln");
            continue;
        }
        let document = seen.json();
        assert!(document["time"].is_string(), "{document}");
        for (name, value) in [
            ("specversion", json!("1.0")),
            ("id", json!(ids[0])),
            ("source", json!("urn:hms:window:emitter")),
            ("type", json!("test.done.v1")),
            ("subject", json!("7")),
            ("sequence", json!("00000000000000000001")),
            ("office", json!("K\u{f6}ln")),
            ("datacontenttype", json!("application/json")),
            ("data", json!({ "a": [1] })),
        ] {
            assert_eq!(document[name], value, "{name}: {document}");
        }
    }
}

#[tokio::test]
async fn service_that_answers_410_pauses_the_subscription_and_gets_no_more() {
    let grants = Grants::new();
    let service = Server::start(|_| Reply::new(410, json!({}))).await;
    let mut host = host(&service, &grants, "/gone", "").await;
    let event = json!({ "kind": "test.done.v1", "subject": "7", "data": "x" });
    emit(&host, &[event.clone(), event]).await;
    gauge_is(&host, "paused", "inbox", 1).await;
    host.terminate().await;
    host.boot().await;
    gauge_is(&host, "paused", "inbox", 1).await;
    gauge_is(&host, "lag", "inbox", 2).await;
    gauge_is(&host, "parked", "inbox", 0).await;
    assert_eq!(service.seen().len(), 1);
}

#[tokio::test]
async fn service_can_tell_a_replay_from_a_repetition() {
    let grants = Grants::new();
    let service = Server::start(|_| Reply::new(202, json!({}))).await;
    let host = host(&service, &grants, "/sink", "").await;
    let event = json!({ "kind": "test.done.v1", "subject": "7", "data": "x" });
    emit(&host, &[event]).await;
    gauge_is(&host, "lag", "inbox", 0).await;
    replay(&host, "inbox").await;
    let seen = eventually("it came again", || async {
        let seen = service.seen();
        (seen.len() == 2).then_some(seen)
    })
    .await;
    assert_eq!(seen[0].header("ce-id"), seen[1].header("ce-id"));
    let rounds: Vec<_> = seen.iter().map(|one| one.header("ce-hmsround")).collect();
    assert_eq!(rounds, ["", "1"]);
}
