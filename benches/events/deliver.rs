//! Deliveries a second: a full log, and a window that subscribes to it from its start.

use crate::bench::BenchHost;
use crate::{Args, verdict};
use hms_harness::process::cpu;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// On two processors, of which this bench takes next to nothing meanwhile.
const MARK: f64 = 2_000.0;

/// The longest that a delivery of all may take.
const BOUND: Duration = Duration::from_secs(600);

/// What the window does with an event: its path, and what that is.
const WORK: [(&str, &str); 2] = [("/take", "nothing"), ("/book", "books it, once")];

pub async fn run(args: &Args) -> bool {
    println!(
        "delivered to a window, with {} events in the log:",
        args.events
    );
    println!("  concurrency   the window's work   deliveries/s   µs of the host's CPU/delivery");
    let bench = BenchHost::open().await;
    let events = bench.fill(args.events).await;
    let mut reached = true;
    for (work, (path, what)) in WORK.into_iter().enumerate() {
        for concurrency in [8, 64] {
            // A new name: a new cursor.
            let name = format!("all-{work}-{concurrency}");
            let (rate, used) = drain(&bench, &name, path, concurrency, events).await;
            let marked = (work, concurrency) == (1, 64);
            let mark = match marked {
                true => format!("   mark {MARK:.0}: {}", verdict(rate >= MARK)),
                false => String::new(),
            };
            reached &= !marked || rate >= MARK;
            println!("  {concurrency:11}   {what:17} {rate:14.0} {used:31.0}{mark}");
        }
    }
    reached
}

/// Deliveries a second, without the first tenth, and processor time of each.
async fn drain(
    bench: &BenchHost,
    name: &str,
    path: &str,
    concurrency: u32,
    events: u64,
) -> (f64, f64) {
    let text = format!(
        "subscriptions:\n  {name}:\n    from: [emitter]\n    to: {path}\n    start: earliest\n    \
         concurrency: {concurrency}\n"
    );
    bench.host.write_grants("ledger", &text);
    let bound = Instant::now() + BOUND;
    let mut begun = None;
    loop {
        assert!(Instant::now() < bound, "they are not delivered");
        let done = bench.delivered("ledger", name).await;
        match begun {
            None if done >= events / 10 => {
                begun = Some((Instant::now(), done, cpu(bench.host.pid()).own));
            }
            Some((since, before, used)) if done >= events => {
                let count = (done - before) as f64;
                let used = cpu(bench.host.pid()).own - used;
                return (count / since.elapsed().as_secs_f64(), used / count * 1e6);
            }
            _ => sleep(Duration::from_millis(10)).await,
        }
    }
}
