//! The exercise of the README, word for word.

use hms_harness::http::multipart;
use hms_harness::{Answer, Host, guests, window};
use http::Method;
use serde_json::json;

const SCOPES: [&str; 4] = ["payments.write", "payments.read", "docs.write", "docs.read"];

async fn office() -> Host {
    let host = Host::start().await;
    for name in ["payments", "docs"] {
        host.deploy(name, &window(name).await).await;
    }
    host
}

async fn pay(host: &Host, bearer: &str, body: &str) -> Answer {
    // What `curl -d` sends.
    let headers = [
        ("authorization", bearer),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    host.call(Method::POST, "/api/v1/payments", &headers, body)
        .await
}

async fn upload(host: &Host, bearer: &str, name: &str, bytes: &[u8]) -> Answer {
    let (kind, body) = multipart(name, "image/jpeg", bytes);
    let headers = [("authorization", bearer), ("content-type", kind.as_str())];
    host.call(Method::POST, "/api/v1/docs", &headers, body)
        .await
}

/// Bytes that no text conversion and no chunk boundary leaves unharmed.
fn photo(size: usize) -> Vec<u8> {
    (0..size)
        .map(|i| (i.wrapping_mul(2654435761) >> 7) as u8)
        .collect()
}

#[tokio::test]
async fn newcomer_pays_and_uploads_a_photo_and_finds_both_again() {
    let mut host = office().await;
    let bearer = format!("Bearer {}", host.token("alice", &SCOPES));
    let auth = [("authorization", bearer.as_str())];

    let paid = pay(&host, &bearer, r#"{"amount":42,"purpose":"FOIA copy fee"}"#).await;
    assert_eq!(paid.status, 201, "{}", paid.text());
    let id = paid.json()["id"].as_str().unwrap().to_owned();
    let payment_path = format!("/api/v1/payments/{id}");
    assert_eq!(paid.header("location"), payment_path);
    let payment = json!({ "id": id, "amount": 42, "purpose": "FOIA copy fee", "owner": "alice" });
    assert_eq!(
        host.call(Method::GET, &payment_path, &auth, "")
            .await
            .json(),
        payment
    );

    let bytes = photo(1_500_000);
    let filed = upload(&host, &bearer, "my_photo.jpg", &bytes).await;
    assert_eq!(filed.status, 201, "{}", filed.text());
    let record = filed.json();
    assert_eq!(record["name"], "my_photo.jpg");
    assert_eq!(record["size"], bytes.len());
    let doc_path = record["url"].as_str().unwrap().to_owned();
    assert_eq!(
        doc_path,
        format!("/api/v1/docs/{}", record["id"].as_str().unwrap())
    );
    let back = host.call(Method::GET, &doc_path, &auth, "").await;
    assert_eq!(back.header("content-type"), "image/jpeg");
    assert!(
        back.body == bytes,
        "the photo came back changed: {} bytes",
        back.body.len()
    );

    let stopped = host.cli("stop", &["payments"]).await;
    assert!(
        stopped.status.success(),
        "{}",
        String::from_utf8_lossy(&stopped.stderr)
    );
    let closed = host.call(Method::GET, &payment_path, &auth, "").await;
    assert_eq!(
        (closed.status.as_u16(), closed.problem().as_str()),
        (503, "window-stopped")
    );
    assert!(!closed.header("retry-after").is_empty());
    assert_eq!(
        host.call(Method::GET, &doc_path, &auth, "").await.status,
        200
    );
    assert!(host.cli("start", &["payments"]).await.status.success());
    assert_eq!(
        host.call(Method::GET, &payment_path, &auth, "")
            .await
            .json(),
        payment
    );

    let pid = host.pid();
    let file = guests::path("payments").await;
    let deployed = host.cli("deploy", &[file.to_str().unwrap()]).await;
    assert!(
        deployed.status.success(),
        "{}",
        String::from_utf8_lossy(&deployed.stderr)
    );
    assert_eq!(host.deploy("payments", &window("payments").await).await, 3);
    assert_eq!(host.pid(), pid);
    assert_eq!(
        host.call(Method::GET, &payment_path, &auth, "")
            .await
            .json(),
        payment
    );

    assert!(host.terminate().await.success());
    host.boot().await;
    assert_eq!(
        host.call(Method::GET, &payment_path, &auth, "")
            .await
            .json(),
        payment
    );
    assert!(host.call(Method::GET, &doc_path, &auth, "").await.body == bytes);
    let live = host.window("payments").await.live.unwrap();
    assert_eq!(live.number, 3);
}

#[tokio::test]
async fn invalid_payment_is_rejected_with_a_reason() {
    let host = office().await;
    let bearer = format!("Bearer {}", host.token("alice", &SCOPES));
    for (body, why) in [
        ("{", "JSON"),
        ("[1]", "object"),
        ("{}", "missing"),
        (r#"{"amount":-1}"#, "negative"),
        (r#"{"amount":"42"}"#, "number"),
    ] {
        let refused = pay(&host, &bearer, body).await;
        assert_eq!(refused.status, 400, "{body}: {}", refused.text());
        assert_eq!(refused.header("content-type"), "application/problem+json");
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(why), "{body}: {detail}");
    }
}

#[tokio::test]
async fn citizens_see_only_their_own_records() {
    let host = office().await;
    let alice = format!("Bearer {}", host.token("alice", &SCOPES));
    let bob = format!("Bearer {}", host.token("bob", &SCOPES));
    let id = pay(&host, &alice, r#"{"amount":1}"#).await.json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let doc = upload(&host, &alice, "a.jpg", b"a").await.json()["url"]
        .as_str()
        .unwrap()
        .to_owned();
    let as_bob = [("authorization", bob.as_str())];
    for path in [
        format!("/api/v1/payments/{id}"),
        "/api/v1/payments/unknown".into(),
        doc,
    ] {
        assert_eq!(
            host.call(Method::GET, &path, &as_bob, "").await.status,
            404,
            "{path}"
        );
    }
    let own = host
        .call(Method::GET, "/api/v1/payments", &as_bob, "")
        .await
        .json();
    assert_eq!(own["payments"], json!([]));
}

#[tokio::test]
async fn payments_are_listed_in_pages_each_once() {
    let host = Host::start_with(hms_harness::Options {
        routes: vec![(
            "payments.yaml",
            "uri: /api/v1/payments/**\nupstream: http://hms-svc-payments\nplugins: [auth]\n".into(),
        )],
        ..Default::default()
    })
    .await;
    host.deploy("payments", &window("payments").await).await;
    let bearer = format!("Bearer {}", host.token("alice", &[]));
    let mut made = Vec::new();
    for amount in 0..7 {
        let paid = pay(&host, &bearer, &format!(r#"{{"amount":{amount}}}"#)).await;
        made.push(paid.json()["id"].clone());
    }
    let mut listed = Vec::new();
    let mut path = "/api/v1/payments?limit=3".to_owned();
    loop {
        let page = host
            .call(Method::GET, &path, &[("authorization", &bearer)], "")
            .await
            .json();
        let payments = page["payments"].as_array().unwrap();
        assert!(payments.len() <= 3);
        listed.extend(payments.iter().map(|payment| payment["id"].clone()));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/api/v1/payments?limit=3&cursor={next}");
    }
    assert_eq!(listed, made);
}

#[tokio::test]
async fn document_can_be_fetched_in_part_and_deleted() {
    let host = office().await;
    let bearer = format!("Bearer {}", host.token("alice", &SCOPES));
    let bytes = photo(600_000);
    let filed = upload(&host, &bearer, "a\"b.jpg", &bytes).await.json();
    let path = filed["url"].as_str().unwrap();
    let part = [
        ("authorization", bearer.as_str()),
        ("range", "bytes=250000-500001"),
    ];
    let part = host.call(Method::GET, path, &part, "").await;
    assert_eq!(
        (part.status.as_u16(), part.header("content-range")),
        (206, "bytes 250000-500001/600000")
    );
    assert!(part.body == bytes[250_000..=500_001]);
    let beyond = [
        ("authorization", bearer.as_str()),
        ("range", "bytes=600000-"),
    ];
    assert_eq!(host.call(Method::GET, path, &beyond, "").await.status, 416);

    let whole = host
        .call(Method::GET, path, &[("authorization", &bearer)], "")
        .await;
    let known = [
        ("authorization", bearer.as_str()),
        ("if-none-match", whole.header("etag")),
    ];
    assert_eq!(host.call(Method::GET, path, &known, "").await.status, 304);
    assert!(
        whole
            .header("content-disposition")
            .starts_with("attachment"),
        "{:?}",
        whole.headers
    );

    let auth = [("authorization", bearer.as_str())];
    assert_eq!(host.call(Method::DELETE, path, &auth, "").await.status, 204);
    assert_eq!(host.call(Method::GET, path, &auth, "").await.status, 404);
    assert_eq!(
        host.call(Method::GET, "/api/v1/docs", &auth, "")
            .await
            .json()["docs"],
        json!([])
    );
}

#[tokio::test]
async fn document_larger_than_instance_memory_is_uploaded_and_downloaded() {
    let host = Host::start_with(hms_harness::Options {
        args: vec!["--instance-memory".into(), "6MiB".into()],
        ..Default::default()
    })
    .await;
    host.deploy("docs", &window("docs").await).await;
    let bearer = format!("Bearer {}", host.token("alice", &SCOPES));
    let bytes = photo(20 << 20);
    let filed = upload(&host, &bearer, "scan.tiff", &bytes).await;
    assert_eq!(filed.status, 201, "{}", filed.text());
    let path = filed.json()["url"].as_str().unwrap().to_owned();
    let back = host
        .call(Method::GET, &path, &[("authorization", &bearer)], "")
        .await;
    assert!(back.body == bytes, "{} bytes came back", back.body.len());
}

#[tokio::test]
async fn oversized_document_is_rejected_and_leaves_nothing() {
    let host = office().await;
    let bearer = format!("Bearer {}", host.token("alice", &SCOPES));
    let refused = upload(&host, &bearer, "big.jpg", &photo(26 << 20)).await;
    assert_eq!(refused.status, 413, "{}", refused.text());
    let auth = [("authorization", bearer.as_str())];
    assert_eq!(
        host.call(Method::GET, "/api/v1/docs", &auth, "")
            .await
            .json()["docs"],
        json!([])
    );
    assert_eq!(
        upload(&host, &bearer, "small.jpg", b"small").await.status,
        201
    );
}
