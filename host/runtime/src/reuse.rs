//! Whether the instances of a release can serve more than one request. Some cannot by nature, such
//! as a JavaScript runtime that takes one fetch event: the second request of an instance always
//! fails.
//!
//! So reuse is tried before it is relied on. Until an instance has served a second request well,
//! one instance of all has one request at a time as its [`ReuseTrial`], and every other request has a
//! fresh one. Where the trial fails, one client met the failure, and all requests have fresh
//! instances for a pause. A trial can fail by chance, or because its client asked for something
//! that fails: so there is another after the pause, and each pause is longer than the one before.
//!
//! No client holds a trial for long. An instance that has sent a head and lives [`HEAD_TIME`]
//! later has served a second request, however long the answer is. A trial whose client is waited
//! for during [`CLIENT_TIME`] before the head is given up, and another may try.

use futures_util::task::AtomicWaker;
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Waker;
use std::time::{Duration, Instant};

/// The pause after the first trial that failed. 1 min: a failure by chance costs little speed, and
/// whatever a window serves, at most one client a minute meets the failure of a trial.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(60);

/// The longest pause; each is twice the one before. 1 h: a release that serves one request by
/// nature fails 24 clients a day, and one that does not is reused an hour after whoever made the
/// trials fail has left.
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(3600);

/// How long an instance lives after the head of its second answer until the trial has gone well.
/// 5 s: an instance that cannot serve a second request fails before its head, or at once when it
/// goes on; an event stream, or an answer that is read slowly, holds the trial no longer.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(5);

/// How long a trial waits in all for the body of its request. 5 s, as a breaker's: another client
/// may be faster. What it waits for the guest is bounded by the wall time.
pub(super) const CLIENT_TIME: Duration = Duration::from_secs(5);

/// What is known of a release. Shared by all of its instances.
#[derive(Default)]
pub struct Reuse {
    /// A copy of the state's stand, for the way of each request.
    stand: AtomicU64,
    state: Mutex<State>,
    /// The instance that waits for the outcome of its trial.
    waiting: AtomicWaker,
}

#[derive(Default)]
struct State {
    stand: Stand,
    /// Trials that were begun.
    begun: u64,
    /// Trials in a row that have failed, and why the last did.
    failed: u32,
    why: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stand {
    #[default]
    Untried,
    /// The trial of that number.
    OnTrial(u64),
    /// A second request went well. What fails from here on is ordinary.
    Proven,
    /// A trial failed: there is none until then.
    Pausing(Instant),
}

const PROVEN: u64 = u64::MAX;
const PAUSING: u64 = u64::MAX - 1;

impl Stand {
    /// Trials count from 1.
    fn copy(self) -> u64 {
        match self {
            Stand::Untried => 0,
            Stand::OnTrial(number) => number,
            Stand::Proven => PROVEN,
            Stand::Pausing(_) => PAUSING,
        }
    }
}

/// Why instances are not reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReuseOff {
    /// The code of the failure of the last trial.
    pub code: &'static str,
    /// Until there may be another trial. None where it may begin, or has.
    pub pause: Option<Duration>,
}

impl Reuse {
    /// Whether instances are relied on to serve several requests.
    pub(super) fn is_proven(&self) -> bool {
        self.stand.load(Relaxed) == PROVEN
    }

    /// The right to try a second request, where nobody else has it and there is a doubt.
    pub(super) fn try_one(self: &Arc<Self>, now: Instant) -> Option<ReuseTrial> {
        if ![0, PAUSING].contains(&self.stand.load(Relaxed)) {
            return None;
        }
        let mut state = self.state();
        let may = match state.stand {
            Stand::Untried => true,
            Stand::Pausing(until) => until <= now,
            Stand::OnTrial(_) | Stand::Proven => false,
        };
        if !may {
            return None;
        }
        state.begun += 1;
        let number = state.begun;
        self.set(&mut state, Stand::OnTrial(number));
        drop(state);
        Some(ReuseTrial {
            reuse: self.clone(),
            number,
        })
    }

    /// Whether that trial is under way.
    pub(super) fn is_trial(&self, number: u64) -> bool {
        self.stand.load(Relaxed) == Stand::OnTrial(number).copy()
    }

    /// Has `waker` called once the trial of that number has an outcome: at once, where it has one
    /// already. For the instance whose request it is.
    pub(super) fn wait(&self, number: u64, waker: &Waker) {
        self.waiting.register(waker);
        if !self.is_trial(number) {
            waker.wake_by_ref();
        }
    }

    /// An operator asks for reuse: what failed counts no more.
    pub fn ask_again(&self) {
        let mut state = self.state();
        state.failed = 0;
        state.why = None;
        if let Stand::Pausing(_) = state.stand {
            self.set(&mut state, Stand::Untried);
        }
    }

    /// Why instances are not reused, where a trial failed and none went well since.
    pub fn off(&self, now: Instant) -> Option<ReuseOff> {
        let state = self.state();
        let pause = match state.stand {
            Stand::Pausing(until) => Some(until.saturating_duration_since(now)),
            _ => None,
        };
        Some(ReuseOff {
            code: state.why?,
            pause: pause.filter(|pause| !pause.is_zero()),
        })
    }

    fn set(&self, state: &mut State, stand: Stand) {
        let decided = matches!(state.stand, Stand::OnTrial(_));
        state.stand = stand;
        self.stand.store(stand.copy(), Relaxed);
        if decided {
            self.waiting.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// The pause after so many trials in a row have failed.
fn pause(failed: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(failed.saturating_sub(1));
    FIRST_PAUSE.saturating_mul(doubled).min(MAX_PAUSE)
}

/// The second request of an instance, by which is seen whether there may be one. Given up or
/// dropped without an outcome, another may try, and what becomes of this one decides nothing.
pub struct ReuseTrial {
    reuse: Arc<Reuse>,
    number: u64,
}

impl ReuseTrial {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Whether it is still by this one that it is seen.
    pub(super) fn is_open(&self) -> bool {
        self.reuse.is_trial(self.number)
    }

    /// It was served.
    pub fn went_well(&self) {
        self.decide(|state| {
            state.failed = 0;
            state.why = None;
            Stand::Proven
        });
    }

    /// It failed for the reason with this code. What is to be said, where that decides something.
    pub fn failed(&self, code: &'static str, now: Instant) -> Option<ReuseOff> {
        self.decide(|state| {
            state.failed = state.failed.saturating_add(1);
            state.why = Some(code);
            Stand::Pausing(now + pause(state.failed))
        })
        .then(|| self.reuse.off(now))
        .flatten()
    }

    /// It says nothing for too long.
    pub(super) fn give_up(&self) {
        self.decide(|_| Stand::Untried);
    }

    fn decide(&self, outcome: impl FnOnce(&mut State) -> Stand) -> bool {
        let mut state = self.reuse.state();
        let decides = state.stand == Stand::OnTrial(self.number);
        if decides {
            let stand = outcome(&mut state);
            self.reuse.set(&mut state, stand);
        }
        decides
    }
}

impl Drop for ReuseTrial {
    fn drop(&mut self) {
        self.give_up();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU8;

    #[derive(Default)]
    struct Count(AtomicU8);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    const TRAP: &str = "instance-trapped";

    #[test]
    fn trials_run_one_at_a_time_and_one_success_proves_reuse() {
        let now = Instant::now();
        let reuse = Arc::new(Reuse::default());
        let trial = reuse.try_one(now).unwrap();
        assert!(reuse.try_one(now).is_none() && !reuse.is_proven());
        // It had no outcome.
        drop(trial);
        let trial = reuse.try_one(now).unwrap();
        trial.went_well();
        assert!(!trial.is_open() && trial.failed(TRAP, now).is_none());
        drop(trial);
        assert!(reuse.is_proven() && reuse.try_one(now).is_none());
        assert_eq!(reuse.off(now), None);
    }

    #[test]
    fn failed_trial_is_repeated_after_a_growing_pause() {
        let mut now = Instant::now();
        let reuse = Arc::new(Reuse::default());
        let minutes = [1, 2, 4, 8, 16, 32, 60, 60];
        for pause in minutes.map(|minutes| Duration::from_secs(60 * minutes)) {
            let trial = reuse.try_one(now).unwrap();
            let off = ReuseOff {
                code: TRAP,
                pause: Some(pause),
            };
            assert_eq!(trial.failed(TRAP, now), Some(off));
            assert_eq!(trial.failed(TRAP, now), None, "it is said once");
            drop(trial);
            assert_eq!(reuse.off(now), Some(off));
            now += pause - Duration::from_millis(1);
            assert!(reuse.try_one(now).is_none());
            now += Duration::from_millis(1);
            let due = ReuseOff { pause: None, ..off };
            assert_eq!(reuse.off(now), Some(due));
            // One without an outcome, and it is known still why there is a doubt.
            drop(reuse.try_one(now).unwrap());
            assert_eq!(reuse.off(now), Some(due));
        }
        reuse.try_one(now).unwrap().went_well();
        assert!(reuse.is_proven());
        assert_eq!(reuse.off(now), None);
    }

    #[test]
    fn operator_request_restarts_the_trials() {
        let now = Instant::now();
        let reuse = Arc::new(Reuse::default());
        for _ in 0..3 {
            let trial = reuse.try_one(now).unwrap();
            assert_eq!(
                trial.failed(TRAP, now).unwrap().pause,
                Some(FIRST_PAUSE),
                "the first pause again"
            );
            reuse.ask_again();
            assert_eq!(reuse.off(now), None);
        }
    }

    #[test]
    fn abandoned_trial_decides_nothing() {
        let now = Instant::now();
        let reuse = Arc::new(Reuse::default());
        let slow = reuse.try_one(now).unwrap();
        slow.give_up();
        let other = reuse.try_one(now).unwrap();
        assert!(slow.failed(TRAP, now).is_none());
        slow.went_well();
        drop(slow);
        assert!(other.is_open() && !reuse.is_proven());
        other.went_well();
        assert!(reuse.is_proven());
    }

    #[test]
    fn every_outcome_wakes_whoever_waits_for_it() {
        let outcomes: [fn(ReuseTrial); 4] = [
            |trial| trial.went_well(),
            |trial| assert!(trial.failed(TRAP, Instant::now()).is_some()),
            |trial| trial.give_up(),
            drop,
        ];
        for outcome in outcomes {
            let reuse = Arc::new(Reuse::default());
            let count = Arc::new(Count::default());
            let waker = Waker::from(count.clone());
            let trial = reuse.try_one(Instant::now()).unwrap();
            let number = trial.number();
            reuse.wait(number, &waker);
            assert_eq!(count.0.load(Relaxed), 0);
            outcome(trial);
            assert_eq!(count.0.load(Relaxed), 1);
            // One that comes too late misses nothing.
            reuse.wait(number, &waker);
            assert_eq!(count.0.load(Relaxed), 2);
        }
    }

    #[test]
    fn limits_page_lists_the_bounds_of_trials() {
        let page = include_str!("../../../docs/limits.md");
        let row = format!(
            "time that a trial lasts after its head; that it waits for its client before; \
             pause after one that failed | {} s; {} s; {} min, doubled up to {} h |",
            HEAD_TIME.as_secs(),
            CLIENT_TIME.as_secs(),
            FIRST_PAUSE.as_secs() / 60,
            MAX_PAUSE.as_secs() / 3600
        );
        assert!(page.contains(&row), "docs/limits.md lacks: {row}");
    }
}
