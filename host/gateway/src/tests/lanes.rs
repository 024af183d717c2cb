//! Connections on lanes.

use super::*;
use hms_net::lanes::{Lanes, Threads, count};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use std::collections::BTreeSet;

async fn fixture() -> (Fixture, Threads) {
    let (lanes, threads) = Lanes::start().unwrap();
    let fixture = Fixture::configured(|config| config.lanes = Some(lanes)).await;
    (fixture, threads)
}

/// The lane on which a request is at its window, as `FakeWindows` says it.
fn lane(answer: &str) -> usize {
    let said = answer.rsplit("lane ").next().unwrap_or_default();
    let said = said.trim_end_matches('!').parse();
    said.unwrap_or_else(|_| panic!("{answer:?}"))
}

#[tokio::test]
async fn connections_spread_over_the_lanes_and_stay_on_one() {
    let (fixture, threads) = fixture().await;
    let mut streams = Vec::new();
    let mut lanes = BTreeSet::new();
    for _ in 0..count() {
        let mut stream = fixture.connect().await;
        let mut seen = BTreeSet::new();
        for _ in 0..3 {
            let request = b"GET /open/lane HTTP/1.1\r\nhost: x\r\n\r\n";
            stream.write_all(request).await.unwrap();
            seen.insert(lane(&read_until(&mut stream, "!").await));
        }
        assert_eq!(seen.len(), 1, "{seen:?}");
        lanes.extend(seen);
        streams.push(stream);
    }
    assert_eq!(lanes, (1..=count()).collect());
    drop(streams);
    fixture.shutdown.cancel();
    assert_eq!(fixture.serving.await.unwrap(), 0);
    threads.end().await;
}

#[tokio::test]
async fn http2_requests_are_not_bound_to_one_lane() {
    let (fixture, _threads) = fixture().await;
    let io = TokioIo::new(fixture.connect().await);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://here/open/lane").body(Empty::<Bytes>::new());
    let answer = sender.send_request(request.unwrap()).await.unwrap();
    let said = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(lane(&String::from_utf8_lossy(&said)), 0);
}
