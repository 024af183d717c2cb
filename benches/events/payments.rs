//! What an event costs a payment: kept alone, kept in a transaction, and kept with an event in one.

use crate::bench::{BenchHost, post, wrk};
use crate::{Args, verdict};
use hms_harness::pairs::{Pairs, median, middle};
use hms_harness::wrk::{Figure, Load};

/// Of the rate without an event, at least.
const MARK: f64 = 0.85;

const CLIENTS: u32 = 64;

/// As the guest has them.
const WAYS: [(&str, &str); 3] = [
    ("set", "kept alone"),
    ("transaction", "in a transaction"),
    ("emit", "in a transaction with an event"),
];

pub async fn run(args: &Args) -> bool {
    println!("payments of {CLIENTS} clients, on disk before the answer:");
    let bench = BenchHost::open().await;
    let script = post("pay", r#"{"amount":42,"purpose":"FOIA copy fee"}"#);
    let loads = WAYS.map(|(way, _)| {
        let url = format!("{}/ledger/payments?how={way}", bench.host.gateway());
        Load::get(url).connections(CLIENTS).script(script.clone())
    });
    // The log and its tables are there, and each way has been used.
    for load in &loads {
        wrk(load, std::time::Duration::from_secs(1)).await;
    }
    let mut taken: [Vec<Figure>; 3] = Default::default();
    for _ in 0..args.pairs {
        for (load, figures) in loads.iter().zip(&mut taken) {
            figures.push(wrk(load, args.time()).await);
        }
    }
    let ratio = |ours: usize, theirs: usize| {
        let pairs = Pairs {
            ours: taken[ours].clone(),
            theirs: taken[theirs].clone(),
        };
        pairs.ratio(|it| it.per_second)
    };
    for ((_, what), figures) in WAYS.iter().zip(&taken) {
        println!(
            "  {what:30} {:.0}/s, p50 {:.2} ms, p99 {:.2} ms; the generator takes {:.0}%",
            middle(figures, |it| it.per_second),
            middle(figures, |it| it.p50_ms),
            middle(figures, |it| it.p99_ms),
            100.0 * median(figures.iter().map(|it| it.generator))
        );
    }
    let of_set = ratio(2, 0);
    println!(
        "  with an event: {of_set:.2} of the rate alone, {:.2} of that in a transaction; mark {MARK}: {}",
        ratio(2, 1),
        verdict(of_set >= MARK)
    );
    of_set >= MARK
}
