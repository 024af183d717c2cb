//! An instance is fresh for every request, unless its window's limits say that it is reused.

use futures_util::future::join_all;
use hms_api::{ShownLimits, WindowList};
use hms_harness::http::{KeepAlive, connect};
use hms_harness::{Answer, Host, PATIENCE, eventually, guest};
use http::Method;
use http_body_util::BodyExt;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

async fn host(args: &[&str]) -> Host {
    let (prober, flooder) = (guest("prober").await, guest("flooder").await);
    let windows: [(&str, &[u8]); 2] = [("prober", &prober), ("flooder", &flooder)];
    Host::with_open_windows_and(&windows, args).await
}

async fn reuse(host: &Host, times: &str) {
    for window in ["prober", "flooder"] {
        let output = host.cli("limits", &[window, "--reuse", times]).await;
        assert!(output.status.success(), "{output:?}");
    }
}

/// An instance is free again a moment after its answer.
async fn at_rest(host: &Host) {
    eventually("the instances are free again", || async {
        let list: WindowList = host.admin(Method::GET, "/windows", "").await.read();
        let free = list.windows.iter().all(|window| window.leases == 0);
        free.then_some(())
    })
    .await;
}

/// An instance of the window has served twice: until then they serve one by one.
async fn relied_on(host: &Host, window: &str) {
    let path = format!("/{window}/count");
    eventually("an instance is reused", || async {
        let served = count(host, &path).await;
        at_rest(host).await;
        (served > 1).then_some(())
    })
    .await;
}

fn number(answer: &Answer) -> u64 {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text().trim().parse().unwrap()
}

async fn count(host: &Host, path: &str) -> u64 {
    number(&host.get(path).await)
}

/// Asks on one connection: each lane has instances of its own.
async fn counts(host: &Host, kept: &mut KeepAlive, path: &str, times: usize) -> Vec<u64> {
    let mut counts = Vec::new();
    for _ in 0..times {
        counts.push(number(&kept.get(path).await));
        at_rest(host).await;
    }
    counts
}

/// Asks on one connection until an instance has served so many. An instance that has just been
/// tried may not take the next request yet.
async fn until(host: &Host, kept: &mut KeepAlive, path: &str, served: u64) {
    let deadline = Instant::now() + PATIENCE;
    while counts(host, kept, path, 1).await != [served] {
        assert!(Instant::now() < deadline, "no instance has served {served}");
    }
}

#[tokio::test]
async fn instance_serves_its_configured_number_of_requests_and_ends() {
    let host = host(&[]).await;
    let mut kept = KeepAlive::open(host.gateway()).await;
    for path in ["/prober/count", "/flooder/count"] {
        assert_eq!(counts(&host, &mut kept, path, 3).await, [1, 1, 1], "{path}");
    }
    reuse(&host, "3").await;
    for path in ["/prober/count", "/flooder/count"] {
        until(&host, &mut kept, path, 3).await;
        // Another one of before may be there beside it.
        let seen = counts(&host, &mut kept, path, 9).await;
        let again = seen.iter().filter(|count| **count == 3).count();
        assert!(again >= 2, "{path}: {seen:?}");
        assert!(seen.iter().all(|count| *count <= 3), "{path}: {seen:?}");
    }
    reuse(&host, "default").await;
    for path in ["/prober/count", "/flooder/count"] {
        // The one that waits for a request takes it.
        counts(&host, &mut kept, path, 1).await;
        assert_eq!(counts(&host, &mut kept, path, 3).await, [1, 1, 1], "{path}");
    }
}

#[tokio::test]
async fn trap_ends_a_reused_instance_and_the_next_request_gets_a_fresh_one() {
    let host = host(&[]).await;
    let mut kept = KeepAlive::open(host.gateway()).await;
    reuse(&host, "100").await;
    until(&host, &mut kept, "/prober/count", 3).await;
    let trapped = kept.get("/prober/trap").await;
    assert_eq!(trapped.problem(), "instance-trapped");
    assert_eq!(counts(&host, &mut kept, "/prober/count", 2).await, [1, 2]);
}

#[tokio::test]
async fn reused_wasi_0_3_instance_serves_several_at_once_and_a_slow_request_fails_alone() {
    let host = host(&["--instance-wall-time", "10s"]).await;
    reuse(&host, "100").await;
    relied_on(&host, "prober").await;
    let (over, is_over) = watch::channel(false);
    let slow = async {
        let slow = host.get("/prober/sleep?ms=600000").await;
        // It was alone in that: the others answer once they may.
        over.send_replace(true);
        slow
    };
    let beside = async {
        leases(&host, 1).await;
        join_all((0..BESIDE).map(|_| held_count(&host, is_over.clone()))).await
    };
    let all = leases(&host, 1 + BESIDE);
    let (slow, beside, ()) = tokio::join!(slow, beside, all);
    assert_eq!(slow.problem(), "wall-time");
    let shared = beside.iter().max().unwrap();
    assert!(*shared >= 3, "all had instances of their own: {beside:?}");
}

/// Requests beside the slow one.
const BESIDE: usize = 6;

async fn leases(host: &Host, expected: usize) {
    eventually("so many are at work", || async {
        (host.window("prober").await.leases == expected).then_some(())
    })
    .await;
}

/// As [`count`], of a request that is at work until it `is_over`: its client keeps back the end of
/// its body, and the time of clients is no time of the instance.
async fn held_count(host: &Host, mut is_over: watch::Receiver<bool>) -> u64 {
    // Larger than what is read before an instance starts.
    const BODY: usize = 300_000;
    let mut stream = connect(host.gateway()).await;
    let head = format!(
        "POST /prober/count HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {BODY}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b'x'; BODY - 1]).await.unwrap();
    is_over.wait_for(|over| *over).await.unwrap();
    stream.write_all(b"x").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // Its body is one chunk or has a length; the number is a line of its own in both.
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let line = body
        .lines()
        .rev()
        .find(|line| !line.is_empty() && *line != "0");
    line.unwrap().parse().unwrap()
}

async fn reuse_off(host: &Host, window: &str) -> Option<String> {
    let path = format!("/windows/{window}/limits");
    let shown: ShownLimits = host.admin(Method::GET, &path, "").await.read();
    let window = host.window(window).await;
    // They say when it is tried again, and were asked one after the other.
    let why = |off: &Option<String>| {
        let off = off.as_deref()?;
        off.split(" in ").next().map(str::to_owned)
    };
    assert_eq!(why(&window.reuse_off), why(&shown.reuse_off));
    shown.reuse_off
}

#[tokio::test]
async fn single_request_guest_fails_one_client_and_then_runs_fresh() {
    let host = host(&[]).await;
    reuse(&host, "100").await;
    for window in ["prober", "flooder"] {
        let path = format!("/{window}/once");
        let failures = async |times: usize| {
            let asked = (0..times).map(|_| host.get(&path));
            let answers = join_all(asked).await;
            answers.iter().filter(|answer| answer.status != 200).count()
        };
        assert_eq!(failures(1).await, 0);
        at_rest(&host).await;
        assert_eq!(reuse_off(&host, window).await, None);
        // All at once: one of them is the one that tries.
        eventually("one tries", || async {
            let failed = failures(8).await;
            assert!(failed <= 1, "{window}: {failed}");
            (failed == 1).then_some(())
        })
        .await;
        assert_eq!(failures(30).await, 0, "{window}");
        let why = reuse_off(&host, window).await.unwrap();
        assert!(why.contains("instance-trapped"), "{why}");
        assert!(why.contains("It is tried again in "), "{why}");
        let limits = host.cli("limits", &[window]).await;
        let limits = String::from_utf8_lossy(&limits.stdout).into_owned();
        assert!(limits.contains("reuse is not in effect"), "{limits}");
        let windows = host.cli("windows", &[]).await;
        let windows = String::from_utf8_lossy(&windows.stdout).into_owned();
        assert!(windows.contains("not in effect"), "{windows}");
        assert!(
            host.whole_log()
                .await
                .contains("--reuse is kept but not in effect")
        );

        // The operator asks again: it is found out again.
        reuse(&host, "100").await;
        assert_eq!(reuse_off(&host, window).await, None);
        eventually("one tries", || async {
            let failed = failures(1).await;
            at_rest(&host).await;
            (failed == 1).then_some(())
        })
        .await;
        assert_eq!(failures(20).await, 0, "{window}");
    }
}

#[tokio::test]
async fn failing_client_turns_reuse_off_for_a_pause_only() {
    let host = host(&[]).await;
    let mut kept = KeepAlive::open(host.gateway()).await;
    reuse(&host, "100").await;
    for _ in 0..3 {
        counts(&host, &mut kept, "/prober/count", 1).await;
        for _ in 0..2 {
            let trapped = kept.get("/prober/trap").await;
            assert_eq!(trapped.problem(), "instance-trapped");
            at_rest(&host).await;
        }
    }
    // Were each a trial, the third had a pause of minutes.
    let why = reuse_off(&host, "prober").await.unwrap();
    assert!(
        why.contains("It is tried again in ") && why.contains(" s, or"),
        "{why}"
    );
    assert_eq!(counts(&host, &mut kept, "/prober/count", 2).await, [1, 1]);
    reuse(&host, "100").await;
    relied_on(&host, "prober").await;
    assert_eq!(reuse_off(&host, "prober").await, None);
    // From here on no failure undoes it.
    assert_eq!(kept.get("/prober/trap").await.problem(), "instance-trapped");
    assert_eq!(reuse_off(&host, "prober").await, None);
}

#[tokio::test]
async fn endless_answer_does_not_delay_the_trial_of_its_release() {
    // A stream that is read, and one that nobody reads.
    for (path, reads) in [
        ("/prober/events?ms=600000", true),
        ("/prober/endless", false),
    ] {
        let host = host(&[]).await;
        reuse(&host, "100").await;
        let mut kept = KeepAlive::open(host.gateway()).await;
        assert_eq!(counts(&host, &mut kept, "/prober/count", 1).await, [1]);
        let stream = kept.begin(path).await;
        assert_eq!(stream.status(), 200);
        let relied_on = eventually("an instance is reused", || async {
            (count(&host, "/prober/count").await > 1).then_some(())
        });
        if reads {
            let reading = stream.into_body().collect();
            tokio::select! {
                () = relied_on => {}
                ended = reading => panic!("{ended:?}"),
            }
        } else {
            relied_on.await;
            drop(stream);
        }
        assert_eq!(reuse_off(&host, "prober").await, None);
    }
}

#[tokio::test]
async fn reused_instance_has_fresh_cpu_time_and_memory_for_each_request() {
    let host = host(&["--instance-cpu-time", "500ms", "--instance-memory", "64MiB"]).await;
    reuse(&host, "1000").await;
    // Together they take more than any one may.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        let answer = host.get("/prober/alloc?mib=20").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(host.get("/prober/spin").await.problem(), "cpu-time");
    assert_eq!(
        host.get("/prober/alloc?mib=100").await.problem(),
        "memory-limit"
    );
    assert_eq!(count(&host, "/prober/count").await, 1);
}

#[tokio::test]
async fn idle_instance_of_the_old_release_serves_nothing_after_a_swap() {
    let host = host(&[]).await;
    let mut kept = KeepAlive::open(host.gateway()).await;
    reuse(&host, "100").await;
    assert_eq!(counts(&host, &mut kept, "/prober/count", 2).await, [1, 2]);
    let flooder = guest("flooder").await;
    host.deploy("prober", &flooder).await;
    assert_eq!(counts(&host, &mut kept, "/prober/count", 2).await, [1, 2]);
    assert_eq!(host.window("prober").await.draining, []);
}

#[tokio::test]
async fn idle_instances_take_no_permit_from_others() {
    let host = host(&["--instances", "4"]).await;
    reuse(&host, "100").await;
    // As many as the pool has, of both windows in turn: each leaves instances behind that wait.
    for path in [
        "/prober/count?ms=300",
        "/flooder/count",
        "/prober/count?ms=300",
    ] {
        let answers = join_all((0..3).map(|_| count(&host, path))).await;
        assert_eq!(answers.len(), 3);
    }
    let both = join_all((0..20).map(|number| {
        let window = if number % 2 == 0 { "prober" } else { "flooder" };
        let host = &host;
        async move { count(host, &format!("/{window}/count")).await }
    }));
    assert_eq!(both.await.len(), 20);
}
