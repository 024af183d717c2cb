use super::*;
use hms_store::NewEvent;
use http_body_util::BodyExt;
use serde_json::{Value, json};

fn stored(content_type: &str, data: &[u8]) -> StoredEvent {
    StoredEvent {
        sequence: 42,
        id: "00c0ffee00c0ffee-7".into(),
        time_ms: 1_700_000_000_123,
        event: NewEvent {
            kind: "gov.payment.paid.v1".into(),
            subject: Some("Zürich 1".into()),
            partition_key: Some("k".into()),
            content_type: content_type.into(),
            data: data.to_vec(),
            attributes: vec![
                ("severity".into(), "high".into()),
                ("source".into(), "forged".into()),
            ],
            ..NewEvent::default()
        },
    }
}

fn made(mode: ContentMode, stored: &StoredEvent) -> Request<Body> {
    made_in(2, mode, stored)
}

fn made_in(round: u64, mode: ContentMode, stored: &StoredEvent) -> Request<Body> {
    let which = Which {
        subscription: "paid",
        attempt: 3,
        round,
    };
    let to = Uri::from_static("http://hms-svc-notifications/events");
    request(to, which, "payments", stored, mode).unwrap()
}

async fn bytes(request: Request<Body>) -> Vec<u8> {
    request
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes()
        .to_vec()
}

#[tokio::test]
async fn binary_delivery_has_attributes_in_headers_and_the_data_as_its_body() {
    let request = made(ContentMode::Binary, &stored("application/json", b"{}"));
    let said = |name: &str| {
        let mut all = request.headers().get_all(name).iter();
        let first = all.next().map(|value| value.to_str().unwrap().to_owned());
        assert!(all.next().is_none(), "{name} twice");
        first.unwrap_or_else(|| panic!("no {name}"))
    };
    assert_eq!(request.method(), "POST");
    assert_eq!(request.uri(), "http://hms-svc-notifications/events");
    for (name, value) in [
        ("host", "hms-svc-notifications"),
        ("ce-specversion", "1.0"),
        ("ce-id", "00c0ffee00c0ffee-7"),
        ("ce-source", "urn:hms:window:payments"),
        ("ce-type", "gov.payment.paid.v1"),
        ("ce-time", "2023-11-14T22:13:20.123Z"),
        ("ce-subject", "Z%C3%BCrich%201"),
        ("ce-partitionkey", "k"),
        ("ce-sequence", "00000000000000000042"),
        ("ce-severity", "high"),
        ("content-type", "application/json"),
        ("content-length", "2"),
        ("x-hms-delivery", "paid; attempt=3; round=2"),
    ] {
        assert_eq!(said(name), value, "{name}");
    }
    assert_eq!(said("x-request-id").len(), 36);
    assert!(!request.headers().contains_key("ce-traceparent"));
    assert_eq!(bytes(request).await, b"{}");
}

#[tokio::test]
async fn structured_delivery_is_one_document() {
    let document = async |kind: &str, data: &[u8]| -> Value {
        let request = made(ContentMode::Structured, &stored(kind, data));
        assert!(
            request.headers()["content-type"]
                .to_str()
                .unwrap()
                .starts_with("application/cloudevents+json")
        );
        assert_eq!(
            request.headers()["x-hms-delivery"],
            "paid; attempt=3; round=2"
        );
        serde_json::from_slice(&bytes(request).await).unwrap()
    };
    let event = document("application/json", br#"{"fee": 3}"#).await;
    assert_eq!(event["data"], json!({"fee": 3}));
    assert_eq!(event["datacontenttype"], "application/json");
    assert_eq!(event["subject"], "Zürich 1");
    assert_eq!(event["source"], "urn:hms:window:payments");
    // No number is made another one on the way.
    let exact = br#"{"amount": 19.90, "serial": 123456789012345678901234567890}"#;
    let request = made(ContentMode::Structured, &stored("application/json", exact));
    let text = String::from_utf8(bytes(request).await.to_vec()).unwrap();
    let kept = format!(r#""data":{}"#, std::str::from_utf8(exact).unwrap());
    assert!(text.contains(&kept), "{text}");
    assert_eq!(document("text/plain", b"hello").await["data"], "hello");
    let event = document("image/png", &[0xff, 0]).await;
    assert_eq!(event["data_base64"], "/wA=");
    assert!(event.get("data").is_none());
}

#[tokio::test]
async fn replay_is_told_from_a_first_delivery_by_an_attribute_in_either_mode() {
    let stored = stored("application/json", b"{}");
    let binary = |round| made_in(round, ContentMode::Binary, &stored);
    assert_eq!(binary(2).headers()["ce-hmsround"], "2");
    assert!(!binary(0).headers().contains_key("ce-hmsround"));
    for (round, said) in [(2, json!("2")), (0, Value::Null)] {
        let request = made_in(round, ContentMode::Structured, &stored);
        let document: Value = serde_json::from_slice(&bytes(request).await).unwrap();
        assert_eq!(document["hmsround"], said);
    }
}

#[test]
fn event_continues_the_trace_of_who_emitted_it() {
    let mut event = stored("", b"");
    let above = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    event.event.traceparent = Some(above.into());
    let request = made(ContentMode::Binary, &event);
    assert_eq!(request.headers()["ce-traceparent"], above);
    let below = request.headers()[TRACEPARENT].to_str().unwrap();
    assert!(below.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && below != above);
    assert!(!request.headers().contains_key(CONTENT_TYPE));
}
