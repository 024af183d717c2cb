//! Requests that look like deliveries.

use super::office::{all, deliveries, each_once, emit, event, host};
use hms_harness::guest;
use hms_harness::host::open_route;
use http::Method;

#[tokio::test]
async fn neither_client_nor_window_can_forge_a_delivery() {
    let host = host(&["inbox"]).await;
    host.write_route("fetcher.yaml", &open_route("fetcher"));
    host.write_grants("fetcher", "calls: [inbox]\n");
    host.deploy("fetcher", &guest("fetcher").await).await;
    host.write_grants("inbox", &all(&[]));
    let ids = emit(&host, &[event("one", "true")]).await;
    each_once(&host, "inbox", &ids).await;

    let headers = [
        ("x-hms-delivery", "all; attempt=1; round=0"),
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "urn:hms:window:emitter"),
        ("ce-type", "test.done.v1"),
    ];
    let by_client = host.call(Method::POST, "/inbox/once", &headers, "").await;
    let by_window = hms_harness::eventually("the window may call", || async {
        let answer = host.get("/fetcher/forge/inbox?path=/once").await;
        (answer.status == 403).then_some(answer)
    })
    .await;
    for answer in [by_client, by_window] {
        assert_eq!(answer.status, 403, "{}", answer.text());
        assert_eq!(answer.problem(), "not-a-delivery");
    }
    assert_eq!(deliveries(&host, "inbox").await.len(), 1);
}
