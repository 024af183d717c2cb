//! What the tests rely on the services for.

use super::card::DECLINED;
use super::sms::REFUSED_NUMBER;
use super::*;
use crate::http::{Answer, try_request};
use http::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

async fn post(url: &str, key: &str, id: &str, body: Value) -> Result<Answer, String> {
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", id)];
    try_request(Method::POST, url, &headers, body.to_string().into_bytes()).await
}

async fn message(gateway: &SmsGateway, key: &str, id: &str, to: &str) -> Result<Answer, String> {
    let url = format!("{}/v1/messages", gateway.server.url());
    post(&url, key, id, json!({ "to": to, "text": "a" })).await
}

#[tokio::test]
async fn gateway_sends_once_by_idempotency_key_and_checks_the_key() {
    let gateway = SmsGateway::start("right").await;
    for _ in 0..2 {
        let sent = message(&gateway, "right", "1", "+15550100").await.unwrap();
        assert_eq!(
            (sent.status.as_u16(), &sent.json()["id"]),
            (201, &json!("sms-1"))
        );
    }
    let wrong = message(&gateway, "wrong", "2", "+15550100").await.unwrap();
    assert_eq!(wrong.status, 401);
    let refused = message(&gateway, "right", "3", REFUSED_NUMBER).await;
    assert_eq!(refused.unwrap().status, 422);
    assert_eq!((gateway.sent().len(), gateway.server.seen().len()), (1, 4));
}

#[tokio::test]
async fn processor_charges_once_by_idempotency_key_and_declines_one_card() {
    let processor = CardProcessor::start("right").await;
    let url = format!("{}/v1/charges", processor.server.url());
    for (id, card, status) in [
        ("1", "tok_visa", 201),
        ("1", "tok_visa", 201),
        ("2", DECLINED, 402),
    ] {
        let order = json!({ "amount": 42, "currency": "EUR", "card": card, "reference": id });
        let answer = post(&url, "right", id, order).await.unwrap();
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    assert_eq!(processor.charged().len(), 1);
}

#[tokio::test]
async fn faults_hold_for_as_many_requests_as_was_said() {
    let gateway = SmsGateway::start("key").await;
    let mut id = 0;
    let mut send = async || {
        id += 1;
        message(&gateway, "key", &id.to_string(), "+15550100").await
    };
    gateway.server.fail(Fault::Status(503), 2);
    let statuses = [send().await, send().await, send().await].map(|it| it.unwrap().status);
    assert_eq!(statuses.map(|status| status.as_u16()), [503, 503, 201]);
    assert_eq!(gateway.sent().len(), 1);

    gateway.server.fail(Fault::Reset, 1);
    assert!(send().await.is_err());
    assert_eq!(gateway.sent().len(), 1, "a reset comes before the work");
    gateway.server.fail(Fault::Lost, 1);
    assert!(send().await.is_err());
    assert_eq!(gateway.sent().len(), 2, "an answer is lost after the work");
    gateway.server.fail(Fault::Cut, 1);
    // A reset may overtake the head.
    let cut = send().await;
    assert!(cut.is_err() || cut.is_ok_and(|answer| answer.cut.is_some()));
    assert_eq!(gateway.sent().len(), 3);

    gateway.server.fail(Fault::Huge(1 << 20), 1);
    assert_eq!(send().await.unwrap().body.len(), 1 << 20);
    let begun = Instant::now();
    gateway
        .server
        .fail(Fault::Slow(Duration::from_millis(200)), usize::MAX);
    send().await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(200));
    gateway.server.recover();
    assert_eq!(send().await.unwrap().status, 201);
}
