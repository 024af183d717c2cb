//! `kill -9` in the middle of what an operator does leaves it undone or done, never half.

use hms_harness::guests::variant;
use hms_harness::{Host, guest};
use http::Method;
use serde_json::{Value, json};

/// What the window is, as far as operators can change it; null where there is none.
async fn shown(host: &Host) -> Value {
    let answer = host.admin(Method::GET, "/windows/w", "").await;
    if answer.status == 404 {
        return Value::Null;
    }
    let window = &answer.json()["window"];
    json!([
        window["state"],
        window["live"]["number"],
        window["canary"]["number"],
        window["canary"]["share"],
    ])
}

/// Has the host end at `point` of a request to the admin API, and starts it again.
async fn crash(host: &mut Host, point: &str, method: Method, path: &str) {
    host.kill();
    host.boot_with(&[("HMS_CRASH_AFTER", point)]).await;
    assert!(
        host.admin_broken(method, path, b"").await,
        "the host lived on after {point} of {path}"
    );
    host.kill();
    host.boot().await;
}

/// The change is not there when the host ends before it is recorded, and is there when it ends
/// after.
async fn undone_or_done(host: &mut Host, path: &str, expected: Value) {
    let before = shown(host).await;
    crash(host, "asked", Method::POST, path).await;
    assert_eq!(shown(host).await, before, "asked for {path}");
    crash(host, "recorded", Method::POST, path).await;
    assert_eq!(shown(host).await, expected, "recorded {path}");
    let status = host.get("/w/status?code=204").await.status;
    let open = expected[0] == "open";
    assert_eq!(status.as_u16(), if open { 204 } else { 503 }, "{path}");
}

async fn canary(host: &Host, component: &[u8]) {
    let path = "/windows/w?yes=true&canary=50%25";
    let answer = host.admin(Method::PUT, path, component).await;
    assert!(answer.status.is_success(), "{}", answer.text());
}

#[tokio::test]
async fn kill_9_during_any_change_leaves_the_window_as_before_or_as_asked() {
    let prober = guest("prober").await;
    let mut host = Host::with_open_windows(&[("w", &prober)]).await;
    canary(&host, &variant(&prober, "2")).await;
    undone_or_done(
        &mut host,
        "/windows/w/canary?share=25%25",
        json!(["open", 1, 2, "25%"]),
    )
    .await;
    undone_or_done(
        &mut host,
        "/windows/w/abort",
        json!(["open", 1, null, null]),
    )
    .await;
    canary(&host, &variant(&prober, "3")).await;
    undone_or_done(
        &mut host,
        "/windows/w/promote",
        json!(["open", 3, null, null]),
    )
    .await;
    undone_or_done(
        &mut host,
        "/windows/w/rollback",
        json!(["open", 1, null, null]),
    )
    .await;
    let stopped = json!(["stopped", shown(&host).await[1], null, null]);
    undone_or_done(&mut host, "/windows/w/stop", stopped).await;
    undone_or_done(
        &mut host,
        "/windows/w/start",
        json!(["open", 1, null, null]),
    )
    .await;
}

#[tokio::test]
async fn kill_9_during_a_removal_leaves_the_window_with_its_store_or_neither() {
    let prober = guest("prober").await;
    let mut host = Host::with_open_windows(&[("w", &prober)]).await;
    let store = host.data().join("windows/w");
    let remove = "/windows/w?store=delete";
    for point in ["recorded", "store-deleted"] {
        let written = host.call(Method::PUT, "/w/kv/b/k", &[], "v").await;
        assert_eq!(written.status, 204, "{}", written.text());
        crash(&mut host, "asked", Method::DELETE, remove).await;
        assert_eq!(host.get("/w/kv/b/k").await.text(), "v");
        crash(&mut host, point, Method::DELETE, remove).await;
        assert_eq!(shown(&host).await, Value::Null, "after {point}");
        assert!(!store.exists(), "the store is there after {point}");
        host.deploy("w", &prober).await;
        assert_eq!(host.get("/w/kv/b/k").await.status, 404, "after {point}");
    }
}
