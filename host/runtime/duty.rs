//! What one clerk has to do: the errands that it has begun. Shared by the clerk, the watch over its
//! time, and the worker that gives it requests.

use super::client_time::Slow;
use super::errand::Errand;
use super::failure::MemoryExhausted;
use super::shortage::Short;
use crate::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

#[derive(Default)]
pub(super) struct Duty(Mutex<State>);

#[derive(Default)]
struct State {
    errands: Vec<Arc<Errand>>,
    /// It takes no further requests: one was not answered in time, so nobody knows what it is at.
    closing: bool,
    /// It takes no further requests, and finishes what it has.
    last: bool,
    /// The number of the trial that one of its requests is, or was.
    trial: Option<u64>,
    /// Held while it has nothing to do. A clerk at work is covered by the places of its requests.
    idle: Option<OwnedSemaphorePermit>,
}

/// How a clerk's errands stand.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// Nothing to do, and nothing behind it to finish.
    Empty,
    /// Look again then, at the latest.
    Until(Instant),
    /// What is left is out of time.
    Over,
}

impl Duty {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One request more. What was answered whole needs no watch beside it.
    pub fn begin(&self, errand: Arc<Errand>) {
        errand.begin();
        let mut state = self.state();
        state.idle = None;
        let done = |errand: &mut Arc<Errand>| errand.is_finished();
        let done: Vec<_> = state.errands.extract_if(.., done).collect();
        state.errands.push(errand);
        drop(state);
        done.iter().for_each(|errand| errand.end());
    }

    /// Whether it takes no further requests.
    pub fn takes_no_more(&self) -> bool {
        let state = self.state();
        state.closing || state.last
    }

    /// The request that it has is the trial of its release with that number.
    pub fn try_one(&self, number: u64) {
        self.state().trial = Some(number);
    }

    /// The number of the last trial that one of its requests is, or was.
    pub fn tried(&self) -> Option<u64> {
        self.state().trial
    }

    /// The request that it has is its last.
    pub fn take_no_more(&self) {
        self.state().last = true;
    }

    /// All is done. Keeps the clerk where there is room for one more of `weight` that has nothing
    /// to do.
    pub fn rest(&self, room: &Arc<Semaphore>, weight: u32) -> bool {
        let mut state = self.state();
        let done = std::mem::take(&mut state.errands);
        if state.idle.is_none() && !state.closing && !state.last {
            state.idle = room.clone().try_acquire_many_owned(weight).ok();
        }
        let kept = state.idle.is_some();
        drop(state);
        done.iter().for_each(|errand| errand.end());
        kept
    }

    /// Fails what is out of time, and says until when the rest may take.
    pub fn stand(&self, now: Instant) -> Stand {
        let state = &mut *self.state();
        if state.errands.is_empty() {
            return Stand::Empty;
        }
        let (mut next, mut last) = (None, now);
        for errand in &state.errands {
            let over = errand.is_finished() || errand.failure().is_some();
            let look = if over { None } else { errand.look(now) };
            let by_client = errand.failure().is_some() && errand.is_clients_fault();
            match look {
                Some(look) => next = Some(next.map_or(look, |next: Instant| next.min(look))),
                None if over || by_client => {
                    // It has a moment to tidy up, and may not notice that this is over.
                    state.last |= by_client;
                    last = last.max(errand.deadline(now));
                }
                None => state.closing = true,
            }
        }
        match next {
            Some(next) => Stand::Until(next),
            // What it does when all its answers are out has the time of the last.
            None if last > now && !state.closing => Stand::Until(last),
            None => Stand::Over,
        }
    }

    /// Those that wait for a slow client, and are not counted among such yet.
    pub fn waits_for_clients(&self, short: &Short) -> Vec<(Arc<Errand>, Slow)> {
        let state = self.state();
        let errands = state.errands.iter();
        let going = errands.filter(|errand| errand.failure().is_none());
        let waits = going.filter_map(|errand| {
            let slow = errand.needs_seat(short)?;
            Some((errand.clone(), slow))
        });
        waits.collect()
    }

    /// Has `waker` called when an errand's deadline may have come nearer.
    pub fn watch(&self, waker: &std::task::Waker) {
        for errand in &self.state().errands {
            errand.watch(waker);
        }
    }

    /// A `memory.grow` was refused; should the clerk now die, it died of that.
    pub fn memory_denied(&self, exhausted: MemoryExhausted) {
        for errand in &self.state().errands {
            errand.memory_denied(exhausted);
        }
    }

    /// Fails all that has not failed yet; says whether anything had not.
    pub fn fail(&self, error: &Error) -> bool {
        let mut any = false;
        for errand in &self.state().errands {
            any |= errand.failure().is_none();
            errand.fail(error.clone());
        }
        any
    }

    /// The clerk is gone.
    pub fn end(&self) {
        let ended = std::mem::take(&mut *self.state());
        ended.errands.iter().for_each(|errand| errand.end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    fn errand(wall_time: Duration) -> Arc<Errand> {
        Arc::new(Errand::new(Box::new(()), Box::new(()), wall_time))
    }

    #[test]
    fn the_nearest_deadline_counts_and_one_that_passes_closes_the_clerk_but_not_its_other_errands()
    {
        let duty = Duty::default();
        let (short, long) = (errand(SECOND), errand(SECOND * 10));
        duty.begin(short.clone());
        duty.begin(long.clone());
        let now = Instant::now();
        assert_eq!(duty.stand(now), Stand::Until(short.deadline(now)));
        assert!(!duty.takes_no_more());
        assert_eq!(
            duty.stand(now + SECOND * 2),
            Stand::Until(long.deadline(now))
        );
        assert!(duty.takes_no_more());
        assert_eq!(short.failure().map(Error::code), Some("wall-time"));
        assert!(long.failure().is_none());
        long.finish();
        assert_eq!(duty.stand(now + SECOND * 3), Stand::Over);
    }

    #[test]
    fn what_was_answered_whole_is_forgotten_with_the_next_request() {
        let duty = Duty::default();
        let first = errand(SECOND);
        duty.begin(first.clone());
        first.finish();
        duty.begin(errand(SECOND * 5));
        assert_eq!(Arc::strong_count(&first), 1);
    }

    #[test]
    fn a_clerk_rests_only_where_there_is_room_and_its_room_is_free_again_when_it_works() {
        let room = Arc::new(Semaphore::new(2));
        let (one, other) = (Duty::default(), Duty::default());
        assert!(one.rest(&room, 2));
        assert!(one.rest(&room, 2), "it rests already");
        assert!(!other.rest(&room, 1));
        one.begin(errand(SECOND));
        assert!(other.rest(&room, 1));
    }

    #[test]
    fn a_clerk_that_is_closing_does_not_rest() {
        let duty = Duty::default();
        duty.begin(errand(Duration::ZERO));
        assert_eq!(duty.stand(Instant::now() + SECOND), Stand::Over);
        assert!(!duty.rest(&Arc::new(Semaphore::new(9)), 1));
    }

    #[test]
    fn a_clerk_that_has_its_last_request_finishes_it_and_does_not_rest() {
        let duty = Duty::default();
        let errand = errand(SECOND);
        duty.begin(errand.clone());
        duty.take_no_more();
        assert!(duty.takes_no_more());
        errand.finish();
        assert_eq!(
            duty.stand(Instant::now()),
            Stand::Until(errand.deadline(Instant::now()))
        );
        assert!(!duty.rest(&Arc::new(Semaphore::new(9)), 1));
    }

    #[test]
    fn a_clerk_whose_request_gave_way_takes_no_more_and_has_a_moment_to_tidy_up() {
        let duty = Duty::default();
        let errand = errand(SECOND);
        duty.begin(errand.clone());
        errand.give_way();
        let now = Instant::now();
        assert_eq!(
            duty.stand(now),
            Stand::Until(errand.deadline(Instant::now()))
        );
        assert!(duty.takes_no_more());
        assert_eq!(duty.stand(errand.deadline(Instant::now())), Stand::Over);
    }

    #[test]
    fn a_clerk_that_goes_leaves_its_room() {
        let room = Arc::new(Semaphore::new(1));
        let duty = Duty::default();
        assert!(duty.rest(&room, 1));
        duty.end();
        assert_eq!(room.available_permits(), 1);
    }
}
