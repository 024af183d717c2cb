//! The admin listener under those who may connect to it and have no token, and under too much of
//! what has one.

use hms_harness::http::connect;
use hms_harness::{Host, PATIENCE};
use http::Method;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// As many as the listener takes, and some more.
const HELD: usize = 80;

/// Requests with the token that change something, of which the listener takes so many at once.
const AT_WORK: usize = 40;

/// And more of them, for which there are connections.
const BEYOND: usize = 4;

/// The longest that a probe waits.
const SOON: Duration = Duration::from_secs(4);

/// Holds connections, sends `first` on each, and opens each again as soon as it is closed.
struct Siege {
    over: Arc<AtomicBool>,
    opened: Arc<AtomicUsize>,
}

impl Siege {
    async fn begin(host: &Host, first: &'static str) -> Siege {
        let addr: SocketAddr = host.admin_url().replace("http://", "").parse().unwrap();
        let (over, opened) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        for _ in 0..HELD {
            let (over, opened) = (over.clone(), opened.clone());
            tokio::spawn(async move {
                while !over.load(Relaxed) {
                    let Ok(mut stream) = TcpStream::connect(addr).await else {
                        continue;
                    };
                    opened.fetch_add(1, Relaxed);
                    if stream.write_all(first.as_bytes()).await.is_err() {
                        continue;
                    }
                    let mut answer = [0; 4096];
                    while stream.read(&mut answer).await.is_ok_and(|read| read > 0) {
                        // Who asks again and again is not to be taken for one who needs his place.
                        if first.ends_with("\r\n\r\n") {
                            let _ = stream.write_all(first.as_bytes()).await;
                        }
                    }
                }
            });
        }
        while opened.load(Relaxed) < HELD {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Siege { over, opened }
    }
}

impl Drop for Siege {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unauthenticated_admin_connections_keep_neither_probes_nor_operators_out() {
    let _alone = super::alone().await;
    let host = Host::start().await;
    for first in [
        "",
        "GET /healthz HTTP/1.1\r\n",
        "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n",
        "PUT /windows/x HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\nx",
    ] {
        let siege = Siege::begin(&host, first).await;
        for path in ["/readyz", "/healthz", "/readyz", "/metrics"] {
            let begun = Instant::now();
            let answer = host.admin_request(Method::GET, path, &[], Vec::new()).await;
            assert_eq!(answer.status, 200, "{path} beside {first:?}");
            assert!(begun.elapsed() < SOON, "{path} took {:?}", begun.elapsed());
        }
        let listed = host.cli("windows", &[]).await;
        let said = String::from_utf8_lossy(&listed.stderr);
        assert!(listed.status.success(), "{said} beside {first:?}");
        assert!(siege.opened.load(Relaxed) >= HELD);
    }
    let metrics = host.admin_request(Method::GET, "/metrics", &[], Vec::new());
    let metrics = metrics.await.text();
    let evicted = metrics
        .lines()
        .find_map(|line| line.strip_prefix("hms_admin_connections_evicted_total "));
    assert!(evicted.unwrap().parse::<u64>().unwrap() > 0);
}

#[tokio::test]
async fn operator_request_in_flight_gives_way_to_nobody_and_leaves_room_for_probes() {
    let _alone = super::alone().await;
    let host = Host::start().await;
    let manifest = |name: &str| format!("uri: /{name}\nupstream: http://hms-svc-none\n");
    let token = std::fs::read_to_string(host.data().join("admin.token")).unwrap();
    let begin = async |name: String| {
        let mut stream = connect(host.admin_url()).await;
        let head = format!(
            "PUT /routes/{name} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n",
            token.trim(),
            manifest(&name).len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(b"u").await.unwrap();
        (name, stream)
    };
    let mut uploads = Vec::new();
    for number in 0..AT_WORK + BEYOND {
        uploads.push(begin(format!("w{number}")).await);
    }
    // Which of them came too late is for them to say.
    let mut refused = 0;
    let deadline = Instant::now() + PATIENCE;
    while refused < BEYOND {
        assert!(
            Instant::now() < deadline,
            "{refused} of {BEYOND} are refused"
        );
        let mut at_work = Vec::new();
        for (name, mut upload) in uploads {
            let mut answer = [0; 4096];
            match tokio::time::timeout(Duration::from_millis(20), upload.read(&mut answer)).await {
                Err(_) => at_work.push((name, upload)),
                Ok(read) => {
                    let answer = String::from_utf8_lossy(&answer[..read.unwrap()]).into_owned();
                    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
                    assert!(answer.contains("admin-busy"), "{answer}");
                    refused += 1;
                }
            }
        }
        uploads = at_work;
    }
    assert_eq!(uploads.len(), AT_WORK);
    let (name, mut first) = uploads.remove(0);

    let _siege = Siege::begin(&host, "").await;
    for _ in 0..4 {
        let begun = Instant::now();
        let answer = host
            .admin_request(Method::GET, "/readyz", &[], Vec::new())
            .await;
        assert_eq!(answer.status, 200);
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    }
    let rest = &manifest(&name)[1..];
    first.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    let read = tokio::time::timeout(PATIENCE, first.read_exact(&mut answer)).await;
    read.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 201");
    drop(uploads);
}
