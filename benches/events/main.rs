//! What events cost, and how soon they are delivered. See `benches/README.md`.
//!
//! [`emit`], [`deliver`], [`late`], [`citizens`] and [`payments`] each start the real `hms` on port
//! 0 with a folder of its own, speak to it on loopback only, and end by themselves. The exit status
//! is 1 where a mark was not reached.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a bench, which ends by a panic"
)]

mod bench;
mod citizens;
mod deliver;
mod emit;
mod late;
mod payments;

use clap::Parser;
use std::process::ExitCode;
use std::time::Duration;

/// Emits events and has them delivered, and measures what it costs and how long it takes.
#[derive(Parser)]
#[command(name = "events")]
pub struct Args {
    /// Seconds of each measurement
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Measurements of what is compared, in turn
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pairs: u32,
    /// Events whose delivery is measured at full speed
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(250..=1_000_000))]
    events: u64,
    /// Events emitted one at a time, whose lateness is measured
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    single: u64,
    /// Events a second whose lateness is measured under load
    #[arg(long, value_name = "R", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    rate: u64,
    /// Only these: emit, deliver, late, citizens, payments
    #[arg(long, value_name = "PARTS", value_delimiter = ',')]
    only: Vec<String>,
    /// Given by cargo, of no meaning
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    fn time(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == part)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let mut reached = true;
    if args.wants("emit") {
        emit::run(&args).await;
    }
    if args.wants("deliver") {
        reached &= deliver::run(&args).await;
    }
    if args.wants("late") {
        reached &= late::run(&args).await;
    }
    if args.wants("citizens") {
        citizens::run(&args).await;
    }
    if args.wants("payments") {
        reached &= payments::run(&args).await;
    }
    match reached {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn verdict(reached: bool) -> &'static str {
    match reached {
        true => "reached",
        false => "NOT REACHED",
    }
}
