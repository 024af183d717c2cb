//! Failures and times while a window is swapped, against equal times without swaps in the same run.

use super::args::Args;
use super::deploy::{Deploys, deploy};
use hms_harness::Host;
use hms_harness::load::{Ledger, Load, LoadResult, Period};
use hms_harness::marked::Marked;
use hms_harness::process::{Cpu, cpu};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Swaps in one go; then comes an equal time without. In turns, so that what the machine does
/// besides meets both alike.
const SWAPS_PER_TURN: u32 = 25;

/// Time for connections and memory to be there before anything is measured.
const WARM: Duration = Duration::from_secs(3);

/// Where the time of one kind of period went.
#[derive(Default)]
struct Spent {
    time: Duration,
    host: Cpu,
    generator: Cpu,
}

/// Prints what came out, and says whether no request failed.
pub async fn run(args: &Args) -> bool {
    let marked = Marked::build().await;
    let host = Host::with_open_windows(&[("marked", &marked.release(0))]).await;
    let ledger = Arc::new(Ledger::default());
    ledger.begins(0);
    ledger.done();
    let base = format!("{}/marked", host.gateway());
    println!(
        "{} swaps, {} requests/s, open loop",
        args.swaps(),
        args.rate()
    );
    let load = Load::start(&base, args.rate(), ledger.clone());
    tokio::time::sleep(WARM).await;

    let mut deploys = Deploys::default();
    let (mut swapping, mut quiet) = (Spent::default(), Spent::default());
    let pause = args.seconds() / args.swaps();
    let mut number = 0;
    while number < args.swaps() {
        load.enter(Period::Swapping);
        let last = args.swaps().min(number + SWAPS_PER_TURN);
        let begin = Meter::start(&host);
        while number < last {
            number += 1;
            let next = Instant::now() + pause;
            ledger.begins(number);
            let deployed = deploy(&host, "marked", marked.release(number)).await;
            ledger.done();
            deploys.add(&deployed);
            tokio::time::sleep_until(next.into()).await;
        }
        let took = begin.stop(&host, &mut swapping);
        load.enter(Period::Quiet);
        let begin = Meter::start(&host);
        tokio::time::sleep(took).await;
        begin.stop(&host, &mut quiet);
        eprintln!("{number} swaps");
    }
    let result = load.stop().await;
    report(&result, &deploys, &swapping, &quiet);
    result.failed_requests() == 0
}

struct Meter {
    begin: Instant,
    host: Cpu,
    generator: Cpu,
}

impl Meter {
    fn start(host: &Host) -> Self {
        Meter {
            begin: Instant::now(),
            host: cpu(host.pid()),
            generator: cpu(std::process::id()),
        }
    }

    fn stop(self, host: &Host, spent: &mut Spent) -> Duration {
        let time = self.begin.elapsed();
        spent.time += time;
        spent.host += cpu(host.pid()) - self.host;
        spent.generator += cpu(std::process::id()) - self.generator;
        time
    }
}

fn ratio(with: f64, without: f64) -> String {
    if without > 0.0 {
        format!("{:.2}", with / without)
    } else {
        "-".to_owned()
    }
}

fn report(result: &LoadResult, deploys: &Deploys, swapping: &Spent, quiet: &Spent) {
    let (with, without) = (result.of(Period::Swapping), result.of(Period::Quiet));
    println!(
        "requests  {}, of them {} while swapping and {} in an equal time without",
        result.requests(),
        with.requests,
        without.requests
    );
    println!("swaps     {}", deploys.total.count());
    println!("failures  {} ({result})", result.failed_requests());
    println!();
    println!("{:<34}{:>10}{:>10}{:>8}", "", "swapping", "quiet", "ratio");
    let row = |what: &str, with: f64, without: f64| {
        println!(
            "{what:<34}{with:>10.1}{without:>10.1}{:>8}",
            ratio(with, without)
        );
    };
    row(
        "seconds",
        swapping.time.as_secs_f64(),
        quiet.time.as_secs_f64(),
    );
    for percent in [50.0, 99.0] {
        row(
            &format!("answered at once: p{percent} ms"),
            with.at_once.percentile_ms(percent),
            without.at_once.percentile_ms(percent),
        );
    }
    for percent in [50.0, 99.0] {
        row(
            &format!("all, beyond the wished: p{percent} ms"),
            with.beyond_wished.percentile_ms(percent),
            without.beyond_wished.percentile_ms(percent),
        );
    }
    let share = |what: &str, of: fn(&Spent) -> f64| {
        let percent = |spent: &Spent| 100.0 * of(spent) / spent.time.as_secs_f64();
        row(what, percent(swapping), percent(quiet));
    };
    share("CPU of the host, % of a core", |spent| spent.host.own);
    share("CPU of its compilers, %", |spent| spent.host.children);
    share("CPU of the generator, %", |spent| spent.generator.own);
    println!();
    println!(
        "upload to live: median {:.1} ms, p99 {:.1} ms",
        deploys.total.percentile_ms(50.0),
        deploys.total.percentile_ms(99.0)
    );
    println!("  medians by step, ms: {}", deploys.steps());
}
