//! Turns: how the guests of one window share a processor with those of the others.
//!
//! Guest code that runs long is interrupted at every epoch and goes to the back of tokio's queue. Were that all, a window
//! with 64 spinning clerks would stand in the queue 64 times. So a clerk that has used up its first, free, time needs
//! its window's turn to go on, of which there is one fewer than there are processors: the others stand in the window's
//! own line, and in the queue a window stands once.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Time that a clerk runs before it needs a turn. 5 ms: most requests never need one.
const FREE: Duration = Duration::from_millis(5);

/// Counts the epochs of an engine.
#[derive(Clone, Default)]
pub(super) struct Clock(Arc<AtomicU64>);

impl Clock {
    pub fn tick(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    fn now(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The turns of one window.
#[derive(Clone)]
pub struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let turns = processors.saturating_sub(1).max(1);
        Turns(Arc::new(Semaphore::new(turns)))
    }
}

/// One clerk's part in them.
#[derive(Clone)]
pub(super) struct Turn {
    turns: Turns,
    state: Arc<Mutex<State>>,
    clock: Clock,
    /// The epoch at which guest code began to run, or went on.
    since: Arc<AtomicU64>,
}

enum State {
    Without,
    /// Given, and waiting in tokio's queue.
    Given(OwnedSemaphorePermit),
    /// At work with it.
    Running(#[expect(dead_code, reason = "held until it is dropped")] OwnedSemaphorePermit),
}

impl Turn {
    pub fn new(turns: &Turns, clock: &Clock) -> Self {
        Turn {
            turns: turns.clone(),
            state: Arc::new(Mutex::new(State::Without)),
            clock: clock.clone(),
            since: Arc::new(AtomicU64::new(clock.now())),
        }
    }

    /// Guest code runs from here.
    pub fn runs(&self) {
        self.since.store(self.clock.now(), Relaxed);
    }

    /// Epochs in which it has run since: at least one, so that no pattern of short runs escapes the count; and many where
    /// it was at something that cannot be interrupted, as filling memory is.
    pub fn ran(&self) -> u64 {
        self.clock
            .now()
            .saturating_sub(self.since.load(Relaxed))
            .max(1)
    }

    fn set(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Called where a guest that has run for `ran` so far was interrupted; ready when it may go on.
    pub async fn next(self, ran: Duration) {
        self.wait(ran).await;
        self.runs();
    }

    async fn wait(&self, ran: Duration) {
        self.set(State::Without);
        if ran <= FREE {
            // tokio's own yield puts the task behind all others; wasmtime's would put it first again.
            return tokio::task::yield_now().await;
        }
        let Ok(permit) = self.turns.0.clone().acquire_owned().await else {
            return;
        };
        self.set(State::Given(permit));
        tokio::task::yield_now().await;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Given(permit) = std::mem::replace(&mut *state, State::Without) {
            *state = State::Running(permit);
        }
    }

    /// Has `work` run outside of a worker, which else says when it has stopped.
    pub async fn around<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        std::future::poll_fn(|cx| {
            let polled = work.as_mut().poll(cx);
            self.over();
            polled
        })
        .await
    }

    /// The clerk has stopped running for now, whatever for: its turn is over. A clerk that waits must not keep it.
    pub fn over(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Running(_)) {
            *state = State::Without;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    const LONG: Duration = Duration::from_secs(1);

    fn turn(turns: &Turns) -> Turn {
        Turn::new(turns, &Clock::default())
    }

    fn turns() -> Turns {
        Turns(Arc::new(Semaphore::new(1)))
    }

    #[tokio::test]
    async fn one_runs_and_the_next_waits_until_its_turn_is_over() {
        let turns = turns();
        let (first, second) = (turn(&turns), turn(&turns));
        first.clone().next(LONG).await;
        let mut waiting = Box::pin(second.next(LONG));
        assert!(waiting.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
        assert!(waiting.as_mut().now_or_never().is_none());
        first.over();
        waiting.await;
    }

    #[tokio::test]
    async fn a_turn_that_was_given_is_not_over_before_it_was_used() {
        let turns = turns();
        let (first, second) = (turn(&turns), turn(&turns));
        let mut given = Box::pin(first.clone().next(LONG));
        assert!(given.as_mut().now_or_never().is_none());
        first.over();
        assert!(Box::pin(second.next(LONG)).now_or_never().is_none());
        given.await;
    }

    #[tokio::test]
    async fn a_clerk_that_goes_leaves_its_turn() {
        let turns = turns();
        let first = turn(&turns);
        first.clone().next(LONG).await;
        drop(first);
        turn(&turns).next(LONG).await;
    }

    #[tokio::test]
    async fn what_cannot_be_interrupted_counts_for_as_long_as_it_took() {
        let clock = Clock::default();
        let turn = Turn::new(&turns(), &clock);
        assert_eq!(turn.ran(), 1);
        (0..40).for_each(|_| clock.tick());
        assert_eq!(turn.ran(), 40);
        turn.clone().next(FREE).await;
        assert_eq!(turn.ran(), 1);
    }

    #[tokio::test]
    async fn short_work_needs_no_turn() {
        let turns = turns();
        let first = turn(&turns);
        first.clone().next(LONG).await;
        turn(&turns).next(Duration::from_millis(1)).await;
    }
}
