//! Clients that are slow with their bodies, and what they cost nobody else.

use super::*;

const HEAD: &str = "POST /open/in HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";

async fn begin(fixture: &Fixture, text: &str) -> TcpStream {
    let mut stream = fixture.connect().await;
    let text = format!("{HEAD}{text}");
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

/// Nothing of a body reaches the window for a while.
async fn nothing_arrives(fixture: &mut Fixture) {
    let arrived = tokio::time::timeout(Duration::from_millis(150), fixture.arrived.recv()).await;
    assert!(arrived.is_err(), "{arrived:?}");
}

fn patient(limits: &mut Limits) {
    limits.early_known = PATIENCE;
    limits.early_unknown = PATIENCE;
}

#[tokio::test]
async fn small_body_is_read_before_the_window_is_called() {
    for (framing, parts) in [
        ("content-length: 9", ["one", "two", "end"]),
        (
            "transfer-encoding: chunked",
            ["3\r\none\r\n", "3\r\ntwo\r\n", "3\r\nend\r\n0\r\n\r\n"],
        ),
    ] {
        let mut fixture = Fixture::with(patient).await;
        let mut stream = begin(&fixture, &format!("{framing}\r\n\r\n{}", parts[0])).await;
        nothing_arrives(&mut fixture).await;
        stream.write_all(parts[1].as_bytes()).await.unwrap();
        nothing_arrives(&mut fixture).await;
        stream.write_all(parts[2].as_bytes()).await.unwrap();
        assert_eq!(next(&mut fixture.arrived).await, "onetwoend");
        assert_eq!(status(&read_to_end(&mut stream).await), 200);
    }
}

#[tokio::test]
async fn slow_body_or_short_memory_streams_to_the_window_instead() {
    let short_of_time: fn(&mut Limits) = |limits| {
        limits.early_known = Duration::from_millis(50);
        limits.early_unknown = Duration::from_millis(50);
    };
    let short_of_memory: fn(&mut Limits) = |limits| {
        patient(limits);
        limits.max_early_bytes = 8;
    };
    let larger: fn(&mut Limits) = |limits| {
        patient(limits);
        limits.early_body_bytes = 2;
    };
    for change in [short_of_time, short_of_memory, larger] {
        let mut fixture = Fixture::with(change).await;
        let mut stream = begin(&fixture, "content-length: 9\r\n\r\none").await;
        assert_eq!(next(&mut fixture.arrived).await, "one");
        stream.write_all(b"twoend").await.unwrap();
        assert_eq!(next(&mut fixture.arrived).await, "twoend");
        assert_eq!(status(&read_to_end(&mut stream).await), 200);
    }
}

#[tokio::test]
async fn larger_body_of_unknown_length_arrives_whole() {
    let larger = |limits: &mut Limits| {
        patient(limits);
        limits.early_body_bytes = 4;
    };
    let mut fixture = Fixture::with(larger).await;
    let mut stream = begin(&fixture, "transfer-encoding: chunked\r\n\r\n3\r\none\r\n").await;
    nothing_arrives(&mut fixture).await;
    stream.write_all(b"3\r\ntwo\r\n0\r\n\r\n").await.unwrap();
    assert_eq!(next(&mut fixture.arrived).await, "one");
    assert_eq!(next(&mut fixture.arrived).await, "two");
    assert_eq!(status(&read_to_end(&mut stream).await), 200);
}

#[tokio::test]
async fn memory_of_early_bodies_is_returned() {
    let one = |limits: &mut Limits| {
        patient(limits);
        limits.max_early_bytes = 6;
    };
    let mut fixture = Fixture::with(one).await;
    for _ in 0..3 {
        let mut stream = begin(&fixture, "content-length: 6\r\n\r\none").await;
        nothing_arrives(&mut fixture).await;
        stream.write_all(b"two").await.unwrap();
        assert_eq!(next(&mut fixture.arrived).await, "onetwo");
        read_to_end(&mut stream).await;
        // One whose client leaves gives it back as well.
        drop(begin(&fixture, "content-length: 6\r\n\r\none").await);
        nothing_arrives(&mut fixture).await;
    }
}

#[tokio::test]
async fn expect_100_continue_is_answered_by_the_window() {
    let fixture = Fixture::with(patient).await;
    let closed = "POST /open/closed HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                  expect: 100-continue\r\ncontent-length: 9\r\n\r\n";
    let answer = fixture.raw(closed).await;
    assert_eq!(status(&answer), 503, "{answer}");
}

#[tokio::test]
async fn stalled_small_body_is_408_and_never_reaches_the_window() {
    let stalls = |limits: &mut Limits| {
        patient(limits);
        limits.body_pace.pause = Duration::from_millis(100);
    };
    let mut fixture = Fixture::with(stalls).await;
    let mut stream = begin(&fixture, "content-length: 9\r\n\r\none").await;
    let answer = read_to_end(&mut stream).await;
    assert_eq!(status(&answer), 408, "{answer}");
    assert!(answer.contains("body-too-slow"), "{answer}");
    nothing_arrives(&mut fixture).await;
}

/// A service that answers when it has read so many bytes of a body.
async fn service(bytes: usize, answer: &'static [u8]) -> (SocketAddr, JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                read_until(&mut stream, "\r\n\r\n").await;
                let mut body = vec![0; bytes];
                let _ = stream.read_exact(&mut body).await;
                let _ = stream.write_all(answer).await;
            });
        }
    });
    (at, serving)
}

/// Sends a body of `bytes` to `/svc` in five pieces, so long apart; the answer.
async fn upload(fixture: &Fixture, bytes: usize, pause: Duration) -> String {
    let mut stream = fixture.connect().await;
    let head = format!(
        "POST /svc HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {bytes}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..5 {
        stream.write_all(&vec![b'x'; bytes / 5]).await.unwrap();
        tokio::time::sleep(pause).await;
    }
    read_to_end(&mut stream).await
}

const READ: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nread";

#[tokio::test]
async fn service_time_counts_from_the_last_byte_of_the_request() {
    let limit = Duration::from_millis(400);
    for (manifest, service_time) in [
        ("uri: /svc\nupstream: http://AT\n", limit),
        (
            "uri: /svc\nupstream: http://AT\nplugins:\n  - timeout: {response: 400ms}\n",
            PATIENCE,
        ),
        (
            "uri: /svc\nupstream:\n  targets: [http://AT]\n  try-timeout: 400ms\n",
            PATIENCE,
        ),
    ] {
        let fixture = Fixture::with(|limits| limits.upstream_timeout = service_time).await;
        let (at, _serving) = service(100_000, READ).await;
        let text = manifest.replace("AT", &at.to_string());
        std::fs::write(fixture.data.path().join("svc.yaml"), text).unwrap();
        fixture.gateway.routes.reload();
        let answer = upload(&fixture, 100_000, limit).await;
        assert!(answer.ends_with("read"), "{manifest}: {answer}");
        // Its own time it still has.
        let begun = Instant::now();
        let late = upload(&fixture, 90_000, Duration::ZERO).await;
        assert_eq!(status(&late), 504, "{manifest}: {late}");
        assert!(begun.elapsed() >= limit);
    }
}

#[tokio::test]
async fn withheld_body_that_nobody_reads_stops_no_clock() {
    let fixture = Fixture::with(|limits| {
        limits.early_known = Duration::from_millis(50);
        limits.early_unknown = Duration::from_millis(50);
        limits.max_early_bytes = 100;
    })
    .await;
    let manifest =
        "uri: /asleep\nupstream: http://hms-svc-x\nplugins:\n  - timeout: {response: 300ms}\n";
    std::fs::write(fixture.data.path().join("asleep.yaml"), manifest).unwrap();
    fixture.gateway.routes.reload();
    for withheld in [
        "content-length: 8\r\n\r\nhalf",
        "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        // Memory for this is short.
        "content-length: 200\r\n\r\n",
    ] {
        let mut stream = fixture.connect().await;
        let head = format!("POST /asleep HTTP/1.1\r\nhost: x\r\n{withheld}");
        stream.write_all(head.as_bytes()).await.unwrap();
        let line = read_until(&mut stream, "\r\n").await;
        assert_eq!(status(&line), 504, "{withheld}: {line}");
    }
}

#[tokio::test]
async fn unreachable_target_is_ejected_although_its_clients_are_slow() {
    let fixture = Fixture::with(|limits| limits.early_known = Duration::from_millis(20)).await;
    let service = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let there = service.local_addr().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = listener.local_addr().unwrap();
    drop(listener);
    let manifest = format!(
        "uri: /svc\nupstream:\n  targets: [http://{gone}, http://{there}]\n  max-fails: 1\n"
    );
    std::fs::write(fixture.data.path().join("svc.yaml"), manifest).unwrap();
    fixture.gateway.routes.reload();
    for _ in 0..4 {
        let mut stream = fixture.connect().await;
        let head =
            "PUT /svc HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\na";
        stream.write_all(head.as_bytes()).await.unwrap();
        // It is asked before the body is there.
        let asked = tokio::time::timeout(PATIENCE, service.accept()).await;
        let (mut asked, _) = asked.unwrap().unwrap();
        stream.write_all(b"b").await.unwrap();
        read_until(&mut asked, "\r\n\r\nab").await;
        asked.write_all(READ).await.unwrap();
        let answer = read_to_end(&mut stream).await;
        assert!(answer.ends_with("read"), "{answer}");
    }
    let table = fixture.gateway.routes.table();
    let request = Request::post("/svc").header("host", "x").body(()).unwrap();
    let (parts, ()) = request.into_parts();
    let target = Target::read(&parts, 1000).unwrap();
    let route = find(&table, &target, &parts).unwrap();
    let health = |index: usize| route.upstream_state.health(index).unwrap();
    assert_eq!([health(0).failures(), health(1).failures()], [1, 0]);
    assert!(!health(0).is_in(Instant::now()));
}

#[tokio::test]
async fn slow_clients_leave_no_target_out() {
    let fixture = Fixture::with(|limits| {
        limits.body_pace.pause = Duration::from_millis(300);
        limits.upstream_timeout = Duration::from_millis(100);
    })
    .await;
    let (one, _one) = service(100_000, READ).await;
    // It has a time of its own, and closes.
    let (other, _other) = service(1000, b"").await;
    let manifest = format!(
        "uri: /svc\nupstream:\n  targets: [http://{one}, http://{other}]\n  max-fails: 1\n"
    );
    std::fs::write(fixture.data.path().join("svc.yaml"), manifest).unwrap();
    fixture.gateway.routes.reload();
    for _ in 0..8 {
        let mut stream = fixture.connect().await;
        let head =
            "POST /svc HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 200000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&[b'x'; 2000]).await.unwrap();
        let answer = read_to_end(&mut stream).await;
        assert!(matches!(status(&answer), 408 | 502), "{answer}");
    }
    let table = fixture.gateway.routes.table();
    let request = Request::post("/svc").header("host", "x").body(()).unwrap();
    let (parts, ()) = request.into_parts();
    let target = Target::read(&parts, 1000).unwrap();
    let route = find(&table, &target, &parts).unwrap();
    for (index, endpoint) in route.upstream.endpoints.iter().enumerate() {
        let health = route.upstream_state.health(index).unwrap();
        assert!(health.is_in(Instant::now()), "{}", endpoint.place.label());
        assert_eq!(health.failures(), 0);
    }
}

#[tokio::test]
async fn silent_service_answer_is_cut_unless_its_request_still_moves() {
    let idle = Duration::from_millis(600);
    let fixture = Fixture::with(|limits| limits.stream_idle = idle).await;
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n";
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let manifest = format!("uri: /svc\nupstream: http://{at}\n");
    std::fs::write(fixture.data.path().join("svc.yaml"), manifest).unwrap();
    fixture.gateway.routes.reload();

    let mut quiet = fixture.connect().await;
    let request = b"GET /svc HTTP/1.1\r\nhost: x\r\n\r\n";
    quiet.write_all(request).await.unwrap();
    let (mut upstream, _) = listener.accept().await.unwrap();
    let begun = Instant::now();
    upstream.write_all(head).await.unwrap();
    let cut = read_to_end(&mut quiet).await;
    assert!(cut.contains("one") && !cut.ends_with("0\r\n\r\n"), "{cut}");
    assert!(begun.elapsed() >= idle);

    let mut talks = fixture.connect().await;
    let request = b"POST /svc HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n";
    talks.write_all(request).await.unwrap();
    let (mut upstream, _) = listener.accept().await.unwrap();
    upstream.write_all(head).await.unwrap();
    // Longer than `idle` in all, in steps that are far shorter.
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        talks.write_all(b"1\r\nx\r\n").await.unwrap();
    }
    upstream.write_all(b"3\r\ntwo\r\n0\r\n\r\n").await.unwrap();
    read_until(&mut talks, "two\r\n0\r\n\r\n").await;
}
