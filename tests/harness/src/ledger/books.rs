//! What both windows say in the end, and whether they agree.

use super::Plan;
use super::clients::{Account, Done};
use super::kills::Kills;
use crate::{Host, PATIENCE};
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

/// Differences that are listed; the others are counted.
const LISTED: usize = 20;

/// What was seen of a run.
#[derive(Debug, Default)]
pub struct Report {
    pub(super) plan: Plan,
    pub(super) emitted_in: Duration,
    pub(super) all_in: Duration,
    pub(super) kills: Kills,
    /// When the last was emitted.
    pub(super) undelivered: u64,
    pub(super) transactions: u64,
    pub(super) cut: u64,
    pub(super) cut_committed: u64,
    pub(super) refused: u64,
    pub(super) emitted: Account,
    pub(super) booked: Account,
    pub(super) repeats: u64,
    /// What is lost, doubled, misplaced or parked. Empty if all is well.
    pub differences: Vec<String>,
}

/// Events that the subscription has not finished.
pub(super) async fn lag(host: &Host) -> u64 {
    of_subscription(host, "lag").await
}

async fn of_subscription(host: &Host, what: &str) -> u64 {
    let sample = format!(r#"hms_subscription_{what}{{window="ledger",name="all"}}"#);
    host.metric(&sample).await.unwrap_or(u64::MAX)
}

async fn totals(host: &Host) -> BTreeMap<String, i64> {
    let answer = host.get("/ledger/totals").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.read()
}

fn of(totals: &BTreeMap<String, i64>, name: &str) -> i64 {
    totals.get(name).copied().unwrap_or_default()
}

/// Waits until every event is booked and finished, or nothing happens any more. Whether they are.
pub(super) async fn settled(host: &mut Host, events: u64) -> bool {
    let mut last = (0, 0);
    let mut since = Instant::now();
    loop {
        let now = (of(&totals(host).await, "effects"), lag(host).await);
        if now.0 as u64 >= events && now.1 == 0 {
            return true;
        }
        if now != last {
            (last, since) = (now, Instant::now());
        } else if since.elapsed() > PATIENCE {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl Report {
    /// Compares what the clients know, what the emitter has counted and what the ledger has booked.
    pub(super) async fn compare(&mut self, host: &mut Host, settled: bool, done: Vec<Done>) {
        if !settled {
            let left = lag(host).await;
            self.differ(format!("deliveries stand still with {left} events left"));
        }
        let mut expected = BTreeMap::new();
        for client in done {
            self.transactions += client.transactions;
            self.cut += client.cut;
            self.cut_committed += client.cut_committed;
            self.refused += client.refused;
            self.differences.extend(client.differences);
            expected.extend(client.accounts);
        }
        for account in expected.values() {
            self.emitted.entries += account.entries;
            self.emitted.sum += account.sum;
        }
        self.of_emitter(host, "total", self.emitted).await;
        for (name, account) in &expected {
            self.of_emitter(host, name, *account).await;
        }
        self.of_ledger(host, &expected).await;
        for what in ["parked", "paused", "in_flight", "blocked_keys"] {
            match of_subscription(host, what).await {
                0 => {}
                count => self.differ(format!("the subscription is left with {what} {count}")),
            }
        }
        self.of_restart(host).await;
    }

    fn differ(&mut self, what: String) {
        self.differences.push(what);
    }

    async fn of_emitter(&mut self, host: &Host, name: &str, expected: Account) {
        let keys = match name {
            "total" => ["total.entries".to_owned(), "total.sum".to_owned()],
            name => [format!("entries.{name}"), format!("sum.{name}")],
        };
        let wanted = [expected.entries as i64, expected.sum];
        for (key, wanted) in keys.iter().zip(wanted) {
            let found = host.get(&format!("/emitter/key/{key}")).await.text();
            if found != wanted.to_string() {
                self.differ(format!("the emitter has {key} {found}, not {wanted}"));
            }
        }
    }

    async fn of_ledger(&mut self, host: &Host, expected: &BTreeMap<String, Account>) {
        let answer = host.get("/ledger/accounts").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let accounts: BTreeMap<String, Account> = answer.read();
        for (name, wanted) in expected {
            let found = accounts.get(name).copied().unwrap_or_default();
            if found != *wanted {
                self.differ(format!("account {name} is {found:?}, not {wanted:?}"));
            }
        }
        for name in accounts.keys().filter(|name| !expected.contains_key(*name)) {
            self.differ(format!("account {name} is nobody's"));
        }
        let totals = totals(host).await;
        self.repeats = of(&totals, "repeats") as u64;
        self.booked = Account {
            entries: of(&totals, "effects") as u64,
            sum: of(&totals, "sum"),
            wrong: accounts.values().map(|account| account.wrong).sum(),
        };
        if self.booked != self.emitted {
            let (booked, emitted) = (self.booked, self.emitted);
            self.differ(format!("booked is {booked:?}, emitted {emitted:?}"));
        }
    }

    /// A host that ended in peace delivers nothing again.
    async fn of_restart(&mut self, host: &mut Host) {
        let before = totals(host).await;
        if !host.terminate().await.success() {
            self.differ("the host does not end in peace".into());
        }
        host.boot().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let after = totals(host).await;
        if before != after || lag(host).await != 0 {
            self.differ(format!("after a restart {after:?}, not {before:?}"));
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { plan, kills, .. } = self;
        let of = |account: &Account| format!("{} events, sum {}", account.entries, account.sum);
        writeln!(
            f,
            "{} events in {} transactions of {} clients; seed {}{}",
            plan.events,
            self.transactions,
            plan.clients,
            plan.seed,
            if plan.faults { ", with faults" } else { "" }
        )?;
        let amid = kills.starting;
        writeln!(
            f,
            "  kills         {}, and {amid} more amid a start",
            kills.serving
        )?;
        writeln!(
            f,
            "  cut off       {} requests, of which {} were committed; {} answered with 5xx",
            self.cut, self.cut_committed, self.refused
        )?;
        writeln!(
            f,
            "  redelivered   {} deliveries of events that were booked already",
            self.repeats
        )?;
        writeln!(
            f,
            "  time          {:.1} s to emit all, with {} left to deliver; {:.1} s until all were",
            self.emitted_in.as_secs_f64(),
            self.undelivered,
            self.all_in.as_secs_f64()
        )?;
        writeln!(f, "  emitted       {}", of(&self.emitted))?;
        writeln!(f, "  booked        {}", of(&self.booked))?;
        match self.differences.len() {
            0 => write!(f, "  differences   none"),
            count => {
                write!(f, "  differences   {count}")?;
                for difference in self.differences.iter().take(LISTED) {
                    write!(f, "\n    {difference}")?;
                }
                Ok(())
            }
        }
    }
}
