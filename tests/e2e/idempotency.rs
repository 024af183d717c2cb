//! A payment that is sent again with its `Idempotency-Key` is made once, whatever happens to the
//! host in between.

use hms_harness::host::Options;
use hms_harness::http::{connect, raw, try_request};
use hms_harness::{Answer, Host, PATIENCE, guest, window};
use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const PAYMENTS: &str = "uri: /api/v1/payments/**\nupstream: http://hms-svc-payments\nplugins:\n  - auth\n  - idempotency\n";

async fn host(file: &'static str, route: String) -> Host {
    Host::start_with(Options {
        routes: vec![(file, route)],
        args: ["--upstream-allow", "127.0.0.1"].map(String::from).into(),
        ..Options::default()
    })
    .await
}

async fn pay(host: &Host, bearer: &str, key: &str) -> Answer {
    let headers = [("authorization", bearer), ("idempotency-key", key)];
    let body = r#"{"amount":42,"purpose":"FOIA copy fee"}"#;
    host.call(Method::POST, "/api/v1/payments", &headers, body)
        .await
}

#[tokio::test]
async fn acknowledged_payment_is_not_repeated_after_kill_9() {
    let mut host = host("payments.yaml", PAYMENTS.into()).await;
    host.deploy("payments", &window("payments").await).await;
    let bearer = format!("Bearer {}", host.token("alice", &[]));
    let first = pay(&host, &bearer, "\"fee-1\"").await;
    assert_eq!(first.status, 201, "{}", first.text());
    host.kill();
    host.boot().await;
    let again = pay(&host, &bearer, "\"fee-1\"").await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(
        (again.status, again.text(), again.header("location")),
        (first.status, first.text(), first.header("location"))
    );
    // Another key is another payment, so it was the key that made it the same.
    let other = pay(&host, &bearer, "\"fee-2\"").await;
    assert_ne!(other.header("location"), first.header("location"));
    let bob = format!("Bearer {}", host.token("bob", &[]));
    let bobs = pay(&host, &bob, "\"fee-1\"").await;
    assert_eq!(
        (bobs.status.as_u16(), bobs.header("idempotency-replayed")),
        (201, "")
    );
}

#[tokio::test]
async fn payment_is_not_repeated_after_its_route_file_is_renamed() {
    let mut host = host("payments.yaml", PAYMENTS.into()).await;
    host.deploy("payments", &window("payments").await).await;
    let bearer = format!("Bearer {}", host.token("alice", &[]));
    let first = pay(&host, &bearer, "\"fee-1\"").await;
    assert_eq!(first.status, 201, "{}", first.text());
    host.kill();
    let routes = host.routes();
    std::fs::rename(routes.join("payments.yaml"), routes.join("fees.yaml")).unwrap();
    host.boot().await;
    let again = pay(&host, &bearer, "\"fee-1\"").await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.header("location"), first.header("location"));
}

#[tokio::test]
async fn payment_cut_by_kill_9_has_an_unknown_outcome_and_is_not_resent() {
    let bank = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let route = format!(
        "uri: /bank\nupstream: http://{}\nplugins: [idempotency]\n",
        bank.local_addr().unwrap()
    );
    let mut host = host("bank.yaml", route).await;
    let url = format!("{}/bank", host.gateway());
    let headers = [("idempotency-key", "k")];
    let cut = async {
        let paying = try_request(Method::POST, &url, &headers, b"42".to_vec());
        let taking = async {
            let (mut order, _) = bank.accept().await.unwrap();
            order.read_u8().await.unwrap();
            order
        };
        let mut paying = std::pin::pin!(paying);
        let order = tokio::select! {
            said = &mut paying => panic!("answered: {said:?}"),
            order = taking => order,
        };
        host.kill();
        assert!(paying.await.is_err());
        drop(order);
    };
    tokio::time::timeout(PATIENCE, cut).await.unwrap();
    host.boot().await;
    let again = host.call(Method::POST, "/bank", &headers, "42").await;
    assert_eq!(
        (again.status.as_u16(), again.problem().as_str()),
        (409, "idempotency-unknown"),
        "{}",
        again.text()
    );
    // The bank would have seen a second order before the answer was there.
    let second = tokio::time::timeout(std::time::Duration::ZERO, bank.accept()).await;
    assert!(second.is_err(), "it was sent again");

    // A new key is a new order, and it gets through.
    let mut stream = connect(host.gateway()).await;
    let request =
        "POST /bank HTTP/1.1\r\nhost: x\r\nidempotency-key: l\r\ncontent-length: 2\r\n\r\n42";
    stream.write_all(request.as_bytes()).await.unwrap();
    let order = tokio::time::timeout(PATIENCE, bank.accept()).await;
    assert!(order.unwrap().is_ok());
}

#[tokio::test]
async fn request_cut_while_a_window_reads_its_body_is_not_repeated() {
    let route = "uri: /incr-and-read/**\nupstream: http://hms-svc-prober\nplugins:\n  - idempotency\n  - wasm: {window: meddler}\n";
    let host = host("prober.yaml", route.into()).await;
    for name in ["prober", "meddler"] {
        host.deploy(name, &guest(name).await).await;
    }
    let set = host
        .cli("limits", &["prober", "--request-body", "1KiB"])
        .await;
    assert!(set.status.success(), "{set:?}");
    // The middleware sends it on as a stream without a length: the window is at work before it
    // shows how large it is.
    let pay = async |key: &str, length: usize| {
        let chunk = "x".repeat(length);
        let request = format!(
            "POST /incr-and-read/bucket/n HTTP/1.1\r\nhost: x\r\nidempotency-key: {key}\r\nx-meddle: unsized\r\nconnection: close\r\n\
             transfer-encoding: chunked\r\n\r\n{length:x}\r\n{chunk}\r\n0\r\n\r\n"
        );
        raw(host.gateway(), request.as_bytes()).await
    };
    let cut = pay("k", 3000).await;
    assert!(
        cut.starts_with("HTTP/1.1 413") && cut.contains("body-too-large"),
        "{cut}"
    );
    let again = pay("k", 3000).await;
    assert!(again.contains("idempotency-replayed: true"), "{again}");
    assert!(again.starts_with("HTTP/1.1 413"), "{again}");
    // It was done once: this is the second time.
    let sum = pay("l", 10).await;
    assert!(sum.ends_with("\r\n\r\n2"), "{sum}");
}
