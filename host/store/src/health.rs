//! The states of a store between use and failure.
//!
//! There is one machine for everything that opens a store: [`Stores`](super::Stores) has one for
//! each name, and an open store has one for its file.
//!
//! ```text
//!          begin             succeeded
//!   Idle ─────────▶ Opening ───────────▶ Open
//!    ▲               ▲   │                 │
//!    │ clear   begin │   │ failed          │ fail
//!    │               │   ▼                 │
//!    └────────────── Failed ◀──────────────┘
//! ```
//!
//! [`Health::close`] leads from each state to `Closed`, which is final. An opening that ends
//! without a result restores the previous state.
//!
//! - Looking takes no lock, so nobody waits for a disk to learn how a store is.
//! - Whoever meets `Failed` or `Opening` is told why at once. Nobody waits for a repair.
//! - A failed store is tried again after a pause, by whoever asks for it next.
//! - A store whose content is in doubt, because a sync failed or because it looks damaged, stays in
//!   doubt until it has been opened with a check of all of it.
//! - The machine has no clock: callers say what time it is.

use super::StoreError;
use arc_swap::{ArcSwap, Guard};
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The most doublings of a pause. 16: far beyond every longest pause, and no overflow.
const MOST_DOUBLINGS: u32 = 16;

pub(super) enum State<T> {
    /// Not open, without a known fault.
    Idle,
    /// Being opened; holds the earlier failure, if any.
    Opening(Option<Failure>),
    Open(Opened<T>),
    Failed(Failure),
    /// Final.
    Closed,
}

/// An open store.
pub(super) struct Opened<T> {
    pub(super) value: T,
    /// Distinguishes a late report of a fault from one about what is open now.
    pub(super) generation: u64,
}

/// A failed store.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    /// The error for callers.
    pub(super) error: StoreError,
    /// Whether the content is in doubt, so that the next opening must check all of it.
    pub(super) in_doubt: bool,
    /// The earliest time of the next attempt.
    pub(super) retry_at: Instant,
    /// Consecutive failed attempts to open it.
    attempts: u32,
}

/// The pauses between attempts to reopen: each is twice the one before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pauses {
    pub(super) first: Duration,
    pub(super) longest: Duration,
}

impl Pauses {
    fn after(&self, attempts: u32) -> Duration {
        let pause = self.first.saturating_mul(1 << attempts.min(MOST_DOUBLINGS));
        pause.min(self.longest)
    }
}

pub(super) struct Health<T> {
    /// Replaced as a whole, so readers never wait.
    state: ArcSwap<State<T>>,
    /// Locked while `state` is replaced, never while waiting. The generation that was opened last.
    changing: Mutex<u64>,
    pauses: Pauses,
}

impl<T> Health<T> {
    /// For something that was never opened.
    pub(super) fn idle(pauses: Pauses) -> Self {
        Self::of(State::Idle, pauses)
    }

    /// For something that is open.
    pub(super) fn open(value: T, pauses: Pauses) -> Self {
        let generation = 0;
        Self::of(State::Open(Opened { value, generation }), pauses)
    }

    fn of(state: State<T>, pauses: Pauses) -> Self {
        Health {
            state: ArcSwap::from_pointee(state),
            changing: Mutex::new(0),
            pauses,
        }
    }

    pub(super) fn load(&self) -> Guard<Arc<State<T>>> {
        self.state.load()
    }

    /// The same, to be held for longer.
    pub(super) fn load_full(&self) -> Arc<State<T>> {
        self.state.load_full()
    }

    /// Whether it has failed, and it is time to retry.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        matches!(&**self.load(), State::Failed(failure) if now >= failure.retry_at)
    }

    /// Begins to open it, if it is idle, or has failed and a retry is due. Otherwise None: it is
    /// open or closed, somebody is opening it, or it is too soon.
    pub(super) fn begin(&self, now: Instant) -> Option<Attempt<'_, T>> {
        let _changing = self.lock();
        let before = match &**self.load() {
            State::Idle => None,
            State::Failed(failure) if now >= failure.retry_at => Some(failure.clone()),
            _ => return None,
        };
        self.state.store(Arc::new(State::Opening(before.clone())));
        Some(Attempt {
            health: self,
            before,
            ended: false,
        })
    }

    /// Replaces what is open by `opened`, if that is of the same generation.
    pub(super) fn replace(&self, opened: Opened<T>) {
        let _changing = self.lock();
        if matches!(&**self.load(), State::Open(now) if now.generation == opened.generation) {
            self.state.store(Arc::new(State::Open(opened)));
        }
    }

    /// Takes what is open out of use because of `error`, if it is of that generation; it may be
    /// reopened at once. Passes it to `put_away` first. False if another caller was quicker.
    pub(super) fn fail(
        &self,
        generation: u64,
        error: StoreError,
        in_doubt: bool,
        now: Instant,
        put_away: impl FnOnce(&T),
    ) -> bool {
        let _changing = self.lock();
        match &**self.load() {
            State::Open(open) if open.generation == generation => put_away(&open.value),
            _ => return false,
        }
        self.state.store(Arc::new(State::Failed(Failure {
            error,
            in_doubt,
            retry_at: now,
            attempts: 0,
        })));
        true
    }

    /// Resets it, as if it had never been opened. Returns the previous state.
    pub(super) fn clear(&self) -> Arc<State<T>> {
        let _changing = self.lock();
        self.state.swap(Arc::new(State::Idle))
    }

    /// Closes it for good. Returns the previous state.
    pub(super) fn close(&self) -> Arc<State<T>> {
        let _changing = self.lock();
        self.state.swap(Arc::new(State::Closed))
    }

    /// Takes what is open out of use, if it is open.
    pub(super) fn release(&self) -> Option<T>
    where
        T: Clone,
    {
        let _changing = self.lock();
        let value = match &**self.load() {
            State::Open(open) => open.value.clone(),
            _ => return None,
        };
        self.state.store(Arc::new(State::Idle));
        Some(value)
    }

    /// The same, if nobody is reading the state, and `alone` says that nobody else has the value.
    pub(super) fn release_if(&self, alone: impl FnOnce(&T) -> bool) -> Option<T> {
        let _changing = self.lock();
        if !matches!(&**self.load(), State::Open(_)) {
            return None;
        }
        // Nobody can get it from here on, and earlier readers are counted.
        match Arc::try_unwrap(self.state.swap(Arc::new(State::Idle))) {
            Ok(State::Open(open)) if alone(&open.value) => Some(open.value),
            Ok(open) => {
                self.state.store(Arc::new(open));
                None
            }
            Err(in_use) => {
                self.state.store(in_use);
                None
            }
        }
    }

    // The guarded data is consistent at every moment, so a panic elsewhere does not corrupt it.
    fn lock(&self) -> MutexGuard<'_, u64> {
        self.changing.lock()
    }
}

/// The right to open it; only one exists at a time.
#[must_use = "it is being opened as long as this is there"]
pub(super) struct Attempt<'a, T> {
    health: &'a Health<T>,
    before: Option<Failure>,
    ended: bool,
}

impl<T> Attempt<'_, T> {
    /// Why it must be reopened, if it had failed.
    pub(super) fn before(&self) -> Option<&Failure> {
        self.before.as_ref()
    }

    /// Reports that it is open.
    ///
    /// # Errors
    ///
    /// Returns `value` if it was closed or cleared meanwhile.
    pub(super) fn succeeded(mut self, value: T) -> Result<(), T> {
        self.ended = true;
        let mut generation = self.health.lock();
        if !self.is_opening() {
            return Err(value);
        }
        *generation += 1;
        let open = Opened {
            value,
            generation: *generation,
        };
        self.health.state.store(Arc::new(State::Open(open)));
        Ok(())
    }

    /// Reports that it could not be opened. Returns the pause before the next attempt.
    pub(super) fn failed(mut self, error: StoreError, in_doubt: bool, now: Instant) -> Duration {
        self.ended = true;
        let attempts = self.before.as_ref().map_or(0, |before| before.attempts);
        let was_in_doubt = self.before.as_ref().is_some_and(|before| before.in_doubt);
        let pause = self.health.pauses.after(attempts);
        self.put(State::Failed(Failure {
            error,
            in_doubt: in_doubt || was_in_doubt,
            retry_at: now + pause,
            attempts: attempts.saturating_add(1),
        }));
        pause
    }

    fn put(&self, state: State<T>) {
        let _changing = self.health.lock();
        if self.is_opening() {
            self.health.state.store(Arc::new(state));
        }
    }

    fn is_opening(&self) -> bool {
        matches!(&**self.health.load(), State::Opening(_))
    }
}

impl<T> Drop for Attempt<'_, T> {
    fn drop(&mut self) {
        if !self.ended {
            let before = self.before.take();
            self.put(before.map_or(State::Idle, State::Failed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSES: Pauses = Pauses {
        first: Duration::from_millis(250),
        longest: Duration::from_secs(30),
    };

    fn error(why: &str) -> StoreError {
        StoreError::Io {
            path: "store".into(),
            reason: why.into(),
        }
    }

    /// What callers meet.
    fn seen(health: &Health<&'static str>) -> String {
        match &**health.load() {
            State::Idle => "idle".into(),
            State::Opening(None) => "opening".into(),
            State::Opening(Some(failure)) => format!("opening after {}", why(failure)),
            State::Open(open) => format!("open: {}", open.value),
            State::Failed(failure) => format!("failed: {}", why(failure)),
            State::Closed => "closed".into(),
        }
    }

    fn why(failure: &Failure) -> &str {
        match &failure.error {
            StoreError::Io { reason, .. } => reason,
            other => panic!("{other}"),
        }
    }

    fn generation(health: &Health<&'static str>) -> u64 {
        match &**health.load() {
            State::Open(open) => open.generation,
            _ => panic!("it is not open"),
        }
    }

    #[test]
    fn unopened_value_is_opened_by_one_caller() {
        let (health, now) = (Health::idle(PAUSES), Instant::now());
        let attempt = health.begin(now).unwrap();
        assert_eq!(seen(&health), "opening");
        assert!(health.begin(now).is_none());
        attempt.succeeded("a").unwrap();
        assert_eq!(seen(&health), "open: a");
        assert!(health.begin(now).is_none());
    }

    #[test]
    fn retry_pause_doubles_up_to_the_longest_and_is_kept() {
        let (health, mut now) = (Health::<&str>::idle(PAUSES), Instant::now());
        for ms in [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            let attempt = health.begin(now).unwrap();
            let pause = attempt.failed(error("disk"), false, now);
            assert_eq!(pause, Duration::from_millis(ms));
            assert_eq!(seen(&health), "failed: disk");
            let early = now + pause - Duration::from_nanos(1);
            assert!(!health.is_due(early) && health.begin(early).is_none());
            now += pause;
            assert!(health.is_due(now));
        }
        let again = health.begin(now).unwrap();
        assert_eq!(seen(&health), "opening after disk");
        again.succeeded("a").unwrap();
        // The next failure is a first one.
        assert!(health.fail(generation(&health), error("sync"), true, now, |_| ()));
        let again = health.begin(now).unwrap();
        assert_eq!(again.failed(error("sync"), false, now), PAUSES.first);
    }

    #[test]
    fn value_that_fails_while_open_is_discarded_and_due_at_once() {
        let (health, now) = (Health::open("a", PAUSES), Instant::now());
        let mut put_away = None;
        assert!(health.fail(0, error("sync"), true, now, |value| put_away = Some(*value)));
        assert_eq!(put_away, Some("a"));
        assert!(health.is_due(now));
        assert!(health.begin(now).unwrap().before().unwrap().in_doubt);
    }

    #[test]
    fn doubt_remains_until_the_value_is_open_again() {
        let (health, mut now) = (Health::open("a", PAUSES), Instant::now());
        assert!(health.fail(0, error("sync"), true, now, |_| ()));
        for _ in 0..3 {
            let attempt = health.begin(now).unwrap();
            assert!(attempt.before().unwrap().in_doubt);
            now += attempt.failed(error("disk"), false, now);
        }
        health.begin(now).unwrap().succeeded("b").unwrap();
        assert!(health.fail(1, error("full"), false, now, |_| ()));
        assert!(!health.begin(now).unwrap().before().unwrap().in_doubt);
    }

    #[test]
    fn late_report_about_a_replaced_value_changes_nothing() {
        let (health, now) = (Health::open("a", PAUSES), Instant::now());
        assert!(health.fail(0, error("first"), false, now, |_| ()));
        assert!(!health.fail(0, error("second"), true, now, |_| panic!("twice")));
        assert_eq!(seen(&health), "failed: first");
        health.begin(now).unwrap().succeeded("b").unwrap();
        assert!(!health.fail(0, error("late"), true, now, |_| panic!("late")));
        let (value, generation) = ("old", 0);
        health.replace(Opened { value, generation });
        assert_eq!(seen(&health), "open: b");
        let (value, generation) = ("new", 1);
        health.replace(Opened { value, generation });
        assert_eq!(seen(&health), "open: new");
    }

    #[test]
    fn closing_ends_an_opening_and_returns_its_value() {
        let (health, now) = (Health::idle(PAUSES), Instant::now());
        let attempt = health.begin(now).unwrap();
        health.close();
        assert_eq!(attempt.succeeded("late"), Err("late"));
        assert_eq!(seen(&health), "closed");
        assert!(health.begin(now).is_none());
        let health = Health::<&str>::idle(PAUSES);
        let attempt = health.begin(now).unwrap();
        health.close();
        attempt.failed(error("late"), false, now);
        assert_eq!(seen(&health), "closed");
    }

    #[test]
    fn opening_without_a_result_restores_the_previous_state() {
        let (health, now) = (Health::<&str>::idle(PAUSES), Instant::now());
        drop(health.begin(now));
        assert_eq!(seen(&health), "idle");
        health.begin(now).unwrap().failed(error("disk"), false, now);
        drop(health.begin(now + PAUSES.first));
        assert_eq!(seen(&health), "failed: disk");
        health.clear();
        assert_eq!(seen(&health), "idle");
    }

    #[test]
    fn conditional_release_frees_only_an_unused_value() {
        let health = Health::open(Arc::new(()), PAUSES);
        let alone = |value: &Arc<()>| Arc::strong_count(value) == 1;
        let held = match &**health.load() {
            State::Open(open) => open.value.clone(),
            _ => panic!("it is not open"),
        };
        assert!(health.release_if(alone).is_none());
        drop(held);
        let looking = health.load_full();
        assert!(health.release_if(alone).is_none());
        drop(looking);
        assert!(health.release_if(alone).is_some());
        assert!(health.release_if(alone).is_none() && health.release().is_none());
    }
}
