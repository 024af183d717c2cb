//! A window reaches only its own store, and what it has acknowledged is there.

use hms_harness::{Host, guest};
use http::Method;
use serde_json::json;

#[tokio::test]
async fn windows_opening_the_same_store_name_never_see_each_others_keys() {
    let prober = guest("prober").await;
    let host = Host::with_open_windows(&[("left", &prober), ("right", &prober)]).await;
    for name in ["default", "", "../right", "right"] {
        let bucket = if name.is_empty() {
            "%20"
        } else {
            &name.replace('/', "-")
        };
        let path = |window: &str| format!("/{window}/kv/{bucket}/key");
        assert_eq!(
            host.call(Method::PUT, &path("left"), &[], "left's")
                .await
                .status,
            204
        );
        assert_eq!(host.get(&path("right")).await.status, 404, "{name}");
        assert_eq!(
            host.call(Method::PUT, &path("right"), &[], "right's")
                .await
                .status,
            204
        );
        assert_eq!(host.get(&path("left")).await.text(), "left's");
        assert_eq!(
            host.call(Method::DELETE, &path("right"), &[], "")
                .await
                .status,
            204
        );
        assert_eq!(host.get(&path("left")).await.text(), "left's");
        let listed = host.get(&format!("/right/kv/{bucket}")).await.json();
        assert_eq!(listed["keys"], json!([]));
    }
}

#[tokio::test]
async fn window_sees_no_environment_files_or_network() {
    let prober = guest("prober").await;
    let host = Host::with_open_windows(&[("prober", &prober)]).await;
    let seen = host.get("/prober/env").await.json();
    let expected = json!({
        "args": [],
        "variables": {},
        "folders": 0,
        "file": "NotFound",
        "socket": "PermissionDenied",
        "datagrams": "PermissionDenied",
    });
    assert_eq!(seen, expected);
    let outbound = host.get("/prober/outbound?url=http://127.0.0.1:9/").await;
    assert!(
        outbound.text().contains("Denied"),
        "{} {}",
        outbound.status,
        outbound.text()
    );
}

#[tokio::test]
async fn contended_increments_and_swaps_lose_nothing() {
    let prober = guest("prober").await;
    let host = Host::with_open_windows(&[("prober", &prober)]).await;
    let host = &host;
    let increments = (0..40).map(|_| async {
        host.call(Method::POST, "/prober/incr/b/n", &[], "")
            .await
            .status
    });
    let swaps = (0..20).map(|i| async move {
        host.call(Method::POST, "/prober/cas/b/list", &[], format!("word{i}"))
            .await
            .status
    });
    let (increments, swaps) = tokio::join!(
        futures_util::future::join_all(increments),
        futures_util::future::join_all(swaps)
    );
    assert!(
        increments.iter().chain(&swaps).all(|status| *status == 200),
        "{increments:?} {swaps:?}"
    );
    assert_eq!(host.get("/prober/kv/b/n").await.text(), "40");
    let list: Vec<String> = host
        .get("/prober/kv/b/list")
        .await
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.to_string())
        .collect();
    let distinct: std::collections::HashSet<_> = list.iter().collect();
    assert_eq!((list.len(), distinct.len()), (20, 20));
}

#[tokio::test]
async fn keys_are_listed_in_pages_by_cursor() {
    let prober = guest("prober").await;
    let host = Host::with_open_windows(&[("prober", &prober)]).await;
    for batch in 0..3 {
        let pairs: serde_json::Map<_, _> = (0..500)
            .map(|i| (format!("k{:05}", batch * 500 + i), json!("v")))
            .collect();
        let body = serde_json::to_vec(&pairs).unwrap();
        assert_eq!(
            host.call(Method::POST, "/prober/kv-many/b", &[], body)
                .await
                .status,
            204
        );
    }
    let first = host.get("/prober/kv/b").await.json();
    let keys = first["keys"].as_array().unwrap();
    assert_eq!((keys.len(), keys[999].as_str()), (1000, Some("k00999")));
    let second = host
        .get(&format!(
            "/prober/kv/b?cursor={}",
            first["next"].as_str().unwrap()
        ))
        .await
        .json();
    assert_eq!(second["keys"].as_array().unwrap().len(), 500);
    assert!(second["next"].is_null());
}
