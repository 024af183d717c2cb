//! Passive health: what the requests to a service show about it, and the budget of retries.

use parking_lot::{Mutex, MutexGuard};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tower::retry::budget::{Budget as _, TpsBudget};

/// The budget of retries: a fifth of the requests of the last ten seconds, and two more per second.
/// So an upstream that is down gets a fifth more requests, not twice as many.
const RETRY_SHARE: f32 = 0.2;
const RETRIES_PER_SECOND: u32 = 2;
const RETRY_MEMORY: Duration = Duration::from_secs(10);

/// 2^64 / golden ratio: its multiples are spread evenly, however few there are (Weyl's sequence).
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// The health of one target: its consecutive failures, and until when it is ejected because of
/// them.
#[derive(Debug, Default)]
pub struct Health(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    out_until: Option<Instant>,
}

impl Health {
    /// Whether requests may go to the target. Once its ejection is over, it gets a single request,
    /// whose result decides.
    pub fn is_in(&self, now: Instant) -> bool {
        self.state().out_until.is_none_or(|until| until <= now)
    }

    /// A request goes to the target. If that is a trial, no other follows for `pause`, or until the
    /// trial proves inconclusive.
    pub fn begin(&self, now: Instant, pause: Duration) -> Attempt<'_> {
        let mut state = self.state();
        let trial = state.out_until.is_some_and(|until| until <= now);
        if trial {
            state.out_until = Some(now + pause);
        }
        Attempt {
            health: self,
            trial,
        }
    }

    /// An answer came. Returns whether the target was ejected before.
    pub fn succeeded(&self) -> bool {
        let mut state = self.state();
        state.failures = 0;
        state.out_until.take().is_some()
    }

    /// The request failed. After `most` consecutive failures the target is ejected for `pause`.
    /// Returns whether it is ejected from now on.
    pub fn failed(&self, now: Instant, most: u32, pause: Duration) -> bool {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        if state.failures < most {
            return false;
        }
        let was_out = state.out_until.replace(now + pause).is_some();
        !was_out
    }

    /// Consecutive failures so far.
    pub fn failures(&self) -> u32 {
        self.state().failures
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

/// A request at a target, until its result is known.
pub struct Attempt<'a> {
    health: &'a Health,
    trial: bool,
}

impl Attempt<'_> {
    /// The result was reported: [`Health::succeeded`] or [`Health::failed`].
    pub fn decided(mut self) {
        self.trial = false;
    }
}

impl Drop for Attempt<'_> {
    /// The request was inconclusive: its client left, or was late itself. The next request may try
    /// the target.
    fn drop(&mut self) {
        if !self.trial {
            return;
        }
        let mut state = self.health.state();
        if state.out_until.is_some() {
            state.out_until = Some(Instant::now());
        }
    }
}

/// The rotation over the targets of one upstream, and its budget of retries.
#[derive(Debug)]
pub struct Rotation {
    retries: TpsBudget,
    turn: AtomicU64,
}

impl Default for Rotation {
    fn default() -> Self {
        Rotation {
            retries: TpsBudget::new(RETRY_MEMORY, RETRIES_PER_SECOND, RETRY_SHARE),
            turn: AtomicU64::new(0),
        }
    }
}

impl Rotation {
    /// A request came, which earns a fraction of a retry.
    pub fn request(&self) {
        self.retries.deposit();
    }

    /// Whether the budget allows one more retry.
    pub fn may_retry(&self) -> bool {
        self.retries.withdraw()
    }

    /// Picks one of `weights` in proportion. None if there is none.
    pub fn pick(&self, weights: impl Iterator<Item = u32> + Clone) -> Option<usize> {
        let total: u64 = weights.clone().map(u64::from).sum();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let at = (u128::from(turn.wrapping_mul(SPREAD)) * u128::from(total)) >> 64;
        let mut upto = 0;
        weights.map(u128::from).position(|weight| {
            upto += weight;
            at < upto
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PAUSE: Duration = Duration::from_secs(10);

    #[test]
    fn failing_target_is_ejected_and_tried_once_after_its_pause() {
        let (health, start) = (Health::default(), Instant::now());
        assert!(!health.failed(start, 3, PAUSE));
        assert!(!health.failed(start, 3, PAUSE));
        health.succeeded();
        assert!(!health.failed(start, 3, PAUSE));
        assert!(!health.failed(start, 3, PAUSE));
        assert!(health.is_in(start));
        assert!(health.failed(start, 3, PAUSE));
        assert!(!health.is_in(start));
        // One that was on its way already says nothing new.
        assert!(!health.failed(start, 3, PAUSE));

        let later = start + PAUSE;
        assert!(health.is_in(later));
        let trial = health.begin(later, PAUSE);
        assert!(!health.is_in(later), "a second trial beside the first");
        assert!(!health.failed(later, 3, PAUSE));
        trial.decided();
        assert!(!health.is_in(later));
        let trial = health.begin(later + PAUSE, PAUSE);
        assert!(health.succeeded());
        trial.decided();
        assert!(health.is_in(later + PAUSE));
        assert!(!health.succeeded());
    }

    #[test]
    fn inconclusive_trial_leaves_the_next_request_to_try() {
        let health = Health::default();
        let before = Instant::now() - 2 * PAUSE;
        assert!(health.failed(before, 1, PAUSE));
        let trial = health.begin(Instant::now(), PAUSE);
        assert!(!health.is_in(Instant::now()));
        drop(trial);
        assert!(health.is_in(Instant::now()));
        // One that was in says nothing by its going.
        assert!(health.begin(Instant::now(), PAUSE).trial);
        assert!(health.succeeded());
        drop(health.begin(Instant::now(), PAUSE));
        assert!(!health.succeeded(), "it was not left out");
    }

    #[test]
    fn retries_are_limited_to_a_share_of_the_requests() {
        let rotation = Rotation::default();
        let taken = |rotation: &Rotation| (0..10_000).take_while(|_| rotation.may_retry()).count();
        let reserve = taken(&rotation);
        for _ in 0..100 {
            rotation.request();
        }
        let earned = taken(&rotation);
        assert!((19..=21).contains(&earned), "{earned}");
        assert!((1..=40).contains(&reserve), "{reserve}");
    }

    proptest! {
        #[test]
        fn targets_receive_their_weighted_shares(weights in proptest::collection::vec(1u32..20, 1..6)) {
            let rotation = Rotation::default();
            let total: u32 = weights.iter().sum();
            let rounds = 200 * total;
            let mut seen = vec![0u32; weights.len()];
            for _ in 0..rounds {
                seen[rotation.pick(weights.iter().copied()).unwrap()] += 1;
            }
            for (weight, seen) in weights.iter().zip(&seen) {
                let due = 200 * weight;
                prop_assert!(seen.abs_diff(due) <= 10 + due / 50, "{weights:?}: {seen} of {due}");
            }
        }
    }

    #[test]
    fn empty_list_of_targets_picks_nothing() {
        assert_eq!(Rotation::default().pick(std::iter::empty()), None);
    }
}
