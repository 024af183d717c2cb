//! Clients that send their bodies slowly, beside a neighbour window and beside the quick clients of
//! the same window.

use super::victim::{Seen, Victim};
use hms_api::WindowState;
use hms_harness::hostile;
use hms_harness::{Host, eventually};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Slow clients at once.
const CLIENTS: usize = 200;

/// Those that send one byte of each upload and come back as often as they are ended. More than the
/// window's instances and its queue.
const COMING_BACK: usize = 900;

/// What each of them uploads, and the pieces that it comes in: 5 kB a second.
const UPLOAD: usize = 1_000_000;
const PIECE: usize = 1000;
const PAUSE: Duration = Duration::from_millis(200);

/// How long the quiet looks take.
const LOOK: Duration = Duration::from_secs(10);

/// The instances of a window by default, of which half may wait for clients.
const INSTANCES: u64 = 384;

/// The 99th percentile of the others beside them, against the quiet one: times, and ms that a busy
/// machine adds to the little that it is.
const TIMES: f64 = 2.0;
const ADDED_MS: f64 = 2.0;

/// What the slow clients were answered: a status, or that there was no answer.
type AnswerCounts = Arc<Mutex<BTreeMap<String, usize>>>;

/// What slow clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Drip,
    ComeBack,
}

impl Kind {
    fn clients(self) -> usize {
        match self {
            Kind::Drip => CLIENTS,
            Kind::ComeBack => COMING_BACK,
        }
    }

    fn what(self) -> &'static str {
        match self {
            Kind::Drip => "uploads of 1 MB at 5 kB a second",
            Kind::ComeBack => "clients that send a byte of 1 MB and come back as they are ended",
        }
    }
}

/// Prints the figures, and says whether each mark was reached.
pub async fn run(victim: &[u8], time: Duration) -> bool {
    let mut reached = true;
    for kind in [Kind::Drip, Kind::ComeBack] {
        reached &= beside(victim, time, kind).await;
    }
    reached
}

/// The same for slow clients of one kind.
async fn beside(victim: &[u8], time: Duration, kind: Kind) -> bool {
    let host = Arc::new(hostile::host(victim, &[]).await);
    // As it is by default: what slow clients do must not trip it.
    let set = host.cli("limits", &["prober", "--failures", "10"]).await;
    assert!(set.status.success(), "{set:?}");
    let neighbour = Victim::start(format!("{}/victim", host.gateway())).await;
    let quick = Victim::start(format!("{}/prober/status?code=200", host.gateway())).await;
    let loads = [("the neighbour", &neighbour), ("the same window", &quick)];
    look(&loads, Duration::from_secs(3)).await;
    let before = look(&loads, LOOK).await;

    let (over, counts) = (Arc::new(AtomicBool::new(false)), AnswerCounts::default());
    let mut clients = JoinSet::new();
    for _ in 0..kind.clients() {
        let gateway = host.gateway().to_owned();
        clients.spawn(client(gateway, over.clone(), counts.clone(), kind));
    }
    let held = watch(&host, &over);
    let during = look(&loads, time).await;
    over.store(true, Relaxed);
    let held = held.await;
    clients.join_all().await;
    eventually("their instances are gone", || async {
        (leases(&host).await < 20).then_some(())
    })
    .await;
    let after = look(&loads, LOOK).await;
    let state = host.window("prober").await.state;

    let seconds = time.as_secs();
    let (number, what) = (kind.clients(), kind.what());
    println!("\nslow clients: {number} {what}, for {seconds} s");
    println!("  they were answered {:?}", counts.lock().unwrap());
    println!("  instances of the window at work: at most {held} of {INSTANCES}");
    let mut marks = vec![("the window is open", state == WindowState::Open)];
    // Where they come back, those that are at their end or in the queue count here too.
    if kind == Kind::Drip {
        marks.push((
            "half of the instances at most wait",
            held <= INSTANCES / 2 + 20,
        ));
    }
    for (((name, _), before), (during, after)) in
        loads.iter().zip(&before).zip(during.iter().zip(&after))
    {
        let pair = |seen: &Seen| format!("{:.1}/{:.1}", seen.ms(0.5), seen.ms(0.99));
        println!(
            "  {name}, p50/p99 ms: before {}, during {}, after {}; failed {}, {}, {}{}",
            pair(before),
            pair(during),
            pair(after),
            before.failed.len(),
            during.failed.len(),
            after.failed.len(),
            during
                .failed
                .first()
                .map_or(String::new(), |error| format!(" ({error})")),
        );
        let failed = during.failed.len() + after.failed.len();
        marks.push(("nobody else is refused", failed == 0));
        let most = (before.ms(0.99) * TIMES).max(before.ms(0.99) + ADDED_MS);
        marks.push(("their p99 is within twice", during.ms(0.99) <= most));
    }
    for (mark, reached) in &marks {
        let verdict = if *reached { "reached" } else { "not reached" };
        println!("  {mark}: {verdict}");
    }
    neighbour.stop().await;
    quick.stop().await;
    marks.iter().all(|(_, reached)| *reached)
}

/// What all of them see at the same time.
async fn look(loads: &[(&str, &Victim)], time: Duration) -> Vec<Seen> {
    for (_, load) in loads {
        load.take();
    }
    tokio::time::sleep(time).await;
    loads.iter().map(|(_, load)| load.take()).collect()
}

async fn leases(host: &Host) -> u64 {
    host.window("prober").await.leases as u64
}

/// The most requests that the window has at work until it is over.
fn watch(host: &Arc<Host>, over: &Arc<AtomicBool>) -> impl Future<Output = u64> + use<> {
    let (host, over) = (host.clone(), over.clone());
    let watching = tokio::spawn(async move {
        let mut most = 0;
        while !over.load(Relaxed) {
            most = most.max(leases(&host).await);
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        most
    });
    async { watching.await.unwrap_or_default() }
}

/// Uploads one after the other until it is over.
async fn client(gateway: String, over: Arc<AtomicBool>, counts: AnswerCounts, kind: Kind) {
    while !over.load(Relaxed) {
        let answer = match upload(&gateway, &over, kind).await {
            Ok(Some(answer)) => answer,
            Ok(None) => return,
            Err(error) => error.kind().to_string(),
        };
        *counts.lock().unwrap().entry(answer).or_default() += 1;
        if kind == Kind::Drip {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// The status of the answer; nothing where there was none before it was over.
async fn upload(gateway: &str, over: &AtomicBool, kind: Kind) -> std::io::Result<Option<String>> {
    let authority = gateway.trim_start_matches("http://");
    let stream = TcpStream::connect(authority).await?;
    let (mut reader, mut writer) = stream.into_split();
    let head = format!(
        "POST /prober/read HTTP/1.1\r\nhost: slow\r\nconnection: close\r\ncontent-length: {UPLOAD}\r\n\r\n"
    );
    writer.write_all(head.as_bytes()).await?;
    let mut answer = [0; 12];
    let begun = Instant::now();
    let mut sent = match kind {
        Kind::Drip => 0,
        Kind::ComeBack => {
            writer.write_all(b"x").await?;
            UPLOAD
        }
    };
    while !over.load(Relaxed) {
        if sent < UPLOAD && begun.elapsed() >= PAUSE * (sent / PIECE) as u32 {
            // Whoever was answered already is told so by the read.
            let _ = writer.write_all(&[b'x'; PIECE]).await;
            sent += PIECE;
        }
        let read = tokio::time::timeout(PAUSE / 4, reader.read_exact(&mut answer)).await;
        if let Ok(read) = read {
            read?;
            return Ok(Some(String::from_utf8_lossy(&answer[9..]).into_owned()));
        }
    }
    Ok(None)
}
