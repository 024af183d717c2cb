//! Payments by card through a card processor, a real HTTP server, and giving them back.

use hms_harness::grants::{Grants, connected};
use hms_harness::services::card::DECLINED;
use hms_harness::services::{CardProcessor, Fault};
use hms_harness::{Answer, Host, Options, window};
use http::Method;
use serde_json::json;

const KEY: &str = "card-key-91c2e4";
const PATH: &str = "/api/v1/payments";
const SCOPES: [&str; 2] = ["payments.write", "payments.read"];

struct Office {
    host: Host,
    _grants: Grants,
    bearer: String,
}

impl Office {
    async fn with(processor: &CardProcessor) -> Office {
        let grants = Grants::new();
        grants.secret("card-key", KEY);
        let url = processor.server.url();
        grants.write(
            "payments",
            &format!(
                "outbound:\n  - to: {url}\n    methods: [POST]\n    paths: [/v1/charges/**]\n    \
                 inject: {{authorization: \"Bearer {{card-key}}\"}}\n    \
                 private: [127.0.0.0/8]\n\
                 secrets: {{card-key: {{file: secrets/card-key}}}}\n\
                 config: {{card-url: \"{url}\", currency: USD}}\n"
            ),
        );
        Office::open(grants).await
    }

    async fn open(grants: Grants) -> Office {
        let host = Host::start_with(Options {
            args: grants.args(),
            ..Default::default()
        })
        .await;
        host.deploy("payments", &window("payments").await).await;
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

    async fn pay(&self, body: &str) -> Answer {
        self.ask(Method::POST, PATH, body).await
    }

    async fn refund(&self, payment: &Answer) -> Answer {
        let path = format!("{}/refund", payment.header("location"));
        self.ask(Method::POST, &path, "").await
    }

    async fn status_of(&self, payment: &Answer) -> String {
        let shown = self.ask(Method::GET, payment.header("location"), "").await;
        shown.json()["status"].as_str().unwrap_or("-").to_owned()
    }
}

#[tokio::test]
async fn card_is_charged_with_a_key_that_the_window_never_sees() {
    let processor = CardProcessor::start(KEY).await;
    let office = Office::with(&processor).await;
    let paid = office
        .pay(r#"{"amount":42.10,"purpose":"fee","card":"tok_visa","status":"forged"}"#)
        .await;
    assert_eq!(paid.status, 201, "{}", paid.text());
    let id = paid.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(paid.json(), json!({ "id": id, "status": "charged" }));

    let seen = processor.server.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].header("authorization"), format!("Bearer {KEY}"));
    assert_eq!(seen[0].header("idempotency-key"), id);
    let body = String::from_utf8(seen[0].body.clone()).unwrap();
    assert!(
        body.contains(r#""amount":42.10"#),
        "the digits are kept: {body}"
    );
    assert_eq!(seen[0].json()["currency"], "USD");

    let shown = office.ask(Method::GET, paid.header("location"), "").await;
    assert_eq!(shown.json()["status"], "charged");
    assert_eq!(shown.json()["charge"], "ch-1");
    assert!(!shown.text().contains("tok_visa"), "the token is not kept");
    assert!(!office.host.whole_log().await.contains(KEY));

    // A payment that is not by card is as ever.
    let plain = office.pay(r#"{"amount":1}"#).await;
    assert_eq!(plain.status, 201);
    assert_eq!(plain.json(), json!({ "id": plain.json()["id"] }));
    assert_eq!(processor.server.seen().len(), 1);
}

#[tokio::test]
async fn file_of_the_repository_charges_once_it_is_filled_in() {
    let processor = CardProcessor::start(KEY).await;
    let grants = Grants::new();
    grants.secret("card-key", KEY);
    let url = processor.server.url();
    let text = connected("payments", "https://api.card.example", &url);
    grants.write("payments", &text);
    let office = Office::open(grants).await;
    let paid = office.pay(r#"{"amount":42,"card":"tok_visa"}"#).await;
    assert_eq!(paid.status, 201, "{}", paid.text());
    assert_eq!(processor.charged()[0]["currency"], "EUR");
}

#[tokio::test]
async fn declined_card_is_402_and_the_payment_says_so() {
    let processor = CardProcessor::start(KEY).await;
    let office = Office::with(&processor).await;
    let order = json!({ "amount": 42, "card": DECLINED }).to_string();
    let declined = office.pay(&order).await;
    assert_eq!(
        (declined.status.as_u16(), declined.problem().as_str()),
        (402, "card-declined")
    );
    assert_eq!(office.status_of(&declined).await, "declined");
    for wrong in [r#"{"amount":1,"card":""}"#, r#"{"amount":1,"card":4242}"#] {
        assert_eq!(office.pay(wrong).await.status, 400, "{wrong}");
    }
    assert!(processor.charged().is_empty());
}

#[tokio::test]
async fn payment_whose_answer_was_lost_is_pending_and_never_charged_twice() {
    let processor = CardProcessor::start(KEY).await;
    let office = Office::with(&processor).await;
    let order = r#"{"amount":42,"card":"tok_visa"}"#;
    for fault in [Fault::Lost, Fault::Reset, Fault::Status(500)] {
        let before = processor.charged().len();
        // The host may send again what was not sent.
        processor.server.fail(fault, usize::MAX);
        let pending = office.pay(order).await;
        assert_eq!(pending.status, 202, "{fault:?}: {}", pending.text());
        assert_eq!(pending.json()["status"], "pending");
        assert_eq!(office.status_of(&pending).await, "pending");

        processor.server.recover();
        let again = format!("{}/charge", pending.header("location"));
        let charged = office
            .ask(Method::POST, &again, r#"{"card":"tok_visa"}"#)
            .await;
        assert_eq!(charged.status, 201, "{}", charged.text());
        assert_eq!(office.status_of(&pending).await, "charged");
        assert_eq!(processor.charged().len(), before + 1, "{fault:?}");
        let settled = office
            .ask(Method::POST, &again, r#"{"card":"tok_visa"}"#)
            .await;
        assert_eq!(
            (settled.status.as_u16(), settled.problem().as_str()),
            (409, "not-pending")
        );
    }
}

#[tokio::test]
async fn payment_without_a_processor_is_recorded_and_calls_nobody() {
    let office = Office::open(Grants::new()).await;
    let paid = office.pay(r#"{"amount":42,"card":"tok_visa"}"#).await;
    assert_eq!(paid.status, 201, "{}", paid.text());
    let id = paid.json()["id"].clone();
    assert_eq!(paid.json(), json!({ "id": id }));
    let shown = office.ask(Method::GET, paid.header("location"), "").await;
    let kept = json!({ "id": id, "amount": 42, "card": "tok_visa", "owner": "alice" });
    assert_eq!(shown.json(), kept);
    let charge = format!("{}/charge", paid.header("location"));
    assert_eq!(office.ask(Method::POST, &charge, "").await.status, 404);
}

#[tokio::test]
async fn charged_payment_is_refunded_once_here_and_at_the_processor() {
    let processor = CardProcessor::start(KEY).await;
    let office = Office::with(&processor).await;
    let order = r#"{"amount":42,"card":"tok_visa"}"#;
    for fault in [None, Some(Fault::Lost), Some(Fault::Status(500))] {
        let paid = office.pay(order).await;
        assert_eq!(paid.status, 201, "{}", paid.text());
        let id = paid.json()["id"].as_str().unwrap().to_owned();
        let before = processor.refunded().len();
        if let Some(fault) = fault {
            processor.server.fail(fault, usize::MAX);
            let unknown = office.refund(&paid).await;
            assert_eq!(
                (unknown.status.as_u16(), unknown.problem().as_str()),
                (503, "refund-unknown"),
                "{fault:?}"
            );
            assert_eq!(office.status_of(&paid).await, "charged");
            processor.server.recover();
        }
        let refunded = office.refund(&paid).await;
        assert_eq!(refunded.status, 200, "{}", refunded.text());
        assert_eq!(refunded.json(), json!({ "id": id, "status": "refunded" }));
        assert_eq!(office.status_of(&paid).await, "refunded");
        let again = office.refund(&paid).await;
        assert_eq!(
            (again.status.as_u16(), again.problem().as_str()),
            (409, "already-refunded")
        );
        assert_eq!(processor.refunded().len(), before + 1, "{fault:?}");
        let asked = processor.server.seen();
        let last = asked.last().unwrap();
        assert_eq!(last.header("idempotency-key"), format!("{id}-refund"));
        assert_eq!(last.header("authorization"), format!("Bearer {KEY}"));
    }
}

#[tokio::test]
async fn only_paid_payments_are_refunded() {
    let processor = CardProcessor::start(KEY).await;
    let office = Office::with(&processor).await;
    let declined = office
        .pay(&json!({ "amount": 1, "card": DECLINED }).to_string())
        .await;
    let refused = office.refund(&declined).await;
    assert_eq!(
        (refused.status.as_u16(), refused.problem().as_str()),
        (409, "not-paid")
    );
    processor.server.fail(Fault::Status(500), usize::MAX);
    let pending = office.pay(r#"{"amount":1,"card":"tok_visa"}"#).await;
    assert_eq!(office.refund(&pending).await.status, 409);
    assert_eq!(office.status_of(&pending).await, "pending");
    assert!(processor.refunded().is_empty());

    // One without a card is given back as well, to its owner and nobody else.
    let plain = office
        .pay(r#"{"amount":1,"status":"refunded","charge":"ch-1"}"#)
        .await;
    let path = format!("{}/refund", plain.header("location"));
    let bob = format!("Bearer {}", office.host.token("bob", &SCOPES));
    let as_bob = [("authorization", bob.as_str())];
    let host = &office.host;
    assert_eq!(
        host.call(Method::POST, &path, &as_bob, "").await.status,
        404
    );
    assert_eq!(office.ask(Method::GET, &path, "").await.status, 405);
    assert_eq!(office.refund(&plain).await.status, 200);
    assert_eq!(office.refund(&plain).await.status, 409);
}

#[tokio::test]
async fn payment_that_does_not_fit_into_an_event_is_413() {
    let office = Office::open(Grants::new()).await;
    let order = |bytes| json!({ "amount": 1, "purpose": "a".repeat(bytes) }).to_string();
    assert_eq!(office.pay(&order(61_000)).await.status, 201);
    let refused = office.pay(&order(61_440)).await;
    assert_eq!(
        (refused.status.as_u16(), refused.problem().as_str()),
        (413, "body-too-large")
    );
}
