//! The ends of the host: each by SIGKILL, at a random time.

use super::Plan;
use crate::dice::Dice;
use crate::{Host, PATIENCE};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tokio::sync::watch::Sender;
use tokio::time::sleep;

/// The log of a host that is killed is read by nobody.
const LOG: [(&str, &str); 1] = [("HMS_LOG", "warn")];

/// How often the host was killed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kills {
    /// While it served.
    pub serving: u32,
    /// While it started after another.
    pub starting: u32,
}

/// Kills the host at random numbers of emitted events.
pub(super) async fn during(
    host: &mut Host,
    plan: &Plan,
    dice: &mut Dice,
    gateway: &Sender<Option<String>>,
    acknowledged: &AtomicU64,
) -> Kills {
    let mut killed = Kills::default();
    let during = plan.kills - plan.kills / 4;
    let mut marks: Vec<u64> = (0..during).map(|_| dice.below(plan.events)).collect();
    marks.sort_unstable();
    for mark in marks {
        let (mut last, mut since) = (0, Instant::now());
        loop {
            let now = acknowledged.load(SeqCst);
            if now >= mark {
                break;
            }
            if now != last {
                (last, since) = (now, Instant::now());
            }
            // A client that gives up says why, once it is asked.
            if since.elapsed() > PATIENCE * 3 {
                return killed;
            }
            sleep(Duration::from_millis(1)).await;
        }
        kill(host, dice, gateway, &mut killed).await;
    }
    killed
}

/// Kills the host the other times, when all is emitted and some of it is not delivered.
pub(super) async fn after(
    host: &mut Host,
    plan: &Plan,
    dice: &mut Dice,
    gateway: &Sender<Option<String>>,
    killed: &mut Kills,
) {
    for _ in 0..plan.kills / 4 {
        sleep(Duration::from_millis(dice.below(300))).await;
        kill(host, dice, gateway, killed).await;
    }
}

async fn kill(
    host: &mut Host,
    dice: &mut Dice,
    gateway: &Sender<Option<String>>,
    killed: &mut Kills,
) {
    sleep(Duration::from_micros(dice.below(20_000))).await;
    gateway.send_replace(None);
    host.kill();
    killed.serving += 1;
    if dice.below(4) == 0 {
        host.open(&LOG).await;
        sleep(Duration::from_millis(dice.below(300))).await;
        host.kill();
        killed.starting += 1;
    }
    host.boot_with(&LOG).await;
    gateway.send_replace(Some(host.gateway().to_owned()));
}
