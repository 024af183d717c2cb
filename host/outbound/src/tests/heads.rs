//! What a service reads of a request, byte for byte.

use super::*;
use hms_grants::Inject;
use hms_grants::outbound::TemplatePart;
use http::HeaderMap;
use http_body::Frame;
use http_body_util::StreamBody;

/// A service that keeps the heads of its requests, and the bytes behind them.
async fn keeping() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = heads.clone();
    let at = raw(move |_, mut stream| {
        let kept = kept.clone();
        async move {
            loop {
                let mut read = head(&mut stream).await;
                if read.is_empty() {
                    return;
                }
                while read.contains("transfer-encoding: chunked") && !read.ends_with("0\r\n\r\n") {
                    read += &head(&mut stream).await;
                }
                kept.lock().push(read);
                say(&mut stream, OK).await;
            }
        }
    })
    .await;
    (at, heads)
}

#[tokio::test]
async fn head_of_a_request_says_what_the_host_says() {
    let (world, (at, heads)) = (World::new(), keeping().await);
    let parts = vec![
        TemplatePart::Text("Bearer ".into()),
        TemplatePart::Secret("key".into()),
    ];
    let header = http::header::AUTHORIZATION;
    let grant = OutboundGrant {
        inject: vec![Inject { header, parts }],
        placeholders: vec!["key".into()],
        ..to(at)
    };
    world.grant_with(&[grant], &[("key", "sk_live_42")]);
    let mut sent = get(format!("http://{at}/%7ea?b=1"));
    for (name, value) in [
        ("host", "evil.example"),
        ("host", "other.example"),
        ("authorization", "Bearer forged"),
        ("x-api-key", "hms-secret:key"),
        ("x-hms-user", "mallory"),
        ("x-request-id", "forged"),
        ("connection", "keep-alive, x-named"),
        ("x-named", "1"),
        ("transfer-encoding", "chunked"),
        ("content-length", "5"),
        ("te", "trailers"),
        ("accept", "*/*"),
    ] {
        let name = http::HeaderName::from_static(name);
        sent.headers_mut().append(name, value.parse().unwrap());
    }
    let from = OnBehalf {
        traceparent: Some(
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
                .parse()
                .unwrap(),
        ),
        ..on_behalf("payments")
    };
    let answer = world
        .outbound
        .send(from, sent, RequestedTimeouts::default())
        .await;
    assert_eq!(whole(answer.unwrap()).await, Ok((200, "ok".into())));
    let head = heads.lock().remove(0);
    let mut lines: Vec<&str> = head.trim_end().lines().collect();
    assert_eq!(lines.remove(0), "GET /~a?b=1 HTTP/1.1");
    lines.sort_unstable();
    let trace = lines
        .iter()
        .position(|line| line.starts_with("traceparent: "));
    let trace = lines.remove(trace.unwrap());
    assert!(
        trace.contains("4bf92f3577b34da6a3ce929d0e0e4736") && !trace.contains("00f067aa0ba902b7")
    );
    let host = format!("host: {at}");
    assert_eq!(
        lines,
        [
            "accept: */*",
            "authorization: Bearer sk_live_42",
            &host,
            "x-api-key: sk_live_42",
            "x-request-id: req-1",
        ]
    );
}

#[tokio::test]
async fn length_that_is_not_the_bodys_ends_the_call_and_smuggles_nothing() {
    let (world, (at, heads)) = (World::new(), keeping().await);
    world.grant(&[to(at)]);
    let post = |length: &str, pieces: &[&'static str]| {
        let frames: Vec<Result<_, body::BodyError>> = pieces
            .iter()
            .map(|piece| Ok(Frame::data(bytes::Bytes::from_static(piece.as_bytes()))))
            .collect();
        let body = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
        let mut request = request(Method::POST, format!("http://{at}/"), body);
        let length = length.parse().unwrap();
        request.headers_mut().insert("content-length", length);
        request
    };
    // A second request behind a body that is longer than it says.
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    let longer = world.call(post("3", &["abc", smuggled])).await;
    assert_eq!(whole(longer.unwrap()).await, Ok((200, "ok".into())));
    let shorter = world.call(post("9", &["abc"])).await;
    assert_eq!(shorter.err(), Some(CallError::RequestBodySize));
    assert_eq!(
        world.get(format!("http://{at}/next")).await,
        Ok((200, "ok".into()))
    );
    let heads = heads.lock().join("\n");
    assert!(!heads.contains("GET /smuggled"), "{heads}");
    // One that says nothing clear is framed by the host.
    let framed = world.call(post("3, 4", &["abc"])).await;
    assert_eq!(framed.unwrap().status(), 200);
}

#[tokio::test]
async fn field_with_a_line_end_cannot_be_made() {
    for value in ["a\r\nx: y", "a\nx: y", "a\0"] {
        assert!(http::HeaderValue::from_bytes(value.as_bytes()).is_err());
    }
}

#[tokio::test]
async fn trailers_pass_both_ways_without_what_none_may_say() {
    let world = World::new();
    let at = service(|request| async move {
        let whole = request.into_body().collect().await.unwrap();
        let trailers = whole.trailers().cloned().unwrap_or_default();
        let names: Vec<&str> = trailers.keys().map(|name| name.as_str()).collect();
        let said = names.join(",");
        let sum = HeaderMap::from_iter([("x-sum".parse().unwrap(), "1".parse().unwrap())]);
        let frames = [
            Ok::<_, body::BodyError>(Frame::data(bytes::Bytes::from(said))),
            Ok(Frame::trailers(sum)),
        ];
        let mut answer =
            Response::new(StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync());
        answer
            .headers_mut()
            .insert("trailer", "x-sum".parse().unwrap());
        answer
    })
    .await;
    world.grant(&[to(at)]);
    let mut trailers = HeaderMap::new();
    for name in ["x-in", "x-hms-user", "content-length"] {
        trailers.insert(name, "1".parse().unwrap());
    }
    let frames = [
        Ok::<_, body::BodyError>(Frame::data(bytes::Bytes::from("body"))),
        Ok(Frame::trailers(trailers)),
    ];
    let body = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
    let mut sent = request(Method::POST, format!("http://{at}/"), body);
    for (name, value) in [
        ("te", "trailers"),
        ("trailer", "x-in, x-hms-user, content-length"),
    ] {
        sent.headers_mut().insert(name, value.parse().unwrap());
    }
    let answer = world.call(sent).await.unwrap();
    let whole = answer.into_body().collect().await.unwrap();
    assert_eq!(whole.to_bytes(), "x-in");
}

#[tokio::test]
async fn trailers_of_an_answer_say_nothing_for_the_host() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n";
    let world = World::new();
    for (said, expected) in [
        ("x-sum: 1\r\nx-hms-user: 1\r\nx_hms_scopes: 1\r\n", Some(1)),
        ("x-hms-user: 1\r\n", None),
    ] {
        let at = raw(move |_, mut stream| async move {
            head(&mut stream).await;
            say(&mut stream, &format!("{ANSWER}{said}\r\n")).await;
        })
        .await;
        world.grant(&[to(at)]);
        let answer = world.call(get(format!("http://{at}/"))).await.unwrap();
        let whole = answer.into_body().collect().await.unwrap();
        let trailers = whole.trailers();
        assert_eq!(trailers.map(HeaderMap::len), expected, "{trailers:?}");
        assert!(trailers.is_none_or(|trailers| trailers.contains_key("x-sum")));
        assert_eq!(whole.to_bytes(), "ok");
    }
}
