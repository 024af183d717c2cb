//! What is sent again, and which services are not called for a while.

use super::*;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A service that breaks off the first connections without an answer, and counts its requests.
async fn breaking(first: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let at = raw(move |number, mut stream| {
        let counted = counted.clone();
        async move {
            head(&mut stream).await;
            counted.fetch_add(1, Relaxed);
            if number >= first {
                say(&mut stream, OK).await;
                let _ = stream.read_u8().await;
            }
        }
    })
    .await;
    (at, asked)
}

#[tokio::test]
async fn idempotent_request_is_sent_again_and_any_other_is_not() {
    for (method, broken, expected, requests) in [
        (Method::GET, 1, Ok((200, "ok".into())), 2),
        (Method::GET, 2, Ok((200, "ok".into())), 3),
        (Method::GET, 9, Err(CallError::ConnectionTerminated), 3),
        (Method::PUT, 1, Ok((200, "ok".into())), 2),
        (Method::POST, 1, Err(CallError::ConnectionTerminated), 1),
    ] {
        let (world, (at, asked)) = (World::new(), breaking(broken).await);
        world.grant(&[to(at)]);
        let sent = world
            .call(request(
                method.clone(),
                format!("http://{at}/"),
                body::empty(),
            ))
            .await;
        let answer = match sent {
            Ok(answer) => whole(answer).await,
            Err(error) => Err(error),
        };
        assert_eq!(answer, expected, "{method} {broken}");
        assert_eq!(asked.load(Relaxed), requests, "{method} {broken}");
        let retries = format!("retries_total{{window=\"payments\"}} {}", requests - 1);
        assert!(
            requests == 1 || world.metrics().contains(&retries),
            "{}",
            world.metrics()
        );
    }
}

#[tokio::test]
async fn request_on_a_connection_that_was_left_over_goes_out_on_another() {
    let world = World::new();
    let at = raw(|_, mut stream| async move {
        head(&mut stream).await;
        // It closes what it left open.
        say(&mut stream, OK).await;
    })
    .await;
    world.grant(&[to(at)]);
    for _ in 0..5 {
        let post = request(Method::POST, format!("http://{at}/"), body::full("once"));
        let answer = world.call(post).await.unwrap();
        assert_eq!(whole(answer).await, Ok((200, "ok".into())));
    }
}

#[tokio::test]
async fn retries_stay_within_their_budget() {
    let (world, (at, asked)) = (World::new(), breaking(usize::MAX).await);
    world.grant(&[to(at)]);
    for _ in 0..100 {
        assert!(world.get(format!("http://{at}/")).await.is_err());
    }
    let asked = asked.load(Relaxed);
    assert!((101..=170).contains(&asked), "{asked}");
}

#[tokio::test]
async fn service_without_connections_is_not_asked_for_a_time_and_its_neighbour_is() {
    let (world, well) = (World::new(), saying("well").await);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let down = listener.local_addr().unwrap();
    drop(listener);
    world.grant(&[to(down), to(well)]);
    let uri = format!("http://{down}/");
    for _ in 0..5 {
        assert_eq!(world.get(&uri).await, Err(CallError::ConnectionRefused));
    }
    for _ in 0..3 {
        assert_eq!(world.get(&uri).await, Err(CallError::Unavailable));
    }
    world.assert_refused("unavailable", 3);
    assert_eq!(
        world.get(format!("http://{well}/")).await,
        Ok((200, "well".into()))
    );
}

#[tokio::test]
async fn answers_that_fail_do_not_close_a_service() {
    let world = World::new();
    let at = service(|_| async {
        let mut answer = Response::new(body::empty());
        *answer.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        answer
    })
    .await;
    world.grant(&[to(at)]);
    for _ in 0..20 {
        assert_eq!(
            world.get(format!("http://{at}/")).await,
            Ok((503, String::new()))
        );
    }
}

#[tokio::test]
async fn call_that_waited_for_a_permit_does_not_ask_a_service_that_failed_meanwhile() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let up = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        drop(listener);
        head(&mut stream).await;
        say(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n").await;
        stream
    });
    let narrow = OutboundGrant {
        paths: vec!["/narrow".into()],
        at_once: Some(1),
        ..to(at)
    };
    world.grant(&[narrow, to(at)]);
    let uri = format!("http://{at}/narrow");
    let holds = world.call(get(&uri)).await.unwrap();
    let _open = up.await.unwrap();
    let waits = world.outbound.send(
        on_behalf("payments"),
        get(&uri),
        RequestedTimeouts::default(),
    );
    let waits = tokio::spawn(waits);
    for _ in 0..5 {
        let refused = world.get(format!("http://{at}/")).await;
        assert_eq!(refused, Err(CallError::ConnectionRefused));
    }
    drop(holds);
    let waited = waits.await.unwrap();
    assert_eq!(waited.err(), Some(CallError::Unavailable));
}

#[tokio::test]
async fn name_without_an_address_says_nothing_of_its_service() {
    let (world, at) = (World::new(), saying("here").await);
    world.grant(&[OutboundGrant {
        host: HostPattern::Exact("service.example".into()),
        ..to(at)
    }]);
    let uri = format!("http://service.example:{}/", at.port());
    for _ in 0..6 {
        assert_eq!(world.get(&uri).await, Err(CallError::DnsError));
    }
    world.names.set("service.example", &["127.0.0.1"]);
    assert_eq!(world.get(&uri).await, Ok((200, "here".into())));
}
