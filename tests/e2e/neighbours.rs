//! A window cannot hurt its neighbours: each has limits of its own, set live, and instances that no
//! other can take.

use futures_util::future::join_all;
use hms_harness::{Host, eventually, guest};
use http::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

async fn host(args: &[&str]) -> Host {
    let (prober, hello) = (guest("prober").await, guest("hello-wasip3").await);
    Host::with_open_windows_and(&[("prober", &prober), ("victim", &hello)], args).await
}

async fn limit(host: &Host, args: &[&str]) {
    let args = [&["prober"], args].concat();
    let output = host.cli("limits", &args).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args:?}: {said}");
}

async fn window(host: &Host, name: &str) -> Value {
    let shown = host.admin(Method::GET, "/windows", "").await.json();
    let windows = shown["windows"].as_array().unwrap();
    let found = windows.iter().find(|window| window["name"] == name);
    found.unwrap().clone()
}

async fn leases(host: &Host, expected: usize) {
    eventually("the instances are at work", || async {
        let window = window(host, "prober").await;
        (window["leases"].as_u64().unwrap() as usize >= expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn limits_are_set_live_shown_and_kept_over_a_restart() {
    let mut host = host(&[]).await;
    assert_eq!(host.get("/prober/alloc?mib=40").await.status, 200);
    limit(&host, &["--memory", "32MiB", "--queue", "7"]).await;
    assert_eq!(
        host.get("/prober/alloc?mib=40").await.problem(),
        "memory-limit"
    );
    assert_eq!(host.get("/victim").await.status, 200);
    host.kill();
    host.boot().await;
    assert_eq!(
        host.get("/prober/alloc?mib=40").await.problem(),
        "memory-limit"
    );
    let limits = host
        .admin(Method::GET, "/windows/prober/limits", "")
        .await
        .json();
    assert_eq!(limits["set"], json!({"memory_bytes": 32 << 20, "queue": 7}));
    assert_eq!(window(&host, "prober").await["limits"], limits["limits"]);
    limit(&host, &["--memory", "default"]).await;
    assert_eq!(host.get("/prober/alloc?mib=40").await.status, 200);
}

#[tokio::test]
async fn a_limit_that_is_none_is_refused_with_what_would_be() {
    let host = host(&[]).await;
    for (change, says) in [
        (
            r#"{"memory_bytes": 5}"#,
            "memory_bytes: 5 is not from 1048576",
        ),
        (r#"{"memroy_bytes": 5}"#, "memroy_bytes"),
        (r#"{"memory_bytes": 4294967296}"#, "--instance-memory"),
        ("[]", "JSON object"),
    ] {
        let refused = host
            .admin(Method::PATCH, "/windows/prober/limits", change)
            .await;
        assert_eq!(refused.status, 400, "{change}");
        assert!(refused.text().contains(says), "{}", refused.text());
    }
    let unknown = host.admin(Method::GET, "/windows/nobody/limits", "").await;
    assert_eq!(unknown.problem(), "no-window");
}

#[tokio::test]
async fn each_limit_has_one_typed_answer_a_log_line_and_a_count() {
    let host = host(&[]).await;
    let set: &[&str] = &[
        "--request-body",
        "1KiB",
        "--request-header",
        "2KiB",
        "--response-body",
        "1MiB",
        "--cpu-time",
        "200ms",
        "--wall-time",
        "400ms",
    ];
    limit(&host, set).await;
    let long = "x".repeat(3000);
    for (method, path, header, body, status, code) in [
        (
            Method::POST,
            "/prober/echo",
            "",
            2000,
            413,
            "body-too-large",
        ),
        (
            Method::GET,
            "/prober/headers",
            &*long,
            0,
            431,
            "headers-too-large",
        ),
        (Method::GET, "/prober/spin", "", 0, 504, "cpu-time"),
        (
            Method::GET,
            "/prober/sleep?ms=9000",
            "",
            0,
            504,
            "wall-time",
        ),
    ] {
        let answer = host
            .call(method, path, &[("x-long", header)], vec![b'x'; body])
            .await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.problem()),
            (status, code),
            "{path}"
        );
    }
    // Its length was told, or its head is out: either way the client cannot take it for a whole
    // answer.
    let big = host.get("/prober/big?mib=2").await;
    assert!(big.status == 502 || big.cut.is_some(), "{}", big.status);
    let counts = window(&host, "prober").await["failures"].clone();
    let log = host
        .admin(Method::GET, "/windows/prober/log", "")
        .await
        .text();
    let metrics = host.admin(Method::GET, "/metrics", "").await.text();
    for code in [
        "body-too-large",
        "headers-too-large",
        "cpu-time",
        "wall-time",
        "response-too-large",
    ] {
        assert_eq!(counts[code], 1, "{code}: {counts}");
        assert!(log.contains(&format!("{code}: ")), "{code}: {log}");
        let sample = format!("hms_window_failures_total{{window=\"prober\",reason=\"{code}\"}} 1");
        assert!(metrics.contains(&sample), "{sample}");
    }
    assert_eq!(window(&host, "victim").await["failures"], json!({}));
}

#[tokio::test]
async fn a_window_that_hangs_takes_no_instance_that_another_has_reserved() {
    let host = host(&["--instances", "16"]).await;
    limit(
        &host,
        &["--instances", "16", "--queue", "20", "--queue-wait", "30s"],
    )
    .await;
    let hanging = join_all((0..40).map(|_| host.get("/prober/sleep?ms=6000")));
    let meanwhile = async {
        leases(&host, 12).await;
        eventually("its queue is full", || async {
            (window(&host, "prober").await["queued"] == 20).then_some(())
        })
        .await;
        let refused = host.get("/prober/sleep?ms=1").await;
        assert_eq!(refused.problem(), "instance-limit");
        assert!(!refused.header("retry-after").is_empty());
        // Four are the victim's, whatever the other does.
        for _ in 0..20 {
            let together = join_all((0..4).map(|_| host.get("/victim"))).await;
            assert!(together.iter().all(|answer| answer.status == 200));
        }
        assert_eq!(window(&host, "prober").await["queued"], 20);
    };
    let (hung, ()) = tokio::join!(hanging, meanwhile);
    let served = hung.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(served, 32, "twelve at once and twenty that waited");
}

#[tokio::test]
async fn a_window_whose_instances_keep_failing_is_closed_for_a_time_and_opens_again() {
    let host = host(&[]).await;
    limit(&host, &["--failures", "3"]).await;
    for _ in 0..3 {
        assert_eq!(host.get("/prober/trap").await.problem(), "instance-trapped");
    }
    let refused = host.get("/prober/status?code=204").await;
    assert_eq!(
        (refused.status.as_u16(), &*refused.problem()),
        (503, "window-tripped")
    );
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(host.get("/victim").await.status, 200);
    // Nobody asks it: what is shown is true all the same.
    let shown = eventually("its pause is over", || async {
        let shown = window(&host, "prober").await;
        (shown["state"] != "tripped").then_some(shown)
    })
    .await;
    assert_eq!(shown["state"], "half-open");
    assert_eq!(
        (&shown["tripped"], &shown["half_open"]),
        (&json!(null), &json!(3))
    );
    let table = host.cli("windows", &[]).await.stdout;
    let table = String::from_utf8(table).unwrap();
    assert!(table.contains("half-open"), "{table}");
    let metrics = host
        .admin_request(Method::GET, "/metrics", &[], Vec::new())
        .await
        .text();
    for (name, value) in [("open", 0), ("tripped", 0), ("half_open", 1)] {
        let line = format!("hms_window_{name}{{window=\"prober\"}} {value}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    let log = host
        .admin(Method::GET, "/windows/prober/log", "")
        .await
        .text();
    assert!(
        log.contains("closed for 1 s: 3 requests in a row failed"),
        "{log}"
    );
    eventually("it is tried, and open again", || async {
        let answer = host.get("/prober/status?code=204").await;
        (answer.status == 204).then_some(())
    })
    .await;
    assert_eq!(window(&host, "prober").await["state"], "open");
}

#[tokio::test]
async fn a_release_that_keeps_failing_falls_back_where_that_was_wished() {
    let (hello, prober) = (guest("hello-wasip3").await, guest("prober").await);
    let mut host = Host::with_open_windows(&[("w", &hello)]).await;
    let path = "/windows/w?yes=true&fallback=true";
    assert_eq!(
        host.admin(Method::PUT, path, prober.as_slice())
            .await
            .status,
        200
    );
    for _ in 0..10 {
        assert_eq!(host.get("/w/trap").await.problem(), "instance-trapped");
    }
    eventually("the release before answers", || async {
        host.get("/w").await.text().contains("wasip3").then_some(())
    })
    .await;
    let history = host.cli("history", &["w"]).await;
    let history = String::from_utf8_lossy(&history.stdout).into_owned();
    assert!(
        history.contains("fell back to 1: 10 requests in a row failed"),
        "{history}"
    );
    host.kill();
    host.boot().await;
    assert!(host.get("/w").await.text().contains("wasip3"));
}

/// The time that a hundred requests of the victim take one after the other.
async fn hundred(host: &Host) -> Duration {
    let begun = Instant::now();
    for _ in 0..100 {
        let answer = host.get("/victim").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    begun.elapsed()
}

#[tokio::test]
async fn many_that_spin_in_one_window_are_to_the_others_as_few_that_do() {
    let host = host(&["--instance-cpu-time", "60s", "--instance-wall-time", "20s"]).await;
    let spin = |count| join_all((0..count).map(|_| host.get("/prober/spin")));
    let few = spin(4);
    let many = async {
        leases(&host, 4).await;
        let beside_few = hundred(&host).await;
        let more = spin(60);
        let beside_many = async {
            leases(&host, 64).await;
            let took = hundred(&host).await;
            // All of that while they spun.
            leases(&host, 64).await;
            took
        };
        let (spun, beside_many) = tokio::join!(more, beside_many);
        // Where the processors were shared between requests it would be sixteen times.
        assert!(
            beside_many < beside_few * 5,
            "{beside_few:?} beside 4, {beside_many:?} beside 64"
        );
        spun
    };
    let (few, many) = tokio::join!(few, many);
    for answer in few.into_iter().chain(many) {
        assert_eq!(answer.problem(), "wall-time");
    }
}

#[tokio::test]
async fn a_slow_disk_under_one_windows_store_makes_no_neighbour_wait() {
    /// Each read of the disk; a request needs some.
    const DELAY_MS: u64 = 150;
    const KEYS: usize = 6;
    let prober = guest("prober").await;
    let mut host = Host::with_open_windows(&[("slow", &prober), ("victim", &prober)]).await;
    // More than an open store keeps in memory of its own.
    let kept = "kept ".repeat(120_000);
    for key in 0..KEYS {
        let path = format!("/slow/kv/b/{key}");
        let put = host.call(Method::PUT, &path, &[], kept.as_str()).await;
        assert_eq!(put.status, 204, "{}", put.text());
    }
    assert!(host.terminate().await.success());
    host.boot_with(&[("HMS_SLOW_STORE", &format!("slow:{DELAY_MS}"))])
        .await;
    // Both have the placement for lanes before the disk is asked for anything.
    for _ in 0..40 {
        for window in ["slow", "victim"] {
            let worked = host.get(&format!("/{window}/work?turns=1")).await;
            assert_eq!(worked.status, 200, "{}", worked.text());
        }
    }
    let begun = Instant::now();
    let paths: Vec<_> = (0..24)
        .map(|i| format!("/slow/kv/b/{}", i % KEYS))
        .collect();
    let reads = join_all(paths.iter().map(|path| host.get(path)));
    let neighbour = async {
        let mut times = Vec::new();
        while begun.elapsed() < Duration::from_secs(3) {
            let asked = Instant::now();
            let worked = host.get("/victim/work?turns=1").await;
            assert_eq!(worked.status, 200, "{}", worked.text());
            times.push(asked.elapsed());
        }
        times.sort();
        times
    };
    let (reads, times) = futures_util::future::join(reads, neighbour).await;
    for read in reads {
        assert_eq!(read.status, 200, "{}", read.text());
        assert!(read.text() == kept);
    }
    let slow = Duration::from_millis(DELAY_MS);
    assert!(begun.elapsed() > slow, "the disk was not slow");
    // One in a hundred may wait for something else; a held lane would be seen by most.
    let late = times.iter().filter(|time| **time > slow / 2).count();
    assert!(late * 50 <= times.len(), "{late} of {}", times.len());
    let metrics = host.admin(Method::GET, "/metrics", "").await.text();
    let waited = metrics
        .lines()
        .find_map(|line| line.strip_prefix("hms_store_reads_waited_total{window=\"slow\"} "))
        .map(|count| count.parse::<u64>().unwrap());
    assert!(waited.is_some_and(|count| count > 0), "{metrics}");
}
