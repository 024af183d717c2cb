//! What a call may take: permits, time and bytes.

use super::*;
use hms_core::outgoing::BeginBy;
use http_body::Frame;
use http_body_util::StreamBody;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;
use tokio::sync::Semaphore;

/// A body of pieces without end.
fn endless(piece: &'static [u8]) -> Body {
    let frame = move || Ok(Frame::data(bytes::Bytes::from_static(piece)));
    StreamBody::new(futures_util::stream::repeat_with(frame)).boxed_unsync()
}

/// A body of one piece, and then nothing.
fn stalling() -> Body {
    use futures_util::StreamExt;
    let first = Ok(Frame::data(bytes::Bytes::from("first")));
    let rest = futures_util::stream::once(std::future::ready(first));
    StreamBody::new(rest.chain(futures_util::stream::pending())).boxed_unsync()
}

/// A service that never answers, and counts who asks.
async fn silent() -> (SocketAddr, Arc<Semaphore>) {
    let asked = Arc::new(Semaphore::new(0));
    let counted = asked.clone();
    let at = service(move |_| {
        counted.add_permits(1);
        std::future::pending()
    })
    .await;
    (at, asked)
}

#[tokio::test]
async fn permit_is_held_until_the_body_of_the_answer_has_ended_or_was_dropped() {
    let world = World::new();
    let at = service(|_| async { Response::new(stalling()) }).await;
    world.grant(&[OutboundGrant {
        at_once: Some(1),
        ..to(at)
    }]);
    let uri = format!("http://{at}/");
    let first = world.call(get(&uri)).await.unwrap();
    let started = Instant::now();
    assert_eq!(
        world.call(get(&uri)).await.err(),
        Some(CallError::ConnectionLimit)
    );
    // It waited for a moment.
    assert!(
        started.elapsed() >= Duration::from_millis(900),
        "{started:?}"
    );
    let requested = RequestedTimeouts {
        connect: Some(Duration::from_millis(10)),
        ..RequestedTimeouts::default()
    };
    let hasty = world.with_timeouts(get(&uri), requested).await;
    assert_eq!(hasty.err(), Some(CallError::ConnectionLimit));
    world.assert_refused("at-once-grant", 2);
    drop(first);
    assert!(world.call(get(&uri)).await.is_ok());
}

#[tokio::test]
async fn permit_is_free_when_an_answer_without_a_body_is_there() {
    let world = World::new();
    let at = service(|_| async { Response::new(body::empty()) }).await;
    world.limit(Limit::OutgoingCalls, 1);
    world.grant(&[to(at)]);
    let answers = [
        world.call(get(format!("http://{at}/"))).await.unwrap(),
        world.call(get(format!("http://{at}/"))).await.unwrap(),
    ];
    assert!(answers.iter().all(|answer| answer.status() == 200));
}

#[tokio::test]
async fn window_and_host_have_permits_of_their_own() {
    let (at, asked) = silent().await;
    for (window, host, reason) in [(2, 9, "at-once-window"), (9, 2, "at-once-host")] {
        let world = World::with(Roots::of_system(), host);
        world.limit(Limit::OutgoingCalls, window);
        world.grant(&[to(at)]);
        let outbound = world.outbound.clone();
        let call = || {
            let request = get(format!("http://{at}/"));
            tokio::spawn(outbound.send(
                on_behalf("payments"),
                request,
                RequestedTimeouts::default(),
            ))
        };
        let calls = [call(), call()];
        asked.acquire_many(2).await.unwrap().forget();
        assert_eq!(
            world.get(format!("http://{at}/")).await,
            Err(CallError::ConnectionLimit)
        );
        world.assert_refused(reason, 1);
        assert!(
            world
                .metrics()
                .contains("calls_in_flight{window=\"payments\"} 2")
        );
        // A guest that gives up takes its permit along.
        for call in calls {
            call.abort();
            assert!(call.await.is_err());
        }
        assert!(
            world
                .metrics()
                .contains("calls_in_flight{window=\"payments\"} 0")
        );
    }
}

#[tokio::test]
async fn time_is_the_least_of_window_grant_request_and_guest() {
    let (at, _) = silent().await;
    let world = World::new();
    let uri = format!("http://{at}/");
    let short = Duration::from_millis(60);
    let late = async |from: OnBehalf, requested| {
        let started = Instant::now();
        let sent = world.outbound.send(from, get(&uri), requested).await;
        assert!(started.elapsed() < PATIENCE / 2);
        sent.err()
    };
    let none = RequestedTimeouts::default();
    world.grant(&[to(at)]);
    let of_request = OnBehalf {
        deadline: Some(Instant::now() + short),
        ..on_behalf("payments")
    };
    assert_eq!(
        late(of_request, none).await,
        Some(CallError::ResponseTimeout)
    );
    let requested = RequestedTimeouts {
        first_byte: Some(short),
        ..none
    };
    assert_eq!(
        late(on_behalf("payments"), requested).await,
        Some(CallError::ResponseTimeout)
    );
    world.grant(&[OutboundGrant {
        timeout: Some(short),
        ..to(at)
    }]);
    assert_eq!(
        late(on_behalf("payments"), none).await,
        Some(CallError::ResponseTimeout)
    );
    world.grant(&[to(at)]);
    world.limit(Limit::OutgoingTimeMs, 60);
    assert_eq!(
        late(on_behalf("payments"), none).await,
        Some(CallError::ResponseTimeout)
    );
    world.assert_refused("time", 4);
}

#[tokio::test]
async fn answer_that_stands_still_ends_by_the_wish_of_the_guest_and_at_the_deadline() {
    let world = World::new();
    let at = service(|_| async { Response::new(stalling()) }).await;
    world.grant(&[to(at)]);
    let requested = RequestedTimeouts {
        between_bytes: Some(Duration::from_millis(60)),
        ..RequestedTimeouts::default()
    };
    let answer = world
        .with_timeouts(get(format!("http://{at}/")), requested)
        .await
        .unwrap();
    assert_eq!(whole(answer).await, Err(CallError::ReadTimeout));
    world.limit(Limit::OutgoingTimeMs, 200);
    let answer = world.call(get(format!("http://{at}/"))).await.unwrap();
    assert_eq!(whole(answer).await, Err(CallError::ResponseTimeout));
}

/// A service that sends one piece of a larger body, and says when its client closes.
async fn closing() -> (SocketAddr, Arc<Semaphore>) {
    let closed = Arc::new(Semaphore::new(0));
    let told = closed.clone();
    let at = raw(move |_, mut stream| {
        let told = told.clone();
        async move {
            head(&mut stream).await;
            say(
                &mut stream,
                "HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n",
            )
            .await;
            say(&mut stream, &"x".repeat(2000)).await;
            let _ = stream.read_u8().await;
            told.add_permits(1);
        }
    })
    .await;
    (at, closed)
}

async fn assert_closed(closed: &Semaphore) {
    let told = tokio::time::timeout(PATIENCE, closed.acquire()).await;
    told.expect("the connection is closed").unwrap().forget();
}

#[tokio::test]
async fn answer_that_failed_holds_no_connection_though_the_guest_holds_it() {
    let (world, (at, closed)) = (World::new(), closing().await);
    world.grant(&[to(at)]);
    let uri = format!("http://{at}/");
    let requested = RequestedTimeouts {
        between_bytes: Some(Duration::from_millis(60)),
        ..RequestedTimeouts::default()
    };
    let mut held = Vec::new();
    for (limit, requested, expected) in [
        (
            1000,
            RequestedTimeouts::default(),
            CallError::ResponseBodySize,
        ),
        (1 << 20, requested, CallError::ReadTimeout),
    ] {
        world.limit(Limit::OutgoingResponseBytes, limit);
        let mut answer = world.with_timeouts(get(&uri), requested).await.unwrap();
        let error = loop {
            if let Err(error) = answer.frame().await.unwrap() {
                break error;
            }
        };
        assert_eq!(*error.downcast::<CallError>().unwrap(), expected);
        assert!(answer.frame().await.is_none());
        assert_closed(&closed).await;
        held.push(answer);
    }
}

#[tokio::test]
async fn answer_that_nobody_reads_ends_at_its_deadline() {
    let (world, (at, closed)) = (World::new(), closing().await);
    world.limit(Limit::OutgoingTimeMs, 200);
    world.grant(&[OutboundGrant {
        at_once: Some(1),
        ..to(at)
    }]);
    let uri = format!("http://{at}/");
    let answer = world.call(get(&uri)).await.unwrap();
    assert_closed(&closed).await;
    world.assert_refused("time", 1);
    // Its place is free.
    drop(world.call(get(&uri)).await.unwrap());
    assert!(!http_body::Body::is_end_stream(answer.body()));
    assert_eq!(whole(answer).await, Err(CallError::ResponseTimeout));
    world.assert_refused("time", 1);
}

#[tokio::test]
async fn answer_that_always_has_more_ends_at_its_deadline() {
    let world = World::new();
    let at = service(|_| async { Response::new(endless(&[7; 1000])) }).await;
    world.limit(Limit::OutgoingTimeMs, 200);
    world.limit(Limit::OutgoingResponseBytes, 1 << 40);
    world.grant(&[to(at)]);
    let mut answer = world.call(get(format!("http://{at}/"))).await.unwrap();
    let started = Instant::now();
    let error = loop {
        // Slow enough that there is always something to read.
        tokio::time::sleep(Duration::from_millis(5)).await;
        match answer.frame().await.unwrap() {
            Ok(_) => assert!(started.elapsed() < PATIENCE),
            Err(error) => break error,
        }
    };
    assert_eq!(
        *error.downcast::<CallError>().unwrap(),
        CallError::ResponseTimeout
    );
    world.assert_refused("time", 1);
}

#[tokio::test]
async fn no_connection_in_time_is_told_from_no_answer_in_time() {
    let world = World::new();
    // Nobody accepts, and the queue of the kernel is full: a connection hangs.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let at = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(at)).await
    {
        queued.push(stream);
    }
    world.grant(&[to(at)]);
    let requested = RequestedTimeouts {
        connect: Some(Duration::from_millis(60)),
        ..RequestedTimeouts::default()
    };
    let late = world
        .with_timeouts(get(format!("http://{at}/")), requested)
        .await;
    assert_eq!(late.err(), Some(CallError::ConnectTimeout));
}

#[tokio::test]
async fn endless_answer_and_endless_request_end_at_their_bounds() {
    let world = World::new();
    let at = service(|request| async move {
        let _ = request.into_body().collect().await;
        Response::new(endless(&[7; 1000]))
    })
    .await;
    world.grant(&[to(at)]);
    world.limit(Limit::OutgoingResponseBytes, 10_000);
    world.limit(Limit::OutgoingRequestBytes, 10_000);
    let uri = format!("http://{at}/");
    assert_eq!(world.get(&uri).await, Err(CallError::ResponseBodySize));
    world.assert_refused("response-size", 1);
    let sent = world
        .call(request(Method::POST, &uri, endless(&[7; 1000])))
        .await;
    assert_eq!(sent.err(), Some(CallError::RequestBodySize));
    let large = body::full(vec![7; 10_001]);
    let sent = world.call(request(Method::POST, &uri, large)).await;
    assert_eq!(sent.err(), Some(CallError::RequestBodySize));
    world.assert_refused("request-size", 2);
}

#[tokio::test]
async fn service_that_breaks_off_or_speaks_no_http_is_told_by_its_kind() {
    let world = World::new();
    for (said, expected) in [
        ("", CallError::ConnectionTerminated),
        ("220 mail.example ESMTP\r\n", CallError::Protocol),
        ("HTTP/1.1 200 OK\r\nx", CallError::ConnectionTerminated),
        ("HTTP/1.1 200 OK\r\na\0b: c\r\n\r\n", CallError::Protocol),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc",
            CallError::ConnectionTerminated,
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            CallError::Protocol,
        ),
    ] {
        let at = raw(move |_, mut stream| async move {
            head(&mut stream).await;
            say(&mut stream, said).await;
        })
        .await;
        world.grant(&[to(at)]);
        let post = request(Method::POST, format!("http://{at}/"), body::empty());
        let answer = match world.call(post).await {
            Ok(answer) => whole(answer).await,
            Err(error) => Err(error),
        };
        assert_eq!(answer, Err(expected), "{said:?}");
    }
    world.grant(&[to("127.0.0.1:1".parse().unwrap())]);
    assert_eq!(
        world.get("http://127.0.0.1:1/").await,
        Err(CallError::ConnectionRefused)
    );
}

#[tokio::test]
async fn idle_connections_of_a_window_are_bounded_and_give_way_to_others() {
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, peak) = (open.clone(), most.clone());
    let at = raw(move |_, mut stream| {
        peak.fetch_max(now.fetch_add(1, Relaxed) + 1, Relaxed);
        let now = now.clone();
        async move {
            while !head(&mut stream).await.is_empty() {
                say(&mut stream, OK).await;
            }
            now.fetch_sub(1, Relaxed);
        }
    })
    .await;
    let world = World::new();
    world.limit(Limit::OutgoingCalls, 2);
    world.grant(&[OutboundGrant {
        host: HostPattern::Below("x.example".into()),
        ..to(at)
    }]);
    for number in 0..40 {
        let name = format!("n{number}.x.example");
        world.names.set(&name, &["127.0.0.1"]);
        let answer = world.get(format!("http://{name}:{}/", at.port())).await;
        assert_eq!(answer, Ok((200, "ok".into())), "{number}");
    }
    // The service notices a little later that a connection has ended.
    let most = most.load(Relaxed);
    assert!(most <= 12, "{most} connections at once");
}

#[tokio::test]
async fn connections_of_all_windows_are_bounded_and_idle_ones_give_way() {
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, peak) = (open.clone(), most.clone());
    let at = raw(move |_, mut stream| {
        peak.fetch_max(now.fetch_add(1, Relaxed) + 1, Relaxed);
        let now = now.clone();
        async move {
            while !head(&mut stream).await.is_empty() {
                say(&mut stream, OK).await;
            }
            now.fetch_sub(1, Relaxed);
        }
    })
    .await;
    // Two calls and four connections at once, of all windows.
    let world = World::with(Roots::of_system(), 2);
    world.grant(&[OutboundGrant {
        host: HostPattern::Below("x.example".into()),
        ..to(at)
    }]);
    world.grant_also("docs");
    for number in 0..40 {
        let name = format!("n{number}.x.example");
        world.names.set(&name, &["127.0.0.1"]);
        let window = ["payments", "docs"][number % 2];
        let request = get(format!("http://{name}:{}/", at.port()));
        let none = RequestedTimeouts::default();
        let sent = world.outbound.send(on_behalf(window), request, none).await;
        assert_eq!(whole(sent.unwrap()).await.unwrap().0, 200, "{number}");
    }
    let most = most.load(Relaxed);
    assert!(most <= 12, "{most} connections at once");
}

#[tokio::test]
async fn call_ends_when_the_answer_to_its_request_is_to_begin_unless_it_has() {
    let (at, _) = silent().await;
    let world = World::new();
    world.grant(&[to(at)]);
    let none = RequestedTimeouts::default();
    let from = |has_begun: bool| OnBehalf {
        begin_by: Some(BeginBy {
            at: Instant::now() + Duration::from_millis(60),
            has_begun: Arc::new(move || has_begun),
        }),
        ..on_behalf("payments")
    };
    for has_begun in [false, true] {
        let asked = get(format!("http://{at}/"));
        let sent = world.outbound.send(from(has_begun), asked, none).await;
        assert_eq!(sent.err(), Some(CallError::ResponseTimeout));
    }
    // What is passed on goes on; what is still read for the answer does not.
    let at = service(|_| async { Response::new(stalling()) }).await;
    world.grant(&[to(at)]);
    world.limit(Limit::OutgoingTimeMs, 600);
    for (has_begun, ends) in [(false, 60), (true, 600)] {
        let started = Instant::now();
        let asked = get(format!("http://{at}/"));
        let sent = world.outbound.send(from(has_begun), asked, none).await;
        assert_eq!(whole(sent.unwrap()).await, Err(CallError::ResponseTimeout));
        let took = started.elapsed();
        assert!(took >= Duration::from_millis(ends), "{took:?}");
        assert!(has_begun || took < Duration::from_millis(500), "{took:?}");
    }
}
