//! Bodies of requests and answers: streamed, bounded, packed.

use super::*;

#[tokio::test]
async fn request_body_streams_to_the_window_without_identity_in_its_trailers() {
    let mut fixture = Fixture::open().await;
    let mut stream = fixture.connect().await;
    let head = "POST /open/in HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ntrailer: x-hms-user\r\n\r\n";
    stream
        .write_all(format!("{head}5\r\nfirst\r\n").as_bytes())
        .await
        .unwrap();
    assert_eq!(
        next(&mut fixture.arrived).await,
        "first",
        "before the last was sent"
    );
    stream
        .write_all(b"4\r\nlast\r\n0\r\nx-hms-user: mallory\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(next(&mut fixture.arrived).await, "last");
    assert!(
        read_until(&mut stream, "read")
            .await
            .starts_with("HTTP/1.1 200")
    );

    // The same connection, and a body of known length.
    stream
        .write_all(b"POST /open/in HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\none")
        .await
        .unwrap();
    assert_eq!(next(&mut fixture.arrived).await, "one");
    stream.write_all(b"two").await.unwrap();
    assert_eq!(next(&mut fixture.arrived).await, "two");
    assert!(
        read_until(&mut stream, "read")
            .await
            .starts_with("HTTP/1.1 200")
    );
}

const CHUNKED: &str = "transfer-encoding: chunked\r\n\r\n2\r\nin\r\n0\r\n";

#[tokio::test]
async fn request_trailers_reach_the_window_except_forbidden_fields() {
    let mut fixture = Fixture::open().await;
    let (_, key) = fixture.gateway.api_keys().add("robot", &[], None).unwrap();
    let trailers = format!(
        "x-sum: 1\r\nx-hms-user: root\r\nX_HMS_Scopes: all\r\nauthorization: Bearer a\r\nx-forwarded-for: 1.1.1.1\r\n\
         content-length: 9\r\nconnection: close\r\ncookie: a=b\r\nhost: other\r\nx-own: {key}\r\nX-Late: yes\r\n"
    );
    let head = "POST /open/in HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
    let answer = fixture.raw(format!("{head}{CHUNKED}{trailers}\r\n")).await;
    assert_eq!(status(&answer), 200, "{answer}");
    assert_eq!(next(&mut fixture.arrived).await, "in");
    assert_eq!(
        next(&mut fixture.arrived).await,
        "trailers [\"x-sum\", \"x-late\"]"
    );
}

#[tokio::test]
async fn oversized_trailers_are_431_and_malformed_ones_400() {
    let fixture = Fixture::with(|limits| limits.max_headers = 10).await;
    let head = "POST /open/in HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
    let long = format!("x-long: {}\r\n", "v".repeat(20_000));
    let wide = (0..11).map(|n| format!("x-{n}: v\r\n")).collect::<String>();
    for trailers in [long, wide] {
        let answer = fixture.raw(format!("{head}{CHUNKED}{trailers}\r\n")).await;
        assert_eq!(status(&answer), 431, "{answer}");
        assert!(
            answer.contains("urn:hms:problem:trailers-too-large"),
            "{answer}"
        );
    }
    let broken = fixture.raw(format!("{head}{CHUNKED}x\0: 1\r\n\r\n")).await;
    assert!(
        status(&broken) == 400 && broken.contains("bad-request"),
        "{broken}"
    );

    let trailers = (0..11).map(|n| (format!("x-{n}").parse().unwrap(), "v".parse().unwrap()));
    let frames = [
        Ok::<_, std::convert::Infallible>(http_body::Frame::data(Bytes::from("in"))),
        Ok(http_body::Frame::trailers(HeaderMap::from_iter(trailers))),
    ];
    let body = http_body_util::StreamBody::new(futures_util::stream::iter(frames));
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let request = Request::post(format!("http://{}/open/in", fixture.addr)).body(body);
    let answer = client.request(request.unwrap()).await.unwrap();
    assert_eq!(answer.status(), 431);
}

#[tokio::test]
async fn response_body_streams_to_the_client() {
    let fixture = Fixture::open().await;
    let mut stream = fixture.begin_answer("first").await;
    fixture.give.send("last".into()).unwrap();
    read_until(&mut stream, "last\r\n").await;
}

#[tokio::test]
async fn body_over_the_limit_is_413_with_and_without_a_length() {
    let fixture = Fixture::with(|limits| limits.max_body_bytes = 10).await;
    let announced = fixture
        .raw("POST /open/in HTTP/1.1\r\nhost: x\r\ncontent-length: 11\r\n\r\n")
        .await;
    assert_eq!(status(&announced), 413);
    let chunked = fixture
        .raw("POST /open/in HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n")
        .await;
    assert_eq!(status(&chunked), 413);
    let fits = fixture
        .raw("POST /open/in HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 10\r\n\r\n0123456789")
        .await;
    assert_eq!(status(&fits), 200);
}

#[tokio::test]
async fn client_that_keeps_sending_after_a_refusal_still_reads_it() {
    let fixture = Fixture::with(|limits| limits.max_body_bytes = 10).await;
    for head in [
        "POST /open/in HTTP/1.1\r\nhost: x\r\ncontent-length: 26000000\r\n\r\n",
        "POST /api/v1/payments HTTP/1.1\r\nhost: x\r\ncontent-length: 26000000\r\n\r\n",
    ] {
        let mut stream = fixture.connect().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        // Far more than the sockets hold, so that it goes on long after the answer.
        stream.write_all(&vec![b'x'; 26_000_000]).await.unwrap();
        let answer = read_to_end(&mut stream).await;
        assert!(matches!(status(&answer), 413 | 401), "{answer}");
    }
}

#[tokio::test]
async fn stalled_or_dripping_upload_is_408() {
    let head = "POST /open/in HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n";
    let pace = Pace {
        pause: Duration::from_secs(1),
        grace: Duration::from_millis(1500),
        bytes_per_s: 10_000,
        long_grace: Duration::from_secs(60),
        long_bytes_per_s: 10_000,
    };
    let mut fixture = Fixture::with(|limits| limits.body_pace = pace).await;

    let answer = fixture.raw(&format!("{head}abc")).await;
    assert_eq!(status(&answer), 408, "{answer}");
    assert!(answer.contains("body-too-slow") && answer.contains("arrived for 1 s"));
    assert_eq!(next(&mut fixture.arrived).await, "abc");

    for (first, piece, cut) in [(0, 1, true), (100_000, 1, true), (0, 2000, false)] {
        let mut stream = fixture.connect().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        // At the least pace it would be worth ten seconds.
        stream.write_all(&vec![b'x'; first]).await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        let answer = tokio::spawn(async move {
            let mut answer = String::new();
            let _ = reader.read_to_string(&mut answer).await;
            answer
        });
        let begun = Instant::now();
        // Never a pause that is too long. A drip of a byte is over with its grace, and the other
        // goes on for much longer.
        while begun.elapsed() < Duration::from_secs(4) && !answer.is_finished() {
            let _ = writer.write_all(&vec![b'x'; piece]).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(
            answer.is_finished(),
            cut,
            "{first} bytes, then {piece} every 20 ms"
        );
        if cut {
            let answer = answer.await.unwrap();
            assert_eq!(status(&answer), 408, "{answer}");
            assert!(
                answer.contains("less than 10000 bytes a second"),
                "{answer}"
            );
        }
    }
}

#[tokio::test]
async fn compressed_answer_streams_to_the_client() {
    let fixture = Fixture::open().await;
    let manifest = "uri: /packed/**\nupstream: http://hms-svc-open\nstrip-prefix: /packed\nplugins: [compression]\n";
    std::fs::write(fixture.data.path().join("packed.yaml"), manifest).unwrap();
    fixture.gateway.routes.reload();
    let request = Request::builder()
        .uri(format!("http://{}/packed/out", fixture.addr))
        .header("accept-encoding", "gzip, identity;q=0")
        .body(Full::default())
        .unwrap();
    fixture.give.send("first".into()).unwrap();
    let answer = h2().request(request).await.unwrap();
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    assert_eq!(answer.headers()["vary"], "accept-encoding");
    let mut body = answer.into_body();
    let mut plain = flate2::write::GzDecoder::new(Vec::new());
    for said in ["first", "firstsecond"] {
        while plain.get_ref().as_slice() != said.as_bytes() {
            let frame = tokio::time::timeout(PATIENCE, body.frame()).await;
            let data = frame.expect("it arrives in time").unwrap().unwrap();
            std::io::Write::write_all(&mut plain, &data.into_data().unwrap()).unwrap();
            std::io::Write::flush(&mut plain).unwrap();
        }
        let _ = fixture.give.send("second".into());
    }
}
