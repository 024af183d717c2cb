//! What a window's neighbours see of it: it takes no instance that is theirs, and little of their
//! time.

use futures_util::future::join_all;
use hms_harness::{Host, eventually, guest};
use http::Method;
use std::time::{Duration, Instant};

async fn host(args: &[&str]) -> Host {
    let (prober, hello) = (guest("prober").await, guest("hello-wasip3").await);
    Host::with_open_windows_and(&[("prober", &prober), ("victim", &hello)], args).await
}

async fn leases(host: &Host, expected: usize) {
    eventually("the instances are at work", || async {
        (host.window("prober").await.leases >= expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn hanging_window_takes_no_instance_reserved_by_another() {
    let _alone = super::alone().await;
    let host = host(&["--instances", "16"]).await;
    host.limit(
        "prober",
        &["--instances", "16", "--queue", "20", "--queue-wait", "30s"],
    )
    .await;
    let hanging = join_all((0..40).map(|_| host.get("/prober/sleep?ms=6000")));
    let meanwhile = async {
        leases(&host, 12).await;
        eventually("its queue is full", || async {
            (host.window("prober").await.queued == 20).then_some(())
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
        assert_eq!(host.window("prober").await.queued, 20);
    };
    let (hung, ()) = tokio::join!(hanging, meanwhile);
    let served = hung.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(served, 32, "twelve at once and twenty that waited");
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
async fn many_spinning_instances_slow_neighbours_no_more_than_few() {
    let _alone = super::alone().await;
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
async fn slow_disk_under_one_store_makes_no_neighbour_wait() {
    let _alone = super::alone().await;
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
