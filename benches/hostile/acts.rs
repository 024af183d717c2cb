//! Each act of the table at length, and what its neighbour and the host's memory make of it.

use super::harness::Host;
use super::harness::hostile::Act;
use super::harness::process::{cpu, held};
use super::victim::{Seen, Victim};
use http::Method;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Clients that ask for the act again and again.
const AT_ONCE: usize = 8;

/// The longest that memory may take to come back.
const BACK: Duration = Duration::from_secs(30);

/// How much more than before counts as back.
const MARGIN: f64 = 1.10;

/// How often memory is looked at.
const EVERY: Duration = Duration::from_millis(100);

/// The neighbour's 99th percentile beside it, against its own when quiet.
const TIMES: f64 = 2.0;

/// What came of one act.
pub struct Row {
    pub name: &'static str,
    asked: u64,
    wrong: Vec<String>,
    reason: Option<(&'static str, u64)>,
    quiet: Seen,
    during: Seen,
    /// MiB of resident memory: before, at most, and at the end.
    memory: [f64; 3],
    /// Until memory was back; none where it was not.
    back: Option<Duration>,
    /// Shares of one processor.
    host: f64,
    generator: f64,
}

/// Does it for `time`, after and before a quiet half of that.
pub async fn run(host: &Arc<Host>, victim: &Victim, act: &'static Act, time: Duration) -> Row {
    let mut quiet = victim.look(time / 2).await;
    let counted = count(host, act).await;
    let before = resident(host);
    let (over, asked) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let mut clients = JoinSet::new();
    let (begun, cpu_before) = (Instant::now(), (cpu(host.pid()), cpu(std::process::id())));
    victim.take();
    for _ in 0..AT_ONCE {
        let (host, over, asked) = (host.clone(), over.clone(), asked.clone());
        clients.spawn(async move {
            let mut wrong = Vec::new();
            while !over.load(Relaxed) {
                let seen = act.once(&host).await;
                asked.fetch_add(1, Relaxed);
                wrong.extend(act.check(&seen).err());
                // A client asks again, but not as fast as the machine can: its own cost is not what is measured.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            wrong
        });
    }
    let mut peak = before;
    while begun.elapsed() < time {
        tokio::time::sleep(EVERY).await;
        peak = peak.max(resident(host));
    }
    let during = victim.take();
    let seconds = begun.elapsed().as_secs_f64();
    let spent = (
        (cpu(host.pid()) - cpu_before.0).own / seconds,
        (cpu(std::process::id()) - cpu_before.1).own / seconds,
    );
    over.store(true, Relaxed);
    let wrong: Vec<String> = clients.join_all().await.into_iter().flatten().collect();
    let ended = Instant::now();
    let back = loop {
        let now = resident(host);
        peak = peak.max(now);
        if now <= before * MARGIN {
            break Some(ended.elapsed());
        }
        if ended.elapsed() >= BACK {
            break None;
        }
        tokio::time::sleep(EVERY).await;
    };
    quiet.add(victim.look(time / 2).await);
    let counted = count(host, act).await - counted;
    Row {
        name: act.name,
        asked: asked.load(Relaxed),
        wrong,
        reason: act.reason.map(|reason| (reason, counted)),
        quiet,
        during,
        memory: [before, peak, resident(host)],
        back,
        host: spent.0,
        generator: spent.1,
    }
}

fn resident(host: &Host) -> f64 {
    held(host.pid()).rss_kib as f64 / 1024.0
}

async fn count(host: &Host, act: &Act) -> u64 {
    let path = format!("/windows/{}", act.window);
    let shown = host.admin(Method::GET, &path, "").await.json();
    let reason = act.reason.unwrap_or_default();
    shown["window"]["failures"][reason].as_u64().unwrap_or(0)
}

impl Row {
    pub fn head() {
        println!(
            "{:<48}{:>7}  {:<34}{:>12}{:>14}{:>6}{:>19}{:>7}{:>6}{:>6}  verdict",
            "what the guest does",
            "times",
            "counted as",
            "p50 ms q/d",
            "p99 ms q/d",
            "ratio",
            "MiB before/peak/end",
            "back s",
            "host",
            "gen."
        );
    }

    /// What was not as it must be.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if let Some(wrong) = self.wrong.first() {
            faults.push(format!("{} outcomes: {wrong}", self.wrong.len()));
        }
        if let Some((reason, counted)) = self.reason
            && counted < self.asked
        {
            faults.push(format!("{reason} counted {counted} of {}", self.asked));
        }
        let failed = self.quiet.failed.iter().chain(&self.during.failed);
        if let Some(error) = failed.clone().next() {
            faults.push(format!(
                "{} of the neighbour failed: {error}",
                failed.count()
            ));
        }
        if self.ratio() > TIMES {
            faults.push(format!("p99 over {TIMES} times"));
        }
        if self.back.is_none() {
            faults.push("memory not back".into());
        }
        faults
    }

    fn ratio(&self) -> f64 {
        self.during.ms(0.99) / self.quiet.ms(0.99)
    }

    pub fn print(&self) {
        let reason = self.reason.map_or("-".into(), |(reason, counted)| {
            format!("{reason} {counted}")
        });
        let pair = |share| format!("{:.1}/{:.1}", self.quiet.ms(share), self.during.ms(share));
        let [before, peak, end] = self.memory;
        let back = self
            .back
            .map_or("-".into(), |back| format!("{:.1}", back.as_secs_f64()));
        let faults = self.faults();
        println!(
            "{:<48}{:>7}  {:<34}{:>12}{:>14}{:>6.2}{:>19}{:>7}{:>5.0}%{:>5.0}%  {}",
            self.name,
            self.asked,
            reason,
            pair(0.5),
            pair(0.99),
            self.ratio(),
            format!("{before:.0}/{peak:.0}/{end:.0}"),
            back,
            self.host * 100.0,
            self.generator * 100.0,
            if faults.is_empty() {
                "reached".into()
            } else {
                faults.join("; ")
            }
        );
    }
}
