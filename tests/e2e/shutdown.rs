//! The host ends without losing anything that it began, and at once when told twice.

use hms_harness::http::{KeepAlive, connect, try_request};
use hms_harness::{Answer, Host, PATIENCE, eventually, guest};
use http::Method;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn sigterm_lets_a_running_answer_finish_and_closes_idle_connections() {
    let prober = guest("prober").await;
    let mut host = Host::with_open_windows(&[("w", &prober)]).await;
    let base = host.gateway().to_owned();
    // Its answer is read to the end: a head and a body may come one after the other.
    let mut idle = KeepAlive::open(&base).await;
    assert_eq!(idle.get("/w/status").await.status, 200);

    let running = tokio::spawn(hms_harness::http::request(
        Method::GET,
        format!("{base}/w/slow-body?chunks=50&ms=100"),
        Vec::new(),
    ));
    eventually("the slow request is at work", || async {
        (host.window("w").await.leases == 1).then_some(())
    })
    .await;
    let ended = host.terminate();
    let closed = tokio::time::timeout(PATIENCE, idle.closed()).await;
    closed.expect("the idle connection is closed").unwrap();
    assert!(ended.await.success());
    let answer = running.await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.cut), (200, None));
    assert!(
        answer.body.ends_with(b"chunk 49\n"),
        "{:?}",
        String::from_utf8_lossy(&answer.body)
    );
}

/// As timeout(1) signals its child and then its process group.
#[tokio::test]
async fn stop_signal_delivered_twice_still_drains() {
    let prober = guest("prober").await;
    let mut host = Host::with_open_windows(&[("w", &prober)]).await;
    let base = host.gateway().to_owned();
    let running = tokio::spawn(hms_harness::http::request(
        Method::GET,
        format!("{base}/w/slow-body?chunks=50&ms=100"),
        Vec::new(),
    ));
    eventually("the slow request is at work", || async {
        (host.window("w").await.leases == 1).then_some(())
    })
    .await;
    for signal in ["TERM", "TERM", "CONT", "INT"] {
        host.signal(signal);
    }
    assert!(host.ended().await.success());
    let answer = running.await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.cut), (200, None));
    assert!(answer.body.ends_with(b"chunk 49\n"));
}

#[tokio::test]
async fn second_signal_ends_the_host_at_once() {
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
    // A second one that comes sooner may be the same stop.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let begun = std::time::Instant::now();
    let status = host.terminate().await;
    assert_eq!(status.code(), Some(128 + 15));
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn nonfatal_signals_leave_the_host_serving_and_sighup_rereads_files() {
    let hello = guest("hello-wasip3").await;
    let mut host = Host::with_open_windows_and(&[("w", &hello)], &["--jwks", "no-such.json"]).await;
    for signal in [
        "HUP", "USR1", "USR2", "ALRM", "VTALRM", "IO", "XFSZ", "PIPE",
    ] {
        host.signal(signal);
        assert_eq!(host.get("/w").await.status, 200, "{signal}");
    }
    let read_again = |times: usize| {
        let host = &host;
        eventually("files are read again", move || async move {
            let log = host.log();
            let said = log
                .lines()
                .filter(|line| line.contains("reloaded on SIGHUP"));
            let said: Vec<String> = said.map(str::to_owned).collect();
            (said.len() >= times).then_some(said)
        })
    };
    let said = &read_again(1).await[0];
    let [routes, keys, token] = [
        "routes: 1 live",
        "keys of default: as before (no-such.json",
        "admin token: unchanged",
    ];
    assert!(
        said.contains(routes) && said.contains(keys) && said.contains(token),
        "{said}"
    );

    let other = "a-token-of-the-operators-own-making-0123456789";
    std::fs::write(host.data().join("admin.token"), other).unwrap();
    host.write_route("bad.yaml", "uri: nonsense");
    host.signal("HUP");
    let said = &read_again(2).await[1];
    assert!(
        said.contains("routes: 1 live, 1 file refused") && said.contains("admin token: "),
        "{said}"
    );
    assert_eq!(host.admin(Method::GET, "/windows", "").await.status, 200);
    let log = host.whole_log().await;
    assert_eq!(log.matches("ignoring SIGUSR1").count(), 1, "{log}");

    host.signal("QUIT");
    assert!(host.ended().await.success());
}

#[tokio::test]
async fn shutdown_delay_gives_load_balancers_time_to_see_it_is_not_ready() {
    let hello = guest("hello-wasip3").await;
    let mut host = Host::with_open_windows_and(&[("w", &hello)], &["--shutdown-delay", "6s"]).await;
    let begun = Instant::now();
    host.signal("TERM");
    eventually("it is not ready any more", || async {
        let ready = host
            .admin_request(Method::GET, "/readyz", &[], Vec::new())
            .await;
        (ready.status == 503).then_some(())
    })
    .await;
    // On a connection of its own.
    assert_eq!(host.get("/w").await.status, 200);
    assert!(
        begun.elapsed() < Duration::from_secs(6),
        "the machine is too slow for this test"
    );
    assert!(host.ended().await.success());
    assert!(begun.elapsed() >= Duration::from_secs(6));
}

/// A host started by hand, whose log the test reads, or does not.
struct Unread {
    child: Child,
    gateway: String,
    admin: String,
}

impl Unread {
    /// Starts it in the folder of `host`, in whose place it comes.
    async fn start(host: &mut Host) -> Unread {
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
        let mut url = |name| {
            let named = lines.find_map(|line| {
                let line = line.unwrap();
                let url = line.trim().strip_prefix(name)?;
                Some(url.trim().to_owned())
            });
            named.expect("the host starts")
        };
        let (gateway, admin) = (url("gateway"), url("admin"));
        Unread {
            child,
            gateway,
            admin,
        }
    }

    async fn is_served(&self) -> Answer {
        let url = format!("{}/w", self.gateway);
        eventually("it answers", || async {
            let answer = try_request(Method::GET, &url, &[], Vec::new()).await;
            answer.ok().filter(|answer| answer.status == 200)
        })
        .await
    }

    /// Asks often enough, and for what makes long enough lines, to fill the pipe and the queue
    /// behind it.
    async fn flood_the_log(&self) {
        let mut kept = KeepAlive::open(&self.gateway).await;
        let nowhere = format!("/nowhere/{}", "x".repeat(8000));
        for _ in 0..1500 {
            let answer = tokio::time::timeout(PATIENCE, kept.get(&nowhere)).await;
            assert_eq!(answer.expect("nobody waits for the log").status, 404);
        }
    }

    /// Lines that it counts as dropped.
    async fn dropped(&self) -> u64 {
        let url = format!("{}/metrics", self.admin);
        let answer = try_request(Method::GET, &url, &[], Vec::new()).await;
        let text = answer.unwrap().text();
        let mut lines = text.lines();
        let count = lines.find_map(|line| line.strip_prefix("hms_log_lines_dropped_total "));
        count.expect("it is counted").parse().unwrap()
    }

    /// Ends it by a signal.
    async fn end(mut self) {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(told.unwrap().success());
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                self.child.kill().unwrap();
                panic!("it does not end");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert!(status.success(), "{status}");
    }
}

#[tokio::test]
async fn host_with_a_closed_log_reader_serves_and_ends() {
    let hello = guest("hello-wasip3").await;
    let mut host = Host::with_open_windows(&[("w", &hello)]).await;
    let mut host = Unread::start(&mut host).await;
    drop(host.child.stderr.take());
    assert!(host.is_served().await.text().contains("wasip3"));
    host.end().await;
}

#[tokio::test]
async fn paused_log_reader_delays_no_request_and_learns_how_many_lines_it_missed() {
    let hello = guest("hello-wasip3").await;
    let mut host = Host::with_open_windows(&[("w", &hello)]).await;
    let mut unread = Unread::start(&mut host).await;
    unread.flood_the_log().await;
    unread.is_served().await;
    assert!(unread.dropped().await > 0);

    let stderr = unread.child.stderr.take().unwrap();
    let reading = tokio::task::spawn_blocking(move || {
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        let missed = lines.find(|line| line.contains("log lines dropped"));
        (missed, lines)
    });
    let (missed, lines) = tokio::time::timeout(PATIENCE, reading)
        .await
        .unwrap()
        .unwrap();
    assert!(missed.is_some());
    std::thread::spawn(move || lines.for_each(drop));
    unread.end().await;
}

#[tokio::test]
async fn host_with_a_paused_log_reader_ends_when_told_to() {
    let hello = guest("hello-wasip3").await;
    let mut host = Host::with_open_windows(&[("w", &hello)]).await;
    let unread = Unread::start(&mut host).await;
    unread.flood_the_log().await;
    unread.end().await;
}
