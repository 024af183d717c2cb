//! Whether an event is lost or its effect doubled while the host is killed. See
//! `benches/README.md`.
//!
//! Starts the real `hms` on port 0 with a folder of its own, speaks to it on loopback only, and
//! ends by itself. The exit status is 1 where the books of the two windows differ.

#![allow(unreachable_pub, reason = "a bench")]

use clap::Parser;
use hms_harness::ledger::{Plan, run};
use std::process::ExitCode;

/// Sends events through two windows while the host is killed again and again, and compares the
/// books of both.
#[derive(Parser)]
#[command(name = "ledger")]
struct Args {
    /// Events that are emitted
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    events: u64,
    /// Kills of the host, a quarter of them after the last event was emitted
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    kills: u32,
    /// Clients at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=256))]
    clients: u64,
    /// Of all random choices
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The window that gets the events traps or answers 503 at 16 of 100 deliveries, in half of
    /// them after it has booked the event
    #[arg(long)]
    faults: bool,
    /// Given by cargo, of no meaning
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let report = run(&Plan {
        events: args.events,
        kills: args.kills,
        clients: args.clients,
        seed: args.seed,
        faults: args.faults,
    })
    .await;
    println!("{report}");
    match report.differences.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
