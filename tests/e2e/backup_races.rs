//! What goes on while a backup is taken: a slow reader, a second one, operators, signals.

use super::backup::{restored, text, verify};
use bytes::Bytes;
use hms_harness::http::connect;
use hms_harness::{Host, eventually, guest};
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// A backup whose reader takes what he wants, when he wants it.
struct Reader {
    body: Incoming,
    read: Vec<u8>,
    connection: JoinHandle<()>,
}

impl Reader {
    async fn begin(host: &Host) -> Reader {
        let token = fs::read_to_string(host.data().join("admin.token")).unwrap();
        let io = TokioIo::new(connect(host.admin_url()).await);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        let connection = tokio::spawn(async move { drop(connection.await) });
        let request = Request::get("/backup")
            .header("host", "admin")
            .header("authorization", format!("Bearer {}", token.trim()))
            .body(Empty::<Bytes>::new());
        let answer = sender.send_request(request.unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200);
        Reader {
            body: answer.into_body(),
            read: Vec::new(),
            connection,
        }
    }

    /// Reads until `what` has come.
    async fn read_to(&mut self, what: &str) {
        while !self
            .read
            .windows(what.len())
            .any(|part| part == what.as_bytes())
        {
            let frame = self.body.frame().await.expect("more of it").unwrap();
            self.read.extend(frame.into_data().unwrap_or_default());
        }
    }

    /// All of it.
    async fn rest(mut self) -> Vec<u8> {
        while let Some(frame) = self.body.frame().await {
            self.read
                .extend(frame.unwrap().into_data().unwrap_or_default());
        }
        self.read
    }

    fn leave(self) {
        self.connection.abort();
    }
}

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
    let metrics = host.admin(Method::GET, "/metrics", "").await.text();
    let name = format!("hms_backups_total{{outcome=\"{outcome}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
    line.and_then(|count| count.parse().ok())
}

#[tokio::test]
async fn a_reader_that_takes_nothing_holds_no_pages_of_a_store_and_no_commit() {
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
    assert!(!second.status.success());
    assert!(
        text(&second).contains("is being taken already"),
        "{}",
        text(&second)
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

#[tokio::test]
async fn windows_that_come_and_go_during_a_backup_are_in_it_or_not_and_never_half() {
    let prober = guest("prober").await;
    let host = Host::with_open_windows(&[("a", &prober), ("z", &prober)]).await;
    for file in ["m.yaml", "kept.yaml"] {
        let name = file.trim_end_matches(".yaml");
        host.write_route(file, &hms_harness::host::open_route(name));
    }
    fill(&host, "a", 8000).await;
    put(&host, "z", "gone").await;
    host.deploy("kept", &prober).await;
    put(&host, "kept", "kept").await;
    let mut reader = Reader::begin(&host).await;
    reader.read_to("windows/a/store.redb").await;
    for name in ["a", "z"] {
        let path = format!("/windows/{name}?store=delete");
        let removed = host.admin(Method::DELETE, &path, "").await;
        assert_eq!(removed.status, 200, "{}", removed.text());
    }
    let removed = host.admin(Method::DELETE, "/windows/kept", "").await;
    assert_eq!(removed.status, 200, "{}", removed.text());
    host.deploy("m", &prober).await;
    put(&host, "m", "new").await;
    let stream = reader.rest().await;
    let dir = tempfile::tempdir().unwrap();
    let tar = dir.path().join("backup.tar");
    fs::write(&tar, stream).unwrap();
    let checked = verify(&tar);
    assert!(checked.status.success(), "{}", text(&checked));

    let again = restored(&tar, &[]).await;
    let windows = again.admin(Method::GET, "/windows", "").await.json();
    let names: Vec<&str> = windows["windows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|window| window["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["m"]);
    assert_eq!(again.get("/m/kv/b/k").await.text(), "new");
    assert!(!store(&again, "a").exists() && !store(&again, "z").exists());
    // Its store was kept when it was removed.
    again.deploy("kept", &prober).await;
    assert_eq!(again.get("/kept/kv/b/k").await.text(), "kept");
}

#[tokio::test]
async fn an_interrupted_backup_leaves_nothing_and_ends_at_the_host_too() {
    let prober = guest("prober").await;
    let mut host = Host::with_open_windows(&[("a", &prober)]).await;
    fill(&host, "a", 4000).await;
    assert!(host.terminate().await.success());
    // Each page takes so long that it is met in the middle of the copy.
    host.boot_with(&[("HMS_SLOW_STORE", "a:1")]).await;
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("backup");
    for (signal, status) in [("-INT", 130), ("-TERM", 143), ("-QUIT", 131)] {
        let failed = counted(&host, "failed").await.unwrap();
        let mut command = host.hms("backup");
        command.arg(&target).arg("--admin").arg(host.admin_url());
        command.stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        eventually("the host is at it", || async {
            target.join("backup.json").exists().then_some(())
        })
        .await;
        let pid = child.id().to_string();
        let sent = std::process::Command::new("kill")
            .args([signal, &pid])
            .status();
        assert!(sent.unwrap().success());
        let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
        let ended = ended.await.unwrap();
        assert_eq!(ended.status.code(), Some(status), "{}", text(&ended));
        let said = text(&ended);
        assert!(said.contains("interrupted by SIG"), "{said}");
        assert!(
            !said.contains("damaged") && !said.contains("cut short"),
            "{said}"
        );
        assert!(!target.exists());
        eventually("the host has ended it", || async {
            (counted(&host, "failed").await > Some(failed)).then_some(())
        })
        .await;
    }
    // A stream has nothing to take away: the system ends it, even where nobody reads.
    let failed = counted(&host, "failed").await.unwrap();
    let mut command = host.hms("backup");
    command.arg("-").arg("--admin").arg(host.admin_url());
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let (mut child, _stdout) = tokio::task::spawn_blocking(move || {
        stdout.read_exact(&mut [0; 512]).unwrap();
        (child, stdout)
    })
    .await
    .unwrap();
    let pid = child.id().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-INT", &pid])
        .status();
    assert!(sent.unwrap().success());
    let ended = tokio::task::spawn_blocking(move || child.wait().unwrap());
    assert_eq!(ended.await.unwrap().signal(), Some(2));
    eventually("the host has ended it", || async {
        (counted(&host, "failed").await > Some(failed)).then_some(())
    })
    .await;
    // One that is killed leaves what is no backup.
    let failed = counted(&host, "failed").await.unwrap();
    let mut command = host.hms("backup");
    command.arg(&target).arg("--admin").arg(host.admin_url());
    let mut child = command.spawn().unwrap();
    eventually("the host is at it", || async {
        target.join("backup.json").exists().then_some(())
    })
    .await;
    child.kill().unwrap();
    child.wait().unwrap();
    let checked = verify(&target);
    assert!(
        !checked.status.success() && text(&checked).contains("not whole"),
        "{}",
        text(&checked)
    );
    eventually("the host has ended it", || async {
        (counted(&host, "failed").await > Some(failed)).then_some(())
    })
    .await;
    // The end of the host does not wait for a backup.
    let held = Reader::begin(&host).await;
    let begun = Instant::now();
    assert!(host.terminate().await.success());
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    drop(held);
}
