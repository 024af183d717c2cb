//! The first limits: each has one clear answer, and the host and the other windows go on.

use hms_api::LogLines;
use hms_harness::{Host, guest};
use http::Method;
use std::time::{Duration, Instant};

async fn host(args: &[&str]) -> Host {
    let (prober, hello) = (guest("prober").await, guest("hello-wasip3").await);
    Host::with_open_windows_and(&[("prober", &prober), ("victim", &hello)], args).await
}

async fn refused(host: &Host, path: &str, status: u16, code: &str) {
    let pid = host.pid();
    let answer = host.get(path).await;
    assert_eq!(
        (answer.status.as_u16(), answer.problem().as_str()),
        (status, code),
        "{path}: {}",
        answer.text()
    );
    assert_eq!(host.get("/victim").await.status, 200);
    assert_eq!(host.pid(), pid);
}

#[tokio::test]
async fn endless_loop_ends_at_its_cpu_time() {
    let host = host(&["--instance-cpu-time", "300ms"]).await;
    refused(&host, "/prober/spin", 504, "cpu-time").await;
}

#[tokio::test]
async fn sleeping_guest_ends_at_its_wall_time() {
    let host = host(&["--instance-wall-time", "500ms"]).await;
    let begun = Instant::now();
    refused(&host, "/prober/sleep?ms=60000", 504, "wall-time").await;
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn hoarding_guest_ends_at_its_memory_limit() {
    let host = host(&["--instance-memory", "32MiB"]).await;
    assert_eq!(host.get("/prober/alloc?mib=4").await.status, 200);
    refused(&host, "/prober/alloc?mib=100", 500, "memory-limit").await;
}

#[tokio::test]
async fn trap_fails_one_request_and_its_reason_is_in_the_window_log() {
    let host = host(&[]).await;
    refused(&host, "/prober/trap", 500, "instance-trapped").await;
    let log = host.cli("logs", &["prober"]).await;
    let log = String::from_utf8_lossy(&log.stdout).into_owned();
    assert!(log.contains("a trap, as asked"), "{log}");
    let others = host.cli("logs", &["victim"]).await;
    assert_eq!(String::from_utf8_lossy(&others.stdout), "");
}

#[tokio::test]
async fn trap_after_half_a_body_is_a_visible_cut() {
    let host = host(&[]).await;
    for path in [
        "/prober/trap-mid?length=true",
        "/prober/trap-mid?length=false",
    ] {
        let answer = host.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(
            answer.cut.is_some(),
            "{path}: {:?} looks whole",
            answer.text()
        );
    }
}

#[tokio::test]
async fn return_without_an_answer_is_a_bad_gateway() {
    let host = host(&[]).await;
    refused(&host, "/prober/no-response", 502, "no-response").await;
}

#[tokio::test]
async fn request_beyond_the_instance_limit_waits_and_is_then_refused() {
    let host = host(&["--instances", "2"]).await;
    let host = &host;
    let busy = (0..2).map(|_| host.get("/prober/sleep?ms=12000"));
    let busy = futures_util::future::join_all(busy);
    let third = async {
        // The two are at work once the registry counts their leases.
        hms_harness::eventually("both instances are at work", || async {
            (host.window("prober").await.leases == 2).then_some(())
        })
        .await;
        host.get("/victim").await
    };
    let (busy, third) = tokio::join!(busy, third);
    assert!(
        busy.iter().all(|answer| answer.status == 200),
        "{:?}",
        busy[0].text()
    );
    assert_eq!(
        (third.status.as_u16(), third.problem().as_str()),
        (503, "instance-limit")
    );
    assert!(!third.header("retry-after").is_empty());
    assert_eq!(host.get("/victim").await.status, 200);
}

#[tokio::test]
async fn log_flood_is_bounded() {
    let host = host(&[]).await;
    assert_eq!(
        host.get("/prober/log?lines=20000&bytes=100").await.status,
        204
    );
    let lines = host
        .admin(Method::GET, "/windows/prober/log", "")
        .await
        .read::<LogLines>();
    let count = lines.lines.len();
    assert!((1..=1000).contains(&count), "{count}");
}
