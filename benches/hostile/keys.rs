//! Ten million keys in one window's store, and reads of all of them.

use super::victim::{Seen, Victim};
use hms_harness::hostile;
use std::time::{Duration, Instant};

/// Keys, and those that are written in one request.
const KEYS: usize = 10_000_000;
const AT_ONCE: usize = 50_000;

/// The neighbour's 99th percentile beside it, against its own when quiet.
const TIMES: f64 = 2.0;

/// Prints what the neighbour sees meanwhile, and says whether it stays within its mark.
pub async fn run(victim: &[u8], time: Duration) -> bool {
    let host = hostile::host(victim, &["--instance-cpu-time", "30s"]).await;
    let set = ["prober", "--store", "8GiB"];
    let output = host.cli("limits", &set).await;
    assert!(output.status.success(), "{output:?}");
    let load = Victim::start(format!("{}/victim", host.gateway())).await;
    load.look(Duration::from_secs(3)).await;
    let mut quiet = load.look(time).await;
    let begun = Instant::now();
    for from in (0..KEYS).step_by(AT_ONCE) {
        let path = format!("/prober/fill/many?from={from}&count={AT_ONCE}");
        let answer = host.get(&path).await;
        assert_eq!(answer.status, 204, "{}", answer.text());
    }
    let (filled, filling) = (begun.elapsed(), load.take());
    let begun = Instant::now();
    let answer = host.get("/prober/scan/many").await;
    let (scanned, scanning) = (begun.elapsed(), load.take());
    quiet.add(load.look(time).await);
    load.stop().await;
    let pair = |seen: &Seen| format!("{:.1}/{:.1}", seen.ms(0.5), seen.ms(0.99));
    println!(
        "\n{KEYS} keys: written in {:.0} s, scanned in {:.0} s ({})",
        filled.as_secs_f64(),
        scanned.as_secs_f64(),
        answer.text().trim()
    );
    println!(
        "  the neighbour, p50/p99 ms: quiet {}, beside the writes {}, beside the scan {}",
        pair(&quiet),
        pair(&filling),
        pair(&scanning)
    );
    let worst = filling.ms(0.99).max(scanning.ms(0.99)) / quiet.ms(0.99);
    let reached = worst <= TIMES && filling.failed.is_empty() && scanning.failed.is_empty();
    println!(
        "  {worst:.2} times: {}",
        if reached { "reached" } else { "not reached" }
    );
    reached
}
