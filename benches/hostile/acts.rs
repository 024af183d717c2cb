//! Each act of the table at length, and what its neighbour and the host's memory make of it.

use super::attack::{AT_ONCE, Attack, Report};
use super::victim::{Seen, Victim};
use hms_harness::Host;
use hms_harness::hostile::Act;
use hms_harness::process::{Cpu, Peak, cpu, held};
use std::time::{Duration, Instant};

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
    clients: Report,
    reason: Option<(&'static str, u64)>,
    pub quiet: Seen,
    during: Seen,
    /// MiB of resident memory: before, at most, and at the end.
    memory: [f64; 3],
    /// MiB by which it may grow.
    most: f64,
    /// Until memory was back; none where it was not.
    back: Option<Duration>,
    /// Shares of one processor: the host, and the clients with the neighbour's load.
    host: f64,
    generator: f64,
}

/// Does it for `time`, after and before a quiet half of that.
pub async fn run(host: &Host, victim: &Victim, act: &'static Act, time: Duration) -> Row {
    let mut quiet = victim.look(time / 2).await;
    let counted = count(host, act).await;
    let peak = Peak::since_now(host.pid());
    let before = peak.before_mib();
    let attack = Attack::start(host, act, time);
    let (begun, pids) = (Instant::now(), [std::process::id(), attack.pid()]);
    let (host_cpu, cpu_before) = (cpu(host.pid()), pids.map(cpu));
    victim.take();
    tokio::time::sleep(time).await;
    let during = victim.take();
    let share = |now: Cpu, before: Cpu| (now - before).own / begun.elapsed().as_secs_f64();
    let host_share = share(cpu(host.pid()), host_cpu);
    let generator = share(cpu(pids[0]), cpu_before[0]) + share(cpu(pids[1]), cpu_before[1]);
    let clients = attack.report().await;
    let ended = Instant::now();
    let back = loop {
        let now = resident(host);
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
        most: act.most_mib(AT_ONCE),
        clients,
        reason: act.reason.map(|reason| (reason, counted)),
        quiet,
        during,
        memory: [before, peak.mib(), resident(host)],
        back,
        host: host_share,
        generator,
    }
}

fn resident(host: &Host) -> f64 {
    held(host.pid()).rss_kib as f64 / 1024.0
}

async fn count(host: &Host, act: &Act) -> u64 {
    let reason = act.reason.unwrap_or_default();
    host.failures(act.window, reason).await
}

impl Row {
    pub fn head() {
        println!(
            "{:<48}{:>7}  {:<34}{:>12}{:>14}{:>6}{:>19}{:>12}{:>7}{:>6}{:>6}  verdict",
            "what the guest does",
            "times",
            "counted as",
            "p50 ms q/d",
            "p99 ms q/d",
            "ratio",
            "MiB before/peak/end",
            "grown/most",
            "back s",
            "host",
            "gen."
        );
    }

    /// What was not as it must be.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if let Some(wrong) = self.clients.told.first() {
            faults.push(format!("{} outcomes: {wrong}", self.clients.wrong));
        }
        if let Some((reason, counted)) = self.reason
            && counted < self.clients.asked
        {
            faults.push(format!(
                "{reason} counted {counted} of {}",
                self.clients.asked
            ));
        }
        let failed = self.quiet.failed.iter().chain(&self.during.failed);
        if let Some(error) = failed.clone().next() {
            faults.push(format!(
                "{} of the neighbour failed: {error}",
                failed.count()
            ));
        }
        let [before, peak, _] = self.memory;
        if peak - before > self.most {
            faults.push(format!("memory over {:.0} MiB", self.most));
        }
        if self.back.is_none() {
            faults.push("memory not back".into());
        }
        faults
    }

    /// With `quiet`, all that the neighbour saw without any act: of its own seconds alone the 99th
    /// percentile is half chance.
    pub fn print(&self, quiet: &Seen) -> bool {
        let ratio = self.during.ms(0.99) / quiet.ms(0.99);
        let reason = self.reason.map_or("-".into(), |(reason, counted)| {
            format!("{reason} {counted}")
        });
        let pair = |share| format!("{:.1}/{:.1}", self.quiet.ms(share), self.during.ms(share));
        let [before, peak, end] = self.memory;
        let back = self
            .back
            .map_or("-".into(), |back| format!("{:.1}", back.as_secs_f64()));
        let mut faults = self.faults();
        if ratio > TIMES {
            faults.push(format!("p99 over {TIMES} times"));
        }
        println!(
            "{:<48}{:>7}  {:<34}{:>12}{:>14}{:>6.2}{:>19}{:>12}{:>7}{:>5.0}%{:>5.0}%  {}",
            self.name,
            self.clients.asked,
            reason,
            pair(0.5),
            pair(0.99),
            ratio,
            format!("{before:.0}/{peak:.0}/{end:.0}"),
            format!("{:.0}/{:.0}", peak - before, self.most),
            back,
            self.host * 100.0,
            self.generator * 100.0,
            if faults.is_empty() {
                "reached".into()
            } else {
                faults.join("; ")
            }
        );
        faults.is_empty()
    }
}
