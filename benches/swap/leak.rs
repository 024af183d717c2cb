//! What the host holds after many swaps, against what it held after the first few.

use super::args::Args;
use super::deploy::deploy;
use hms_harness::Host;
use hms_harness::load::{Ledger, Load};
use hms_harness::marked::Marked;
use hms_harness::process::Held;
use hms_harness::rest::{SMALL_POOL, held_at_rest, rush};

use std::sync::Arc;

/// Swaps after which the host has what it needs, and is compared with.
const FIRST: u32 = 50;

/// Swaps between two looks.
const EVERY: u32 = 100;

/// How much the resident memory may differ, as a share: the allocator's arenas and the pool's slots
/// are filled by chance.
const MEMORY_MARGIN: f64 = 0.10;

/// The same for its part that is written to, which is small, so that one arena of the allocator
/// more counts for much.
const DIRTY_MARGIN: f64 = 0.20;

/// How many more files there may be: none.
const FILES_MARGIN: usize = 0;

/// How many more mappings there may be. A leak of one a swap would show as hundreds; the allocator
/// splits and joins some tens of its own.
const MAPPINGS_MARGIN: usize = 40;

/// Swaps between two rushes before the first look. A new release gets other places in the pool than
/// the one before.
const RUSH_EVERY: u32 = 5;

/// What the host is at its busiest with: every instance at work, and each as large as its answers
/// make it.
const RUSH: [&str; 3] = [
    "/marked/sleep?ms=500",
    "/marked/stream?pieces=10&ms=50",
    "/marked/big?blocks=64",
];

/// Prints what the host held as the swaps went on, and says whether it holds no more at the end.
pub async fn run(args: &Args) -> bool {
    let marked = Marked::build().await;
    let host = Host::with_open_windows_and(&[("marked", &marked.release(0))], &SMALL_POOL).await;
    let ledger = Arc::new(Ledger::default());
    ledger.begins(0);
    ledger.done();
    let base = format!("{}/marked", host.gateway());
    println!(
        "{:>6}{:>12}{:>12}{:>16}{:>8}{:>10}{:>9}",
        "swaps", "Rss KiB", "Pss KiB", "Priv. dirty KiB", "files", "mappings", "threads"
    );
    let (mut first, mut failed, mut number) = (None, 0, 0);
    let last = loop {
        let next = match number {
            0 => FIRST,
            FIRST => EVERY,
            _ => number + EVERY,
        };
        let load = Load::start(&base, args.rate(), ledger.clone());
        while number < next.min(args.swaps()) {
            number += 1;
            if number <= FIRST && number.is_multiple_of(RUSH_EVERY) {
                rush(&host, &RUSH).await;
            }
            ledger.begins(number);
            deploy(&host, "marked", marked.release(number)).await;
            ledger.done();
        }
        let result = load.stop().await;
        if result.failed_requests() > 0 {
            println!("failures: {result}");
        }
        failed += result.failed_requests();
        let held = held_at_rest(&host, "marked", &RUSH).await;
        show(number, &held);
        first.get_or_insert(held);
        if number >= args.swaps() {
            break held;
        }
    };
    let first = first.unwrap_or(last);
    let memory = |what: &str, of: fn(&Held) -> u64, margin: f64| {
        let ratio = of(&last) as f64 / of(&first) as f64;
        verdict(
            &format!("{what}: {ratio:.3} of the first"),
            ratio <= 1.0 + margin,
        )
    };
    let count = |what: &str, of: fn(&Held) -> usize, margin: usize| {
        let (first, last) = (of(&first), of(&last));
        verdict(
            &format!("{what}: {first} and {last}"),
            last <= first + margin,
        )
    };
    // Not `all` of an array of closures: every verdict is printed.
    memory("Rss", |held| held.rss_kib, MEMORY_MARGIN)
        & memory(
            "private dirty memory",
            |held| held.private_dirty_kib,
            DIRTY_MARGIN,
        )
        & count("files", |held| held.files, FILES_MARGIN)
        & count("mappings", |held| held.mappings, MAPPINGS_MARGIN)
        & verdict(&format!("failed requests: {failed}"), failed == 0)
}

fn show(swaps: u32, held: &Held) {
    println!(
        "{swaps:>6}{:>12}{:>12}{:>16}{:>8}{:>10}{:>9}",
        held.rss_kib, held.pss_kib, held.private_dirty_kib, held.files, held.mappings, held.threads
    );
}

fn verdict(what: &str, reached: bool) -> bool {
    println!(
        "{what}: {}",
        if reached { "reached" } else { "NOT REACHED" }
    );
    reached
}
