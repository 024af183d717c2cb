//! Calls between windows by their grants files.

use super::*;
use futures_util::future::join_all;
use http::Method;
use serde_json::Value;

const FORGED: [(&str, &str); 3] = [
    ("x-hms-user", "mallory"),
    ("x-hms-window", "mallory"),
    ("x-hms-scopes", "all"),
];

#[tokio::test]
async fn called_window_sees_who_calls_and_for_whom_and_nothing_forged() {
    for component in CALLERS {
        let grants = Grants::new();
        grants.write("w", "calls: [b]\n");
        let windows = [("w", component), ("b", "prober")];
        let route = |name: &str| format!("{}plugins: [auth]\n", open_route(name));
        let host = host_by(&windows, &grants, &[], route).await;
        let bearer = format!("Bearer {}", host.token("alice", &["a.read", "a.write"]));
        let mut client = FORGED.to_vec();
        client.push(("authorization", &bearer));
        let seen = async |path: &str| {
            let answer = host.call(Method::GET, path, &client, "").await;
            assert_eq!(answer.status, 200, "{component} {path}: {}", answer.text());
            answer.json()
        };
        for how in ["get", "copy"] {
            let seen = seen(&format!("/w/{how}?http://hms-svc-b/headers")).await;
            assert_eq!(seen["x-hms-window"], json!(["w"]), "{component}: {seen}");
            assert_eq!(seen["x-hms-user"], json!(["alice"]), "{component}: {seen}");
            assert_eq!(seen["x-hms-scopes"], json!(["a.read a.write"]), "{seen}");
            assert_eq!(seen["authorization"], Value::Null, "{component}: {seen}");
            assert!(!seen.to_string().contains("mallory"), "{component}: {seen}");
        }
        // By its own route nobody is a window.
        let direct = seen("/b/headers").await;
        assert_eq!(direct["x-hms-window"], Value::Null, "{direct}");
        assert_eq!(direct["x-hms-user"], json!(["alice"]), "{direct}");

        grants.write("w", "calls: [{window: b, as: self}]\n");
        let seen = &seen;
        let of_itself = hms_harness::eventually("it calls as itself", || async move {
            let seen = seen("/w/copy?http://hms-svc-b/headers").await;
            (seen["x-hms-user"] == Value::Null).then_some(seen)
        })
        .await;
        assert_eq!(of_itself["x-hms-window"], json!(["w"]), "{of_itself}");
        assert_eq!(of_itself["x-hms-scopes"], Value::Null, "{of_itself}");
    }
}

#[tokio::test]
async fn call_for_nobody_has_no_user_and_one_without_a_grant_names_its_line() {
    for component in CALLERS {
        let grants = Grants::new();
        grants.write("w", "calls: [b]\n");
        let windows = [("w", component), ("b", "prober"), ("c", "prober")];
        let host = host(&windows, &grants, &[]).await;
        let path = "/w/copy?http://hms-svc-b/headers";
        let seen = host.call(Method::GET, path, &FORGED, "").await.json();
        assert_eq!(seen["x-hms-window"], json!(["w"]), "{component}: {seen}");
        assert_eq!(seen["x-hms-user"], Value::Null, "{component}: {seen}");
        assert_eq!(seen["x-hms-scopes"], Value::Null, "{component}: {seen}");

        let refused = ask(&host, "get", "http://hms-svc-c/headers").await;
        assert_eq!(refused.status, 502);
        assert!(
            refused.text().contains("HttpRequestDenied"),
            "{}",
            refused.text()
        );
        let log = cli(&host, "logs", &["w"]).await;
        assert!(log.contains("calls: [c]"), "{log}");
    }
}

/// Four times as many chains as the pool has instances, each of three windows, in both directions.
#[tokio::test]
async fn chains_of_three_windows_complete_though_the_pool_is_exhausted() {
    let grants = Grants::new();
    let limits = "limits: {instances: 12, reserved-instances: 0, queue-wait: 2m, wall-time: 2m}\n";
    grants.write("a", &format!("calls: [b, c]\n{limits}"));
    grants.write("b", &format!("calls: [a, c]\n{limits}"));
    grants.write("c", limits);
    let windows = [("a", "caller"), ("b", "caller-wstd"), ("c", "prober")];
    let host = host(&windows, &grants, &["--instances", "12"]).await;
    let asked = (0..48).map(|number| {
        let (first, second) = match number % 2 {
            0 => ("a", "b"),
            _ => ("b", "a"),
        };
        let path = format!("/{first}/get?http://hms-svc-{second}/get?http://hms-svc-c/sleep?ms=50");
        let host = &host;
        async move { host.get(&path).await }
    });
    for answer in join_all(asked).await {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.text(), "slept 50 ms\n");
    }
    for window in ["a", "b", "c"] {
        assert!(host.window(window).await.failures.is_empty(), "{window}");
    }
}
