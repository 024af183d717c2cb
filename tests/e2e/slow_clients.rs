//! A slow client is waited for, ended by rules of its own, and never taken for a failing window.

use bytes::Bytes;
use futures_util::future::join_all;
use hms_api::WindowState;
use hms_harness::http::connect;
use hms_harness::{Host, Options, eventually, guest};
use http::Request;
use http_body_util::BodyExt;
use http_body_util::channel::Channel;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use std::convert::Infallible;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The time of instances here, which the clients outlast.
const WALL: Duration = Duration::from_secs(1);

/// Larger than what is read before an instance starts.
const UPLOAD: usize = 300_000;

/// The windows "prober", of WASI 0.3, and "flooder", of WASI 0.2, behind routes with these plugins.
async fn host(plugins: &str, args: &[&str]) -> Host {
    let route = |window: &str| {
        format!(
            "uri: /{window}/**\nupstream: http://hms-svc-{window}\nstrip-prefix: /{window}\n{plugins}"
        )
    };
    let args = [&["--instance-wall-time", "1s"], args].concat();
    let host = Host::start_with(Options {
        args: args.iter().map(|arg| arg.to_string()).collect(),
        routes: vec![
            ("prober.yaml", route("prober")),
            ("flooder.yaml", route("flooder")),
        ],
        up: None,
    })
    .await;
    for window in ["prober", "flooder"] {
        host.deploy(window, &guest(window).await).await;
    }
    host
}

/// A request that has sent its head and some of a body of [`UPLOAD`] bytes.
async fn begin(host: &Host, path: &str, bytes: usize) -> TcpStream {
    let mut stream = connect(host.gateway()).await;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {UPLOAD}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b'x'; bytes]).await.unwrap();
    stream
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn metric(host: &Host, name: &str) -> u64 {
    host.metric(name).await.expect("the host has it")
}

#[tokio::test]
async fn upload_can_outlast_the_wall_time_of_either_wasi_version() {
    let host = host("", &[]).await;
    let by_http1 = ["/prober/read", "/flooder/read"].map(|path| {
        let host = &host;
        async move {
            let mut stream = begin(host, path, 0).await;
            for _ in 0..6 {
                stream.write_all(&vec![b'x'; UPLOAD / 6]).await.unwrap();
                tokio::time::sleep(WALL / 2).await;
            }
            let answer = rest(&mut stream).await;
            assert!(
                answer.contains(&format!("\r\n{UPLOAD}")),
                "{path}: {answer}"
            );
        }
    });
    let by_http2 = ["/prober/read", "/flooder/read"].map(|path| {
        let url = format!("{}{path}", host.gateway());
        async move {
            let (mut pieces, body) = Channel::<Bytes, Infallible>::new(1);
            let client = Client::builder(TokioExecutor::new())
                .http2_only(true)
                .build_http();
            let answer = tokio::spawn(client.request(Request::post(&url).body(body).unwrap()));
            for _ in 0..6 {
                pieces
                    .send_data(vec![b'x'; UPLOAD / 6].into())
                    .await
                    .unwrap();
                tokio::time::sleep(WALL / 2).await;
            }
            drop(pieces);
            let answer = answer.await.unwrap().unwrap().collect().await.unwrap();
            assert_eq!(answer.to_bytes(), UPLOAD.to_string(), "{path}");
        }
    });
    tokio::join!(join_all(by_http1), join_all(by_http2));
    for name in ["prober", "flooder"] {
        assert!(host.window(name).await.failures.is_empty());
    }
}

#[tokio::test]
async fn stalled_upload_is_408_and_counts_against_no_window() {
    let host = host("plugins:\n  - timeout: {body-idle: 300ms}\n", &[]).await;
    let set = host.cli("limits", &["prober", "--failures", "2"]).await;
    assert!(set.status.success());
    // One answers with an error of its own, one traps, and one of WASI 0.2 answers as if all were
    // well.
    let paths = ["/prober/read", "/prober/incr-and-read/b/k", "/flooder/read"];
    let stalled = paths.iter().cycle().take(12).map(|path| {
        let host = &host;
        async move {
            let mut stream = begin(host, path, 70_000).await;
            let answer = rest(&mut stream).await;
            assert!(answer.starts_with("HTTP/1.1 408 "), "{path}: {answer}");
            assert!(answer.contains("body-too-slow"), "{path}: {answer}");
        }
    });
    join_all(stalled).await;
    assert_eq!(host.window("prober").await.state, WindowState::Open);
    assert_eq!(host.get("/prober/status?code=204").await.status, 204);
    assert_eq!(host.get("/flooder/").await.status, 200);
}

#[tokio::test]
async fn stalled_uploads_end_no_canary_and_roll_back_no_release() {
    let host = host("plugins:\n  - timeout: {body-idle: 300ms}\n", &[]).await;
    let set = host.cli("limits", &["prober", "--failures", "2"]).await;
    assert!(set.status.success());
    let next = hms_harness::guests::variant(&guest("prober").await, "next");
    let file = host.data().join("next.wasm");
    std::fs::write(&file, next).unwrap();
    let file = file.to_str().unwrap();
    let stall = || async {
        let stalled = (0..20).map(|_| async {
            let mut stream = begin(&host, "/prober/incr-and-read/b/k", 70_000).await;
            let answer = rest(&mut stream).await;
            assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        });
        join_all(stalled).await;
    };
    let canary = ["--as", "prober", "--canary", "100%", "--yes"];
    let deployed = host.cli("deploy", &[&[file], &canary[..]].concat()).await;
    assert!(deployed.status.success(), "{deployed:?}");
    stall().await;
    let canary = host.window("prober").await.canary.unwrap();
    assert_eq!(canary.candidate.failures, 0, "{canary:?}");
    assert!(host.cli("promote", &["prober"]).await.status.success());

    let fallback = ["--as", "prober", "--fallback", "--yes"];
    let again = hms_harness::guests::variant(&guest("prober").await, "again");
    std::fs::write(file, again).unwrap();
    let deployed = host.cli("deploy", &[&[file], &fallback[..]].concat()).await;
    assert!(deployed.status.success(), "{deployed:?}");
    let live = host.window("prober").await.live;
    stall().await;
    assert_eq!(host.get("/prober/status?code=204").await.status, 204);
    assert_eq!(host.window("prober").await.live, live);
}

#[tokio::test]
async fn slow_form_holds_no_instance_and_a_stream_awaiting_its_answer_begins() {
    let host = host("", &["--instances", "8"]).await;
    let set = ["prober", "--instances", "1", "--queue-wait", "1s"];
    assert!(host.cli("limits", &set).await.status.success());
    let forms = loop {
        let begun = Instant::now();
        let mut forms = Vec::new();
        for _ in 0..6 {
            let mut stream = connect(host.gateway()).await;
            let head = "POST /prober/read HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                        content-length: 6\r\n\r\none";
            stream.write_all(head.as_bytes()).await.unwrap();
            forms.push(stream);
        }
        // The only instance is there for whoever is there.
        let quick = host.get("/prober/status?code=204").await;
        if begun.elapsed() < Duration::from_secs(2) {
            assert_eq!(quick.status, 204, "{}", quick.text());
            break forms;
        }
        // The machine is too busy to tell: after 2 s they have it.
        drop(forms);
        eventually("it is free", || async {
            (host.window("prober").await.leases == 0).then_some(())
        })
        .await;
    };
    for mut stream in forms {
        stream.write_all(b"two").await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(answer.ends_with("\r\n\r\n6"), "{answer}");
    }

    let mut stream = connect(host.gateway()).await;
    let head = "POST /prober/echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        seen.push(stream.read_u8().await.unwrap());
    }
    assert!(seen.starts_with(b"HTTP/1.1 200 "), "before a byte was sent");
    stream.write_all(b"4\r\nping\r\n").await.unwrap();
    while !seen.ends_with(b"ping\r\n") {
        seen.push(stream.read_u8().await.unwrap());
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    assert_eq!(rest(&mut stream).await, "0\r\n\r\n");
}

#[tokio::test]
async fn slow_clients_hold_at_most_half_of_the_instances_and_the_slowest_gives_way() {
    let host = host("", &["--instances", "16"]).await;
    let set = ["prober", "--instances", "6", "--queue", "0"];
    assert!(host.cli("limits", &set).await.status.success());
    let mut uploads = Vec::new();
    // Of the first least has come.
    for bytes in [70_000, 200_000, 210_000, 220_000] {
        uploads.push(begin(&host, "/prober/read", bytes).await);
        eventually("it has its instance", || async {
            (host.window("prober").await.leases == uploads.len()).then_some(())
        })
        .await;
    }
    let slowest = rest(&mut uploads[0]).await;
    assert!(slowest.starts_with("HTTP/1.1 408 "), "{slowest}");
    assert!(slowest.contains("this one was the slowest"), "{slowest}");
    assert_eq!(metric(&host, "hms_slow_clients_ended_total").await, 1);
    assert_eq!(metric(&host, "hms_slow_clients").await, 3);
    eventually("its instance is gone", || async {
        (host.window("prober").await.leases == 3).then_some(())
    })
    .await;
    let quick = join_all((0..3).map(|_| host.get("/prober/sleep?ms=100"))).await;
    assert!(quick.iter().all(|answer| answer.status == 200));
    for (stream, sent) in uploads.iter_mut().skip(1).zip([200_000, 210_000, 220_000]) {
        stream.write_all(&vec![b'x'; UPLOAD - sent]).await.unwrap();
        let answer = rest(stream).await;
        assert!(answer.ends_with(&UPLOAD.to_string()), "{answer}");
    }
    eventually("nobody waits any more", || async {
        (metric(&host, "hms_slow_clients").await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn slow_upload_keeps_no_window_closed_after_its_pause() {
    let host = host("", &[]).await;
    let set = host.cli("limits", &["prober", "--failures", "2"]).await;
    assert!(set.status.success());
    for _ in 0..2 {
        host.get("/prober/trap").await;
    }
    eventually("its pause is over", || async {
        (host.window("prober").await.state == WindowState::HalfOpen).then_some(())
    })
    .await;
    let begun = Instant::now();
    let mut upload = begin(&host, "/prober/read", 70_000).await;
    eventually("it tries", || async {
        (host.window("prober").await.leases == 1).then_some(())
    })
    .await;
    eventually("another is served", || async {
        (host.get("/prober/status?code=204").await.status == 204).then_some(())
    })
    .await;
    // Less than the time for which the first is waited for otherwise.
    assert!(begun.elapsed() < Duration::from_secs(4));
    upload
        .write_all(&vec![b'x'; UPLOAD - 70_000])
        .await
        .unwrap();
    let answer = rest(&mut upload).await;
    assert!(answer.ends_with(&UPLOAD.to_string()), "{answer}");
}

#[tokio::test]
async fn slow_reader_gets_the_whole_answer() {
    const MIB: usize = 12;
    let host = host("", &[]).await;
    let path = format!("/prober/big?mib={MIB}");
    let by_http1 = async {
        let mut stream = connect(host.gateway()).await;
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.read_u8().await.unwrap();
        tokio::time::sleep(3 * WALL).await;
        let mut body = Vec::new();
        stream.read_to_end(&mut body).await.unwrap();
        assert!(body.len() > MIB << 20, "{}", body.len());
    };
    let by_http2 = async {
        let client = Client::builder(TokioExecutor::new())
            .http2_only(true)
            .build_http();
        let url = format!("{}{path}", host.gateway());
        let request = Request::get(url)
            .body(http_body_util::Empty::<Bytes>::new())
            .unwrap();
        let answer = client.request(request).await.unwrap();
        tokio::time::sleep(3 * WALL).await;
        let body = answer.collect().await.unwrap().to_bytes();
        assert_eq!(body.len(), MIB << 20);
    };
    tokio::join!(by_http1, by_http2);
    assert!(host.window("prober").await.failures.is_empty());
}

#[tokio::test]
async fn window_stream_can_be_quiet_for_as_long_as_its_route_says() {
    let patient = host("", &[]).await;
    let quiet = patient.get("/prober/slow-body?chunks=2&ms=2500").await;
    assert!(quiet.cut.is_none(), "longer than its wall time: {quiet:?}");
    let hasty = host("plugins:\n  - timeout: {stream-idle: 2s}\n", &[]).await;
    let begun = Instant::now();
    let cut = hasty.get("/prober/slow-body?chunks=2&ms=60000").await;
    assert!(cut.cut.is_some() && cut.text() == "chunk 0\n", "{cut:?}");
    assert!(begun.elapsed() < Duration::from_secs(30));
    let failures = hasty.window("prober").await.failures;
    assert_eq!(failures, [("stream-idle".into(), 1)].into());
    let talks = hasty.get("/prober/slow-body?chunks=8&ms=100").await;
    assert!(talks.cut.is_none(), "{talks:?}");
}

#[tokio::test]
async fn events_with_pings_are_never_quiet() {
    let host = host("plugins:\n  - timeout: {stream-idle: 3s}\n", &[]).await;
    let events = host.get("/prober/events?ms=7000").await;
    assert!(events.cut.is_none(), "{events:?}");
    assert_eq!(events.header("content-type"), "text/event-stream");
    let text = events.text();
    assert!(text.starts_with("data: first\n\n: ping\n\n"), "{text}");
    assert!(text.ends_with(": ping\n\ndata: second\n\n"), "{text}");
}
