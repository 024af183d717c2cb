//! Whether the instances of a release can serve more than one request. Some cannot by nature, such
//! as a JavaScript runtime that takes one fetch event: the second request of an instance always
//! fails.
//!
//! So reuse is tried before it is relied on. Until an instance has served a second request well,
//! one instance of all has one request at a time as its [`Trial`], and every other request has a
//! fresh one. Where the trial fails, the release goes on with fresh instances: one client met the
//! failure.
//!
//! An ordinary failure may meet a trial by chance. What distinguishes it is that fresh instances
//! fail in the same way: where one does, there is another trial, up to [`MOST_TRIALS`] in all.

use futures_util::task::AtomicWaker;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Trials that may fail for a release whose fresh instances fail in the same way. 3: that the
/// second request of an instance fails three times and never goes well is no chance.
const MOST_TRIALS: u32 = 3;

/// What is known of a release. Shared by all of its instances.
#[derive(Default)]
pub struct Reuse {
    /// A copy of the state's stand, for the way of each request.
    stand: AtomicU8,
    state: Mutex<State>,
    /// The instance that waits for the outcome of its trial.
    waiting: AtomicWaker,
}

#[derive(Default)]
struct State {
    stand: Stand,
    /// Trials that have failed.
    failed: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
enum Stand {
    #[default]
    Untried,
    OnTrial,
    /// A second request went well. What fails from here on is ordinary.
    Proven,
    /// A trial failed, for the reason with this code.
    Refuted(&'static str),
}

impl Stand {
    fn copy(self) -> u8 {
        match self {
            Stand::Untried => 0,
            Stand::OnTrial => 1,
            Stand::Proven => 2,
            Stand::Refuted(_) => 3,
        }
    }
}

impl Reuse {
    /// Whether instances are relied on to serve several requests.
    pub(super) fn is_proven(&self) -> bool {
        self.stand.load(Relaxed) == Stand::Proven.copy()
    }

    /// The right to try a second request, where nobody else has it and there is a doubt.
    pub(super) fn try_one(self: &Arc<Self>) -> Option<Trial> {
        if self.stand.load(Relaxed) != Stand::Untried.copy() {
            return None;
        }
        let mut state = self.state();
        if state.stand != Stand::Untried {
            return None;
        }
        self.set(&mut state, Stand::OnTrial);
        Some(Trial(self.clone()))
    }

    /// Whether an instance tries it, and the outcome is open.
    pub(super) fn is_on_trial(&self) -> bool {
        self.stand.load(Relaxed) == Stand::OnTrial.copy()
    }

    /// Has `waker` called once the trial has an outcome: at once, where it has one already. For the
    /// instance whose request it is.
    pub(super) fn wait(&self, waker: &Waker) {
        self.waiting.register(waker);
        if !self.is_on_trial() {
            waker.wake_by_ref();
        }
    }

    /// A fresh instance failed for the reason with this code. Where that is why a trial failed it
    /// was perhaps no more than that.
    pub fn fresh_failed(&self, code: &'static str) {
        if self.stand.load(Relaxed) != Stand::Refuted(code).copy() {
            return;
        }
        let mut state = self.state();
        if state.stand == Stand::Refuted(code) && state.failed < MOST_TRIALS {
            self.set(&mut state, Stand::Untried);
        }
    }

    /// An operator asks for reuse: what was known counts no more.
    pub fn ask_again(&self) {
        let mut state = self.state();
        if let Stand::Refuted(_) = state.stand {
            state.failed = 0;
            self.set(&mut state, Stand::Untried);
        }
    }

    /// Why instances are not reused, by the code of the failure, where they are not.
    pub fn refuted(&self) -> Option<&'static str> {
        match self.state().stand {
            Stand::Refuted(code) => Some(code),
            _ => None,
        }
    }

    fn set(&self, state: &mut State, stand: Stand) {
        let decided = state.stand == Stand::OnTrial;
        state.stand = stand;
        self.stand.store(stand.copy(), Relaxed);
        if decided {
            self.waiting.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The second request of an instance, by which is seen whether there may be one. Dropped without an
/// outcome, another may try.
pub struct Trial(Arc<Reuse>);

impl Trial {
    /// It was answered to its end.
    pub fn went_well(&self) {
        let mut state = self.0.state();
        if state.stand == Stand::OnTrial {
            self.0.set(&mut state, Stand::Proven);
        }
    }

    /// It failed for the reason with this code. Whether that is new.
    pub fn failed(&self, code: &'static str) -> bool {
        let mut state = self.0.state();
        let decides = state.stand == Stand::OnTrial;
        if decides {
            state.failed += 1;
            self.0.set(&mut state, Stand::Refuted(code));
        }
        decides
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if state.stand == Stand::OnTrial {
            self.0.set(&mut state, Stand::Untried);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Count(AtomicU8);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    const TRAP: &str = "clerk-trapped";

    #[test]
    fn one_at_a_time_is_tried_and_one_that_goes_well_proves_it() {
        let reuse = Arc::new(Reuse::default());
        let trial = reuse.try_one().unwrap();
        assert!(reuse.try_one().is_none() && !reuse.is_proven());
        // It had no outcome.
        drop(trial);
        let trial = reuse.try_one().unwrap();
        trial.went_well();
        drop(trial);
        assert!(reuse.is_proven() && reuse.try_one().is_none());
        reuse.fresh_failed(TRAP);
        assert!(reuse.is_proven());
    }

    #[test]
    fn one_that_fails_ends_it_until_an_operator_asks_again() {
        let reuse = Arc::new(Reuse::default());
        let trial = reuse.try_one().unwrap();
        assert!(trial.failed(TRAP) && !trial.failed(TRAP));
        drop(trial);
        assert_eq!(reuse.refuted(), Some(TRAP));
        assert!(reuse.try_one().is_none());
        // Another failure of a fresh instance says nothing of it.
        reuse.fresh_failed("cpu-time");
        assert!(reuse.try_one().is_none());
        reuse.ask_again();
        assert!(reuse.try_one().is_some());
    }

    #[test]
    fn whoever_waits_for_the_outcome_is_woken_by_it_whatever_it_is() {
        let outcomes: [fn(Trial); 3] = [
            |trial| trial.went_well(),
            |trial| assert!(trial.failed(TRAP)),
            drop,
        ];
        for outcome in outcomes {
            let reuse = Arc::new(Reuse::default());
            let count = Arc::new(Count::default());
            let waker = Waker::from(count.clone());
            let trial = reuse.try_one().unwrap();
            reuse.wait(&waker);
            assert_eq!(count.0.load(Relaxed), 0);
            outcome(trial);
            assert_eq!(count.0.load(Relaxed), 1);
            // One that comes too late misses nothing; without a trial nobody waits.
            if !reuse.is_on_trial() {
                reuse.wait(&waker);
                assert_eq!(count.0.load(Relaxed), 2);
            }
        }
    }

    #[test]
    fn where_fresh_instances_fail_alike_it_is_tried_again_three_times_in_all() {
        let reuse = Arc::new(Reuse::default());
        for failed in 1..=MOST_TRIALS {
            let trial = reuse.try_one();
            assert!(trial.is_some_and(|trial| trial.failed(TRAP)), "{failed}");
            reuse.fresh_failed(TRAP);
        }
        assert!(reuse.try_one().is_none());
    }
}
