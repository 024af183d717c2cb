//! What hostile guests and too many clients do to their neighbours. See `benches/README.md`.
//!
//! Starts the real `hms` on port 0 with a folder of its own, speaks to it on loopback only, and
//! ends by itself. The exit status is 1 where something was not reached.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a bench, which ends by a panic"
)]

mod acts;
mod attack;
mod fairness;
mod keys;
mod overload;
mod slow;
mod victim;

use clap::Parser;
use futures_util::future::join_all;
use hms_harness::guests::guest;
use hms_harness::hostile::{self, ACTS};
use std::process::ExitCode;
use std::time::Duration;
use victim::{Seen, Victim};

/// Has guests do their worst, and measures what their neighbour sees.
#[derive(Parser)]
#[command(name = "hostile")]
struct Args {
    /// Seconds of each act
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(2..=600))]
    seconds: u64,
    /// Only what has this in its name; `fairness`, `ten million keys`, `overload` and
    /// `slow clients` are names too
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Seconds of each overload, and of the slow clients
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..=600))]
    overload: u64,
    /// Be the clients of one act
    #[arg(long, hide = true, requires = "gateway")]
    attack: Option<String>,
    #[arg(long, hide = true)]
    gateway: Option<String>,
    /// Given by cargo, of no meaning
    #[arg(long, hide = true)]
    bench: bool,
}

/// Short, so that each act happens many times in its seconds; and a small pool, so that each of its
/// places has been used before memory is looked at.
const LIMITS: [&str; 6] = [
    "--instance-cpu-time",
    "500ms",
    "--instance-wall-time",
    "5s",
    "--instances",
    "32",
];

/// The longest that the whole may take.
const BOUND: Duration = Duration::from_secs(3 * 3600);

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    match runtime.block_on(async { tokio::time::timeout(BOUND, run(&args)).await }) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(_) => {
            eprintln!("not done after {} s", BOUND.as_secs());
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> bool {
    let seconds = Duration::from_secs(args.seconds);
    if let (Some(name), Some(gateway)) = (&args.attack, &args.gateway) {
        return attack::run(name, gateway, seconds).await;
    }
    let mut reached = true;
    let hello = guest("hello-wasip3").await;
    let wanted: Vec<_> = ACTS
        .iter()
        .filter(|act| act.name.contains(&args.only))
        .collect();
    if !wanted.is_empty() {
        let host = hostile::host(&hello, &LIMITS).await;
        let pid = host.pid();
        let victim = Victim::start(format!("{}/victim", host.gateway())).await;
        // The pool's places, the allocator and the stores are as they stay.
        for window in ["prober", "flooder"] {
            let path = format!(
                "/{window}/{}",
                if window == "prober" {
                    "alloc?mib=8&ms=300"
                } else {
                    ""
                }
            );
            let used = join_all((0..64).map(|_| host.get(&path))).await;
            assert!(used.iter().all(|answer| answer.status == 200));
        }
        victim.look(Duration::from_secs(3)).await;
        let (mut rows, mut quiet) = (Vec::new(), Seen::default());
        for act in wanted {
            let row = acts::run(&host, &victim, act, seconds).await;
            eprintln!("{}", act.name);
            quiet.add(row.quiet.clone());
            rows.push(row);
        }
        acts::Row::head();
        for row in &rows {
            reached &= row.print(&quiet);
        }
        println!(
            "quiet, all together: p50 {:.1} ms, p99 {:.1} ms",
            quiet.ms(0.5),
            quiet.ms(0.99)
        );
        victim.stop().await;
        reached &= host.pid() == pid;
        println!("one process throughout: {}", host.pid() == pid);
    }
    if "fairness".contains(&args.only) {
        reached &= fairness::run(&hello, seconds).await;
    }
    if "ten million keys".contains(&args.only) {
        reached &= keys::run(&hello, seconds).await;
    }
    if "overload".contains(&args.only) {
        reached &= overload::run(&hello, Duration::from_secs(args.overload)).await;
    }
    if "slow clients".contains(&args.only) {
        reached &= slow::run(&hello, Duration::from_secs(args.overload)).await;
    }
    reached
}
