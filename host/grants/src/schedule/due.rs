//! What is to be run now, of a schedule that may not have been looked at for long.

use super::clock::Clock;
use super::{Missed, Schedule};
use sha2::{Digest, Sha256};

/// A run that begins later than this after its time was missed. Expressions go by the minute.
const ON_TIME_MS: u64 = 60_000;

/// Runs that one look gives at most; the next look goes on after them.
pub const MAX_RUNS: usize = 1_000;

/// Occurrences left out are counted up to this number.
pub const MAX_COUNTED: usize = 1_000;

/// A last run that is further ahead than this was made by a clock that was wrong.
const MAX_AHEAD_MS: u64 = 24 * 3_600_000;

/// One time of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrence {
    /// Unlike that of every other occurrence of the window: `nightly@2026-10-25T02:30:00+02:00`.
    pub name: String,
    /// The time that the expression says, without the delay, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// What there is to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// What is run now, in order.
    pub run: Vec<Occurrence>,
    /// How many were left out, at most [`MAX_COUNTED`].
    pub skipped: usize,
    /// The time of the last one that was left out.
    pub last_skipped_ms: Option<u64>,
    /// What to say as `last_ms` at the next look: the time of the last occurrence that is run or
    /// left out by this one. Kept in the same commit as the runs.
    pub last_ms: u64,
    /// When to look again, in milliseconds since the epoch. None: it never comes again.
    pub next_ms: Option<u64>,
}

impl Schedule {
    /// The first time after `ms`, without the delay, both in milliseconds since the epoch. None
    /// where it never comes again.
    pub fn next_after(&self, ms: u64) -> Option<u64> {
        self.clock()?.next_after(ms)
    }

    /// The times after `after_ms` and up to `until_ms`, at most `most`.
    pub fn occurrences_between(&self, after_ms: u64, until_ms: u64, most: usize) -> Vec<u64> {
        let clock = self.clock();
        let between = clock
            .iter()
            .flat_map(|clock| between(clock, after_ms, until_ms));
        between.take(most).collect()
    }

    /// How much later than the expression says it is run, in milliseconds: a share of `jitter` that
    /// is the same on every host and at every run.
    pub fn delay_ms(&self, window: &str) -> u64 {
        let jitter = u64::try_from(self.jitter.as_millis()).unwrap_or(u64::MAX);
        let digest = Sha256::digest(format!("{window}\0{}", self.name));
        let first = digest.first_chunk().copied().unwrap_or_default();
        u64::from_be_bytes(first) % jitter.saturating_add(1)
    }

    /// What this schedule of `window` has to run at `now_ms`, and what is left out by `missed` and
    /// `within`. `last_ms` is [`Due::last_ms`] of the last look; at the first one it is the time at
    /// which the schedule was declared.
    ///
    /// What is on time is run whatever `missed` says. With `missed: last` only the last one that is
    /// due is run, also where another was missed just before.
    pub fn due(&self, window: &str, last_ms: u64, now_ms: u64) -> Due {
        let none = Due {
            last_ms,
            ..Due::default()
        };
        let Some(clock) = self.clock() else {
            return none;
        };
        let delay = self.delay_ms(window);
        let last_ms = match last_ms > now_ms.saturating_add(MAX_AHEAD_MS) {
            true => now_ms,
            false => last_ms,
        };
        // Occurrences up to here are due.
        let until = now_ms.saturating_sub(delay);
        let later = |ms: u64| clock.next_after(ms).map(|at| at.saturating_add(delay));
        let Some(newest) = last_between(&clock, last_ms, until) else {
            return Due {
                last_ms,
                next_ms: later(last_ms),
                ..none
            };
        };
        let within = u64::try_from(self.within.as_millis()).unwrap_or(u64::MAX);
        let allowed = match self.missed {
            Missed::Skip => ON_TIME_MS,
            Missed::Last | Missed::All => within.max(ON_TIME_MS),
        };
        // What comes after this is still run.
        let oldest = last_ms.max(until.saturating_sub(allowed));
        let run: Vec<u64> = match self.missed {
            Missed::All => between(&clock, oldest, until).take(MAX_RUNS).collect(),
            Missed::Last | Missed::Skip => {
                (newest > oldest).then_some(newest).into_iter().collect()
            }
        };
        let (first, seen) = match run.last() {
            Some(last) => (run.first().copied(), *last),
            None => (None, newest),
        };
        // All of these were missed: those before the first one that is run, or all.
        let skipped_until = first.map_or(newest, |first| first.saturating_sub(1));
        let skipped = between(&clock, last_ms, skipped_until).take(MAX_COUNTED);
        let skipped = skipped.count();
        let last_skipped_ms = match skipped {
            0 => None,
            _ => last_between(&clock, last_ms, skipped_until),
        };
        let next_ms = match seen < newest {
            true => Some(now_ms),
            false => later(seen),
        };
        Due {
            skipped,
            last_skipped_ms,
            last_ms: seen,
            next_ms,
            run: run
                .iter()
                .filter_map(|at| self.occurrence(&clock, *at))
                .collect(),
        }
    }

    fn occurrence(&self, clock: &Clock, at_ms: u64) -> Option<Occurrence> {
        let at = clock.written(at_ms)?;
        let name = format!("{}@{at}", self.name);
        Some(Occurrence { name, at_ms })
    }

    /// None where what the file says is not checked, which the reader of the file does.
    fn clock(&self) -> Option<Clock> {
        Clock::new(&self.cron, &self.time_zone).ok()
    }
}

fn between(clock: &Clock, after_ms: u64, until_ms: u64) -> impl Iterator<Item = u64> + use<'_> {
    let next = move |at: &u64| clock.next_after(*at).filter(|at| *at <= until_ms);
    std::iter::successors(next(&after_ms), next)
}

/// The last one after `after_ms` and up to `until_ms`. Looks back from the end, so that what came
/// often in a long time is not counted through.
fn last_between(clock: &Clock, after_ms: u64, until_ms: u64) -> Option<u64> {
    if after_ms >= until_ms {
        return None;
    }
    let mut span = ON_TIME_MS;
    loop {
        let from = after_ms.max(until_ms.saturating_sub(span));
        if let Some(last) = between(clock, from, until_ms).last() {
            return Some(last);
        }
        if from == after_ms {
            return None;
        }
        span = span.saturating_mul(2);
    }
}

#[cfg(test)]
mod tests;
