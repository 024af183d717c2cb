//! Clients of HTTP/2 that ask for answers and give no window for them.

use super::frames::{
    DATA, GOAWAY, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE, ask, receive, receive_until, send,
    start,
};
use super::*;

/// An answer that nobody takes has twice as long.
const QUICK: Duration = Duration::from_millis(200);

async fn quick() -> Fixture {
    Fixture::with(|limits| limits.write_idle_timeout = QUICK).await
}

/// A client whose streams have this window, and the head of a long answer on the first.
async fn begin(fixture: &Fixture, window: u32) -> TcpStream {
    let mut stream = fixture.connect().await;
    start(&mut stream, Some(window)).await;
    ask(&mut stream, 1, "/open/out").await;
    receive_until(&mut stream, |it| it.kind == HEADERS).await;
    stream
}

#[tokio::test]
async fn stream_without_flow_control_window_is_reset_and_releases_what_it_held() {
    // One small piece; another behind it; one that is larger than what h2 takes at once.
    for (window, pieces) in [(0, [10, 0]), (1, [10, 10]), (1, [100_000, 0])] {
        let fixture = quick().await;
        let mut stream = begin(&fixture, window).await;
        let begun = Instant::now();
        for piece in pieces.into_iter().filter(|piece| *piece > 0) {
            fixture.give.send(vec![b'x'; piece].into()).unwrap();
        }
        let reset = receive_until(&mut stream, |it| it.kind == RST_STREAM).await;
        // CANCEL.
        assert_eq!((reset.stream, &reset.payload[..]), (1, &[0, 0, 0, 8][..]));
        assert!(begun.elapsed() >= QUICK, "{:?}", begun.elapsed());
        tokio::time::timeout(PATIENCE, fixture.give.closed())
            .await
            .expect("the answer is dropped");
        assert_eq!(fixture.gateway.metrics.slow_readers().get(), 1);

        // The connection serves on.
        send(&mut stream, SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]).await;
        ask(&mut stream, 3, "/open/echo").await;
        let last = receive_until(&mut stream, |it| it.kind == DATA && it.stream == 3).await;
        assert_eq!(last.flags & 1, 1);
    }
}

#[tokio::test]
async fn stream_that_is_read_steadily_or_has_nothing_to_send_continues() {
    let fixture = quick().await;
    let mut stream = begin(&fixture, 10).await;
    // More than a time without a word of the service.
    tokio::time::sleep(3 * QUICK).await;
    fixture.give.send(vec![b'x'; 60_000].into()).unwrap();
    let mut left = 60_000;
    while left > 0 {
        let frame = receive(&mut stream).await.unwrap();
        assert_ne!(frame.kind, RST_STREAM);
        if frame.kind == DATA {
            left -= frame.payload.len();
            // A steady pace, at which the whole takes several times as long as `QUICK`.
            tokio::time::sleep(QUICK / 10).await;
            send(&mut stream, WINDOW_UPDATE, 0, 1, &1000_u32.to_be_bytes()).await;
        }
    }
    drop(fixture.give);
    receive_until(&mut stream, |it| it.kind == DATA && it.flags & 1 == 1).await;
}

#[tokio::test]
async fn http2_client_that_reads_next_to_nothing_is_disconnected() {
    let fixture = quick().await;
    let mut stream = begin(&fixture, 1).await;
    fixture.give.send(vec![b'x'; 60_000].into()).unwrap();
    loop {
        let frame = receive(&mut stream).await.unwrap();
        if frame.kind == RST_STREAM {
            break;
        }
        if frame.kind == DATA {
            // As often as one that is quick enough, and a byte each time.
            tokio::time::sleep(QUICK / 10).await;
            send(&mut stream, WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()).await;
        }
    }
}

#[tokio::test]
async fn unread_complete_answers_keep_a_connection_for_a_limited_time() {
    let fixture = Fixture::with(|limits| {
        limits.write_idle_timeout = QUICK;
        limits.connection_idle_timeout = QUICK;
    })
    .await;
    let mut stream = fixture.connect().await;
    start(&mut stream, Some(1)).await;
    let begun = Instant::now();
    for id in [1, 3, 5] {
        ask(&mut stream, id, "/open/echo").await;
    }
    receive_until(&mut stream, |it| it.kind == GOAWAY).await;
    while receive(&mut stream).await.is_some() {}
    assert!(begun.elapsed() >= 2 * QUICK, "{:?}", begun.elapsed());
}
