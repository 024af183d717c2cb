//! HTTP/2 floods, frame by frame: each ends its own connection, or costs next to nothing, while
//! another is served.

use super::*;

const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const DATA: u8 = 0;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// GET, and POST, of `/open/in` at `x`, in HPACK (RFC 7541): indexed fields, then the path and the
/// authority as they are.
const GET: &[u8] = b"\x82\x86\x44\x08/open/in\x41\x01x";
const POST: &[u8] = b"\x83\x86\x44\x08/open/in\x41\x01x";

/// RFC 9113 section 4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// What became of a connection that was sent all of these.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    /// The host has ended it.
    Ended,
    /// It is open, and all was taken.
    Open,
}

/// Sends the frames, without reading where `deaf`, and looks whether the connection lives.
async fn flood(fixture: &Fixture, frames: impl Iterator<Item = Vec<u8>>, deaf: bool) -> Ending {
    let stream = fixture.connect().await;
    let (mut reader, mut writer) = stream.into_split();
    let reading = tokio::spawn(async move {
        let mut answers = [0; 4096];
        if deaf {
            return std::future::pending().await;
        }
        while reader.read(&mut answers).await.is_ok_and(|read| read > 0) {}
    });
    let send = async {
        writer
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await?;
        writer.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
        for frame in frames {
            writer.write_all(&frame).await?;
        }
        // A connection that has ended takes this once, and no second one.
        for _ in 0..20 {
            writer.write_all(&frame(PING, 0, 0, &[0; 8])).await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        std::io::Result::Ok(())
    };
    let sent = tokio::time::timeout(PATIENCE, send)
        .await
        .expect("it neither ends nor goes on");
    let ended = sent.is_err() || reading.is_finished();
    reading.abort();
    if ended { Ending::Ended } else { Ending::Open }
}

/// Odd numbers: a client's streams.
fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|index| 2 * index + 1)
}

async fn quick() -> Fixture {
    Fixture::with(|limits| limits.write_idle_timeout = Duration::from_millis(300)).await
}

async fn is_served(fixture: &Fixture) {
    let begun = Instant::now();
    assert_eq!(status(&fixture.get("/open/x", "").await), 200);
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_reset_ends_the_connection() {
    // CVE-2023-44487, rapid reset.
    let fixture = quick().await;
    let frames = streams(20_000).flat_map(|id| {
        [
            frame(HEADERS, END_HEADERS | END_STREAM, id, GET),
            frame(RST_STREAM, 0, id, &[0, 0, 0, 8]),
        ]
    });
    // In one piece, so that none is accepted in between.
    let all: Vec<u8> = frames.flatten().collect();
    assert_eq!(
        flood(&fixture, [all].into_iter(), false).await,
        Ending::Ended
    );
    is_served(&fixture).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_provoked_from_the_host_end_the_connection() {
    // CVE-2025-8671, MadeYouReset: a window update of nothing is an error of its stream.
    let fixture = quick().await;
    let frames = streams(20_000).flat_map(|id| {
        [
            frame(HEADERS, END_HEADERS, id, POST),
            frame(WINDOW_UPDATE, 0, id, &[0; 4]),
        ]
    });
    assert_eq!(flood(&fixture, frames, false).await, Ending::Ended);
    is_served(&fixture).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_continuation_ends_the_connection() {
    // CVE-2024-27316 and its kin.
    let fixture = quick().await;
    let frames = std::iter::once(frame(HEADERS, END_STREAM, 1, GET))
        .chain((0..100_000).map(|_| frame(CONTINUATION, 0, 1, b"\x40\x01a\x01b")));
    assert_eq!(flood(&fixture, frames, false).await, Ending::Ended);
    is_served(&fixture).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_that_provokes_replies_and_reads_none_is_disconnected() {
    // CVE-2019-9512 (pings) and CVE-2019-9515 (settings).
    let fixture = quick().await;
    for asked in [
        frame(PING, 0, 0, &[7; 8]),
        frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]),
    ] {
        let frames = std::iter::repeat_n(asked.repeat(1000), 2000);
        assert_eq!(flood(&fixture, frames, true).await, Ending::Ended);
        is_served(&fixture).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_frames_are_accepted_and_cost_nobody() {
    // CVE-2019-9518 (empty frames) and floods of priorities, which RFC 9113 does away with.
    let fixture = quick().await;
    let open = frame(HEADERS, END_HEADERS, 1, POST);
    for nothing in [
        frame(DATA, 0, 1, &[]),
        frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9]),
    ] {
        let frames =
            std::iter::once(open.clone()).chain(std::iter::repeat_n(nothing.repeat(1000), 100));
        let _ = flood(&fixture, frames, false).await;
        is_served(&fixture).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn protocol_error_ends_the_connection() {
    let fixture = quick().await;
    for (what, broken) in [
        (
            "RFC 9113 6.9.1, a window beyond its bound",
            frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
        ),
        ("RFC 9113 6.1, data of no stream", frame(DATA, 0, 0, b"x")),
        (
            "RFC 9113 4.2, a frame beyond its size",
            frame(DATA, 0, 1, &[0; 70_000]),
        ),
        (
            "RFC 9113 5.1.1, an even stream",
            frame(HEADERS, END_HEADERS, 2, GET),
        ),
        (
            "RFC 7541 2.3.3, an index of nothing",
            frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\x7f"),
        ),
    ] {
        assert_eq!(
            flood(&fixture, [broken].into_iter(), false).await,
            Ending::Ended,
            "{what}"
        );
    }
    is_served(&fixture).await;
}

#[tokio::test]
async fn connection_without_requests_is_closed_after_its_idle_time() {
    let fixture =
        Fixture::with(|limits| limits.connection_idle_timeout = Duration::from_millis(100)).await;
    let frames = [frame(HEADERS, END_HEADERS | END_STREAM, 1, GET)];
    assert_eq!(
        flood(&fixture, frames.into_iter(), false).await,
        Ending::Ended
    );
    is_served(&fixture).await;
}
