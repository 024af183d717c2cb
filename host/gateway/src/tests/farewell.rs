//! The shutdown loses no request that a client may have sent before it could know of it.

use super::frames::{ACK, Frame, GOAWAY, PING, SETTINGS, ask, receive, receive_until, send, start};
use super::*;
use std::io::Write;

const REQUEST: &[u8] = b"GET /open/echo HTTP/1.1\r\nhost: x\r\n\r\n";

/// One request and its whole answer, of which the head is given.
async fn exchange(stream: &mut TcpStream) -> String {
    stream.write_all(REQUEST).await.unwrap();
    answer(stream).await
}

async fn answer(stream: &mut TcpStream) -> String {
    let head = read_until(stream, "\r\n\r\n").await;
    assert_eq!(status(&head), 200, "{head}");
    let length = head.split("content-length: ").nth(1).unwrap();
    let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut body)).await;
    read.expect("the body in time").unwrap();
    head
}

fn says_close(head: &str) -> bool {
    head.contains("\r\nconnection: close\r\n")
}

/// Waits until nobody new is taken.
async fn listener_is_closed(fixture: &Fixture) {
    while TcpStream::connect(fixture.addr).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn busy_clients_are_told_to_close_and_lose_nothing() {
    let fixture = Fixture::open().await;
    let mut clients = Vec::new();
    let (served, mut first_answers) = tokio::sync::mpsc::channel(8);
    for _ in 0..8 {
        let mut stream = fixture.connect().await;
        let served = served.clone();
        clients.push(tokio::spawn(async move {
            let mut answered = 0;
            while !says_close(&exchange(&mut stream).await) {
                if answered == 0 {
                    served.send(()).await.unwrap();
                }
                answered += 1;
            }
            read_to_end(&mut stream).await;
            answered
        }));
    }
    for _ in 0..8 {
        let first = tokio::time::timeout(PATIENCE, first_answers.recv()).await;
        first.unwrap().unwrap();
    }
    let begun = Instant::now();
    fixture.shutdown.cancel();
    for client in clients {
        assert!(client.await.unwrap() > 0);
    }
    assert_eq!(fixture.serving.await.unwrap(), 0);
    assert!(begun.elapsed() < PATIENCE);
}

#[tokio::test]
async fn request_racing_the_farewell_is_answered_and_an_idle_connection_closed() {
    let fixture = Fixture::open().await;
    let (mut late, mut idle) = (fixture.connect().await, fixture.connect().await);
    // One that has said nothing yet is as good.
    let mut silent = fixture.connect().await;
    for stream in [&mut late, &mut idle] {
        assert!(!says_close(&exchange(stream).await));
    }
    let begun = Instant::now();
    fixture.shutdown.cancel();
    listener_is_closed(&fixture).await;
    for stream in [&mut late, &mut silent] {
        assert!(says_close(&exchange(stream).await));
        assert_eq!(read_to_end(stream).await, "");
    }
    assert_eq!(read_to_end(&mut idle).await, "");
    let farewell = Limits::default().farewell;
    assert!(begun.elapsed() >= farewell.mul_f32(0.9));
    assert_eq!(fixture.serving.await.unwrap(), 0);
}

#[tokio::test]
async fn client_has_the_full_farewell_time_after_a_long_answer() {
    // The next request has this long to come, on a loaded machine too.
    let farewell = Duration::from_secs(1);
    let fixture = Fixture::with(|limits| limits.farewell = farewell).await;
    let mut stream = fixture.begin_answer("first").await;
    fixture.shutdown.cancel();
    tokio::time::sleep(farewell * 2).await;
    drop(fixture.give);
    read_until(&mut stream, "0\r\n\r\n").await;
    assert!(says_close(&exchange(&mut stream).await));
    assert_eq!(fixture.serving.await.unwrap(), 0);
}

#[tokio::test]
async fn client_in_the_kernel_queue_at_shutdown_is_served() {
    let fixture = Fixture::open().await;
    // Without a chance for the gateway's task to accept in between.
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let mut client = std::net::TcpStream::connect(fixture.addr).unwrap();
            client.write_all(REQUEST).unwrap();
            client
        })
        .collect();
    fixture.shutdown.cancel();
    for client in clients {
        client.set_nonblocking(true).unwrap();
        let mut client = TcpStream::from_std(client).unwrap();
        assert!(says_close(&answer(&mut client).await));
    }
    assert_eq!(fixture.serving.await.unwrap(), 0);
}

/// Of a GOAWAY: the last stream that was taken, and why.
fn goaway(frame: &Frame) -> (u32, u32) {
    let word = |at: usize| u32::from_be_bytes(frame.payload[at..at + 4].try_into().unwrap());
    (word(0), word(4))
}

#[tokio::test]
async fn first_http2_goaway_refuses_nothing_and_the_second_names_the_last_stream() {
    let fixture = Fixture::open().await;
    let mut stream = fixture.connect().await;
    start(&mut stream, None).await;
    ask(&mut stream, 1, "/open/echo").await;
    receive_until(&mut stream, |it| it.kind == 0 && it.flags & 1 == 1).await;

    fixture.shutdown.cancel();
    let first = receive_until(&mut stream, |it| it.kind == GOAWAY).await;
    assert_eq!(goaway(&first), (u32::MAX >> 1, 0));
    let asks = |it: &Frame| it.kind == PING && it.flags & ACK == 0;
    let ping = receive_until(&mut stream, asks).await;
    // As if it had been on its way when the GOAWAY was sent.
    ask(&mut stream, 3, "/open/echo").await;
    send(&mut stream, PING, ACK, 0, &ping.payload).await;
    let (mut second, mut answered) = (None, false);
    while let Some(frame) = receive(&mut stream).await {
        match frame.kind {
            GOAWAY => second = Some(goaway(&frame)),
            _ => answered |= frame.stream == 3 && frame.kind == 0 && frame.flags & 1 == 1,
        }
    }
    assert!(answered);
    assert_eq!(second, Some((3, 0)));
    assert_eq!(fixture.serving.await.unwrap(), 0);
}

#[tokio::test]
async fn connection_that_becomes_http2_during_shutdown_is_sent_a_goaway() {
    for preface_before in [true, false] {
        // Nothing else ends it in the time of this test.
        let fixture = Fixture::with(|limits| limits.farewell = PATIENCE * 2).await;
        let mut stream = fixture.connect().await;
        if preface_before {
            start(&mut stream, None).await;
            receive_until(&mut stream, |it| it.kind == SETTINGS).await;
        }
        fixture.shutdown.cancel();
        listener_is_closed(&fixture).await;
        if !preface_before {
            start(&mut stream, None).await;
        }
        ask(&mut stream, 1, "/open/echo").await;
        let (mut goaways, mut answered) = (Vec::new(), false);
        while let Some(frame) = receive(&mut stream).await {
            match frame.kind {
                GOAWAY => goaways.push(goaway(&frame)),
                PING if frame.flags & ACK == 0 => {
                    send(&mut stream, PING, ACK, 0, &frame.payload).await;
                }
                _ => answered |= frame.stream == 1 && frame.kind == 0 && frame.flags & 1 == 1,
            }
        }
        assert!(answered);
        assert_eq!(goaways, [(u32::MAX >> 1, 0), (1, 0)]);
        assert_eq!(fixture.serving.await.unwrap(), 0);
    }
}

#[tokio::test]
async fn http2_client_that_answers_no_ping_does_not_delay_shutdown() {
    for asks in [true, false] {
        let drain = Duration::from_secs(4);
        let fixture = Fixture::with(|limits| limits.drain_timeout = drain).await;
        let mut stream = fixture.connect().await;
        start(&mut stream, None).await;
        receive_until(&mut stream, |it| it.kind == SETTINGS).await;
        if asks {
            ask(&mut stream, 1, "/open/echo").await;
            receive_until(&mut stream, |it| it.kind == 0 && it.flags & 1 == 1).await;
        }
        let begun = Instant::now();
        fixture.shutdown.cancel();
        receive_until(&mut stream, |it| it.kind == GOAWAY).await;
        assert_eq!(fixture.serving.await.unwrap(), 0);
        assert!(begun.elapsed() < drain, "{:?}", begun.elapsed());
    }
}
