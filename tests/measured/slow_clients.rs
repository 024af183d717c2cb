//! Clients that take their time, as many as there may be, keep nobody else out.

use futures_util::future::join_all;
use hms_harness::http::connect;
use hms_harness::{Host, eventually, guest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Larger than what is read before an instance starts.
const UPLOAD: usize = 300_000;

#[tokio::test]
async fn returning_slow_clients_keep_nobody_out() {
    let _alone = super::alone().await;
    let prober = guest("prober").await;
    let args = ["--instances", "16", "--instance-wall-time", "1s"];
    let host = Host::with_open_windows_and(&[("prober", &prober)], &args).await;
    let set = [
        "prober",
        "--instances",
        "6",
        "--queue",
        "64",
        "--queue-wait",
        "5s",
    ];
    assert!(host.cli("limits", &set).await.status.success());
    let head = format!(
        "POST /prober/read HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {UPLOAD}\r\n\r\nx"
    );
    let coming_back = join_all((0..60).map(|_| async {
        loop {
            let mut upload = connect(host.gateway()).await;
            let _ = upload.write_all(head.as_bytes()).await;
            let _ = upload.read_to_end(&mut Vec::new()).await;
        }
    }));
    let quick = async {
        eventually("they fill the queue", || async {
            let ended = host.metric("hms_slow_clients_ended_total").await;
            (ended > Some(6)).then_some(())
        })
        .await;
        for _ in 0..10 {
            let answer = host.get("/prober/status?code=204").await;
            assert_eq!(answer.status, 204, "{}", answer.text());
        }
    };
    tokio::select! {
        _ = coming_back => unreachable!("they never stop"),
        () = quick => {}
    }
}
