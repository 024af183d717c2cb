//! A host in which nothing goes on.

use super::{Host, eventually};
use http::Method;
use serde_json::json;

/// Waits until no client is connected, no request runs, and no old release of `window` is left.
pub async fn at_rest(host: &Host, window: &str) {
    eventually("the host is at rest", || async {
        let path = format!("/windows/{window}");
        let shown = host.admin(Method::GET, &path, "").await.json();
        let metrics = host.admin(Method::GET, "/metrics", "").await.text();
        let connected = "hms_gateway_open_connections ";
        let connected = metrics
            .lines()
            .find_map(|line| line.strip_prefix(connected));
        let window = &shown["window"];
        let nothing =
            connected == Some("0") && window["leases"] == 0 && window["draining"] == json!([]);
        nothing.then_some(())
    })
    .await;
}
