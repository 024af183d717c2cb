//! What route edits cost: failures, the time until each is live, memory.

use super::args::Args;
use hms_harness::Host;
use hms_harness::host::open_route;
use hms_harness::load::{Ledger, Load};
use hms_harness::marked::Marked;
use hms_harness::process::Held;
use hms_harness::rest::held_at_rest;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Edits after which the host has what it needs, and is compared with.
const FIRST: u32 = 50;

/// From the write of the file to the first answer by the new route.
const LIVE_WITHIN: Duration = Duration::from_millis(250);

/// How much more memory there may be, as a share.
const MEMORY_MARGIN: f64 = 0.10;

/// The window's requests that fill its pool before memory is looked at.
const RUSH: [&str; 2] = ["/marked/sleep?ms=300", "/marked/big?blocks=64"];

/// So small that a rush uses each of its places, and large enough for the load.
const POOL: [&str; 2] = ["--instances", "64"];

/// Beside the route that is edited, so that a reload has more than one to look at.
const OTHERS: usize = 50;

/// Edits one route under load, and says whether no request failed, each edit was live soon, and
/// memory is as before.
pub async fn run(args: &Args) -> bool {
    let marked = Marked::build().await;
    let host = Host::with_open_windows_and(&[("marked", &marked.release(0))], &POOL).await;
    for other in 0..OTHERS {
        let text = open_route("marked").replace("/marked", &format!("/other-{other}"));
        host.write_route(&format!("other-{other}.yaml"), &text);
    }
    let ledger = Arc::new(Ledger::default());
    ledger.begins(0);
    ledger.done();
    let base = format!("{}/marked", host.gateway());
    let (mut took, mut failed, mut requests) = (Vec::new(), 0, 0);
    let mut held: Vec<Held> = Vec::new();
    let edits = args.reloads();
    for range in [0..FIRST.min(edits), FIRST.min(edits)..edits] {
        let load = Load::start(&base, args.rate(), ledger.clone());
        for edit in range {
            took.push(one(&host, edit).await);
        }
        let result = load.stop().await;
        if result.failed_requests() > 0 {
            println!("failures: {result}");
        }
        requests += result.requests();
        failed += result.failed_requests();
        held.push(held_at_rest(&host, "marked", &RUSH).await);
    }
    took.sort_unstable();
    let ms = |share: f64| {
        let index = ((took.len() - 1) as f64 * share) as usize;
        took[index].as_secs_f64() * 1000.0
    };
    println!("{edits} edits of a route beside {OTHERS} others, {requests} requests");
    println!(
        "from the write to the first answer by it: p50 {:.1} ms, p99 {:.1} ms, at most {:.1} ms",
        ms(0.5),
        ms(0.99),
        ms(1.0)
    );
    let ratio = held[1].rss_kib as f64 / held[0].rss_kib as f64;
    println!(
        "Rss after the first {FIRST}: {} KiB, at the end: {} KiB",
        held[0].rss_kib, held[1].rss_kib
    );
    println!("files: {} and {}", held[0].files, held[1].files);
    verdict(&format!("failed requests: {failed}"), failed == 0)
        & verdict(
            "each edit live in 250 ms",
            ms(1.0) <= LIVE_WITHIN.as_secs_f64() * 1000.0,
        )
        & verdict(
            &format!("memory: {ratio:.3} of the first"),
            ratio <= 1.0 + MEMORY_MARGIN,
        )
        & verdict("files", held[1].files <= held[0].files)
}

/// The time until the edit is live.
async fn one(host: &Host, edit: u32) -> Duration {
    let mark = edit.to_string();
    let text = format!(
        "{}plugins:\n  - headers: {{response: {{set: {{x-edit: \"{mark}\"}}}}}}\n",
        open_route("marked")
    );
    let draft = host.routes().join(".marked.yaml.new");
    std::fs::write(&draft, text).expect("the draft");
    std::fs::rename(&draft, host.routes().join("marked.yaml")).expect("the route");
    let written = Instant::now();
    loop {
        let answer = host.get("/marked/sleep?ms=0").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        if answer.header("x-edit") == mark {
            return written.elapsed();
        }
        assert!(
            written.elapsed() < Duration::from_secs(30),
            "edit {edit} is not live"
        );
    }
}

fn verdict(what: &str, reached: bool) -> bool {
    let said = if reached { "reached" } else { "NOT REACHED" };
    println!("{what}: {said}");
    reached
}
