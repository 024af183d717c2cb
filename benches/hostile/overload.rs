//! Ten times more than a window can take, and thousands of connections that say nothing.

use super::victim::{Seen, Victim};
use hms_harness::Host;
use hms_harness::hostile;
use hms_harness::http::{connect, try_request};
use http::Method;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

/// What is asked of the window, and the limits that say how much of it it can do.
const KINDS: [(&str, &str); 2] = [
    ("waits 100 ms", "/prober/sleep?ms=100"),
    ("computes some ms", "/prober/work?turns=3000000"),
];
const INSTANCES: &str = "16";
const QUEUE: &str = "32";

/// As many times what it can do are asked for.
const TIMES: f64 = 10.0;

/// What of the peak must still be served under it.
const GOODPUT: f64 = 0.8;

/// A refusal's 99th percentile: it must cost the client no more than an answer.
const REFUSED_MS: f64 = 100.0;

/// After the load: time until the latency is looked at again.
const CALM: Duration = Duration::from_secs(3);

/// How long the peak is looked for, and quiet looks take.
const LOOK: Duration = Duration::from_secs(10);

/// Connections that send one request and then nothing.
const IDLE: usize = 3000;

/// Prints the figures, and says whether each mark was reached.
pub async fn run(victim: &[u8], time: Duration) -> bool {
    let host = Arc::new(hostile::host(victim, &[]).await);
    let set = [
        "prober",
        "--instances",
        INSTANCES,
        "--queue",
        QUEUE,
        "--queue-wait",
        "1s",
    ];
    let output = host.cli("limits", &set).await;
    assert!(output.status.success(), "{output:?}");
    let load = Victim::start(format!("{}/victim", host.gateway())).await;
    load.look(Duration::from_secs(3)).await;
    println!(
        "\noverload: {INSTANCES} instances, a queue of {QUEUE}, ten times what they can do for {} s",
        time.as_secs()
    );
    let mut reached = true;
    for (name, path) in KINDS {
        reached &= overload(&host, &load, name, path, time).await;
    }
    reached &= idle(&host, &load).await;
    load.stop().await;
    reached
}

async fn overload(host: &Arc<Host>, load: &Victim, name: &str, path: &str, time: Duration) -> bool {
    let quiet = load.look(LOOK).await;
    let alone = timed(host, path).await;
    let peak = peak(host, path).await;
    load.take();
    let asked = flood(host, path, peak * TIMES, time).await;
    let during = load.take();
    tokio::time::sleep(CALM).await;
    let after = load.look(LOOK).await;
    let alone_after = timed(host, path).await;
    let goodput = asked.served as f64 / time.as_secs_f64();
    println!("it {name}:");
    println!(
        "  peak {peak:.0}/s; offered {:.0}/s, served {goodput:.0}/s ({:.2} of the peak), refused {}, otherwise {}{}",
        asked.offered as f64 / time.as_secs_f64(),
        goodput / peak,
        asked.refused.len(),
        asked.other.len(),
        asked
            .other
            .first()
            .map_or(String::new(), |error| format!(" ({error})"))
    );
    println!(
        "  a refusal: p50 {:.1} ms, p99 {:.1} ms",
        ms(&asked.refused, 0.5),
        ms(&asked.refused, 0.99)
    );
    let pair = |seen: &Seen| format!("{:.1}/{:.1}", seen.ms(0.5), seen.ms(0.99));
    println!(
        "  the neighbour, p50/p99 ms: before {}, during {}, {} s after {}; failed {}",
        pair(&quiet),
        pair(&during),
        CALM.as_secs(),
        pair(&after),
        during.failed.len() + after.failed.len()
    );
    println!("  a request to it alone: {alone:.1} ms before, {alone_after:.1} ms after");
    let marks = [
        ("goodput near the peak", goodput >= peak * GOODPUT),
        ("refusals are quick", ms(&asked.refused, 0.99) <= REFUSED_MS),
        ("nothing but answers and refusals", asked.other.is_empty()),
        (
            "no failure of the neighbour",
            during.failed.is_empty() && after.failed.is_empty(),
        ),
        (
            "latency as before",
            alone_after <= alone * 1.5 && after.ms(0.99) <= quiet.ms(0.99) * 2.0,
        ),
    ];
    for (mark, reached) in marks {
        println!(
            "  {mark}: {}",
            if reached { "reached" } else { "not reached" }
        );
    }
    marks.iter().all(|(_, reached)| *reached)
}

/// The median of some requests one after the other, in ms.
async fn timed(host: &Host, path: &str) -> f64 {
    let mut times = Vec::new();
    for _ in 0..20 {
        let begun = Instant::now();
        let answer = host.get(path).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        times.push(begun.elapsed());
    }
    ms(&times, 0.5)
}

/// Requests a second that it serves when it is always asked, and never more than it has instances
/// for.
async fn peak(host: &Arc<Host>, path: &str) -> f64 {
    let (over, served) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let mut clients = JoinSet::new();
    for _ in 0..16 {
        let url = format!("{}{path}", host.gateway());
        let (over, served) = (over.clone(), served.clone());
        clients.spawn(async move {
            while !over.load(Relaxed) {
                if let Ok(answer) = try_request(Method::GET, &url, &[], Vec::new()).await
                    && answer.status == 200
                {
                    served.fetch_add(1, Relaxed);
                }
            }
        });
    }
    tokio::time::sleep(LOOK).await;
    over.store(true, Relaxed);
    let served = served.load(Relaxed) as f64;
    clients.join_all().await;
    served / LOOK.as_secs_f64()
}

#[derive(Default)]
struct Asked {
    offered: u64,
    served: u64,
    refused: Vec<Duration>,
    other: Vec<String>,
}

/// Asks so many times a second, whatever comes of it.
async fn flood(host: &Arc<Host>, path: &str, rate: f64, time: Duration) -> Asked {
    let asked = Arc::new(Mutex::new(Asked::default()));
    let url = format!("{}{path}", host.gateway());
    let tracker = TaskTracker::new();
    let pacing = {
        let (asked, tracker, runtime) = (
            asked.clone(),
            tracker.clone(),
            tokio::runtime::Handle::current(),
        );
        tokio::task::spawn_blocking(move || {
            let (begun, between) = (Instant::now(), Duration::from_secs_f64(1.0 / rate));
            for turn in 0.. {
                let due = begun + between * turn;
                if due > begun + time {
                    return;
                }
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                let (asked, url) = (asked.clone(), url.clone());
                asked.lock().unwrap().offered += 1;
                tracker.spawn_on(
                    async move {
                        let sent = Instant::now();
                        let seen = try_request(Method::GET, &url, &[], Vec::new()).await;
                        let took = sent.elapsed();
                        let mut asked = asked.lock().unwrap();
                        match seen {
                            Ok(answer) if answer.status == 200 => asked.served += 1,
                            Ok(answer)
                                if answer.status == 503
                                    && !answer.header("retry-after").is_empty() =>
                            {
                                asked.refused.push(took)
                            }
                            Ok(answer) => asked.other.push(answer.text()),
                            Err(error) => asked.other.push(error),
                        }
                    },
                    &runtime,
                );
            }
        })
    };
    let _ = pacing.await;
    tracker.close();
    tracker.wait().await;
    std::mem::take(&mut *asked.lock().unwrap())
}

fn ms(times: &[Duration], share: f64) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    let at = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len().max(1)) - 1;
    times
        .get(at)
        .map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
}

/// Connections that were used once, and stay.
async fn idle(host: &Host, load: &Victim) -> bool {
    let quiet = load.look(LOOK).await;
    let mut connections = Vec::new();
    for _ in 0..IDLE {
        let mut stream = connect(host.gateway()).await;
        let sent = stream
            .write_all(b"GET /victim HTTP/1.1\r\nhost: idle\r\n\r\n")
            .await;
        assert!(sent.is_ok());
        connections.push(stream);
    }
    let during = load.look(LOOK).await;
    let open = connections.len();
    drop(connections);
    let after = load.look(LOOK).await;
    let pair = |seen: &Seen| format!("{:.1}/{:.1}", seen.ms(0.5), seen.ms(0.99));
    println!(
        "{open} idle connections: the neighbour, p50/p99 ms: before {}, beside them {}, after {}; failed {}",
        pair(&quiet),
        pair(&during),
        pair(&after),
        during.failed.len() + after.failed.len()
    );
    let reached = during.failed.is_empty()
        && after.failed.is_empty()
        && during.ms(0.99) <= quiet.ms(0.99) * 2.0;
    println!("  {}", if reached { "reached" } else { "not reached" });
    reached
}
