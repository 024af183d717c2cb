//! What citizens of another window see while events are delivered as fast as the host may.

use crate::Args;
use crate::bench::{BenchHost, wrk};
use hms_harness::pairs::{Pairs, middle};
use hms_harness::wrk::{Figure, Load};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

const CLIENTS: u32 = 16;

/// Undelivered events above which no more are emitted: the log is neither empty nor grows.
const LAG: u64 = 2_000;

pub async fn run(args: &Args) {
    println!("requests of {CLIENTS} citizens to another window:");
    for concurrency in [8, 64] {
        let bench = Arc::new(BenchHost::open().await);
        let text = format!(
            "subscriptions:\n  all:\n    from: [emitter]\n    to: /book\n    start: now\n    \
             concurrency: {concurrency}\n"
        );
        bench.write_subscription("ledger", "all", &text).await;
        let load = Load::get(format!("{}/hello/", bench.host.gateway())).connections(CLIENTS);
        wrk(&load, Duration::from_secs(1)).await;
        let (mut pairs, mut rates) = (Pairs::default(), Vec::new());
        for _ in 0..args.pairs {
            let (figure, rate) = beside_deliveries(&bench, &load, args.time()).await;
            pairs.ours.push(figure);
            rates.push(rate);
            // What is left does not fall into the quiet time.
            bench.drained("ledger", "all").await;
            pairs.theirs.push(wrk(&load, args.time()).await);
        }
        let row = |figures: &[Figure]| {
            let of = |of: fn(&Figure) -> f64| middle(figures, of);
            format!(
                "{:.0}/s, p50 {:.2} ms, p99 {:.2} ms",
                of(|it| it.per_second),
                of(|it| it.p50_ms),
                of(|it| it.p99_ms)
            )
        };
        println!(
            "  quiet                                 {}",
            row(&pairs.theirs)
        );
        println!(
            "  beside {:5.0} deliveries/s, {concurrency:2} at once   {}; {:.2} of the rate, {:.2} times the p99",
            hms_harness::pairs::median(rates.into_iter()),
            row(&pairs.ours),
            pairs.ratio(|it| it.per_second),
            pairs.ratio(|it| it.p99_ms)
        );
    }
}

/// The load, and deliveries a second meanwhile.
async fn beside_deliveries(bench: &Arc<BenchHost>, load: &Load, time: Duration) -> (Figure, f64) {
    let feeding = bench.clone();
    let _feeder = AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            let lag = feeding.of_subscription("ledger", "all", "lag").await;
            match lag.is_some_and(|lag| lag < LAG) {
                true => drop(feeding.fill(1).await),
                false => sleep(Duration::from_millis(10)).await,
            }
        }
    }));
    sleep(Duration::from_millis(300)).await;
    let (before, begun) = (bench.delivered("ledger", "all").await, Instant::now());
    let figure = wrk(load, time).await;
    let delivered = bench.delivered("ledger", "all").await - before;
    (figure, delivered as f64 / begun.elapsed().as_secs_f64())
}
