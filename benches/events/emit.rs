//! Events a second that one window emits; nobody subscribes to them.

use crate::Args;
use crate::bench::{BenchHost, event, post, wrk};
use hms_harness::process::cpu;
use hms_harness::wrk::Load;
use serde_json::{Value, json};

/// Clients at once, and events of one transaction.
const ROWS: [(u32, u64); 5] = [(1, 1), (8, 1), (64, 1), (8, 16), (64, 16)];

pub async fn run(args: &Args) {
    println!("emitted, a transaction each request:");
    println!(
        "  clients   events of each   events/s   p50 ms   p99 ms   µs of the host's CPU/event"
    );
    for (clients, each) in ROWS {
        let bench = BenchHost::open().await;
        let events: Vec<Value> = (0..each).map(|number| event(number, None)).collect();
        let task = json!({ "events": events });
        let load = Load::get(format!("{}/emitter/do", bench.host.gateway()))
            .connections(clients)
            .script(post(&format!("emit-{each}"), &task.to_string()));
        let before = cpu(bench.host.pid()).own;
        let figure = wrk(&load, args.time()).await;
        let used = cpu(bench.host.pid()).own - before;
        let per_second = figure.per_second * each as f64;
        println!(
            "  {clients:7} {each:16} {per_second:10.0} {:8.2} {:8.2} {:28.0}",
            figure.p50_ms,
            figure.p99_ms,
            used / (per_second * args.time().as_secs_f64()) * 1e6
        );
    }
}
