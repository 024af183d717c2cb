//! The host ends without losing anything that it began, and at once when told twice.

use super::harness::http::{Kept, connect, try_request};
use super::harness::{Host, PATIENCE, eventually, guest};
use http::Method;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn sigterm_lets_a_running_answer_finish_and_closes_idle_connections() {
    let prober = guest("prober").await;
    let mut host = Host::with_open_windows(&[("w", &prober)]).await;
    let base = host.gateway().to_owned();
    // Its answer is read to the end: a head and a body may come one after the other.
    let mut idle = Kept::open(&base).await;
    assert_eq!(idle.get("/w/status").await.status, 200);

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
    let closed = tokio::time::timeout(PATIENCE, idle.closed()).await;
    closed.expect("the idle connection is closed").unwrap();
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

#[tokio::test]
async fn a_host_whose_log_nobody_reads_any_more_serves_and_ends() {
    let hello = guest("hello-wasip3").await;
    let mut host = Host::with_open_windows(&[("w", &hello)]).await;
    host.kill();
    let mut child = host
        .hms("serve")
        .args(["--gateway", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .arg("--routes")
        .arg(host.routes())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let gateway = lines.find_map(|line| {
        let line = line.unwrap();
        let url = line.trim().strip_prefix("gateway")?;
        Some(url.trim().to_owned())
    });
    drop((lines, child.stderr.take()));
    let url = format!("{}/w", gateway.expect("the host starts"));
    let answer = eventually("it answers", || async {
        let answer = try_request(Method::GET, &url, &[], Vec::new()).await;
        answer.ok().filter(|answer| answer.status == 200)
    })
    .await;
    assert!(answer.text().contains("wasip3"), "{}", answer.text());
    let pid = child.id().to_string();
    let told = Command::new("kill").args(["-TERM", &pid]).status();
    assert!(told.unwrap().success());
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("it does not end");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(status.success(), "{status}");
}
