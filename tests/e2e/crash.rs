//! An acknowledged write is on disk.

use hms_harness::{Host, guest};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const WRITERS: usize = 8;

/// The kill comes once this many writes were acknowledged, with all writers at work.
const BEFORE_KILL: usize = 150;

#[tokio::test]
async fn kill_9_during_writes_loses_no_acknowledged_write() {
    let prober = guest("prober").await;
    let mut host = Host::with_open_windows(&[("prober", &prober)]).await;
    for round in 0..3 {
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let base = host.gateway().to_owned();
                let acknowledged = acknowledged.clone();
                tokio::spawn(
                    async move { write_until_cut(&base, round, writer, &acknowledged).await },
                )
            })
            .collect();
        while acknowledged.load(SeqCst) < BEFORE_KILL {
            tokio::task::yield_now().await;
        }
        host.kill();
        let mut present = Vec::new();
        for writer in writers {
            present.push(writer.await.unwrap());
        }
        host.boot().await;
        for (writer, count) in present.into_iter().enumerate() {
            for number in 0..count {
                let path = format!("/prober/kv/b/{round}-{writer}-{number}");
                let found = host.get(&path).await;
                assert_eq!(
                    (found.status.as_u16(), found.text()),
                    (200, format!("value {number}")),
                    "{path}"
                );
            }
        }
    }
}

/// Writes one key after another; gives how many were acknowledged before the host was gone.
async fn write_until_cut(
    base: &str,
    round: usize,
    writer: usize,
    acknowledged: &AtomicUsize,
) -> usize {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = hms_harness::http::connect(base).await;
    let mut answer = [0; 1024];
    for number in 0.. {
        let value = format!("value {number}");
        let request = format!(
            "PUT /prober/kv/b/{round}-{writer}-{number} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{value}",
            value.len()
        );
        if stream.write_all(request.as_bytes()).await.is_err() {
            return number;
        }
        let mut read = 0;
        // A 204 has no body: the blank line is its end.
        while !answer[..read].ends_with(b"\r\n\r\n") {
            match stream.read(&mut answer[read..]).await {
                Ok(n) if n > 0 => read += n,
                _ => return number,
            }
        }
        let head = String::from_utf8_lossy(&answer[..read]);
        assert!(head.starts_with("HTTP/1.1 204"), "{head}");
        acknowledged.fetch_add(1, SeqCst);
    }
    unreachable!("the numbers do not end")
}
