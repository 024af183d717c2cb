//! What citizens are told of events: in their list, and by text messages.

use hms_harness::grants::{Grants, connected};
use hms_harness::http::multipart;
use hms_harness::services::{Fault, SmsGateway, sms::REFUSED_NUMBER};
use hms_harness::{Answer, Host, Options, eventually, root, window};
use http::Method;
use serde_json::{Value, json};

const KEY: &str = "sms-key-5f0b7a";
const SCOPES: [&str; 6] = [
    "payments.write",
    "payments.read",
    "docs.write",
    "docs.read",
    "notifications.write",
    "notifications.read",
];

struct Office {
    host: Host,
    _grants: Grants,
    bearer: String,
}

impl Office {
    /// With the repository's own grants, and the gateway connected.
    async fn with(gateway: Option<&SmsGateway>) -> Office {
        let grants = Grants::new();
        grants.secret("sms-key", KEY);
        let text = match gateway {
            Some(gateway) => {
                let url = gateway.server.url();
                connected("notifications", "https://sms.example", &url)
            }
            None => {
                let file = root().join("windows/notifications.yaml");
                std::fs::read_to_string(file).unwrap()
            }
        };
        grants.write("notifications", &text);
        let open = |window: &str| {
            format!(
                "uri: /api/v1/{window}/**\nupstream: http://hms-svc-{window}\nplugins: [auth]\n"
            )
        };
        let host = Host::start_with(Options {
            args: grants.args(),
            routes: vec![
                ("payments.yaml", open("payments")),
                ("docs.yaml", open("docs")),
                ("notifications.yaml", open("notifications")),
            ],
            ..Default::default()
        })
        .await;
        for name in ["payments", "docs", "notifications"] {
            host.deploy(name, &window(name).await).await;
        }
        let bearer = format!("Bearer {}", host.token("alice", &SCOPES));
        Office {
            host,
            _grants: grants,
            bearer,
        }
    }

    async fn ask(&self, method: Method, path: &str, body: &str) -> Answer {
        let headers = [("authorization", self.bearer.as_str())];
        self.host.call(method, path, &headers, body).await
    }

    async fn pay(&self, body: Value) -> String {
        let path = "/api/v1/payments";
        let paid = self.ask(Method::POST, path, &body.to_string()).await;
        assert_eq!(paid.status, 201, "{}", paid.text());
        paid.json()["id"].as_str().unwrap().to_owned()
    }

    /// The messages about `reference`, once there are so many.
    async fn about(&self, reference: &str, count: usize) -> Vec<Value> {
        eventually("alice is told", || async {
            let listed = self.ask(Method::GET, "/api/v1/notifications", "").await;
            assert_eq!(listed.status, 200, "{}", listed.text());
            let mut found = listed.json()["notifications"].as_array().unwrap().clone();
            found.retain(|it| it["reference"] == reference);
            assert!(found.len() <= count, "{found:?}");
            (found.len() == count).then_some(found)
        })
        .await
    }

    async fn with_status(&self, reference: &str, status: &str) -> Value {
        eventually(status, || async {
            let message = self.about(reference, 1).await.remove(0);
            (message["status"] == status).then_some(message)
        })
        .await
    }
}

#[tokio::test]
async fn payer_gets_a_text_message_once_with_the_key_of_the_event() {
    let gateway = SmsGateway::start(KEY).await;
    let office = Office::with(Some(&gateway)).await;
    let paid = json!({ "amount": 42, "purpose": "fee", "phone": "+15550100" });
    let id = office.pay(paid).await;
    let message = office.with_status(&id, "sent").await;
    assert_eq!(
        (&message["owner"], &message["to"], &message["tries"]),
        (&json!("alice"), &json!("+15550100"), &json!(1))
    );
    let sent = gateway.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0]["text"], "We have received your payment of 42: fee.");
    let seen = gateway.server.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].header("idempotency-key"), message["event"]);
    let log = office.host.whole_log().await;
    assert!(!log.contains(KEY), "the key is in the log");

    let refund = format!("/api/v1/payments/{id}/refund");
    assert_eq!(office.ask(Method::POST, &refund, "").await.status, 200);
    let messages = office.about(&id, 2).await;
    let text = messages[1]["text"].as_str().unwrap();
    assert_eq!(text, "We have refunded your payment of 42: fee.");
}

#[tokio::test]
async fn text_message_waits_for_a_gateway_that_is_down_and_is_sent_once() {
    let gateway = SmsGateway::start(KEY).await;
    let mut office = Office::with(Some(&gateway)).await;
    // It has taken the message, and its answer is lost.
    gateway.server.fail(Fault::Lost, usize::MAX);
    let paid = json!({ "amount": 42, "phone": "+15550100" });
    let id = office.pay(paid).await;
    eventually("it was tried", || async {
        let message = office.about(&id, 1).await.remove(0);
        assert_eq!(message["status"], "queued");
        message["tries"].as_u64().filter(|tries| *tries > 0)
    })
    .await;
    office.host.kill();
    office.host.boot().await;
    gateway.server.recover();
    let message = office.with_status(&id, "sent").await;
    assert!(message["tries"].as_u64().unwrap() > 1, "{message}");
    assert_eq!(message["error"], json!(null));
    assert_eq!(gateway.sent().len(), 1);
}

#[tokio::test]
async fn number_that_the_gateway_refuses_is_not_tried_for_days() {
    let gateway = SmsGateway::start(KEY).await;
    let office = Office::with(Some(&gateway)).await;
    let paid = json!({ "amount": 42, "phone": REFUSED_NUMBER });
    let id = office.pay(paid).await;
    let message = office.with_status(&id, "failed").await;
    assert_eq!(message["tries"], 1);
    assert!(message["error"].as_str().unwrap().contains("rejects"));
}

#[tokio::test]
async fn citizen_without_phone_number_or_gateway_is_notified_in_their_list() {
    let office = Office::with(None).await;
    let id = office
        .pay(json!({ "amount": 42, "phone": "call me" }))
        .await;
    let message = office.about(&id, 1).await.remove(0);
    assert_eq!(message["status"], "in-app");
    assert_eq!(message["to"], json!(null));
    let retry = format!(
        "/api/v1/notifications/{}/retry",
        message["id"].as_str().unwrap()
    );
    let nothing = office.ask(Method::POST, &retry, "").await;
    assert_eq!((nothing.status.as_u16(), nothing.json()), (200, message));

    let id = office
        .pay(json!({ "amount": 42, "phone": "+15550100" }))
        .await;
    let queued = office.with_status(&id, "queued").await;
    assert_eq!(queued["tries"], 0);

    let (kind, body) = multipart("me.jpg", "image/jpeg", b"not quite a photo");
    let headers = [
        ("authorization", office.bearer.as_str()),
        ("content-type", &kind),
    ];
    let host = &office.host;
    let stored = host
        .call(Method::POST, "/api/v1/docs", &headers, body)
        .await;
    assert_eq!(stored.status, 201, "{}", stored.text());
    let doc = stored.json()["id"].as_str().unwrap().to_owned();
    let path = stored.header("location").to_owned();
    assert_eq!(office.ask(Method::DELETE, &path, "").await.status, 204);
    let texts: Vec<_> = office.about(&doc, 2).await;
    assert_eq!(texts[0]["text"], "Your document me.jpg is stored.");
    assert_eq!(texts[1]["text"], "Your document me.jpg was removed.");
    assert_eq!(office.ask(Method::DELETE, &path, "").await.status, 404);

    // To others it is nobody's business.
    let bob = format!("Bearer {}", host.token("bob", &SCOPES));
    let as_bob = [("authorization", bob.as_str())];
    let listed = host
        .call(Method::GET, "/api/v1/notifications", &as_bob, "")
        .await;
    assert_eq!(listed.json()["notifications"], json!([]));
}
