//! What windows and services may answer: one outcome for each, over both protocols; and what
//! clients are not told.

use super::*;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;

type Asking = Client<HttpConnector, Full<Bytes>>;

/// Status, header fields and body of what is answered there, or that the body was cut.
async fn ask(
    client: &Asking,
    method: Method,
    uri: &str,
) -> (StatusCode, HeaderMap, Result<Bytes, String>) {
    let request = Request::builder().method(method).uri(uri);
    let request = request.body(Full::default()).unwrap();
    let asked = tokio::time::timeout(PATIENCE, client.request(request)).await;
    let (head, body) = asked.expect("an answer in time").unwrap().into_parts();
    let body = body.collect().await.map_err(|error| error.to_string());
    (head.status, head.headers, body.map(|body| body.to_bytes()))
}

fn both() -> [Asking; 2] {
    let http1 = Client::builder(TokioExecutor::new()).build_http();
    [http1, h2()]
}

#[tokio::test]
async fn each_status_has_one_outcome_over_both_protocols() {
    let fixture = Fixture::open().await;
    for client in both() {
        for number in 100..1000 {
            let status = StatusCode::from_u16(number).unwrap();
            let uri = format!(
                "http://{}/open/answer?status={number}&body=content",
                fixture.addr
            );
            for method in [Method::GET, Method::HEAD] {
                let (seen, headers, body) = ask(&client, method.clone(), &uri).await;
                let body = body.unwrap_or_else(|error| panic!("{number} {method}: {error}"));
                assert!(headers.contains_key("x-request-id"), "{number} {method}");
                let is_head = method == Method::HEAD;
                match number {
                    100..=199 => {
                        assert_eq!(seen, StatusCode::BAD_GATEWAY, "{number} {method}");
                        assert_eq!(headers["content-type"], "application/problem+json");
                        let body = String::from_utf8_lossy(&body).into_owned();
                        assert_eq!(
                            body.contains("response-invalid"),
                            !is_head,
                            "{number} {body}"
                        );
                        assert_eq!(body.is_empty(), is_head);
                    }
                    204 | 205 | 304 => {
                        assert_eq!(seen, status);
                        assert!(body.is_empty(), "{number} {method}");
                        let length = headers.get("content-length").map(|l| l.to_str().unwrap());
                        let none = length.is_none() || (number == 205 && length == Some("0"));
                        assert!(none, "{number} {method}: {length:?}");
                    }
                    _ => {
                        assert_eq!(seen, status);
                        assert_eq!(body, if is_head { "" } else { "content" }, "{number}");
                        assert_eq!(headers["content-length"], "7", "{number} {method}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn wrong_content_length_fails_before_the_head_or_cuts_the_body() {
    let fixture = Fixture::open().await;
    let base = format!(
        "http://{}/open/answer?body=content&status=200",
        fixture.addr
    );
    for client in both() {
        for length in ["3", "8", "+7", "x", "", "7,7"] {
            let uri = format!("{base}&length={length}");
            let (status, _, body) = ask(&client, Method::GET, &uri).await;
            let body = String::from_utf8(body.unwrap().to_vec()).unwrap();
            assert_eq!(status, StatusCode::BAD_GATEWAY, "{length:?}");
            assert!(body.contains("response-invalid"), "{length:?} {body}");
        }
        for (length, whole) in [("3", false), ("7", true), ("8", false)] {
            let uri = format!("{base}&length={length}&streamed=1");
            let (status, headers, body) = ask(&client, Method::GET, &uri).await;
            assert_eq!(
                (status.as_u16(), headers["content-length"].to_str().unwrap()),
                (200, length)
            );
            // HTTP/1 ends where the head said it would.
            let short = Ok(Bytes::from("con"));
            assert!(
                body.is_ok() == whole || (length == "3" && body == short),
                "{length} {body:?}"
            );
        }
    }
}

#[tokio::test]
async fn answer_trailers_carry_no_identity_or_framing_fields() {
    let fixture = Fixture::open().await;
    let uri = format!(
        "http://{}/open/answer?status=200&body=content&trailers=1",
        fixture.addr
    );
    let request = Request::get(uri).body(Full::default()).unwrap();
    let answer = h2().request(request).await.unwrap().into_body();
    let answer = answer.collect().await.unwrap();
    let names: Vec<_> = answer.trailers().unwrap().keys().cloned().collect();
    assert_eq!(names, ["x-checksum"]);
}

const FROM_APP: &str = "origin: https://app.example.org\r\n";

#[tokio::test]
async fn pages_can_read_every_refusal_of_a_path_with_cors() {
    let fixture = Fixture::with(|limits| limits.max_headers = 6).await;
    let routes = fixture.data.path();
    let cors = "plugins:\n  - cors: {origins: ['https://app.example.org']}\n";
    let manifest = format!("uri: /page/**\nupstream: http://hms-svc-a\nmethods: [GET]\n{cors}");
    std::fs::write(routes.join("page.yaml"), manifest).unwrap();
    let beside = "uri: /page/**\nupstream: http://hms-svc-b\nmethods: [POST]\n";
    std::fs::write(routes.join("beside.yaml"), beside).unwrap();
    fixture.gateway.routes.reload();
    let ask = |method: &str, more: &str| {
        let head = format!("{method} /page/echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
        format!("{head}{FROM_APP}{more}\r\n")
    };
    let other = fixture.raw(ask("DELETE", "")).await;
    assert_eq!(status(&other), 405, "{other}");
    assert!(other.contains("allow: GET, HEAD, POST\r\n") || other.contains("allow: GET, POST\r\n"));
    let own = "access-control-allow-origin: https://app.example.org\r\n";
    assert!(
        other.contains(own) && other.contains("vary: Origin\r\n"),
        "{other}"
    );
    // HTTP/2, because HTTP/1 has it refused before there is a path.
    let many = Request::get(format!("http://{}/page/echo", fixture.addr))
        .header("origin", "https://app.example.org");
    let many = (0..9).fold(many, |many, n| many.header(format!("x-{n}"), "1"));
    let many = h2()
        .request(many.body(Full::default()).unwrap())
        .await
        .unwrap();
    assert_eq!(many.status(), 431);
    assert_eq!(
        many.headers()["access-control-allow-origin"],
        "https://app.example.org"
    );
    let elsewhere = fixture
        .raw(ask("DELETE", "").replace("app.", "other."))
        .await;
    assert!(
        !elsewhere.contains("access-control-allow-origin"),
        "{elsewhere}"
    );
}

#[tokio::test]
async fn client_reads_a_plain_sentence_and_the_log_has_the_cause_with_the_request_id() {
    let lines = access_log::Lines::default();
    let _recording = lines.record();
    let fixture = Fixture::open().await;
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = free.local_addr().unwrap();
    drop(free);
    // It speaks no TLS.
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = plain.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = plain.accept().await {
            let _ = stream.write_all(b"no words of TLS\r\n").await;
        }
    });
    let routes = fixture.data.path();
    for (name, upstream) in [
        ("gone", format!("http://{gone}")),
        ("private", "http://10.1.2.3".into()),
        ("tls", format!("https://{at}")),
    ] {
        let manifest = format!("uri: /{name}\nupstream: {upstream}\n");
        std::fs::write(routes.join(format!("{name}.yaml")), manifest).unwrap();
    }
    fixture.gateway.routes.reload();
    for (number, (path, code, cause)) in [
        ("/gone", "upstream-unreachable", "refused"),
        ("/private", "upstream-refused", "10.1.2.3"),
        ("/tls", "upstream-unreachable", ""),
        ("/open/closed", "window-stopped", "window 'open'"),
        ("/open/broken", "no-response", "secret words"),
        ("/open/panic", "internal", "panic"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = fixture
            .get(path, &format!("x-request-id: id-{number}\r\n"))
            .await;
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["type"], format!("urn:hms:problem:{code}"), "{path}");
        let line = lines.line(number).await;
        assert_eq!(line["request_id"], format!("id-{number}"), "{path}");
        let said = line["cause"].as_str().unwrap_or_default();
        assert!(
            !said.is_empty() && said.to_lowercase().contains(cause),
            "{path}: {line}"
        );
        assert!(!body.contains(said), "{path}: {body}");
        for private in [
            "os error",
            "10.1.2.3",
            "lookup",
            "secret",
            "'open'",
            "certificate",
        ] {
            assert!(!body.contains(private), "{path}: {body}");
        }
    }
}

#[tokio::test]
async fn service_answer_has_one_outcome_over_both_protocols() {
    let fixture = Fixture::open().await;
    const OK: &str = "connection: close\r\ncontent-length: 2\r\n\r\nok";
    // What it says before it closes; the status that the client sees, and the body, or that it is
    // cut.
    let all = [
        (format!("200 OK\r\n{OK}"), 200, Some("ok")),
        (
            format!("100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n{OK}"),
            200,
            Some("ok"),
        ),
        (
            format!("103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\n{OK}"),
            200,
            Some("ok"),
        ),
        (
            "101 Other\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n".into(),
            502,
            None,
        ),
        (format!("099 Low\r\n{OK}"), 502, None),
        (format!("1000 High\r\n{OK}"), 502, None),
        (format!("xyz Odd\r\n{OK}"), 502, None),
        (format!("999 Odd\r\n{OK}"), 999, Some("ok")),
        (format!("200 \u{e9} odd\r\n{OK}"), 200, Some("ok")),
        (format!("200\r\n{OK}"), 200, Some("ok")),
        (format!("204 No Content\r\n{OK}"), 204, Some("")),
        (format!("205 Reset Content\r\n{OK}"), 205, Some("")),
        (
            "304 Not Modified\r\nconnection: close\r\ncontent-length: 2\r\n\r\n".into(),
            304,
            Some(""),
        ),
        (format!("200 OK\r\ncontent-length: 3\r\n{OK}"), 502, None),
        (
            "200 OK\r\nconnection: close\r\ncontent-length: x\r\n\r\nok".into(),
            502,
            None,
        ),
        (format!("200 OK\r\nbad name: 1\r\n{OK}"), 502, None),
        (format!("200 OK\r\nx: a\0b\r\n{OK}"), 502, None),
        (
            format!("200 OK\r\nconnection: x-a, close\r\nx-a: 1\r\n{OK}"),
            200,
            Some("ok"),
        ),
        (
            "200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nok".into(),
            200,
            None,
        ),
        (
            "200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n"
                .into(),
            200,
            None,
        ),
        (
            "200 OK\r\nconnection: close\r\n\r\nok".into(),
            200,
            Some("ok"),
        ),
    ];
    let service = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = service.local_addr().unwrap();
    let manifest = format!("uri: /raw\nupstream: http://{at}\n");
    std::fs::write(fixture.data.path().join("raw.yaml"), manifest).unwrap();
    fixture.gateway.routes.reload();
    let said = Arc::new(parking_lot::Mutex::new(String::new()));
    let saying = said.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = service.accept().await {
            read_until(&mut stream, "\r\n\r\n").await;
            let said = format!("HTTP/1.1 {}", saying.lock());
            let _ = stream.write_all(said.as_bytes()).await;
        }
    });
    let uri = format!("http://{}/raw", fixture.addr);
    for client in both() {
        for (answer, status, body) in &all {
            *said.lock() = answer.clone();
            let (seen, headers, read) = ask(&client, Method::GET, &uri).await;
            assert_eq!(seen, *status, "{answer:?}");
            assert!(headers.contains_key("x-request-id") && !headers.contains_key("x-a"));
            match (body, *status) {
                (Some(body), _) => assert_eq!(read.unwrap(), *body, "{answer:?}"),
                (None, 200) => assert!(read.is_err(), "{answer:?}"),
                _ => assert_eq!(headers["content-type"], "application/problem+json"),
            }
        }
    }
}
