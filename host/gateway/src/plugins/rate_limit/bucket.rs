//! A token bucket, stored as the time at which it is full again (GCRA, ITU-T I.371): `burst` at
//! once, then one per `period / limit`.

use super::Rule;
use std::time::Duration;

/// The bucket of one caller. Times are relative to any fixed moment.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Bucket {
    full_at: Duration,
}

impl Bucket {
    /// Time until the next request is admitted: zero if it is now, or if the rule has no burst.
    pub(super) fn wait(&self, rule: &Rule, now: Duration) -> Duration {
        let Some(burst) = rule.burst else {
            return Duration::ZERO;
        };
        let missing = self.full_at.saturating_sub(now);
        missing.saturating_sub(each(rule).saturating_mul(times(burst) - 1))
    }

    /// Takes one token.
    pub(super) fn take(&mut self, rule: &Rule, now: Duration) {
        if rule.burst.is_some() {
            self.full_at = self.full_at.max(now) + each(rule);
        }
    }

    /// Requests that would be admitted now.
    pub(super) fn left(&self, rule: &Rule, now: Duration) -> Option<u64> {
        let burst = rule.burst?;
        let missing = self.full_at.saturating_sub(now);
        let taken = missing.as_nanos().div_ceil(each(rule).as_nanos().max(1));
        Some(burst.saturating_sub(u64::try_from(taken).unwrap_or(u64::MAX)))
    }
}

fn each(rule: &Rule) -> Duration {
    rule.period / times(rule.limit)
}

/// A limit is between one and a million.
fn times(limit: u64) -> u32 {
    u32::try_from(limit).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_is_admitted_at_once_and_later_requests_at_the_refill_rate() {
        let rule = Rule {
            limit: 60,
            burst: Some(3),
            ..Rule::default()
        };
        let mut bucket = Bucket::default();
        let now = Duration::from_secs(100);
        for left in (0..3).rev() {
            assert_eq!(bucket.wait(&rule, now), Duration::ZERO);
            bucket.take(&rule, now);
            assert_eq!(bucket.left(&rule, now), Some(left));
        }
        assert_eq!(bucket.wait(&rule, now), Duration::from_secs(1));
        let later = now + Duration::from_secs(1);
        assert_eq!(bucket.wait(&rule, later), Duration::ZERO);
        assert_eq!(bucket.left(&rule, later), Some(1));
        assert_eq!(bucket.left(&rule, now + Duration::from_secs(9)), Some(3));
    }
}
