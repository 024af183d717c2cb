//! The counter of one caller on one route.

use super::Rule;
use super::bucket::Bucket;
use super::log::{Log, Reading};
use std::time::Duration;

/// The log and the bucket of one caller, or of several that are counted together. Times are
/// relative to any fixed moment.
#[derive(Clone, Default)]
pub(super) struct Entry {
    log: Log,
    bucket: Bucket,
    /// When the last admission in the log stops counting.
    ends: Duration,
}

impl Entry {
    /// Counts a request at `now`, or refuses it. Also returns how many more would be admitted at
    /// once, if there is a `burst`.
    pub(super) fn admit(&mut self, rule: &Rule, now: Duration) -> (Reading, Option<u64>) {
        // Under the lock, so that times do not go back for this log.
        let now = now.max(self.log.ends(Duration::ZERO));
        let wait = self.bucket.wait(rule, now);
        let reading = if wait.is_zero() {
            let reading = self.log.admit(rule.limit, rule.period, now);
            if reading.admitted {
                self.bucket.take(rule, now);
            }
            reading
        } else {
            let reading = self.log.look(rule.limit, rule.period, now);
            let reset = if reading.admitted {
                wait
            } else {
                reading.reset.max(wait)
            };
            Reading {
                admitted: false,
                reset,
                ..reading
            }
        };
        // A burst is at most the limit, so the bucket is full again before the log ends.
        self.ends = self.log.ends(rule.period);
        (reading, self.bucket.left(rule, now))
    }

    /// When the last admission stops counting.
    pub(super) fn ends(&self) -> Duration {
        self.ends
    }

    /// Time until the oldest admission stops counting.
    pub(super) fn reset(&mut self, rule: &Rule, now: Duration) -> Duration {
        self.log.look(rule.limit, rule.period, now).reset
    }
}
