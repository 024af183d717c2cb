//! Whether the instances of a release can serve more than one request. Some cannot by design, such
//! as a JavaScript runtime that handles one fetch event: the second request of an instance always
//! fails.
//!
//! So reuse is tested before it is relied on. Until an instance has served a second request well, a
//! single instance gets one request at a time as its [`ReuseTrial`], and every other request gets a
//! fresh instance. If the trial fails, one client saw the failure, and all requests get fresh
//! instances for a pause. A trial can fail by chance, or because its client asked for something
//! that fails: so another follows after the pause, and each pause is longer than the one before.
//!
//! No client holds up a trial for long. An instance that is alive [`HEAD_TIME`] after it has sent a
//! head has served a second request, however long the answer is. A trial is abandoned if its client
//! is waited for longer than [`CLIENT_TIME`] before the head, and another may begin.

use futures_util::task::AtomicWaker;
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Waker;
use std::time::{Duration, Instant};

/// The pause after the first failed trial. 1 min: a failure by chance costs little speed, and
/// whatever a window serves, at most one client per minute sees a failed trial.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(60);

/// The longest pause; each is twice the one before. 1 h: a release that can serve only one request
/// per instance fails 24 clients a day. Another one is reused at most an hour after the cause of
/// the failures has gone.
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(3600);

/// How long an instance must live after the head of its second answer for the trial to succeed. 5
/// s: an instance that cannot serve a second request fails before its head, or right after it.
/// Event streams, and answers that are read slowly, hold up the trial no longer.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(5);

/// How long a trial waits in all for the body of its request. 5 s, like that of a breaker: another
/// client may be faster. Waiting for the guest is bounded by the wall time.
pub(super) const CLIENT_TIME: Duration = Duration::from_secs(5);

/// The state of reuse for a release, shared by all its instances.
#[derive(Default)]
pub struct Reuse {
    /// A copy of the state, for the fast path of each request.
    stand: AtomicU64,
    state: Mutex<State>,
    /// The instance that waits for the outcome of its trial.
    waiting: AtomicWaker,
}

#[derive(Default)]
struct State {
    stand: Stand,
    /// Trials begun.
    begun: u64,
    /// Consecutive failed trials, and why the last one failed.
    failed: u32,
    why: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stand {
    #[default]
    Untried,
    /// The trial of that number.
    OnTrial(u64),
    /// A second request succeeded. Later failures are ordinary ones.
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
    /// When the next trial may begin. None if it may begin now, or has.
    pub pause: Option<Duration>,
}

impl Reuse {
    /// Whether instances are relied on to serve several requests.
    pub(super) fn is_proven(&self) -> bool {
        self.stand.load(Relaxed) == PROVEN
    }

    /// The right to try a second request, if reuse is untested and nobody else has it.
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

    /// Whether that trial is in progress.
    pub(super) fn is_trial(&self, number: u64) -> bool {
        self.stand.load(Relaxed) == Stand::OnTrial(number).copy()
    }

    /// Calls `waker` once the trial of that number has an outcome, or at once if it has one. For
    /// the instance whose request it is.
    pub(super) fn wait(&self, number: u64, waker: &Waker) {
        self.waiting.register(waker);
        if !self.is_trial(number) {
            waker.wake_by_ref();
        }
    }

    /// An operator asks for reuse: earlier failures no longer count.
    pub fn ask_again(&self) {
        let mut state = self.state();
        state.failed = 0;
        state.why = None;
        if let Stand::Pausing(_) = state.stand {
            self.set(&mut state, Stand::Untried);
        }
    }

    /// Why instances are not reused, if a trial failed and none has succeeded since.
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

/// The pause after so many consecutive failed trials.
fn pause(failed: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(failed.saturating_sub(1));
    FIRST_PAUSE.saturating_mul(doubled).min(MAX_PAUSE)
}

/// The second request of an instance, which tests whether there may be one. If it is abandoned, or
/// dropped without an outcome, another may try, and its own outcome decides nothing.
pub struct ReuseTrial {
    reuse: Arc<Reuse>,
    number: u64,
}

impl ReuseTrial {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Whether it still decides.
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

    /// It failed with this code. Returns the message to log if that decides something.
    pub fn failed(&self, code: &'static str, now: Instant) -> Option<ReuseOff> {
        self.decide(|state| {
            state.failed = state.failed.saturating_add(1);
            state.why = Some(code);
            Stand::Pausing(now + pause(state.failed))
        })
        .then(|| self.reuse.off(now))
        .flatten()
    }

    /// It takes too long to show anything.
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
