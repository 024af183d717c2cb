//! What the SDK does with calls: streams, errors, other windows, configuration and secrets.

use hms_harness::grants::Grants;
use hms_harness::host::open_route;
use hms_harness::services::{Fault, Reply, Server};
use hms_harness::{Host, Options, guest, window};
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpListener;

/// A service that says what it got.
async fn echo() -> Server {
    Server::start(|seen| {
        let got = json!({
            "method": seen.method.as_str(),
            "path": seen.path,
            "bytes": seen.body.len(),
            "user": seen.header("x-hms-user"),
            "authorization": seen.header("authorization"),
            "x-note": seen.header("x-note"),
        });
        Reply::new(200, got)
    })
    .await
}

async fn host(grants: &Grants) -> Host {
    let fetcher = "uri: /fetcher/**\nupstream: http://hms-svc-fetcher\nstrip-prefix: /fetcher\n";
    let host = Host::start_with(Options {
        args: grants.args(),
        routes: vec![
            ("fetcher.yaml", fetcher.into()),
            ("payments.yaml", open_route("payments")),
        ],
        ..Default::default()
    })
    .await;
    host.deploy("fetcher", &guest("fetcher").await).await;
    host
}

fn to(url: &str) -> String {
    format!(
        "outbound:\n  - to: {url}\n    methods: [GET, POST, PUT]\n    private: [127.0.0.0/8]\n    \
         inject: {{authorization: \"Bearer {{key}}\"}}\nsecrets: {{key: {{file: secrets/key}}}}\n"
    )
}

/// A host whose fetcher may call `service`.
async fn granted(service: &Server) -> (Host, Grants) {
    let grants = Grants::new();
    grants.secret("key", "the-key");
    grants.write("fetcher", &to(&service.url()));
    (host(&grants).await, grants)
}

async fn failure(host: &Host, query: &str) -> Value {
    let answer = host.get(&format!("/fetcher/fail?{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    answer.json()
}

#[tokio::test]
async fn answer_and_request_are_passed_on_unread() {
    let service = echo().await;
    let (host, _grants) = granted(&service).await;
    let url = service.url();
    let got = host.get(&format!("/fetcher/get?url={url}/a%3Fb=c")).await;
    assert_eq!(got.status, 200, "{}", got.text());
    assert_eq!(got.json()["path"], "/a?b=c");

    let path = format!("/fetcher/forward?url={url}/f");
    let headers = [("x-note", "kept"), ("authorization", "Bearer citizen")];
    let body = vec![b'b'; 3 << 20];
    let passed = host.call(Method::PUT, &path, &headers, body).await;
    let got = passed.json();
    assert_eq!(
        (&got["method"], &got["path"], &got["bytes"], &got["x-note"]),
        (&json!("PUT"), &json!("/f"), &json!(3 << 20), &json!("kept"))
    );
    // The host's, not the citizen's.
    assert_eq!(
        (&got["authorization"], &got["user"]),
        (&json!("Bearer the-key"), &json!(""))
    );
}

#[tokio::test]
async fn bodies_larger_than_an_instance_are_streamed_both_ways() {
    let service = echo().await;
    let (host, _grants) = granted(&service).await;
    host.limit("fetcher", &["--memory", "4MiB"]).await;
    let path = format!("/fetcher/stream?url={}/up", service.url());
    let sent = host
        .call(Method::POST, &path, &[], vec![b'u'; 20 << 20])
        .await;
    assert_eq!(sent.json()["status"], 200, "{}", sent.text());
    assert_eq!(service.seen()[0].body.len(), 20 << 20);

    service.fail(Fault::Huge(20 << 20), 1);
    let received = host.call(Method::POST, &path, &[], "a").await.json();
    assert_eq!(received["bytes"], 20 << 20);
    assert!(received["chunks"].as_u64().unwrap() > 100, "{received}");
}

#[tokio::test]
async fn every_failure_has_its_kind_and_says_whether_the_request_may_have_arrived() {
    let service = echo().await;
    let (host, grants) = granted(&service).await;
    let url = format!("url={}/", service.url());
    let kind = |error: &Value| {
        let kind = error["kind"].as_str().unwrap().to_owned();
        (kind, error["may_have_arrived"].as_bool().unwrap())
    };

    service.fail(Fault::Slow(Duration::from_secs(5)), 1);
    let slow = failure(&host, &format!("{url}&first-byte-ms=300")).await;
    assert_eq!(kind(&slow), ("Timeout".into(), true), "{slow}");
    service.fail(Fault::Lost, usize::MAX);
    let lost = failure(&host, &url).await;
    assert_eq!(kind(&lost), ("Broken".into(), true), "{lost}");
    service.fail(Fault::Cut, usize::MAX);
    let cut = failure(&host, &url).await;
    assert_eq!(kind(&cut), ("Broken".into(), true), "{cut}");
    service.recover();

    let denied = failure(&host, "url=http://127.0.0.1:9/").await;
    assert_eq!(kind(&denied), ("Denied".into(), false));
    let text = denied["text"].as_str().unwrap();
    let line = r#"outbound: [{to: "http://127.0.0.1:9", methods: ["GET"], paths: ["/"], private: ["127.0.0.1/32"]}]"#;
    assert!(text.ends_with(line), "{text}");
    // The host says the same.
    let log = host.cli("logs", &["fetcher"]).await;
    let log = String::from_utf8(log.stdout).unwrap();
    let entry = line.trim_start_matches("outbound: [").trim_end_matches(']');
    assert!(log.contains(entry), "{log}");
    let invalid = failure(&host, "url=ftp://127.0.0.1/").await;
    assert_eq!(kind(&invalid), ("Invalid".into(), false));

    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    grants.write("fetcher", &to(&closed));
    hms_harness::eventually("the grant of a closed port is live", || async {
        let refused = failure(&host, &format!("url={closed}/")).await;
        (kind(&refused) == ("Refused".into(), false)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn granted_window_answers_a_call_and_any_other_does_not() {
    let grants = Grants::new();
    grants.write("fetcher", "calls: [payments]\n");
    let host = host(&grants).await;
    host.deploy("payments", &window("payments").await).await;
    // Without a token on the route there is no user, and payments asks for one.
    let asked = host.get("/fetcher/call/payments?path=/payments").await;
    assert_eq!(
        (asked.status.as_u16(), asked.problem().as_str()),
        (401, "unauthorized")
    );
    let none = host.get("/fetcher/call/payments?path=/none").await;
    assert_eq!(none.status, 404);
    // What went wrong is the operator's, and nothing for a client to read.
    for window in ["docs", "Payments", "payments@127.0.0.1"] {
        let refused = host.get(&format!("/fetcher/call/{window}?path=/")).await;
        assert_eq!(refused.status, 500, "{window}: {}", refused.text());
        assert!(!refused.text().contains("calls:"), "{}", refused.text());
    }
    let output = host.cli("logs", &["fetcher"]).await;
    let log = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(log.contains("calls: [docs]"), "{log}");
}

#[tokio::test]
async fn configuration_and_secrets_read_as_the_file_says() {
    let grants = Grants::new();
    for name in ["open", "filled", "hidden"] {
        grants.secret(name, &format!("value of {name}"));
    }
    grants.write(
        "fetcher",
        "config: {currency: EUR}\nreveal: [open]\n\
         outbound:\n  - to: https://api.card.example\n    placeholders: [filled]\n\
         secrets:\n  open: {file: secrets/open}\n  filled: {file: secrets/filled}\n  \
         hidden: {file: secrets/hidden}\n",
    );
    let host = host(&grants).await;
    let currency = host.get("/fetcher/config/currency").await;
    assert_eq!(
        (currency.status.as_u16(), currency.text().as_str()),
        (200, "EUR")
    );
    assert_eq!(host.get("/fetcher/config/none").await.status, 404);
    let secret = |value: &str| json!({ "value": value, "debug": "[secret]" });
    let open = host.get("/fetcher/secret/open").await;
    assert_eq!(open.json(), secret("value of open"));
    let filled = host.get("/fetcher/secret/filled").await;
    assert_eq!(filled.json(), secret("hms-secret:filled"));
    assert_eq!(host.get("/fetcher/secret/hidden").await.status, 404);
}
