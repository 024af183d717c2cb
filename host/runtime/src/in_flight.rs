//! One request in flight, shared by the instance that serves it, the body that carries the answer,
//! and the watch over its time.

use super::client_time::{ClientTime, Slow};
use super::error::InstanceError;
use super::failure::MemoryExhausted;
use super::outgoing::Calling;
use super::reuse::{CLIENT_TIME, HEAD_TIME, ReuseTrial};
use super::shortage::Short;
use super::waiters::LaneGuard;
use futures_util::task::AtomicWaker;
use hms_core::stream_idle::StreamIdle;
use hms_core::trace::{Span, SpanKind, Spans, TraceContext, Used};
use parking_lot::Mutex;
use std::any::Any;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Time for an instance to clean up once nobody waits for its answer any more. An instance whose
/// upload broke off removes the chunks in this time.
const ABANDON_GRACE: Duration = Duration::from_secs(5);

/// Time between checks of a request that waits for its client. 1 s: an instance whose client is
/// waited for can exceed its time by so much.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The same for a request that is not yet counted among those that wait for slow clients. 100 ms:
/// its permit may be needed that soon if permits become short.
const LOOK_SOON: Duration = Duration::from_millis(100);

/// The state of one request at an instance.
pub struct InFlight {
    started: Instant,
    /// Time until the answer begins, and for the instance's own work once it has been sent.
    wall_time: Duration,
    /// Time between two chunks of a body, once the answer has begun.
    idle: StreamIdle,
    /// When the body last moved in either direction, in milliseconds since `started`.
    moved_ms: AtomicU64,
    answered: AtomicBool,
    client: ClientTime,
    /// Woken when more of the request's body has arrived.
    asker: AtomicWaker,
    /// How long it had waited for the client when the body last moved, in microseconds.
    waited_when_moved_us: AtomicU64,
    clients_fault: AtomicBool,
    memory_denied: OnceLock<MemoryExhausted>,
    failure: OnceLock<InstanceError>,
    abandoned: OnceLock<Instant>,
    begun: AtomicBool,
    /// When that was.
    begun_after: OnceLock<Duration>,
    finished: AtomicBool,
    watch: AtomicWaker,
    failed: AtomicWaker,
    ended: AtomicBool,
    end: Notify,
    /// The permit of the pool: until the instance is done with the request, however slowly the
    /// client reads the rest.
    permit: Mutex<Option<Held>>,
    /// The trial of reuse that this request decides, if any.
    trial: OnceLock<ReuseTrial>,
    /// When its head was sent, if it is a trial.
    tried_head: OnceLock<Instant>,
    /// Its permit among those that wait for clients, if its own is slow.
    guard: Mutex<Option<LaneGuard>>,
    /// What it may do beyond its answer, until it is over.
    calling: Option<Arc<Calling>>,
    /// Whether another window asks.
    of_window: bool,
    /// Until when its answer is to begin, if whoever asks waits no longer.
    begin_by: Option<Instant>,
    /// Its wall time is what the window that calls had left, and less than its own window's.
    lent: bool,
    /// Where the parts of its work are noted.
    spans: Spans,
    /// What goes with its trace, where its guest may ask for that.
    tracestate: Option<Box<str>>,
    /// Until an instance has accepted it.
    starting: OnceLock<Span>,
    /// The instance's work for it.
    guest: OnceLock<Span>,
    /// Whether its instance had others at work meanwhile.
    shares_instance: AtomicBool,
    /// What must live as long as anything of this request does: the lease.
    _lease: Held,
}

/// Something that is only kept.
pub(super) type Held = Box<dyn Any + Send + Sync>;

impl InFlight {
    pub(super) fn new(lease: Held, permit: Held, wall_time: Duration) -> Self {
        InFlight {
            started: Instant::now(),
            wall_time,
            idle: StreamIdle::default(),
            moved_ms: AtomicU64::new(0),
            answered: AtomicBool::new(false),
            client: ClientTime::new(),
            asker: AtomicWaker::new(),
            waited_when_moved_us: AtomicU64::new(0),
            clients_fault: AtomicBool::new(false),
            memory_denied: OnceLock::new(),
            failure: OnceLock::new(),
            abandoned: OnceLock::new(),
            begun: AtomicBool::new(false),
            begun_after: OnceLock::new(),
            finished: AtomicBool::new(false),
            watch: AtomicWaker::new(),
            failed: AtomicWaker::new(),
            ended: AtomicBool::new(false),
            end: Notify::new(),
            permit: Mutex::new(Some(permit)),
            trial: OnceLock::new(),
            tried_head: OnceLock::new(),
            guard: Mutex::new(None),
            calling: None,
            of_window: false,
            begin_by: None,
            lent: false,
            spans: Spans::default(),
            tracestate: None,
            starting: OnceLock::new(),
            guest: OnceLock::new(),
            shares_instance: AtomicBool::new(false),
            _lease: lease,
        }
    }

    /// With what it may do beyond its answer.
    pub(super) fn with_calling(mut self, calling: Option<Arc<Calling>>) -> Self {
        self.calling = calling;
        self
    }

    /// With a record of its parts.
    pub(super) fn noted_in(mut self, spans: &Spans) -> Self {
        self.spans = spans.clone();
        self
    }

    /// With the `tracestate` that its guest may ask for.
    pub(super) fn with_tracestate(mut self, tracestate: Option<Box<str>>) -> Self {
        self.tracestate = tracestate;
        self
    }

    /// The `tracestate` of its trace, where its guest may ask for that.
    pub(super) fn tracestate(&self) -> Option<&str> {
        self.tracestate.as_deref()
    }

    /// With no more wall time than `left`, which whoever calls has itself. Where that is what it
    /// runs out of, it is not its window that was slow.
    pub(super) fn within(mut self, left: Option<Duration>) -> Self {
        if let Some(left) = left.filter(|left| *left < self.wall_time) {
            (self.wall_time, self.lent) = (left, true);
        }
        self
    }

    /// With an end to how long whoever asks waits for its answer to begin, if there is one.
    pub(super) fn beginning_by(mut self, begin_by: Option<std::time::Instant>) -> Self {
        self.begin_by = begin_by.map(Instant::from_std);
        self
    }

    /// Asked by another window: unless it is done, it ends when nobody waits for its answer. What a
    /// window asks for does not outlast the request that it is asked for.
    pub(super) fn of_a_window(mut self) -> Self {
        self.of_window = true;
        self
    }

    /// With another limit for pauses of an answer, if any.
    pub(super) fn with_idle(mut self, idle: Option<StreamIdle>) -> Self {
        self.idle = idle.unwrap_or_default();
        self
    }

    /// What it may do beyond its answer, if anything.
    pub(super) fn calling(&self) -> Option<&Arc<Calling>> {
        self.calling.as_ref()
    }

    /// What was sent for it ends here, and nothing more is.
    fn over(&self) {
        if let Some(calling) = &self.calling {
            calling.over().end();
        }
    }

    /// Its instance has served a request before, and it is unknown whether it can serve another.
    pub(super) fn tries(&self, trial: ReuseTrial) {
        let _ = self.trial.set(trial);
    }

    /// The trial that its outcome decides, if any.
    pub fn trial(&self) -> Option<&ReuseTrial> {
        self.trial.get()
    }

    /// It is handed to an instance, which may have to start first.
    pub(super) fn start(&self) {
        self.starting
            .get_or_init(|| self.spans.begin(SpanKind::InstanceStart));
    }

    /// An instance has accepted it.
    pub(super) fn begin(&self) {
        self.begun.store(true, Relaxed);
        let now = Instant::now();
        self.begun_after
            .get_or_init(|| now.saturating_duration_since(self.started));
        if let Some(starting) = self.starting.get() {
            starting.end_at(now.into_std());
        }
        self.guest
            .get_or_init(|| self.spans.begin_at(SpanKind::Guest, now.into_std()));
    }

    /// Its instance has others at work: what that uses is not for this one alone.
    pub(super) fn shares_instance(&self) {
        self.shares_instance.store(true, Relaxed);
    }

    /// What its instance has used for it, if it was alone there.
    pub(super) fn used(&self, used: Used) {
        if let Some(guest) = self.guest.get()
            && !self.shares_instance.load(Relaxed)
        {
            guest.used(used);
        }
    }

    /// Where is noted what its instance does for it.
    pub(super) fn spans(&self) -> &Spans {
        self.guest.get().map_or(&self.spans, Span::spans)
    }

    /// Where its work is in its trace, for lines of the log.
    pub(super) fn work(&self) -> Option<TraceContext> {
        self.spans().context()
    }

    /// How long it waited for an instance to accept it; none if none has.
    pub fn start_time(&self) -> Option<Duration> {
        self.begun_after.get().copied()
    }

    pub(super) fn is_begun(&self) -> bool {
        self.begun.load(Relaxed)
    }

    /// The last byte of the answer has been sent.
    pub(super) fn finish(&self) {
        self.finished.store(true, Relaxed);
        self.over();
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finished.load(Relaxed)
    }

    /// A chunk of the request or response body has passed.
    pub(super) fn moved(&self) {
        let now = self.started.elapsed();
        let waited = self.client.waited(now);
        self.waited_when_moved_us
            .store(waited.as_micros() as u64, Relaxed);
        self.moved_ms.store(now.as_millis() as u64, Relaxed);
    }

    /// Polls for more of the request's body. Until that wakes us, the client is waited for; what
    /// the instance does before it polls again is its own time.
    pub(super) fn ask<T>(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.asker.register(cx.waker());
        self.client.ask(self.started.elapsed());
        let waker = Waker::from(self.clone());
        let polled = poll(&mut Context::from_waker(&waker));
        if polled.is_ready() {
            self.client.came(self.started.elapsed());
        }
        polled
    }

    /// So many bytes of the request's body were read.
    pub(super) fn came(&self, bytes: u64) {
        self.client.moved(bytes);
    }

    /// The request's body is complete, or no more will come.
    pub(super) fn asked_all(&self) {
        self.stop_waiting();
    }

    /// It is not among those that wait for slow clients.
    pub(super) fn stop_waiting(&self) {
        let guard = self.guard.lock().take();
        drop(guard);
    }

    /// The client was given so many bytes of the answer, and more is to come: it is waited for
    /// until it has read them.
    pub(super) fn given(&self, bytes: u64) {
        self.client.give(self.started.elapsed(), bytes);
    }

    /// The client asks for more of the answer.
    pub(super) fn taken(&self) {
        if self.client.is_waited_for() {
            self.client.take(self.started.elapsed());
        }
    }

    /// How long it has waited for the client to send the request's body. That time is not charged
    /// to the instance.
    pub fn waited_for_body(&self) -> Duration {
        self.client.asked(self.started.elapsed())
    }

    /// Bytes moved per second of waiting for the client.
    pub(super) fn client_pace(&self) -> u64 {
        self.client.pace(self.started.elapsed())
    }

    /// Whether it is waiting for its client now.
    pub fn is_client_waited_for(&self) -> bool {
        self.client.is_waited_for()
    }

    /// Whether it waits for a slow client, and is not yet counted among those that do.
    pub(super) fn slow_client(&self, short: &Short) -> Option<Slow> {
        if !self.client.is_waited_for() {
            return None;
        }
        let now = self.started.elapsed();
        let slow = self.client.slow(now, || short.is_now())?;
        self.guard.lock().is_none().then_some(slow)
    }

    /// Whether its client moves much for the time that it is waited for.
    pub(super) fn is_client_quick(&self) -> bool {
        self.client.is_quick(self.started.elapsed())
    }

    /// It is counted as waiting, as long as it may wait.
    pub(super) fn hold_guard(&self, guard: LaneGuard) {
        let before = self.guard.lock().replace(guard);
        drop(before);
        // It may be over already.
        if self.ended.load(Acquire) {
            self.asked_all();
        }
    }

    /// Ends it in favour of others, because its client is slower than theirs.
    pub(super) fn give_way(&self) {
        self.end_for_client(match self.is_answered() {
            true => InstanceError::ReaderTooSlow,
            false => InstanceError::BodyTooSlow,
        });
    }

    /// It fails by its client's fault: nobody waits for it any more.
    fn end_for_client(&self, error: InstanceError) {
        self.body_failed();
        self.fail(error);
        self.abandon();
        // A reader of the body is told that it ends here.
        self.asker.wake();
    }

    /// The request's body broke off or was too large: whatever the instance makes of it, it is the
    /// client's fault.
    pub(super) fn body_failed(&self) {
        self.clients_fault.store(true, Relaxed);
    }

    /// Whether a failure would be the client's fault.
    pub fn is_clients_fault(&self) -> bool {
        self.clients_fault.load(Relaxed)
    }

    /// The head of the response has left the instance: from now on only pauses are limited.
    pub(super) fn answered(&self) {
        self.moved();
        self.answered.store(true, Relaxed);
        if self.trial.get().is_some() {
            let _ = self.tried_head.set(Instant::now());
            self.watch.wake();
        }
    }

    pub(super) fn is_answered(&self) -> bool {
        self.answered.load(Relaxed)
    }

    /// Nobody waits for the answer any more.
    pub(super) fn abandon(&self) {
        if self.abandoned.set(Instant::now()).is_ok() {
            self.watch.wake();
        }
        self.over();
    }

    /// Time to clean up once nobody waits for its answer.
    fn grace(&self) -> Duration {
        match self.of_window && !self.is_finished() {
            true => Duration::ZERO,
            false => ABANDON_GRACE,
        }
    }

    /// When the instance must be done with it, as of `now`, including the time that was spent
    /// waiting for the client.
    pub(super) fn deadline(&self, now: Instant) -> Instant {
        let since = |micros: &AtomicU64| Duration::from_micros(micros.load(Relaxed));
        let (moved, before) = match self.is_answered() {
            true => (
                Duration::from_millis(self.moved_ms.load(Relaxed)),
                since(&self.waited_when_moved_us),
            ),
            false => (Duration::ZERO, Duration::ZERO),
        };
        let since_start = now.saturating_duration_since(self.started);
        let waited = self.client.waited(since_start);
        let deadline = self.started + moved + waited.saturating_sub(before) + self.time();
        match self.abandoned.get() {
            Some(at) => deadline.min(*at + self.grace()),
            None => deadline,
        }
    }

    /// Until when its answer is to begin, as of `now`, the time included that was spent waiting for
    /// the client. None where that has no end, or it has begun.
    pub(super) fn begin_by(&self, now: Instant) -> Option<Instant> {
        let begin_by = self.begin_by.filter(|_| !self.is_answered())?;
        let since_start = now.saturating_duration_since(self.started);
        Some(begin_by + self.client.waited(since_start))
    }

    /// The time limit of the present stage.
    fn time(&self) -> Duration {
        match self.is_answered() && !self.is_finished() {
            true => self.idle.0,
            false => self.wall_time,
        }
    }

    /// When to check it again. None if its time is over, and it has failed for that reason.
    pub(super) fn look(&self, now: Instant) -> Option<Instant> {
        let next = self.look_at_time(now)?;
        Some(match self.look_at_trial(now) {
            Some(at) => next.min(at),
            None => next,
        })
    }

    /// Ends a trial that its client, or a long answer, would hold. Returns when to check again, if
    /// necessary.
    fn look_at_trial(&self, now: Instant) -> Option<Instant> {
        let trial = self.trial.get().filter(|trial| trial.is_open())?;
        let Some(head) = self.tried_head.get() else {
            if self.waited_for_body() >= CLIENT_TIME {
                trial.give_up();
            }
            return None;
        };
        let at = *head + HEAD_TIME;
        if at <= now {
            trial.went_well();
            return None;
        }
        Some(at)
    }

    /// While its client is waited for, the instance's time does not pass.
    fn look_at_time(&self, now: Instant) -> Option<Instant> {
        if self.abandoned.get().is_none() && self.client.is_waited_for() {
            let since = now.saturating_duration_since(self.started);
            if self.client.reads_too_slowly(since) {
                self.end_for_client(InstanceError::ReaderTooSlow);
                return None;
            }
            return Some(match self.guard.lock().is_some() {
                true => now + LOOK_EVERY,
                false => now + LOOK_SOON,
            });
        }
        let deadline = self.deadline(now);
        if deadline > now {
            return Some(deadline);
        }
        let limit = self.time();
        // One that is ended because nobody waits has done nothing wrong either.
        let cut_short = self.abandoned.get().is_some() && self.grace().is_zero();
        if cut_short || self.lent && !self.is_answered() {
            self.body_failed();
        }
        self.fail(match self.is_answered() {
            true => InstanceError::StreamIdle { limit },
            false => InstanceError::WallTime { limit },
        });
        None
    }

    /// Calls `waker` when [`InFlight::deadline`] may have become earlier.
    pub(super) fn watch(&self, waker: &Waker) {
        self.watch.register(waker);
    }

    pub(super) fn memory_denied(&self, exhausted: MemoryExhausted) {
        let _ = self.memory_denied.set(exhausted);
    }

    /// Records why the instance failed; the first reason stays. If an instance died after it was
    /// denied memory, that is the reason.
    pub(super) fn fail(&self, error: InstanceError) {
        let error = match (&error, self.memory_denied.get()) {
            (InstanceError::Trapped, Some(MemoryExhausted(limit))) => {
                InstanceError::MemoryLimit { limit: *limit }
            }
            _ => error,
        };
        if self.failure.set(error).is_ok() {
            let at_work = self.guest.get().or(self.starting.get());
            at_work.into_iter().for_each(Span::fail);
            self.failed.wake();
        }
        self.over();
    }

    pub(super) fn failure(&self) -> Option<&InstanceError> {
        self.failure.get()
    }

    /// The failure; otherwise `waker` is called when there is one. Only the last waker is kept.
    pub(super) fn poll_failure(&self, waker: &Waker) -> Option<&InstanceError> {
        self.failed.register(waker);
        self.failure.get()
    }

    /// The instance is gone, or done with this request.
    pub(super) fn end(&self) {
        if let Some(guest) = self.guest.get() {
            guest.end();
        }
        let given_back = self.permit.lock().take();
        drop(given_back);
        self.ended.store(true, Release);
        self.asked_all();
        self.end.notify_waiters();
    }

    /// Waits until the instance is gone, and with it any doubt about the reason.
    pub(super) async fn wait_end(&self) {
        let notified = self.end.notified();
        let mut notified = std::pin::pin!(notified);
        notified.as_mut().enable();
        if !self.ended.load(Acquire) {
            notified.await;
        }
    }
}

impl Wake for InFlight {
    /// More of the request's body has arrived, or its end.
    fn wake(self: Arc<Self>) {
        self.client.came(self.started.elapsed());
        self.asker.wake();
    }
}

#[cfg(test)]
mod tests;
