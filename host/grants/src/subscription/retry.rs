//! When an event that was not taken is tried again.

use super::Retry;
use std::time::Duration;

impl Retry {
    /// What holds where the file says nothing.
    pub const DEFAULT: Retry = Retry {
        first: Duration::from_secs(1),
        max: Duration::from_secs(3600),
        total: Duration::from_secs(3 * 24 * 3600),
    };

    /// The shortest pause: without it full jitter could try again at once.
    pub const FLOOR: Duration = Duration::from_millis(100);

    /// The pause after attempt number `attempt`, from 1: a random time up to `first` doubled for
    /// each attempt before, at most `max`, and not below [`Retry::FLOOR`]. `random` is any number,
    /// uniform over all of them.
    pub fn pause(&self, attempt: u32, random: u64) -> Duration {
        let doubled = 1_u128
            .checked_shl(attempt.saturating_sub(1).min(64))
            .unwrap_or(u128::MAX);
        let longest = self.first.as_millis().saturating_mul(doubled);
        let longest = u64::try_from(longest.min(self.max.as_millis())).unwrap_or(u64::MAX);
        let floor = Self::FLOOR.as_millis() as u64;
        let room = longest.saturating_sub(floor).saturating_add(1);
        Duration::from_millis(floor.saturating_add(random % room))
    }

    /// Whether an event that was first tried at `first_attempt_ms` is parked now, both in
    /// milliseconds since the epoch.
    pub fn is_over(&self, first_attempt_ms: u64, now_ms: u64) -> bool {
        u128::from(now_ms.saturating_sub(first_attempt_ms)) >= self.total.as_millis()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RETRY: Retry = Retry::DEFAULT;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let longest = |attempt| {
            RETRY
                .pause(attempt, u64::MAX - 1)
                .max(RETRY.pause(attempt, 899))
        };
        assert!(longest(1) <= Duration::from_secs(1));
        // `first` less the floor and one is the largest remainder there is.
        assert_eq!(RETRY.pause(1, 900), Duration::from_secs(1));
        assert_eq!(RETRY.pause(3, 3_900), Duration::from_secs(4));
        assert_eq!(RETRY.pause(40, 3_599_900), Duration::from_secs(3600));
        assert_eq!(RETRY.pause(u32::MAX, 3_599_900), Duration::from_secs(3600));
    }

    #[test]
    fn event_is_given_up_when_its_time_is_over() {
        let day = 24 * 3600 * 1000;
        assert!(!RETRY.is_over(day, 4 * day - 1));
        assert!(RETRY.is_over(day, 4 * day));
        // The clock went back.
        assert!(!RETRY.is_over(day, 0));
    }

    proptest! {
        #[test]
        fn pause_is_between_the_floor_and_the_longest(attempt: u32, random: u64) {
            let pause = RETRY.pause(attempt, random);
            prop_assert!((Retry::FLOOR..=RETRY.max).contains(&pause), "{pause:?}");
            prop_assert_eq!(RETRY.pause(0, random), RETRY.pause(1, random));
        }
    }
}
