//! What a swap costs: failures, time, memory. See `benches/README.md`.
//!
//! [`swaps`] is the default, [`leak`] `--leak`, [`upload`] `--upload`, [`reloads`] `--reloads`.
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

mod args;
mod deploy;
mod leak;
mod reloads;
mod swaps;
mod upload;

use args::{Args, Mode};
use clap::Parser;
use std::process::ExitCode;
use std::time::Duration;

/// Beyond what the swaps may take: to build the guests, to start, and for the last requests to end.
const BOUND: Duration = Duration::from_secs(900);

/// The longest that one swap may take, with its share of the quiet time. Some ten times what it
/// takes.
const SWAP_TIME: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let bound = BOUND + SWAP_TIME * args.swaps().max(args.reloads()) + args.seconds() * 2;
    let reached = runtime.block_on(async {
        let run = async {
            match args.mode() {
                Mode::Swaps => swaps::run(&args).await,
                Mode::Leak => leak::run(&args).await,
                Mode::Upload => upload::run(&args).await,
                Mode::Reloads => reloads::run(&args).await,
            }
        };
        tokio::time::timeout(bound, run).await
    });
    match reached {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(_) => {
            eprintln!("not done after {} s", bound.as_secs());
            ExitCode::FAILURE
        }
    }
}
