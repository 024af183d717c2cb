//! A backup that nobody reads costs its window neither space nor time.

use hms_harness::backup::Reader;
use hms_harness::{Host, eventually, guest};
use http::Method;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

fn store(host: &Host, window: &str) -> PathBuf {
    host.data().join("windows").join(window).join("store.redb")
}

async fn put(host: &Host, window: &str, value: impl Into<Vec<u8>>) {
    let path = format!("/{window}/kv/b/k");
    let answer = host.call(Method::PUT, &path, &[], value).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
}

async fn fill(host: &Host, window: &str, count: usize) {
    let path = format!("/{window}/fill/much?count={count}&bytes=4000");
    assert_eq!(host.get(&path).await.status, 204);
}

/// The longest of some writes of 60 kB.
async fn slowest(host: &Host, window: &str, writes: usize) -> Duration {
    let mut slowest = Duration::ZERO;
    for _ in 0..writes {
        let begun = Instant::now();
        put(host, window, vec![b'x'; 60_000]).await;
        slowest = slowest.max(begun.elapsed());
    }
    slowest
}

async fn counted(host: &Host, outcome: &str) -> Option<u64> {
    let sample = format!("hms_backups_total{{outcome=\"{outcome}\"}}");
    host.metric(&sample).await
}

#[tokio::test]
async fn stalled_backup_reader_holds_no_store_pages_and_no_commit() {
    let _alone = super::alone().await;
    let prober = guest("prober").await;
    let host = Host::with_open_windows(&[("a", &prober), ("b", &prober)]).await;
    fill(&host, "a", 8000).await;
    put(&host, "b", "1").await;
    let before = slowest(&host, "a", 50).await;
    let size = fs::metadata(store(&host, "a")).unwrap().len();
    let mut reader = Reader::begin(&host).await;
    reader.read_to("windows/a/store.redb").await;
    // 24 MB that each replace what was there: pages that a reader held would stay.
    let during = slowest(&host, "a", 400).await;
    let grown = fs::metadata(store(&host, "a")).unwrap().len() - size;
    assert!(grown < 8 << 20, "{grown} bytes");
    let bound = Duration::from_secs(1).max(before * 10);
    assert!(during < bound, "{before:?} before, {during:?} during");
    // Nor does it hold the other windows, or a second backup for ever.
    put(&host, "b", "2").await;
    let second = host.cli("backup", &["-"]).await;
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success());
    assert!(
        said.contains("another backup of this host is running"),
        "{said}"
    );
    assert_eq!(counted(&host, "refused").await, Some(1));
    reader.leave();
    eventually("the place is free", || async {
        let next = host.cli("backup", &["-"]).await;
        next.status.success().then_some(())
    })
    .await;
    assert!(counted(&host, "failed").await >= Some(1));
    assert_eq!(counted(&host, "complete").await, Some(1));
}
