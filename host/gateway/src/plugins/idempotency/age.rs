//! The clock by which keys expire: the age of their file. While the host runs, it follows the
//! monotonic clock; over a restart, it advances by what has surely passed. A wall clock that is set
//! forward frees no key, and one that is set back keeps none for ever.

use serde::{Deserialize, Serialize};
use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The most that a reboot of the machine may add. 10 min: as long as a reboot takes. A longer
/// downtime only keeps keys longer, which does no harm; adding more would let a wrong clock free
/// them.
const MAX_REBOOT: Duration = Duration::from_secs(600);

/// The age of an open file.
#[derive(Debug)]
pub(super) struct Age {
    at_open_ms: u64,
    opened: Instant,
}

/// The stored part of an age, for the next start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Saved {
    age_ms: u64,
    moment: Moment,
}

/// A moment, by the machine's clocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Moment {
    /// Milliseconds since 1970, by a clock that anybody may set.
    pub wall_ms: u64,
    /// None if the system does not tell.
    pub boot: Option<Boot>,
}

/// A boot of the machine, and the time since then, including suspends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Boot {
    pub id: String,
    pub uptime_ms: u64,
}

impl Age {
    /// Continues from what was saved. A new file begins with the wall clock's time, only so that
    /// its times are readable.
    pub(super) fn at_open(saved: Option<Saved>, now: &Moment) -> Age {
        let at_open_ms = match saved {
            Some(saved) => saved.age_ms.saturating_add(now.since(&saved.moment)),
            None => now.wall_ms,
        };
        Age {
            at_open_ms,
            opened: Instant::now(),
        }
    }

    /// In milliseconds. Never goes back.
    pub(super) fn now_ms(&self) -> u64 {
        self.at(self.opened.elapsed())
    }

    fn at(&self, since_open: Duration) -> u64 {
        self.at_open_ms
            .saturating_add(since_open.as_millis() as u64)
    }

    pub(super) fn save(&self, moment: Moment) -> Saved {
        Saved {
            age_ms: self.now_ms(),
            moment,
        }
    }
}

impl Moment {
    pub(super) fn now() -> Moment {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Moment {
            wall_ms: since.map_or(0, |since| since.as_millis() as u64),
            boot: boot(),
        }
    }

    /// Milliseconds that have surely passed since `earlier`, or close to it.
    fn since(&self, earlier: &Moment) -> u64 {
        match (&self.boot, &earlier.boot) {
            (Some(now), Some(then)) if now.id == then.id => {
                now.uptime_ms.saturating_sub(then.uptime_ms)
            }
            _ => {
                let passed = self.wall_ms.saturating_sub(earlier.wall_ms);
                passed.min(MAX_REBOOT.as_millis() as u64)
            }
        }
    }
}

/// From Linux; proc(5).
fn boot() -> Option<Boot> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let seconds: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    Some(Boot {
        id: id.trim().to_owned(),
        uptime_ms: (seconds * 1000.0) as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 86_400_000;

    fn moment(wall_ms: u64, boot: Option<(&str, u64)>) -> Moment {
        let boot = boot.map(|(id, uptime_ms)| Boot {
            id: id.into(),
            uptime_ms,
        });
        Moment { wall_ms, boot }
    }

    /// How much older a file is after a restart.
    fn older(then: Moment, now: Moment) -> u64 {
        let saved = Saved {
            age_ms: 1000,
            moment: then,
        };
        Age::at_open(Some(saved), &now).at(Duration::ZERO) - 1000
    }

    #[test]
    fn clock_jump_across_a_restart_neither_frees_keys_nor_keeps_them_forever() {
        let now = 20_000 * DAY_MS;
        let reboot_ms = MAX_REBOOT.as_millis() as u64;
        for wall_ms in [now + 3650 * DAY_MS, now, now - 3650 * DAY_MS, 0] {
            // The host alone was started again: the machine knows how long it was away.
            let then = moment(now, Some(("a", 5_000)));
            assert_eq!(older(then, moment(wall_ms, Some(("a", 12_000)))), 7_000);
            // The machine was: the wall clock is all there is, and it is believed for some minutes
            // at most.
            for boots in [(Some(("a", 5_000)), Some(("b", 1))), (None, None)] {
                let passed = older(moment(now, boots.0), moment(wall_ms, boots.1));
                let expected = if wall_ms > now { reboot_ms } else { 0 };
                assert_eq!(passed, expected);
            }
        }
        let away = moment(now + 30_000, Some(("b", 1)));
        assert_eq!(older(moment(now, Some(("a", 5_000))), away), 30_000);
        // However the clock was set, what passes while the host runs is counted.
        let age = Age::at_open(None, &moment(0, None));
        assert_eq!(age.at(Duration::from_millis(DAY_MS)), DAY_MS);
    }

    #[test]
    fn machine_reports_since_when_it_runs() {
        let before = Moment::now();
        let after = Moment::now();
        assert!(after.since(&before) < 60_000);
        assert!(!cfg!(target_os = "linux") || before.boot.is_some());
    }
}
