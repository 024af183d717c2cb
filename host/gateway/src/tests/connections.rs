//! Connections from their first byte to the shutdown.

use super::*;
use hyper_util::client::legacy::Client;

#[tokio::test]
async fn client_slow_with_its_first_byte_or_head_is_cut() {
    let fixture = Fixture::with(|limits| {
        limits.first_byte_timeout = Duration::from_millis(100);
        limits.header_timeout = Duration::from_millis(200);
    })
    .await;
    for (sent, least_ms) in [
        ("", 100),
        ("P", 100),
        ("PRI * HTTP/2.0\r\n", 100),
        ("GET / HTTP/1.1\r\nhos", 200),
    ] {
        let began = Instant::now();
        let mut stream = fixture.connect().await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        read_to_end(&mut stream).await;
        assert!(
            began.elapsed() >= Duration::from_millis(least_ms),
            "{sent:?} cut too early"
        );
    }
}

#[tokio::test]
async fn too_many_headers_and_too_long_targets_are_rejected() {
    let fixture = Fixture::open().await;
    let many: String = (0..101).map(|i| format!("h{i}: 1\r\n")).collect();
    assert_eq!(status(&fixture.get("/open/echo", &many).await), 431);
    assert_eq!(
        status(
            &fixture
                .get(&format!("/open/{}", "a".repeat(8192)), "")
                .await
        ),
        414
    );
}

#[tokio::test]
async fn client_over_the_connection_limit_waits_and_is_served_later() {
    let fixture = Fixture::with(|limits| limits.max_connections = 1).await;
    let first = fixture.begin_answer("held").await;
    let mut second = fixture.connect().await;
    second
        .write_all(b"GET /open/echo HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), second.read_u8()).await;
    assert!(early.is_err(), "served beyond the limit");
    drop(first);
    read_until(&mut second, "\r\n\r\n").await;
}

#[tokio::test]
async fn shutdown_lets_a_running_answer_finish_and_accepts_nothing_new() {
    let fixture = Fixture::open().await;
    let mut idle = fixture.connect().await;
    idle.write_all(b"GET /open/echo HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut idle, "\r\n\r\n").await;
    let mut running = fixture.begin_answer("first").await;

    fixture.shutdown.cancel();
    read_to_end(&mut idle).await;
    while TcpStream::connect(fixture.addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!fixture.serving.is_finished());
    fixture.give.send("last".into()).unwrap();
    drop(fixture.give);
    let rest = read_to_end(&mut running).await;
    assert!(rest.ends_with("last\r\n0\r\n\r\n"), "{rest:?}");
    assert_eq!(fixture.serving.await.unwrap(), 0);
}

#[tokio::test]
async fn shutdown_cuts_answers_that_outlast_the_deadline() {
    let fixture = Fixture::with(|limits| limits.drain_timeout = Duration::from_millis(100)).await;
    let mut running = fixture.begin_answer("first").await;
    fixture.shutdown.cancel();
    assert_eq!(fixture.serving.await.unwrap(), 1);
    assert!(
        !read_to_end(&mut running).await.contains("0\r\n\r\n"),
        "cut, not ended"
    );
}

/// A client of this address, which is one of this machine.
async fn connect_from(fixture: &Fixture, address: [u8; 4]) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((address, 0).into()).unwrap();
    socket.connect(fixture.addr).await.unwrap()
}

/// One request, and its whole answer; the connection stays.
async fn ask(stream: &mut TcpStream) {
    let request = b"GET /open/closed HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(request).await.unwrap();
    read_until(stream, "}").await;
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    let read = tokio::time::timeout(PATIENCE, stream.read_u8()).await;
    read.expect("it is closed in time").is_err()
}

#[tokio::test]
async fn address_holding_all_connections_keeps_no_other_client_out() {
    let fixture = Fixture::with(|limits| limits.bound_connections(6, Some(6))).await;
    let running = fixture.begin_answer("held").await;
    let mut held = Vec::new();
    for _ in 0..5 {
        let mut stream = fixture.connect().await;
        ask(&mut stream).await;
        held.push(stream);
    }
    // Idle longest is now the second.
    ask(&mut held[0]).await;
    let mut other = connect_from(&fixture, [127, 0, 0, 2]).await;
    ask(&mut other).await;
    assert!(is_closed(&mut held[1]).await);
    for stream in [&mut held[0], &mut other] {
        ask(stream).await;
    }
    drop(running);
    assert_eq!(fixture.counted("gateway_connections_evicted_total"), 1);
}

#[tokio::test]
async fn address_with_its_share_in_flight_is_refused_and_others_are_served() {
    let fixture = Fixture::with(|limits| limits.bound_connections(8, None)).await;
    let _upload = {
        let mut stream = fixture.connect().await;
        let head = "POST /open/in HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    };
    let _download = fixture.begin_answer("held").await;
    assert!(is_closed(&mut fixture.connect().await).await);
    ask(&mut connect_from(&fixture, [127, 0, 0, 2]).await).await;
    assert_eq!(fixture.counted("gateway_connections_refused_total"), 1);
}

#[tokio::test]
async fn proxied_clients_have_separate_connection_shares() {
    let fixture = Fixture::configured(|config| {
        config.proxy_protocol = true;
        config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        config.limits.bound_connections(8, Some(2));
    })
    .await;
    let mut streams = Vec::new();
    for client in ["192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.1"] {
        let mut stream = fixture.connect().await;
        let header = format!("PROXY TCP4 {client} 10.0.0.1 1 443\r\n");
        stream.write_all(header.as_bytes()).await.unwrap();
        ask(&mut stream).await;
        streams.push(stream);
    }
    assert!(is_closed(&mut streams[0]).await, "his third ends his first");
    for stream in &mut streams[1..] {
        ask(stream).await;
    }
}

#[tokio::test]
async fn connection_without_a_request_gives_way_in_any_state() {
    for begun in [
        "",
        "PRI",
        "GET / HTTP/1.1\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let fixture = Fixture::with(|limits| limits.bound_connections(4, Some(2))).await;
        let mut first = fixture.connect().await;
        first.write_all(begun.as_bytes()).await.unwrap();
        let mut others = [fixture.connect().await, fixture.connect().await];
        for other in &mut others {
            ask(other).await;
        }
        let closed = tokio::time::timeout(Duration::from_secs(5), read_to_end(&mut first)).await;
        assert!(closed.is_ok(), "{begun:?}");
    }
}

/// A service that answers `/N` with N bytes.
async fn sizes() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let head = read_until(&mut stream, "\r\n\r\n").await;
                let path = head.split_whitespace().nth(1).unwrap();
                let size: usize = path.rsplit('/').next().unwrap().parse().unwrap();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {size}\r\n\r\n"
                );
                stream.write_all(head.as_bytes()).await.unwrap();
                stream.write_all(&vec![b'x'; size]).await.unwrap();
            });
        }
    });
    at
}

#[tokio::test]
async fn slow_reader_gets_its_whole_answer_although_others_want_its_connection() {
    const SLOW: usize = 24;
    let fixture = Fixture::with(|limits| limits.bound_connections(64, Some(SLOW))).await;
    let at = sizes().await;
    let route = format!("uri: /sizes/**\nupstream: http://{at}\n");
    std::fs::write(fixture.data.path().join("sizes.yaml"), route).unwrap();
    fixture.gateway.routes.reload();
    // So that of some the last bytes wait in the host: how many the kernel holds is its own choice.
    let mut slow = Vec::new();
    for i in 0..SLOW {
        let size = (2400 + i * 100) << 10;
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(8 << 10).unwrap();
        let mut stream = socket.connect(fixture.addr).await.unwrap();
        let ask = format!("GET /sizes/{size} HTTP/1.1\r\nhost: x\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.unwrap();
        slow.push((size, stream));
    }
    // Until all that can be sent is: most of it waits in the kernel, where nothing counts it. A
    // wait that is too short makes the test weaker, and does not fail it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut newcomers = Vec::new();
    for _ in 0..SLOW {
        newcomers.push(fixture.connect().await);
    }
    // Each newcomer is refused, or has the place of an idle connection.
    let decided = || {
        ["evicted", "refused"]
            .map(|what| fixture.counted(&format!("gateway_connections_{what}_total")))
            .iter()
            .sum::<u64>()
    };
    eventually("all newcomers are decided on", || decided() >= SLOW as u64).await;
    let reading = slow.into_iter().map(|(size, mut stream)| async move {
        let head = read_until(&mut stream, "\r\n\r\n").await;
        assert_eq!(status(&head), 200);
        let mut body = Vec::new();
        let whole = async {
            while body.len() < size {
                if !matches!(stream.read_buf(&mut body).await, Ok(1..)) {
                    break;
                }
            }
        };
        tokio::time::timeout(PATIENCE, whole).await.unwrap();
        size - body.len()
    });
    let missing = futures_util::future::join_all(reading).await;
    assert!(missing.iter().all(|bytes| *bytes == 0), "{missing:?}");
}

#[tokio::test]
async fn http2_answer_arrives_whole_although_its_client_had_no_window() {
    let fixture = Fixture::with(|limits| limits.bound_connections(64, Some(2))).await;
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .http2_initial_stream_window_size(1000)
        .build_http();
    let request = Request::builder()
        .uri(format!("http://{}/open/echo", fixture.addr))
        .header("pad", "x".repeat(8000))
        .body(Full::<Bytes>::default())
        .unwrap();
    let answer = client.request(request).await.unwrap();
    let sample = "gateway_requests_total{route=\"open\",status=\"2xx\"}";
    eventually("the answer waits for its client alone", || {
        fixture.counted(sample) == 1
    })
    .await;
    let mut newcomers = Vec::new();
    for _ in 0..2 {
        let mut stream = fixture.connect().await;
        ask(&mut stream).await;
        newcomers.push(stream);
    }
    let said = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(said.len() > 8000, "{}", said.len());
    assert!(is_closed(&mut newcomers[0]).await, "that one was idle");
}

#[tokio::test]
async fn websocket_gives_way_to_nobody() {
    let fixture = Fixture::with(|limits| limits.bound_connections(3, Some(3))).await;
    let service = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = service.local_addr().unwrap();
    let route = format!("uri: /ws/**\nupstream: http://{at}\n");
    std::fs::write(fixture.data.path().join("ws.yaml"), route).unwrap();
    fixture.gateway.routes.reload();
    let mut client = fixture.connect().await;
    let ask_for_it =
        b"GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.write_all(ask_for_it).await.unwrap();
    let (mut other_end, _) = service.accept().await.unwrap();
    read_until(&mut other_end, "\r\n\r\n").await;
    let agree =
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    other_end.write_all(agree).await.unwrap();
    read_until(&mut client, "\r\n\r\n").await;
    for _ in 0..6 {
        ask(&mut fixture.connect().await).await;
    }
    other_end.write_all(b"still here").await.unwrap();
    read_until(&mut client, "still here").await;
}
