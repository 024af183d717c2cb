//! The requests in flight of one instance. Shared by the instance, the watch over its time, and the
//! worker that hands it requests.

use super::client_time::Slow;
use super::error::InstanceError;
use super::failure::MemoryExhausted;
use super::in_flight::InFlight;
use super::meter::EPOCH_TICK;
use super::own_spans::OwnSpans;
use super::shortage::Short;
use hms_core::trace::{Span, Spans, TraceContext, Used};
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

#[derive(Default)]
pub(super) struct InFlightSet {
    state: Mutex<State>,
    /// CPU time since its last request began, in ticks.
    ticks: AtomicU64,
    memory_bytes: AtomicU64,
}

#[derive(Default)]
struct State {
    requests: Vec<Arc<InFlight>>,
    /// It accepts no more requests: one was not answered in time, so its state is unknown.
    closing: bool,
    /// It accepts no more requests, and finishes those in flight.
    last: bool,
    /// The number of the trial that one of its requests is, or was.
    trial: Option<u64>,
    /// The spans of the guest's own.
    own: OwnSpans,
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
        self.state.lock()
    }

    /// The instance has run for so many ticks since its last request began.
    pub(crate) fn ran(&self, ticks: u64) {
        self.ticks.store(ticks, Relaxed);
    }

    /// The instance has so much memory.
    pub(crate) fn grew(&self, memory_bytes: usize) {
        self.memory_bytes.store(memory_bytes as u64, Relaxed);
    }

    /// Another request begins: what was used so far was for those before.
    pub(crate) fn restart(&self) {
        let state = self.state();
        // One that is not over goes on beside the other.
        if state.requests.iter().all(|it| it.is_finished()) {
            self.charge(&state.requests);
        }
        self.ticks.store(0, Relaxed);
    }

    /// Notes what the instance has used, where it was for one request alone.
    fn charge(&self, requests: &[Arc<InFlight>]) {
        if let [only] = requests {
            let ticks = u32::try_from(self.ticks.load(Relaxed)).unwrap_or(u32::MAX);
            only.used(Used {
                cpu: EPOCH_TICK.saturating_mul(ticks),
                memory_bytes: self.memory_bytes.load(Relaxed),
            });
        }
    }

    /// Adds a request. One that was answered whole is not timed here.
    pub(crate) fn begin(&self, in_flight: Arc<InFlight>) {
        in_flight.begin();
        let mut state = self.state();
        state.idle = None;
        let done = |in_flight: &mut Arc<InFlight>| in_flight.is_finished();
        let done: Vec<_> = state.requests.extract_if(.., done).collect();
        state.requests.push(in_flight);
        if state.requests.len() > 1 {
            state.requests.iter().for_each(|it| it.shares_instance());
        }
        let own = state.own.take_of(&done);
        drop(state);
        drop(own);
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
        self.charge(&done);
        if state.idle.is_none() && !state.closing && !state.last {
            state.idle = room.clone().try_acquire_many_owned(weight).ok();
        }
        let kept = state.idle.is_some();
        let own = std::mem::take(&mut state.own);
        drop(state);
        drop(own);
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
                && let Some(slow) = in_flight.slow_client(short)
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
        self.state().spans()
    }

    /// A span of the guest's own begins, below the last one that has not ended. Its number; 0 where
    /// it is not noted.
    pub(crate) fn begin_own(&self, name: impl FnOnce() -> Arc<str>) -> u32 {
        let mut state = self.state();
        let spans = state.spans();
        state.own.begin(&spans, Some(name)).unwrap_or(0)
    }

    /// The guest's own span of that number ends.
    pub(crate) fn end_own(&self, number: u32, failed: bool) {
        let ended = self.state().own.end(number);
        if let Some(span) = ended.filter(|_| failed) {
            span.fail();
        }
    }

    /// A span begins to which the guest has given this id.
    pub(crate) fn begin_given(&self, id: u64) {
        let mut state = self.state();
        let Some(guest) = state.only().map(|only| only.spans().clone()) else {
            return;
        };
        let spans = state.spans();
        state.own.begin_given(&spans, guest, id);
    }

    /// It is over, and below the one with the id `above`, else directly below the guest's work.
    /// None where it is not known.
    pub(crate) fn end_given(&self, id: u64, above: Option<u64>) -> Option<Span> {
        self.state().own.end_given(id, above)
    }

    /// Where the span is in its trace that has this id.
    pub(crate) fn given(&self, id: u64) -> Option<TraceContext> {
        self.state().own.given(id)?.context()
    }

    /// Where the guest's work is in its trace, and the `tracestate` of that, if it has one request
    /// at work.
    pub(crate) fn outer(&self) -> Option<(TraceContext, Option<Box<str>>)> {
        let state = self.state();
        let only = state.only()?;
        Some((only.work()?, only.tracestate().map(Into::into)))
    }

    /// The instance is gone.
    pub(crate) fn end(&self) {
        let mut ended = std::mem::take(&mut *self.state());
        drop(std::mem::take(&mut ended.own));
        self.charge(&ended.requests);
        ended.requests.iter().for_each(|in_flight| in_flight.end());
    }
}

impl State {
    /// The only request at work.
    fn only(&self) -> Option<&Arc<InFlight>> {
        let mut at_work = self.requests.iter().filter(|it| !it.is_finished());
        let only = at_work.next()?;
        at_work.next().is_none().then_some(only)
    }

    /// Below the only request at work: below the last span of the guest's own, if there is one.
    fn spans(&self) -> Spans {
        let Some(only) = self.only() else {
            return Spans::default();
        };
        let own = self.own.innermost(only.spans());
        own.unwrap_or_else(|| only.spans()).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hms_core::trace::{MAX_SPANS, SpanKind, SpanLog, Start};
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

    /// A request that is noted, and its record.
    fn noted() -> (Arc<InFlight>, Arc<SpanLog>) {
        let log = Arc::new(SpanLog::new(Start::new(true)));
        let in_flight = InFlight::new(Box::new(()), Box::new(()), SECOND);
        (Arc::new(in_flight.noted_in(&Spans::of(log.clone()))), log)
    }

    fn used(log: &SpanLog) -> Option<(u128, u64)> {
        let used = log.spans().next().unwrap().used?;
        Some((used.cpu.as_millis(), used.memory_bytes))
    }

    #[test]
    fn usage_of_an_instance_is_noted_for_each_of_its_requests_that_was_alone() {
        let in_flight_set = InFlightSet::default();
        let [(first, of_first), (second, of_second)] = [noted(), noted()];
        in_flight_set.grew(1 << 20);
        in_flight_set.ran(1);
        in_flight_set.begin(first.clone());
        in_flight_set.ran(3);
        first.finish();
        in_flight_set.restart();
        in_flight_set.begin(second.clone());
        in_flight_set.ran(1);
        in_flight_set.grew(2 << 20);
        second.finish();
        in_flight_set.end();
        assert_eq!(used(&of_first), Some((3, 1 << 20)));
        assert_eq!(used(&of_second), Some((1, 2 << 20)));
    }

    #[test]
    fn requests_at_once_are_charged_nothing_because_nobody_can_tell_whose_it_is() {
        let in_flight_set = InFlightSet::default();
        let [(first, of_first), (second, of_second)] = [noted(), noted()];
        in_flight_set.begin(first.clone());
        in_flight_set.ran(3);
        in_flight_set.restart();
        in_flight_set.begin(second);
        first.finish();
        in_flight_set.begin(noted().0);
        in_flight_set.end();
        assert_eq!((used(&of_first), used(&of_second)), (None, None));
    }

    #[test]
    fn spans_of_the_guest_nest_and_end_with_their_request_at_the_latest() {
        let in_flight_set = InFlightSet::default();
        assert_eq!(in_flight_set.begin_own(|| "none".into()), 0);
        let (first, of_first) = noted();
        in_flight_set.begin(first.clone());
        let outer = in_flight_set.begin_own(|| "outer".into());
        let inner = in_flight_set.begin_own(|| "inner".into());
        assert!(outer > 0 && inner > outer);
        in_flight_set.spans().begin(SpanKind::StoreCommit).end();
        in_flight_set.end_own(inner, true);
        in_flight_set.end_own(inner, true);
        in_flight_set.spans().begin(SpanKind::Call).end();
        first.finish();
        in_flight_set.begin(noted().0);
        in_flight_set.end_own(outer, true);
        let recorded: Vec<_> = of_first.spans().collect();
        let found: Vec<_> = recorded
            .iter()
            .map(|it| (it.kind, it.parent, it.failed))
            .collect();
        assert_eq!(
            found,
            [
                (SpanKind::Guest, None, false),
                (SpanKind::Own, Some(0), false),
                (SpanKind::Own, Some(1), true),
                (SpanKind::StoreCommit, Some(2), false),
                (SpanKind::Call, Some(1), false),
            ]
        );
        assert!(recorded.iter().all(|span| span.ended.is_some()));
        assert_eq!(recorded[2].detail.as_deref(), Some("inner"));
    }

    #[test]
    fn spans_of_the_guest_are_bounded() {
        let in_flight_set = InFlightSet::default();
        let (in_flight, log) = noted();
        in_flight_set.begin(in_flight);
        let numbers = (0..1000).map(|_| in_flight_set.begin_own(|| "again".into()));
        assert_eq!(numbers.filter(|number| *number > 0).count(), MAX_SPANS - 1);
        assert_eq!(log.left_out(), 1001 - MAX_SPANS as u32);
    }

    #[test]
    fn spans_with_ids_of_the_guest_are_below_whom_they_name_once_they_have_ended() {
        let in_flight_set = InFlightSet::default();
        let (in_flight, log) = noted();
        in_flight_set.begin_given(1);
        in_flight_set.begin(in_flight);
        let (outer, _) = in_flight_set.outer().unwrap();
        (10..=15).for_each(|id| in_flight_set.begin_given(id));
        in_flight_set.begin_given(11);
        let end = |id, above| in_flight_set.end_given(id, above).is_some();
        assert!(end(12, Some(11)) && end(11, Some(10)) && end(13, Some(outer.span_id)));
        // Of one that has ended, of one that began later, of nobody.
        assert!(end(14, Some(11)) && end(10, Some(15)) && end(15, None));
        assert!(!end(15, None) && !end(99, None) && !end(1, None));
        let parents: Vec<_> = log.spans().map(|span| span.parent).collect();
        let wanted = [None, Some(0), Some(1), Some(2), Some(0), Some(2), Some(0)];
        assert_eq!(parents, wanted);
        assert!(log.spans().skip(1).all(|span| span.ended.is_some()));
        let second = log.spans().nth(2).unwrap();
        assert_eq!(in_flight_set.given(11).unwrap().span_id, second.span_id);
    }

    #[test]
    fn ids_of_a_request_are_forgotten_with_it_and_never_more_than_it_has_spans() {
        let in_flight_set = InFlightSet::default();
        let (first, log) = noted();
        in_flight_set.begin(first.clone());
        (1..=1000).for_each(|id| in_flight_set.begin_given(id));
        let known = || (1..=1000).filter(|id| in_flight_set.given(*id).is_some());
        assert_eq!(known().count(), MAX_SPANS - 1);
        assert_eq!(log.left_out(), 1001 - MAX_SPANS as u32);
        first.finish();
        in_flight_set.begin(noted().0);
        assert_eq!(known().count(), 0);
        assert_eq!(Arc::strong_count(&first), 1);
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
