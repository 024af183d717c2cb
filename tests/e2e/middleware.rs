//! Components in the chain of a route: they see the request, and call on or answer themselves.

use futures_util::future::join_all;
use hms_harness::{Answer, Host, eventually, guest, guests};
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;

const ROUTE: &str =
    "uri: /prober/**\nstrip-prefix: /prober\nupstream: http://hms-svc-prober\nplugins:\n  - auth\n";

/// A host with a prober behind these middlewares; each window's component by its name.
async fn host(windows: &[(&str, &[u8])], chain: &[&str]) -> Host {
    let host = Host::start().await;
    host.deploy("prober", &guest("prober").await).await;
    for (name, wasm) in windows {
        host.deploy(name, wasm).await;
    }
    let chain: String = chain
        .iter()
        .map(|name| format!("  - wasm: {{window: {name}}}\n"))
        .collect();
    host.write_route("prober.yaml", &format!("{ROUTE}{chain}"));
    eventually("the route is live", || async {
        (host.get("/prober/status").await.status == 401).then_some(())
    })
    .await;
    host
}

async fn ask(
    host: &Host,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    ask_as(host, "alice", method, path, headers, body).await
}

async fn ask_as(
    host: &Host,
    user: &str,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let token = format!("Bearer {}", host.token(user, &["a.read", "a.write"]));
    let headers: Vec<(&str, &str)> = [("authorization", token.as_str())]
        .into_iter()
        .chain(headers.iter().copied())
        .collect();
    host.call(method, path, &headers, body.as_bytes().to_vec())
        .await
}

async fn meddled(host: &Host, path: &str, how: &str, body: &str) -> Answer {
    ask(host, Method::POST, path, &[("x-meddle", how)], body).await
}

#[tokio::test]
async fn example_middleware_requires_reasons_and_records_who_changed_what() {
    let audit = guests::window("audit").await;
    let host = host(&[("audit", &audit)], &["audit"]).await;
    let got = ask(&host, Method::GET, "/prober/status?code=418", &[], "").await;
    assert_eq!((got.status.as_u16(), got.header("x-audit-id")), (418, ""));
    let posted = ask(&host, Method::POST, "/prober/echo", &[], "hello").await;
    assert_eq!(
        (posted.status.as_u16(), posted.text().as_str()),
        (200, "hello")
    );
    assert!(!posted.header("x-audit-id").is_empty(), "{posted:?}");
    let refused = ask(&host, Method::DELETE, "/prober/echo", &[], "").await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("x-reason"), "{}", refused.text());
    let reason = [("x-reason", "a citizen asked for it")];
    let deleted = ask(&host, Method::DELETE, "/prober/echo", &reason, "").await;
    assert_eq!(deleted.status, 200);
    assert!(!deleted.header("x-audit-id").is_empty());
}

#[tokio::test]
async fn middleware_can_change_path_and_body_but_not_the_caller() {
    let meddler = guest("meddler").await;
    let host = host(&[("meddler", &meddler)], &["meddler"]).await;
    let headers = meddled(&host, "/prober/headers", "forge root", "")
        .await
        .json();
    assert_eq!(headers["x-hms-user"], serde_json::json!(["alice"]));
    assert_eq!(
        headers["x-hms-scopes"],
        serde_json::json!(["a.read a.write"])
    );
    assert_eq!(headers["x-seen"], serde_json::json!(["yes"]));
    assert_ne!(headers["x-forwarded-for"], serde_json::json!(["192.0.2.1"]));
    assert_eq!(headers["authorization"], Value::Null);

    assert_eq!(
        meddled(&host, "/prober/echo", "answer no", "x")
            .await
            .text(),
        "no"
    );
    let moved = meddled(&host, "/prober/echo", "path /status?code=418", "x").await;
    assert_eq!(moved.status, 418);
    assert_eq!(
        meddled(&host, "/prober/echo", "body other", "x")
            .await
            .text(),
        "other"
    );
    assert_eq!(
        meddled(&host, "/prober/echo", "upper", "loud").await.text(),
        "LOUD"
    );
    let dots = meddled(&host, "/prober/echo", "path /../admin", "x").await;
    assert_eq!(dots.problem(), "bad-request", "{}", dots.text());
    assert_eq!(
        meddled(&host, "/prober/echo", "trap", "x").await.problem(),
        "instance-trapped"
    );
}

#[tokio::test]
async fn bodies_stream_through_a_chain_and_a_cut_stays_a_cut() {
    let meddler = guest("meddler").await;
    let windows: [(&str, &[u8]); 2] = [("first", &meddler), ("second", &meddler)];
    let host = host(&windows, &["first", "second"]).await;
    let large = "x".repeat(8 << 20);
    let echoed = meddled(&host, "/prober/echo", "", &large).await;
    assert_eq!(
        (echoed.status.as_u16(), echoed.text().len()),
        (200, large.len())
    );
    let marked = meddled(&host, "/prober/echo", "mark !", "x").await;
    assert_eq!(marked.header("x-marks"), "-!!");
    let cut = meddled(&host, "/prober/trap-mid?length=false", "", "").await;
    assert!(cut.cut.is_some(), "{cut:?}");
    let gone = meddled(&host, "/prober/trap", "", "").await;
    assert_eq!(gone.problem(), "instance-trapped");
}

#[tokio::test]
async fn middleware_is_a_window_swapped_live_and_closed_like_any_other() {
    let (meddler, audit) = (guest("meddler").await, guests::window("audit").await);
    let host = host(&[("between", &meddler)], &["between"]).await;
    assert_eq!(
        meddled(&host, "/prober/echo", "answer no", "x")
            .await
            .status,
        203
    );
    host.deploy("between", &audit).await;
    assert_eq!(
        meddled(&host, "/prober/echo", "answer no", "x")
            .await
            .text(),
        "x"
    );
    host.admin(Method::POST, "/windows/between/stop", "").await;
    let closed = meddled(&host, "/prober/echo", "", "x").await;
    assert_eq!(closed.problem(), "window-stopped");
}

#[tokio::test]
async fn middleware_outside_any_chain_has_nobody_to_call() {
    let meddler = guest("meddler").await;
    let host = Host::with_open_windows(&[("meddler", &meddler)]).await;
    let answer = host.get("/meddler/x").await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert_eq!(host.failures("meddler", "no-network").await, 1);
}

/// How often window `meddler` was refused to call on for a request that was over.
async fn refused(host: &Host) -> u64 {
    host.failures("meddler", "request-over").await
}

/// What is sent on after the answer, with and without another citizen who is served then by the
/// same instance.
#[tokio::test]
async fn calls_by_a_middleware_after_its_answer_carry_no_identity() {
    for reuse in ["1", "100"] {
        let meddler = guest("meddler").await;
        let host = host(&[("meddler", &meddler)], &["meddler"]).await;
        let set = host.cli("limits", &["meddler", "--reuse", reuse]).await;
        assert!(set.status.success(), "{set:?}");
        let later = [("x-meddle", "later 500")];
        let alice = ask(
            &host,
            Method::POST,
            "/prober/cas/seen/by",
            &later,
            "by alice",
        )
        .await;
        assert_eq!(alice.status, 202, "{}", alice.text());
        let bob = ask_as(&host, "bob", Method::GET, "/prober/sleep?ms=1500", &[], "").await;
        assert_eq!(bob.status, 200, "{}", bob.text());
        eventually("it tried, and was refused", || async {
            (refused(&host).await == 1).then_some(())
        })
        .await;
        let seen = ask(&host, Method::GET, "/prober/kv/seen/by", &[], "").await;
        assert_eq!(seen.status, 404, "reuse {reuse}: {}", seen.text());
    }
}

/// Requests of two citizens at work at once in one instance.
#[tokio::test]
async fn concurrent_requests_in_one_middleware_instance_keep_their_callers() {
    let meddler = guest("meddler").await;
    let host = host(&[("meddler", &meddler)], &["meddler"]).await;
    let set = host.cli("limits", &["meddler", "--reuse", "1000"]).await;
    assert!(set.status.success(), "{set:?}");
    let hold = [("x-meddle", "hold 300")];
    let mut together = 0;
    for round in 0.. {
        // On a busy machine those of the first few rounds may come one after the other.
        if round >= 3 && (together > 1 || round == 30) {
            break;
        }
        let asked = (0..12).map(|number| {
            let user = if number % 2 == 0 { "alice" } else { "bob" };
            let host = &host;
            async move {
                tokio::time::sleep(Duration::from_millis(10 * number)).await;
                let answer = ask_as(host, user, Method::GET, "/prober/headers", &hold, "").await;
                (user, answer)
            }
        });
        for (user, answer) in join_all(asked).await {
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.json()["x-hms-user"], json!([user]));
            together = together.max(answer.header("x-at-work").parse().unwrap());
        }
    }
    assert!(together > 1, "no instance had two at once");
}
