//! Events through two windows while the host is killed again and again, and whether the books of
//! both agree in the end.
//!
//! [`clients`] have the window `emitter` emit entries of accounts: in each transaction some entries
//! of one account, numbered without gaps, and what it comes to is added to counters. [`kills`] ends
//! the host meanwhile. A request that is cut off is sent again with the same `once` key, so that
//! its transaction is committed once. The window `ledger` books every entry that is delivered to
//! it. An account whose entries were not booked 1, 2, 3, each once, is wrong for good; so [`books`]
//! compares a few numbers and has looked at every event.

mod books;
mod clients;
mod kills;

pub use books::Report;

use crate::dice::Dice;
use crate::{Host, guest};
use clients::Client;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What is done to two windows.
#[derive(Debug, Clone)]
pub struct Plan {
    pub events: u64,
    /// Kills of the host, three quarters of them while events are emitted. Some are followed by a
    /// further one amid the start.
    pub kills: u32,
    pub clients: u64,
    /// Of all random choices. What the clients send is the same for the same seed; what a kill
    /// meets is not.
    pub seed: u64,
    /// The window that gets the events often traps, or answers 503.
    pub faults: bool,
}

/// The gateway, and none while the host does not run: another process may have its port by then.
type Gateway = watch::Receiver<Option<String>>;

/// Runs it to the end, with a host of its own.
pub async fn run(plan: &Plan) -> Report {
    let windows = [
        ("emitter", guest("emitter").await),
        ("ledger", guest("ledger").await),
    ];
    let windows = windows
        .each_ref()
        .map(|(name, wasm)| (*name, wasm.as_slice()));
    let mut host = Host::with_open_windows(&windows).await;
    host.write_grants("ledger", &subscription(plan));

    let begun = Instant::now();
    let (opened, gateway) = watch::channel(Some(host.gateway().to_owned()));
    let acknowledged = Arc::<AtomicU64>::default();
    let mut clients = JoinSet::new();
    for number in 0..plan.clients {
        let extra = u64::from(number < plan.events % plan.clients);
        let share = plan.events / plan.clients + extra;
        let client = Client::new(plan.seed, number, gateway.clone(), acknowledged.clone());
        clients.spawn(client.emit(share));
    }
    let mut dice = Dice(plan.seed);
    let mut killed = kills::during(&mut host, plan, &mut dice, &opened, &acknowledged).await;
    let done = clients.join_all().await;
    let emitted_in = begun.elapsed();
    let undelivered = books::lag(&host).await;
    kills::after(&mut host, plan, &mut dice, &opened, &mut killed).await;
    let settled = books::settled(&mut host, plan.events).await;
    let mut report = Report {
        plan: plan.clone(),
        emitted_in,
        all_in: begun.elapsed(),
        kills: killed,
        undelivered,
        ..Report::default()
    };
    report.compare(&mut host, settled, done).await;
    report
}

fn subscription(plan: &Plan) -> String {
    let to = if plan.faults { "/book/wrong" } else { "/book" };
    format!(
        "subscriptions:\n  all:\n    from: [emitter]\n    to: {to}\n    start: earliest\n    \
         concurrency: 32\n    retry: {{first: 100ms, max: 1s}}\n"
    )
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            events: 100_000,
            kills: 30,
            clients: 16,
            seed: 1,
            faults: false,
        }
    }
}
