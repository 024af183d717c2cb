//! How often a canary ends a candidate that is as good as the live release, and how soon one that
//! is worse: the canary analysis itself, as the host has it, fed with simulated traffic. See
//! docs/canary.md.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a bench, which ends by a panic"
)]

#[allow(dead_code, unused_imports)]
#[path = "../../host/windows/src/canary/analysis/mod.rs"]
mod analysis;

mod scenarios;
mod traffic;

use parking_lot::Mutex;
use scenarios::{Scenario, good, worse};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// What is asked for on the command line.
struct Args {
    runs: u64,
    worse_runs: u64,
    requests: u32,
    threads: usize,
    only: String,
}

fn main() {
    let args = args();
    println!(
        "Runs of {} requests each; of worse candidates {} runs a line.\n",
        args.requests, args.worse_runs
    );
    println!("| a candidate as good as the live release | runs | ended |");
    println!("|---|---|---|");
    for scenario in good().iter().filter(|s| s.name.contains(&args.only)) {
        let ended = run(scenario, args.runs, &args);
        println!("| {} | {} | {} |", scenario.name, args.runs, ended.len());
    }
    println!("\n| a worse candidate | share | ended | after requests: median | 90% of those |");
    println!("|---|---|---|---|---|");
    for scenario in worse().iter().filter(|s| s.name.contains(&args.only)) {
        let mut ended = run(scenario, args.worse_runs, &args);
        ended.sort_unstable();
        let at = |part: f64| {
            let index = (ended.len() as f64 * part) as usize;
            ended.get(index).map_or("-".into(), ToString::to_string)
        };
        println!(
            "| {} | {}% | {:.0}% | {} | {} |",
            scenario.name,
            f64::from(scenario.shares.first().copied().unwrap_or_default()) / 100.0,
            100.0 * ended.len() as f64 / args.worse_runs as f64,
            at(0.5),
            at(0.9)
        );
    }
}

/// After how many requests each run ended that did.
fn run(scenario: &Scenario, runs: u64, args: &Args) -> Vec<u32> {
    let (next, ended) = (AtomicU64::new(1), Mutex::new(Vec::new()));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..args.threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed > runs {
                        return;
                    }
                    if let Some((after, why)) = traffic::run(scenario, seed, args.requests) {
                        if std::env::var_os("WHY").is_some() {
                            eprintln!("{}: {after}: {why}", scenario.name);
                        }
                        let mut ended = ended.lock();
                        ended.push(after);
                    }
                }
            });
        }
    });
    eprintln!(
        "{} at {:?}: {:?}",
        scenario.name,
        scenario.shares,
        began.elapsed()
    );
    ended.into_inner()
}

fn args() -> Args {
    let mut args = Args {
        runs: 10_000,
        worse_runs: 200,
        requests: 100_000,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        only: String::new(),
    };
    let mut given = std::env::args().skip(1);
    while let Some(flag) = given.next() {
        // Cargo's own.
        if flag == "--bench" {
            continue;
        }
        let value = given.next().unwrap_or_default();
        let number = || {
            value.parse().unwrap_or_else(|_| {
                eprintln!("{flag} takes a number, not '{value}'");
                std::process::exit(2)
            })
        };
        match flag.as_str() {
            "--runs" => args.runs = number(),
            "--worse-runs" => args.worse_runs = number(),
            "--requests" => args.requests = number() as u32,
            "--threads" => args.threads = number() as usize,
            "--only" => args.only = value,
            _ => {
                eprintln!("--runs N --worse-runs N --requests N --threads N --only TEXT");
                std::process::exit(2)
            }
        }
    }
    args
}
