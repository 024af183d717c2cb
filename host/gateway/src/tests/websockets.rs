//! WebSockets to services (RFC 6455), byte by byte. The service is played here.

use super::*;
use plugins::auth::issue_token;
use tokio::net::TcpListener;

const ASK: &str = "connection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const AGREE: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                     sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nsec-websocket-protocol: chat\r\n\r\n";

const ENDED_BY_CREDENTIAL: &str = "gateway_websockets_ended_total{reason=\"credential\"}";

/// A gateway whose route `/ws` leads to the listener.
async fn fixture(change: impl FnOnce(&mut Limits)) -> (Fixture, TcpListener) {
    let fixture = Fixture::with(change).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let text = format!(
        "uri: /ws/**\nupstream: {{targets: [\"http://{addr}\"], retries: 0}}\nplugins: [auth]\n"
    );
    std::fs::write(fixture.data.path().join("ws.yaml"), text).unwrap();
    fixture.gateway.routes.reload();
    (fixture, listener)
}

/// Sends a request, and gives what the service reads of it.
async fn knock(
    fixture: &Fixture,
    listener: &TcpListener,
    fields: &str,
) -> (TcpStream, TcpStream, String) {
    knock_as(&fixture.bearer(&[]), fixture, listener, fields).await
}

async fn knock_as(
    credential: &str,
    fixture: &Fixture,
    listener: &TcpListener,
    fields: &str,
) -> (TcpStream, TcpStream, String) {
    let mut client = fixture.connect().await;
    let head = format!("GET /ws/room HTTP/1.1\r\nhost: x\r\n{credential}{fields}\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    let (mut service, _) = tokio::time::timeout(PATIENCE, listener.accept())
        .await
        .unwrap()
        .unwrap();
    let asked = read_until(&mut service, "\r\n\r\n").await;
    (client, service, asked)
}

async fn opened(fixture: &Fixture, listener: &TcpListener) -> (TcpStream, TcpStream) {
    opened_as(&fixture.bearer(&[]), fixture, listener).await
}

async fn opened_as(
    credential: &str,
    fixture: &Fixture,
    listener: &TcpListener,
) -> (TcpStream, TcpStream) {
    let (mut client, mut service, _) = knock_as(credential, fixture, listener, ASK).await;
    service.write_all(AGREE.as_bytes()).await.unwrap();
    let agreed = read_until(&mut client, "\r\n\r\n").await;
    assert_eq!(status(&agreed), 101, "{agreed}");
    (client, service)
}

#[tokio::test]
async fn bytes_pass_unparsed_in_both_directions_after_the_handshake() {
    let (fixture, listener) = fixture(|_| {}).await;
    let (mut client, mut service, asked) = knock(&fixture, &listener, ASK).await;
    assert!(
        asked.contains("connection: upgrade\r\n") && asked.contains("upgrade: websocket\r\n"),
        "{asked}"
    );
    assert!(
        asked.contains("sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
        "{asked}"
    );
    assert!(asked.contains("x-hms-user: alice\r\n"), "{asked}");
    // The first frame of a service may come with its answer.
    service
        .write_all(format!("{AGREE}first").as_bytes())
        .await
        .unwrap();
    let agreed = read_until(&mut client, "\r\n\r\n").await;
    assert_eq!(status(&agreed), 101, "{agreed}");
    for field in [
        "connection: upgrade\r\n",
        "upgrade: websocket\r\n",
        "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
        "sec-websocket-protocol: chat\r\n",
    ] {
        assert!(agreed.contains(field), "{agreed}");
    }
    assert_eq!(read_until(&mut client, "first").await, "first");
    let like_http = "GET /open/echo HTTP/1.1\nhost: a\nhost: b\n\n\0";
    client.write_all(like_http.as_bytes()).await.unwrap();
    assert_eq!(read_until(&mut service, like_http).await, like_http);
    service.write_all(b"second").await.unwrap();
    assert_eq!(read_until(&mut client, "second").await, "second");
    drop(service);
    assert_eq!(read_to_end(&mut client).await, "");
}

#[tokio::test]
async fn bytes_sent_before_the_handshake_answer_reach_no_other_request() {
    let (fixture, listener) = fixture(|_| {}).await;
    let early = format!("{ASK}\r\nGET /open/echo HTTP/1.1\r\nhost: smuggled\r\n");
    let (mut client, mut service, asked) = knock(&fixture, &listener, &early).await;
    assert!(!asked.contains("smuggled"), "{asked}");
    // The service did not agree after all: it is the next request, and the gateway's to answer.
    service
        .write_all(
            b"HTTP/1.1 426 Upgrade Required\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        )
        .await
        .unwrap();
    assert_eq!(status(&read_until(&mut client, "\r\n\r\n").await), 426);
    let next = read_until(&mut client, "\r\n\r\n").await;
    assert_eq!(status(&next), 200, "{next}");
}

#[tokio::test]
async fn other_protocols_are_not_upgraded() {
    for fields in [
        ASK.replace("WebSocket", "h2c"),
        ASK.replace("13", "12"),
        ASK.replace("dGhl", ""),
        ASK.replace("keep-alive, Upgrade", "keep-alive"),
        format!("{ASK}upgrade: h2c\r\n"),
        format!("{ASK}content-length: 3\r\n\r\nabc"),
    ] {
        let (fixture, listener) = fixture(|_| {}).await;
        let (mut client, mut service, asked) = knock(&fixture, &listener, &fields).await;
        assert!(!asked.contains("upgrade"), "{asked}");
        // A service that agrees all the same has broken the protocol.
        service.write_all(AGREE.as_bytes()).await.unwrap();
        assert_eq!(
            status(&read_until(&mut client, "\r\n\r\n").await),
            502,
            "{fields}"
        );
    }
}

#[tokio::test]
async fn window_is_not_upgraded() {
    let fixture = Fixture::open().await;
    let answer = fixture
        .get("/open/echo", &ASK.replace("keep-alive", "close"))
        .await;
    assert_eq!(status(&answer), 200);
    assert!(!answer.contains("upgrade: "), "{answer}");
}

#[tokio::test]
async fn silent_websocket_ends_after_its_time_and_a_pinging_one_stays() {
    let (fixture, listener) =
        fixture(|limits| limits.websocket_idle_timeout = Duration::from_millis(600)).await;
    let (mut client, mut service) = opened(&fixture, &listener).await;
    // Longer than the timeout in all; no ping is late, on a loaded machine either.
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        service.write_all(b"ping").await.unwrap();
        assert_eq!(read_until(&mut client, "ping").await, "ping");
    }
    assert_eq!(read_to_end(&mut client).await, "");
    assert_eq!(read_to_end(&mut service).await, "");
}

/// Talks on until the gateway ends the WebSocket, and says how long that took.
async fn until_its_end((mut client, mut service): (TcpStream, TcpStream)) -> Duration {
    let begun = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let _ = service.write_all(b"ping").await;
        let mut read = [0; 4];
        match tokio::time::timeout(PATIENCE, client.read(&mut read)).await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(_)) => assert!(begun.elapsed() < PATIENCE, "it goes on"),
            Err(_) => panic!("neither a byte nor the end"),
        }
    }
    assert_eq!(read_to_end(&mut service).await, "");
    begun.elapsed()
}

#[tokio::test]
async fn websocket_ends_with_its_token_or_key_and_others_stay() {
    let (fixture, listener) = fixture(|_| {}).await;
    let keys = fixture.gateway.api_keys().clone();
    let (key, text) = keys.add("robot", &[], None).unwrap();
    let (mut client, mut service) = opened(&fixture, &listener).await;
    let by_key = opened_as(&format!("x-api-key: {text}\r\n"), &fixture, &listener).await;
    let life = Duration::from_secs(2);
    let token = issue_token(&fixture.secret, "alice", &[], life).unwrap();
    let short = format!("authorization: Bearer {token}\r\n");
    let by_token = opened_as(&short, &fixture, &listener).await;
    let (_, dying) = keys.add("robot", &[], Some(life)).unwrap();
    let by_dying = opened_as(&format!("x-api-key: {dying}\r\n"), &fixture, &listener).await;

    let lived = tokio::join!(until_its_end(by_token), until_its_end(by_dying));
    for lived in [lived.0, lived.1] {
        assert!(lived < life + Duration::from_secs(3), "{lived:?}");
    }
    keys.revoke(&key.id).unwrap();
    let lived = until_its_end(by_key).await;
    assert!(lived < Duration::from_secs(3), "{lived:?}");

    service.write_all(b"ping").await.unwrap();
    assert_eq!(read_until(&mut client, "ping").await, "ping");
    assert_eq!(fixture.counted(ENDED_BY_CREDENTIAL), 3);
}

#[tokio::test]
async fn websocket_on_an_open_route_outlasts_any_credential() {
    let (fixture, listener) = fixture(|_| {}).await;
    let token = issue_token(&fixture.secret, "alice", &[], Duration::from_secs(2)).unwrap();
    let short = format!("authorization: Bearer {token}\r\n");
    let checked = opened_as(&short, &fixture, &listener).await;
    let addr = listener.local_addr().unwrap();
    let text = format!("uri: /ws/**\nupstream: http://{addr}\n");
    std::fs::write(fixture.data.path().join("ws.yaml"), text).unwrap();
    fixture.gateway.routes.reload();
    let (mut client, mut service) = opened_as(&short, &fixture, &listener).await;
    until_its_end(checked).await;
    eventually("the other has ended with its token", || {
        fixture.counted(ENDED_BY_CREDENTIAL) == 1
    })
    .await;
    service.write_all(b"ping").await.unwrap();
    assert_eq!(read_until(&mut client, "ping").await, "ping");
}

#[tokio::test]
async fn shutdown_does_not_wait_for_websockets() {
    let (fixture, listener) = fixture(|_| {}).await;
    let (mut client, mut service) = opened(&fixture, &listener).await;
    fixture.shutdown.cancel();
    assert_eq!(read_to_end(&mut client).await, "");
    assert_eq!(read_to_end(&mut service).await, "");
    let cut = tokio::time::timeout(PATIENCE, fixture.serving)
        .await
        .unwrap();
    assert_eq!(cut.unwrap(), 0);
}
