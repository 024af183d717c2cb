//! The requests in flight of one instance. Shared by the instance, the watch over its time, and the
//! worker that hands it requests.

use super::client_time::Slow;
use super::error::InstanceError;
use super::failure::MemoryExhausted;
use super::in_flight::InFlight;
use super::shortage::Short;
use hms_core::trace::Spans;
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

#[derive(Default)]
pub(super) struct InFlightSet(Mutex<State>);

#[derive(Default)]
struct State {
    requests: Vec<Arc<InFlight>>,
    /// It accepts no more requests: one was not answered in time, so its state is unknown.
    closing: bool,
    /// It accepts no more requests, and finishes those in flight.
    last: bool,
    /// The number of the trial that one of its requests is, or was.
    trial: Option<u64>,
    /// Held while it is idle. An instance in use is covered by the permits of its requests.
    idle: Option<OwnedSemaphorePermit>,
}

/// The state of an instance's requests in flight.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// Idle, and with no work of its own to finish.
    Empty,
    /// To be checked again at that time.
    Until(Instant),
    /// The rest is out of time.
    Over,
}

impl InFlightSet {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    /// Adds a request. One that was answered whole is not timed here.
    pub(crate) fn begin(&self, in_flight: Arc<InFlight>) {
        in_flight.begin();
        let mut state = self.state();
        state.idle = None;
        let done = |in_flight: &mut Arc<InFlight>| in_flight.is_finished();
        let done: Vec<_> = state.requests.extract_if(.., done).collect();
        state.requests.push(in_flight);
        drop(state);
        done.iter().for_each(|in_flight| in_flight.end());
    }

    /// Whether it accepts no more requests.
    pub(crate) fn takes_no_more(&self) -> bool {
        let state = self.state();
        state.closing || state.last
    }

    /// Its request is the trial of its release with that number.
    pub(crate) fn try_one(&self, number: u64) {
        self.state().trial = Some(number);
    }

    /// The number of the last trial that one of its requests is, or was.
    pub(crate) fn tried(&self) -> Option<u64> {
        self.state().trial
    }

    /// Its request is its last.
    pub(crate) fn take_no_more(&self) {
        self.state().last = true;
    }

    /// All requests are done. Keeps the instance if there is room for one more idle one of
    /// `weight`.
    pub(crate) fn rest(&self, room: &Arc<Semaphore>, weight: u32) -> bool {
        let mut state = self.state();
        let done = std::mem::take(&mut state.requests);
        if state.idle.is_none() && !state.closing && !state.last {
            state.idle = room.clone().try_acquire_many_owned(weight).ok();
        }
        let kept = state.idle.is_some();
        drop(state);
        done.iter().for_each(|in_flight| in_flight.end());
        kept
    }

    /// Fails requests that are out of time, and returns until when the others may take.
    pub(crate) fn stand(&self, now: Instant) -> Stand {
        let state = &mut *self.state();
        if state.requests.is_empty() {
            return Stand::Empty;
        }
        let (mut next, mut last) = (None, now);
        for in_flight in &state.requests {
            let over = in_flight.is_finished() || in_flight.failure().is_some();
            let look = if over { None } else { in_flight.look(now) };
            let by_client = in_flight.failure().is_some() && in_flight.is_clients_fault();
            match look {
                Some(look) => next = Some(next.map_or(look, |next: Instant| next.min(look))),
                None if over || by_client => {
                    // It has a moment to clean up, and may not notice that this is over.
                    state.last |= by_client;
                    last = last.max(in_flight.deadline(now));
                }
                None => state.closing = true,
            }
        }
        match next {
            Some(next) => Stand::Until(next),
            // Once all its answers have been sent, its work is limited by the last one's time.
            None if last > now && !state.closing => Stand::Until(last),
            None => Stand::Over,
        }
    }

    /// Calls `waker` when the deadline of a request may have become earlier. Returns those that
    /// wait for a slow client, and are not yet counted as such.
    pub(crate) fn watch(
        &self,
        waker: &std::task::Waker,
        short: &Short,
    ) -> Vec<(Arc<InFlight>, Slow)> {
        let mut waits = Vec::new();
        for in_flight in &self.state().requests {
            in_flight.watch(waker);
            if in_flight.failure().is_none()
                && let Some(slow) = in_flight.needs_seat(short)
            {
                waits.push((in_flight.clone(), slow));
            }
        }
        waits
    }

    /// A `memory.grow` was refused. If the instance now dies, that is the reason.
    pub(crate) fn memory_denied(&self, exhausted: MemoryExhausted) {
        for in_flight in &self.state().requests {
            in_flight.memory_denied(exhausted);
        }
    }

    /// Fails all requests that have not failed yet. Returns whether there were any.
    pub(crate) fn fail(&self, error: &InstanceError) -> bool {
        let mut any = false;
        for in_flight in &self.state().requests {
            any |= in_flight.failure().is_none();
            in_flight.fail(error.clone());
        }
        any
    }

    /// Where is noted what the instance does, if it has one request at work: of several, nobody can
    /// tell here which one it is for.
    pub(crate) fn spans(&self) -> Spans {
        let state = self.state();
        let mut at_work = state.requests.iter().filter(|it| !it.is_finished());
        match (at_work.next(), at_work.next()) {
            (Some(only), None) => only.spans().clone(),
            _ => Spans::default(),
        }
    }

    /// The instance is gone.
    pub(crate) fn end(&self) {
        let ended = std::mem::take(&mut *self.state());
        ended.requests.iter().for_each(|in_flight| in_flight.end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    fn in_flight(wall_time: Duration) -> Arc<InFlight> {
        Arc::new(InFlight::new(Box::new(()), Box::new(()), wall_time))
    }

    #[tokio::test(start_paused = true)]
    async fn expired_request_closes_the_instance_but_not_its_other_requests() {
        let in_flight_set = InFlightSet::default();
        let (short, long) = (in_flight(SECOND), in_flight(SECOND * 10));
        in_flight_set.begin(short.clone());
        in_flight_set.begin(long.clone());
        let now = Instant::now();
        assert_eq!(in_flight_set.stand(now), Stand::Until(short.deadline(now)));
        assert!(!in_flight_set.takes_no_more());
        assert_eq!(
            in_flight_set.stand(now + SECOND * 2),
            Stand::Until(long.deadline(now))
        );
        assert!(in_flight_set.takes_no_more());
        assert_eq!(short.failure().map(InstanceError::code), Some("wall-time"));
        assert!(long.failure().is_none());
        long.finish();
        assert_eq!(in_flight_set.stand(now + SECOND * 3), Stand::Over);
    }

    #[test]
    fn completed_request_is_released_by_the_next() {
        let in_flight_set = InFlightSet::default();
        let first = in_flight(SECOND);
        in_flight_set.begin(first.clone());
        first.finish();
        in_flight_set.begin(in_flight(SECOND * 5));
        assert_eq!(Arc::strong_count(&first), 1);
    }

    #[test]
    fn instance_idles_only_where_there_is_room_and_returns_it_when_it_works() {
        let room = Arc::new(Semaphore::new(2));
        let (one, other) = (InFlightSet::default(), InFlightSet::default());
        assert!(one.rest(&room, 2));
        assert!(one.rest(&room, 2), "it rests already");
        assert!(!other.rest(&room, 1));
        one.begin(in_flight(SECOND));
        assert!(other.rest(&room, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn closing_instance_does_not_idle() {
        let in_flight_set = InFlightSet::default();
        in_flight_set.begin(in_flight(Duration::ZERO));
        assert_eq!(in_flight_set.stand(Instant::now() + SECOND), Stand::Over);
        assert!(!in_flight_set.rest(&Arc::new(Semaphore::new(9)), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn instance_on_its_last_request_finishes_it_and_does_not_idle() {
        let in_flight_set = InFlightSet::default();
        let in_flight = in_flight(SECOND);
        in_flight_set.begin(in_flight.clone());
        in_flight_set.take_no_more();
        assert!(in_flight_set.takes_no_more());
        in_flight.finish();
        assert_eq!(
            in_flight_set.stand(Instant::now()),
            Stand::Until(in_flight.deadline(Instant::now()))
        );
        assert!(!in_flight_set.rest(&Arc::new(Semaphore::new(9)), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn instance_whose_request_gave_way_accepts_no_more_and_may_clean_up() {
        let in_flight_set = InFlightSet::default();
        let in_flight = in_flight(SECOND);
        in_flight_set.begin(in_flight.clone());
        in_flight.give_way();
        let now = Instant::now();
        assert_eq!(
            in_flight_set.stand(now),
            Stand::Until(in_flight.deadline(Instant::now()))
        );
        assert!(in_flight_set.takes_no_more());
        assert_eq!(
            in_flight_set.stand(in_flight.deadline(Instant::now())),
            Stand::Over
        );
    }

    #[test]
    fn dropped_instance_returns_its_room() {
        let room = Arc::new(Semaphore::new(1));
        let in_flight_set = InFlightSet::default();
        assert!(in_flight_set.rest(&room, 1));
        in_flight_set.end();
        assert_eq!(room.available_permits(), 1);
    }
}
