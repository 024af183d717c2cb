//! How the processors are shared: between windows, not between requests.

use super::victim::Victim;
use futures_util::future::join_all;
use hms_harness::hostile;
use http::Method;
use std::time::Duration;

/// Requests that spin in the other window.
const SPINNING: [usize; 5] = [0, 1, 4, 16, 64];

/// The neighbour's median beside the most that spin, against beside as many as there are turns.
/// Were the processors shared between requests it would be some ten times.
const TIMES: f64 = 2.0;

/// Prints the neighbour's times beside each, and says whether many cost it what few do.
pub async fn run(victim: &[u8], time: Duration) -> bool {
    // Those that spin do so until they are told to end, by the release's end.
    let args = [
        "--instance-cpu-time",
        "600s",
        "--instance-wall-time",
        "600s",
        "--drain",
        "100ms",
    ];
    let host = hostile::host(victim, &args).await;
    let load = Victim::start(format!("{}/victim", host.gateway())).await;
    load.look(Duration::from_secs(3)).await;
    println!("\nfairness: a neighbour of a window whose requests spin");
    println!(
        "{:>9}{:>10}{:>10}{:>10}",
        "spinning", "p50 ms", "p99 ms", "failed"
    );
    let (mut medians, mut failed) = (Vec::new(), 0);
    for count in SPINNING {
        let spinning = join_all((0..count).map(|_| host.get("/prober/spin")));
        let looking = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let seen = load.look(time).await;
            let stopped = host.admin(Method::POST, "/windows/prober/stop", "").await;
            assert!(stopped.status.is_success(), "{}", stopped.text());
            seen
        };
        let (_, seen) = tokio::join!(spinning, looking);
        println!(
            "{count:>9}{:>10.1}{:>10.1}{:>10}",
            seen.ms(0.5),
            seen.ms(0.99),
            seen.failed.len()
        );
        medians.push(seen.ms(0.5));
        failed += seen.failed.len();
        let started = host.admin(Method::POST, "/windows/prober/start", "").await;
        assert!(started.status.is_success(), "{}", started.text());
    }
    load.stop().await;
    let ratio = medians[SPINNING.len() - 1] / medians[1];
    let reached = ratio <= TIMES && failed == 0;
    println!(
        "beside 64 against beside 1: {ratio:.2}: {}",
        if reached { "reached" } else { "not reached" }
    );
    reached
}
