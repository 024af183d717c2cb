//! The notifications window: text messages through an SMS gateway, a real HTTP server.

use hms_harness::grants::{Grants, connected};
use hms_harness::services::sms::REFUSED_NUMBER;
use hms_harness::services::{Authority, Fault, SmsGateway};
use hms_harness::{Answer, Host, Options, window};
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;

const KEY: &str = "sms-key-5f0b7a";
const PATH: &str = "/api/v1/notifications";
const SCOPES: [&str; 2] = ["notifications.write", "notifications.read"];

/// A host whose window notifications may send by a gateway.
struct Office {
    host: Host,
    grants: Grants,
    bearer: String,
}

/// What `windows/notifications.yaml` says with all its lines.
fn granted(url: &str, more: &str) -> String {
    format!(
        "outbound:\n  - to: {url}\n    methods: [POST]\n    paths: [/v1/messages]\n    \
         inject: {{authorization: \"Bearer {{sms-key}}\"}}\n    private: [127.0.0.0/8]\n{more}\
         secrets: {{sms-key: {{file: secrets/sms-key}}}}\n\
         config: {{sms-url: \"{url}\", sms-from: City Hall}}\n"
    )
}

impl Office {
    async fn open(grants: Grants) -> Office {
        let host = Host::start_with(Options {
            args: grants.args(),
            ..Default::default()
        })
        .await;
        host.deploy("notifications", &window("notifications").await)
            .await;
        let bearer = format!("Bearer {}", host.token("alice", &SCOPES));
        Office {
            host,
            grants,
            bearer,
        }
    }

    /// With the gateway granted.
    async fn with(gateway: &SmsGateway) -> Office {
        let grants = Grants::new();
        grants.secret("sms-key", KEY);
        grants.write("notifications", &granted(&gateway.server.url(), ""));
        Office::open(grants).await
    }

    async fn ask(&self, method: Method, path: &str, body: &str) -> Answer {
        let headers = [("authorization", self.bearer.as_str())];
        self.host.call(method, path, &headers, body).await
    }

    async fn send(&self, to: &str, text: &str) -> Answer {
        let order = json!({ "to": to, "text": text });
        self.ask(Method::POST, PATH, &order.to_string()).await
    }

    async fn listed(&self, query: &str) -> Vec<Value> {
        let listed = self.ask(Method::GET, &format!("{PATH}{query}"), "").await;
        assert_eq!(listed.status, 200, "{}", listed.text());
        listed.json()["notifications"].as_array().unwrap().clone()
    }
}

#[tokio::test]
async fn message_is_sent_with_a_key_that_the_window_never_sees() {
    let gateway = SmsGateway::start(KEY).await;
    let office = Office::with(&gateway).await;
    let sent = office.send("+15550100", "Your passport is ready.").await;
    assert_eq!(sent.status, 201, "{}", sent.text());
    let message = sent.json();
    let id = message["id"].as_str().unwrap();
    assert_eq!(
        (
            &message["status"],
            &message["tries"],
            &message["gateway_id"]
        ),
        (&json!("sent"), &json!(1), &json!("sms-1"))
    );
    assert_eq!(sent.header("location"), format!("{PATH}/{id}"));

    let seen = gateway.server.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].header("authorization"), format!("Bearer {KEY}"));
    assert_eq!(seen[0].header("idempotency-key"), id);
    let text = json!({ "to": "+15550100", "text": "Your passport is ready.", "from": "City Hall" });
    assert_eq!(seen[0].json(), text);
    for field in ["x-hms-user", "x-hms-scopes", "cookie"] {
        assert_eq!(seen[0].header(field), "", "{field} has left");
    }

    let shown = office.ask(Method::GET, sent.header("location"), "").await;
    assert_eq!(shown.json(), message);
    assert_eq!(office.listed("").await, [message]);
    let log = office.host.whole_log().await;
    assert!(!log.contains(KEY), "the key is in the log");
}

#[tokio::test]
async fn file_of_the_repository_sends_once_it_is_filled_in() {
    let gateway = SmsGateway::start(KEY).await;
    let grants = Grants::new();
    grants.secret("sms-key", KEY);
    let text = connected(
        "notifications",
        "https://sms.example",
        &gateway.server.url(),
    );
    grants.write("notifications", &text);
    let office = Office::open(grants).await;
    let sent = office.send("+15550100", "a").await;
    assert_eq!(sent.status, 201, "{}", sent.text());
    assert_eq!(gateway.sent()[0]["from"], "HMS");
}

#[tokio::test]
async fn fresh_clone_keeps_messages_and_records_payments() {
    let windows = hms_harness::root().join("windows");
    let host = Host::start_with(Options {
        args: vec!["--grants".into(), windows.to_str().unwrap().into()],
        ..Default::default()
    })
    .await;
    for name in ["notifications", "payments"] {
        host.deploy(name, &window(name).await).await;
    }
    let scopes = ["notifications.write", "payments.write"];
    let bearer = format!("Bearer {}", host.token("alice", &scopes));
    let auth = [("authorization", bearer.as_str())];
    let order = r#"{"to":"+15550100","text":"a"}"#;
    let kept = host.call(Method::POST, PATH, &auth, order).await;
    assert_eq!(
        (kept.status.as_u16(), kept.problem().as_str()),
        (503, "no-sms-gateway")
    );
    let order = r#"{"amount":42,"card":"tok_visa","phone":"+15550100"}"#;
    let paid = host
        .call(Method::POST, "/api/v1/payments", &auth, order)
        .await;
    assert_eq!(paid.status, 201, "{}", paid.text());
    assert_eq!(paid.json(), json!({ "id": paid.json()["id"] }));
    let log = host.whole_log().await;
    assert_eq!(log.matches("grants live").count(), 3, "{log}");
}

#[tokio::test]
async fn message_goes_by_tls_to_a_gateway_of_a_private_authority() {
    let authority = Authority::new();
    let gateway = SmsGateway::start_with(KEY, Some(&authority)).await;
    let grants = Grants::new();
    grants.secret("sms-key", KEY);
    authority.write(grants.folder());
    let url = gateway.server.url();
    grants.write("notifications", &granted(&url, "    ca: ca.pem\n"));
    let office = Office::open(grants).await;
    let sent = office.send("+15550100", "a").await;
    assert_eq!(sent.status, 201, "{}", sent.text());

    office.grants.write("notifications", &granted(&url, ""));
    hms_harness::eventually("the authority is not trusted any more", || async {
        let refused = office.send("+15550100", "b").await;
        (refused.status == 202).then(|| assert_eq!(refused.json()["status"], "failed"))
    })
    .await;
    assert_eq!(gateway.sent().len(), gateway.server.seen().len());
}

#[tokio::test]
async fn message_without_a_gateway_is_kept_and_sent_once_there_is_one() {
    let gateway = SmsGateway::start(KEY).await;
    let office = Office::open(Grants::new()).await;
    let kept = office.send("+15550100", "a").await;
    assert_eq!(
        (kept.status.as_u16(), kept.problem().as_str()),
        (503, "no-sms-gateway")
    );
    let detail = kept.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("no SMS gateway is configured"), "{detail}");
    let path = kept.header("location").to_owned();
    let message = office.ask(Method::GET, &path, "").await.json();
    assert_eq!(
        (&message["status"], &message["tries"]),
        (&json!("queued"), &json!(0))
    );
    assert_eq!(office.listed("?status=queued").await, [message]);

    office.grants.secret("sms-key", KEY);
    let url = gateway.server.url();
    office.grants.write("notifications", &granted(&url, ""));
    let retry = format!("{path}/retry");
    let sent = hms_harness::eventually("the grants are live", || async {
        let sent = office.ask(Method::POST, &retry, "").await;
        (sent.status == 201).then_some(sent)
    })
    .await;
    assert_eq!(sent.json()["status"], "sent");
    assert_eq!(office.listed("?status=queued").await, [json!(null); 0]);
    assert_eq!(gateway.sent().len(), 1);
}

#[tokio::test]
async fn gateway_that_fails_twice_gets_the_message_once_at_the_third_try() {
    let gateway = SmsGateway::start(KEY).await;
    let office = Office::with(&gateway).await;
    for fault in [Fault::Status(503), Fault::Reset, Fault::Lost] {
        let before = gateway.sent().len();
        gateway.server.fail(fault, 2);
        let sent = office.send("+15550100", "a").await;
        assert_eq!(sent.status, 201, "{fault:?}: {}", sent.text());
        assert_eq!(sent.json()["status"], "sent");
        assert_eq!(gateway.sent().len(), before + 1, "{fault:?}");
    }
}

#[tokio::test]
async fn message_that_failed_is_listed_and_sent_by_a_retry_once() {
    let gateway = SmsGateway::start(KEY).await;
    let office = Office::with(&gateway).await;
    gateway.server.fail(Fault::Status(500), usize::MAX);
    let failed = office.send("+15550100", "a").await;
    assert_eq!(failed.status, 202, "{}", failed.text());
    let message = failed.json();
    assert_eq!(
        (&message["status"], &message["tries"]),
        (&json!("failed"), &json!(3))
    );
    assert_eq!(office.listed("?status=failed").await, [message]);

    gateway.server.recover();
    let retry = format!("{}/retry", failed.header("location"));
    let sent = office.ask(Method::POST, &retry, "").await;
    assert_eq!(sent.status, 201, "{}", sent.text());
    assert_eq!(
        (&sent.json()["status"], &sent.json()["tries"]),
        (&json!("sent"), &json!(4))
    );
    assert_eq!(office.listed("?status=failed").await, [json!(null); 0]);
    // Once more changes nothing.
    let again = office.ask(Method::POST, &retry, "").await;
    assert_eq!((again.status.as_u16(), again.json()), (200, sent.json()));
    assert_eq!(gateway.sent().len(), 1);
    let keys: Vec<_> = gateway.server.seen();
    let first = keys[0].header("idempotency-key").to_owned();
    assert!(
        keys.iter()
            .all(|seen| seen.header("idempotency-key") == first)
    );
}

#[tokio::test]
async fn number_that_the_gateway_refuses_is_tried_once() {
    let gateway = SmsGateway::start(KEY).await;
    let office = Office::with(&gateway).await;
    let failed = office.send(REFUSED_NUMBER, "a").await;
    assert_eq!(failed.status, 202, "{}", failed.text());
    let message = failed.json();
    assert_eq!(
        (&message["status"], &message["tries"]),
        (&json!("failed"), &json!(1))
    );
    assert!(message["error"].as_str().unwrap().contains("rejects"));
}

#[tokio::test]
async fn slow_gateway_has_a_time_and_a_late_message_is_sent_once() {
    let gateway = SmsGateway::start(KEY).await;
    let office = Office::with(&gateway).await;
    // The window waits 5 s.
    gateway.server.fail(Fault::Slow(Duration::from_secs(7)), 1);
    let sent = office.send("+15550100", "a").await;
    assert_eq!(sent.status, 201, "{}", sent.text());
    assert_eq!(sent.json()["tries"], 2);
    assert_eq!(gateway.sent().len(), 1);
}

#[tokio::test]
async fn huge_and_endless_answers_do_not_fail_a_message_that_was_taken() {
    let gateway = SmsGateway::start(KEY).await;
    let office = Office::with(&gateway).await;
    for fault in [Fault::Huge(64 << 20), Fault::Endless] {
        gateway.server.fail(fault, 1);
        let sent = office.send("+15550100", "a").await;
        assert_eq!(sent.status, 201, "{fault:?}: {}", sent.text());
        assert_eq!(sent.json()["gateway_id"], json!(null));
    }
}

#[tokio::test]
async fn call_beyond_the_grant_is_refused_and_the_log_has_the_line_to_add() {
    let gateway = SmsGateway::start(KEY).await;
    let grants = Grants::new();
    let url = gateway.server.url();
    grants.write(
        "notifications",
        &format!("config: {{sms-url: \"{url}\"}}\n"),
    );
    let office = Office::open(grants).await;
    let failed = office.send("+15550100", "a").await;
    assert_eq!(failed.status, 202, "{}", failed.text());
    assert_eq!(failed.json()["tries"], 1);
    assert!(gateway.server.seen().is_empty());
    let output = office.host.cli("logs", &["notifications"]).await;
    let log = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = format!(
        "outbound: [{{to: \"{url}\", methods: [\"POST\"], paths: [\"/v1/messages\"], private: \
         [\"127.0.0.1/32\"]}}]"
    );
    // The host says it, and the window's own error.
    assert_eq!(log.matches(&line).count(), 2, "{log}");
}

#[tokio::test]
async fn invalid_message_is_rejected_with_a_reason_and_others_are_private() {
    let gateway = SmsGateway::start(KEY).await;
    let office = Office::with(&gateway).await;
    for (body, why) in [
        ("{", "JSON"),
        ("{}", "to"),
        (r#"{"to":"+15550100"}"#, "text"),
        (r#"{"to":"5550100","text":"a"}"#, "phone number"),
        (r#"{"to":"+15550100","text":""}"#, "empty"),
        (r#"{"to":"+15550100","text":"a","txet":"b"}"#, "txet"),
    ] {
        let refused = office.ask(Method::POST, PATH, body).await;
        assert_eq!(refused.status, 400, "{body}: {}", refused.text());
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(why), "{body}: {detail}");
    }
    assert!(gateway.server.seen().is_empty());

    let sent = office.send("+15550100", "a").await;
    let bob = format!("Bearer {}", office.host.token("bob", &SCOPES));
    let as_bob = [("authorization", bob.as_str())];
    let path = sent.header("location");
    let (get, post) = (Method::GET, Method::POST);
    assert_eq!(office.host.call(get, path, &as_bob, "").await.status, 404);
    let retry = format!("{path}/retry");
    assert_eq!(
        office.host.call(post, &retry, &as_bob, "").await.status,
        404
    );
}

#[tokio::test]
async fn messages_are_listed_in_pages_each_once() {
    let host = Host::start_with(Options {
        routes: vec![(
            "notifications.yaml",
            "uri: /api/v1/notifications/**\nupstream: http://hms-svc-notifications\n\
             plugins: [auth]\n"
                .into(),
        )],
        ..Default::default()
    })
    .await;
    host.deploy("notifications", &window("notifications").await)
        .await;
    let bearer = format!("Bearer {}", host.token("alice", &[]));
    let auth = [("authorization", bearer.as_str())];
    for number in 0..7 {
        let order = json!({ "to": "+15550100", "text": format!("{number}") });
        let kept = host
            .call(Method::POST, PATH, &auth, order.to_string())
            .await;
        assert_eq!(kept.status, 503, "{}", kept.text());
    }
    for filter in ["", "&status=queued"] {
        let mut texts = Vec::new();
        let mut path = format!("{PATH}?limit=3{filter}");
        loop {
            let page = host.call(Method::GET, &path, &auth, "").await.json();
            let messages = page["notifications"].as_array().unwrap();
            texts.extend(messages.iter().map(|message| message["text"].clone()));
            let Some(next) = page["next"].as_str() else {
                break;
            };
            path = format!("{PATH}?limit=3{filter}&cursor={next}");
        }
        assert_eq!(texts, ["0", "1", "2", "3", "4", "5", "6"], "{filter}");
    }
}
