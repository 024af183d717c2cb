//! How late an event is delivered: one at a time, and many a second.
//!
//! The moment of the commit is known to nobody outside of the host, so it is put between two
//! bounds. A service in this process notes when the event is there: from the request to emit it,
//! which includes the commit, and from the answer to that request, which comes after the commit and
//! often after the event (0 then). A window counts from the request, by its own clock.

use crate::bench::{BenchHost, event, now_us};
use crate::{Args, verdict};
use hms_harness::services::{Reply, Server};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

/// Of the 99th percentile when nothing else happens.
const MARK_MS: f64 = 10.0;

/// Between two events that are emitted one at a time: so long that the host has come to rest.
const PAUSE: Duration = Duration::from_millis(30);

/// When each event was asked for, and when that was answered.
type Asked = Vec<(u64, Instant, Instant)>;

/// How events are emitted.
#[derive(Clone, Copy)]
enum Pace {
    /// So many, one at a time.
    Single(u64),
    /// So many a second for a time, whatever becomes of the earlier ones.
    Rate(u64, Duration),
}

pub async fn run(args: &Args) -> bool {
    let idle = Pace::Single(args.single);
    let loaded = Pace::Rate(args.rate, args.time());
    println!("how late, in ms:");
    println!("                                            p50      p99     most");
    let mut reached = true;
    reached &= to_service("idle", idle).await;
    reached &= to_window("idle", idle).await;
    let name = format!("{}/s", args.rate);
    to_service(&name, loaded).await;
    to_window(&name, loaded).await;
    reached
}

async fn to_service(name: &str, pace: Pace) -> bool {
    let received = Arc::<Mutex<HashMap<u64, Instant>>>::default();
    let receiving = received.clone();
    let service = Server::start(move |seen| {
        let number = seen.header("ce-number").parse().unwrap();
        receiving
            .lock()
            .unwrap()
            .entry(number)
            .or_insert_with(Instant::now);
        Reply::new(200, json!({}))
    })
    .await;
    let bench = Arc::new(BenchHost::open().await);
    let outbound = format!(
        "outbound:\n  - to: {}\n    methods: [POST]\n    private: [127.0.0.0/8]\n",
        service.url()
    );
    let to = format!("{}/events", service.url());
    bench.subscribe("emitter", "sink", &to, &outbound).await;
    let asked = emit(&bench, pace).await;
    bench.drained("emitter", "sink").await;
    let received = received.lock().unwrap();
    let ms = |of: &dyn Fn(&(u64, Instant, Instant)) -> Duration| -> Vec<f64> {
        asked
            .iter()
            .map(|it| of(it).as_secs_f64() * 1000.0)
            .collect()
    };
    print(
        name,
        "the answer to who had it emitted",
        ms(&|it| it.2 - it.1),
        false,
    );
    print(
        name,
        "a service, from that answer",
        ms(&|it| received[&it.0].saturating_duration_since(it.2)),
        false,
    );
    print(
        name,
        "a service, from the request",
        ms(&|it| received[&it.0].saturating_duration_since(it.1)),
        name == "idle",
    )
}

async fn to_window(name: &str, pace: Pace) -> bool {
    let bench = Arc::new(BenchHost::open().await);
    bench.subscribe("ledger", "all", "/book", "").await;
    emit(&bench, pace).await;
    bench.drained("ledger", "all").await;
    let late: BTreeMap<String, i64> = bench.host.get("/ledger/late").await.read();
    let late = late.into_iter().flat_map(|(tenths, count)| {
        let ms = tenths.parse::<f64>().unwrap() / 10.0;
        std::iter::repeat_n(ms, count as usize)
    });
    print(
        name,
        "a window, from the request",
        late.collect(),
        name == "idle",
    )
}

/// Prints a row. Whether the mark is reached, if it has one.
fn print(name: &str, what: &str, mut late: Vec<f64>, marked: bool) -> bool {
    late.sort_by(f64::total_cmp);
    let at = |share: f64| late[((late.len() - 1) as f64 * share).round() as usize];
    let reached = !marked || at(0.99) <= MARK_MS;
    let mark = match marked {
        true => format!("   mark {MARK_MS:.0}: {}", verdict(reached)),
        false => String::new(),
    };
    println!(
        "  {name:6} {what:33} {:8.2} {:8.2} {:8.2}{mark}",
        at(0.5),
        at(0.99),
        at(1.0)
    );
    reached
}

async fn emit(bench: &Arc<BenchHost>, pace: Pace) -> Asked {
    // The first ones find nothing as it stays.
    for number in 0..20 {
        one(bench, u64::MAX - number, false).await;
    }
    sleep(Duration::from_millis(500)).await;
    let mut asked = Vec::new();
    match pace {
        Pace::Single(count) => {
            for number in 0..count {
                asked.push(one(bench, number, true).await);
                sleep(PAUSE).await;
            }
        }
        Pace::Rate(rate, time) => {
            let begun = tokio::time::Instant::now();
            let mut asking = JoinSet::new();
            for number in 0..rate * time.as_secs() {
                sleep_until(begun + Duration::from_secs(1) * number as u32 / rate as u32).await;
                let bench = bench.clone();
                asking.spawn(async move { one(&bench, number, true).await });
            }
            asked = asking.join_all().await;
        }
    }
    asked
}

/// Emits one event.
async fn one(bench: &BenchHost, number: u64, counted: bool) -> (u64, Instant, Instant) {
    let mut event = event(number % (1 << 32), counted.then(now_us));
    event["attributes"] = json!([["number", number.to_string()]]);
    let asked = Instant::now();
    bench.emit(&json!({ "events": [event] })).await;
    (number, asked, Instant::now())
}
