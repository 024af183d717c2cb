//! The host ends without losing anything that it began, and at once when told twice.

use super::harness::http::connect;
use super::harness::{Host, PATIENCE, eventually, guest};
use http::Method;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn sigterm_lets_a_running_answer_finish_and_closes_idle_connections() {
    let prober = guest("prober").await;
    let mut host = Host::with_open_windows(&[("w", &prober)]).await;
    let base = host.gateway().to_owned();
    let mut idle = connect(&base).await;
    idle.write_all(b"GET /w/status HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    let mut head = [0; 4096];
    assert!(idle.read(&mut head).await.unwrap() > 0);

    let running = tokio::spawn(super::harness::http::request(
        Method::GET,
        format!("{base}/w/slow-body?chunks=15&ms=100"),
        Vec::new(),
    ));
    eventually("the slow request is at work", || async {
        let shown = host.admin(Method::GET, "/windows/w", "").await.json();
        (shown["window"]["leases"] == 1).then_some(())
    })
    .await;
    let ended = host.terminate();
    let closed = tokio::time::timeout(PATIENCE, idle.read(&mut head)).await;
    assert_eq!(
        closed.unwrap().unwrap(),
        0,
        "the idle connection was not closed"
    );
    assert!(ended.await.success());
    let answer = running.await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.cut), (200, None));
    assert!(
        answer.body.ends_with(b"chunk 14\n"),
        "{:?}",
        String::from_utf8_lossy(&answer.body)
    );
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let prober = guest("prober").await;
    let mut host = Host::with_open_windows(&[("w", &prober)]).await;
    let base = host.gateway().to_owned();
    let mut running = connect(&base).await;
    running
        .write_all(b"GET /w/slow-body?chunks=600&ms=100 HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    let mut head = [0; 64];
    assert!(running.read(&mut head).await.unwrap() > 0);
    host.signal("TERM");
    eventually("it says that it shuts down", || async {
        host.log().contains("shutting down").then_some(())
    })
    .await;
    let begun = std::time::Instant::now();
    let status = host.terminate().await;
    assert!(!status.success());
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}
