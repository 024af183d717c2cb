//! One request from the clerk's side: shared by the clerk that serves it, the body that carries the answer
//! out, and the watch that ends it when it takes too long.

use super::client_time::Stopwatch;
use super::failure::MemoryExhausted;
use super::reuse::Trial;
use crate::error::Error;
use crate::next::Next;
use futures_util::task::AtomicWaker;
use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Time that a clerk has to tidy up once nobody waits for its answer any more. An upload that broke off
/// removes its chunks in this time.
const ABANDON_GRACE: Duration = Duration::from_secs(5);

/// The state of one request at a clerk.
pub struct Errand {
    started: Instant,
    /// What it has until the answer begins, and between two chunks of a body.
    wall_time: Duration,
    /// Milliseconds since `started` at which the body last moved, in either direction.
    moved_ms: AtomicU64,
    answered: AtomicBool,
    /// Runs while the clerk waits for more of the request's body.
    asking: Stopwatch,
    /// Who is woken when more of it is there.
    asker: AtomicWaker,
    /// Runs while more of the answer would be taken out, were the client there for it.
    taking: Stopwatch,
    /// Microseconds that it had waited for the client when the body last moved.
    waited_when_moved_us: AtomicU64,
    clients_fault: AtomicBool,
    memory_denied: OnceLock<MemoryExhausted>,
    failure: OnceLock<Error>,
    abandoned: OnceLock<Instant>,
    begun: AtomicBool,
    finished: AtomicBool,
    watch: AtomicWaker,
    failed: AtomicWaker,
    ended: AtomicBool,
    end: Notify,
    /// The place in the pool: until the clerk is done with it, however slowly the client reads what is left.
    place: Mutex<Option<Held>>,
    /// It is by this one that is seen whether its clerk can serve a further request.
    trial: OnceLock<Trial>,
    /// Where it goes on to, at a middleware, until it is over.
    onward: Option<Onward>,
    /// What must live as long as anything of this request does: the lease.
    _lease: Held,
}

/// The rest of a request's way, and what says that the request is over.
#[derive(Clone)]
pub(super) struct Onward {
    pub next: Next,
    pub over: CancellationToken,
}

impl Onward {
    /// Its answer is out, nobody waits for it, or it failed.
    pub fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }
}

/// Something that is only kept.
pub(super) type Held = Box<dyn Any + Send + Sync>;

impl Errand {
    pub(super) fn new(lease: Held, place: Held, wall_time: Duration) -> Self {
        Errand {
            started: Instant::now(),
            wall_time,
            moved_ms: AtomicU64::new(0),
            answered: AtomicBool::new(false),
            asking: Stopwatch::default(),
            asker: AtomicWaker::new(),
            taking: Stopwatch::default(),
            waited_when_moved_us: AtomicU64::new(0),
            clients_fault: AtomicBool::new(false),
            memory_denied: OnceLock::new(),
            failure: OnceLock::new(),
            abandoned: OnceLock::new(),
            begun: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            watch: AtomicWaker::new(),
            failed: AtomicWaker::new(),
            ended: AtomicBool::new(false),
            end: Notify::new(),
            place: Mutex::new(Some(place)),
            trial: OnceLock::new(),
            onward: None,
            _lease: lease,
        }
    }

    /// With the rest of its way, at a middleware.
    pub(super) fn with_next(mut self, next: Option<Next>) -> Self {
        let over = CancellationToken::new;
        self.onward = next.map(|next| Onward { next, over: over() });
        self
    }

    /// The rest of its way, at a middleware.
    pub(super) fn onward(&self) -> Option<Onward> {
        self.onward.clone()
    }

    /// What was sent on for it ends here, and nothing more is.
    fn over(&self) {
        if let Some(onward) = &self.onward {
            onward.over.cancel();
        }
    }

    /// Its clerk has served before, and nobody knows whether it can.
    pub(super) fn tries(&self, trial: Trial) {
        let _ = self.trial.set(trial);
    }

    /// What its outcome decides, where it decides something.
    pub fn trial(&self) -> Option<&Trial> {
        self.trial.get()
    }

    /// A clerk has taken it on.
    pub(super) fn begin(&self) {
        self.begun.store(true, Relaxed);
    }

    pub(super) fn is_begun(&self) -> bool {
        self.begun.load(Relaxed)
    }

    /// The last byte of the answer is out.
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
        let waited = self.waited(now);
        self.waited_when_moved_us
            .store(waited.as_micros() as u64, Relaxed);
        self.moved_ms.store(now.as_millis() as u64, Relaxed);
    }

    /// Looks for more of the request's body by `poll`. Until that wakes us it is the client who is
    /// waited for; what the clerk does before it looks again is its own time.
    pub(super) fn ask<T>(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.asker.register(cx.waker());
        self.asking.start(self.started.elapsed());
        let waker = Waker::from(self.clone());
        let polled = poll(&mut Context::from_waker(&waker));
        if polled.is_ready() {
            self.asking.stop(self.started.elapsed());
        }
        polled
    }

    /// The client was given some of the answer, and more is to come: it is waited for until it
    /// takes that.
    pub(super) fn given(&self) {
        self.taking.start(self.started.elapsed());
    }

    /// The client is there for more of the answer.
    pub(super) fn taken(&self) {
        self.taking.stop(self.started.elapsed());
    }

    /// How long it has waited for the client to send the request's body: so much of its time is not
    /// the clerk's.
    pub fn waited_for_body(&self) -> Duration {
        self.asking.read(self.started.elapsed())
    }

    fn waited(&self, now: Duration) -> Duration {
        self.asking.read(now) + self.taking.read(now)
    }

    /// The request's body broke off or was too large: whatever the clerk makes of it, the sender is
    /// to blame.
    pub(super) fn body_failed(&self) {
        self.clients_fault.store(true, Relaxed);
    }

    /// Whether it is the client's fault if this fails.
    pub fn is_clients_fault(&self) -> bool {
        self.clients_fault.load(Relaxed)
    }

    /// The head of the response has left the clerk: from now on only pauses are timed.
    pub(super) fn answered(&self) {
        self.moved();
        self.answered.store(true, Relaxed);
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

    /// When the clerk must be done with it, as things stand now.
    pub(super) fn deadline(&self) -> Instant {
        let moved = if self.is_answered() {
            Duration::from_millis(self.moved_ms.load(Relaxed))
        } else {
            Duration::ZERO
        };
        let deadline = self.started + moved + self.wall_time;
        match self.abandoned.get() {
            Some(at) => deadline.min(*at + ABANDON_GRACE),
            None => deadline,
        }
    }

    /// The deadline has passed. It is the client's fault where the clerk had less than half of the
    /// time for itself.
    pub(super) fn time_over(&self) {
        let now = self.started.elapsed();
        let (since, before) = match self.is_answered() {
            true => (&self.moved_ms, &self.waited_when_moved_us),
            false => (&AtomicU64::new(0), &AtomicU64::new(0)),
        };
        let passed = now.saturating_sub(Duration::from_millis(since.load(Relaxed)));
        let before = Duration::from_micros(before.load(Relaxed));
        let waited = self.waited(now).saturating_sub(before);
        if passed.saturating_sub(waited) < self.wall_time / 2 {
            self.clients_fault.store(true, Relaxed);
        }
        self.fail(Error::WallTime {
            limit: self.wall_time,
        });
    }

    /// Has `waker` called when [`Errand::deadline`] may have come nearer.
    pub(super) fn watch(&self, waker: &Waker) {
        self.watch.register(waker);
    }

    pub(super) fn memory_denied(&self, exhausted: MemoryExhausted) {
        let _ = self.memory_denied.set(exhausted);
    }

    /// Records why the clerk failed; the first reason stands. A clerk that died after it was denied memory
    /// died of that.
    pub(super) fn fail(&self, error: Error) {
        let error = match (&error, self.memory_denied.get()) {
            (Error::ClerkTrapped, Some(MemoryExhausted(limit))) => {
                Error::MemoryLimit { limit: *limit }
            }
            _ => error,
        };
        if self.failure.set(error).is_ok() {
            self.failed.wake();
        }
        self.over();
    }

    pub(super) fn failure(&self) -> Option<&Error> {
        self.failure.get()
    }

    /// The failure; or `waker` is called when there is one. Of those that ask, the last is told.
    pub(super) fn poll_failure(&self, waker: &Waker) -> Option<&Error> {
        self.failed.register(waker);
        self.failure.get()
    }

    /// The clerk is gone, or done with this.
    pub(super) fn end(&self) {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let given_back = place.take();
        drop(place);
        drop(given_back);
        self.ended.store(true, std::sync::atomic::Ordering::Release);
        self.end.notify_waiters();
    }

    /// Waits until the clerk is gone and with it every doubt about why.
    pub(super) async fn wait_end(&self) {
        let notified = self.end.notified();
        let mut notified = std::pin::pin!(notified);
        notified.as_mut().enable();
        if !self.ended.load(std::sync::atomic::Ordering::Acquire) {
            notified.await;
        }
    }
}

impl Wake for Errand {
    /// More of the request's body is there, or its end.
    fn wake(self: Arc<Self>) {
        self.asking.stop(self.started.elapsed());
        self.asker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: Duration = Duration::from_secs(60);

    #[test]
    fn the_first_reason_stands() {
        let errand = Errand::new(Box::new(()), Box::new(()), WALL);
        errand.fail(Error::ClerkTrapped);
        errand.fail(Error::ClerkLimit);
        assert_eq!(errand.failure().map(Error::code), Some("clerk-trapped"));
    }

    #[test]
    fn a_trap_after_denied_memory_is_named_for_the_memory() {
        let errand = Errand::new(Box::new(()), Box::new(()), WALL);
        errand.memory_denied(MemoryExhausted(7));
        errand.fail(Error::ClerkTrapped);
        assert_eq!(errand.failure().map(Error::code), Some("memory-limit"));
    }

    #[test]
    fn whatever_ends_a_request_ends_what_it_may_send_on() {
        let ends: [fn(&Errand); 3] = [Errand::finish, Errand::abandon, |errand| {
            errand.fail(Error::ClerkTrapped);
        }];
        for end in ends {
            let next = Next::new(|_| Box::pin(std::future::pending()));
            let errand = Errand::new(Box::new(()), Box::new(()), WALL).with_next(Some(next));
            let begun = errand.onward().unwrap();
            // An answer that is passed through outlives its clerk.
            errand.end();
            assert!(!begun.is_over());
            end(&errand);
            assert!(begun.is_over());
        }
    }

    #[test]
    fn abandonment_brings_the_deadline_nearer_but_never_further() {
        let errand = Errand::new(Box::new(()), Box::new(()), WALL);
        let long = errand.deadline();
        errand.abandon();
        assert!(errand.deadline() < long);
        let short = Errand::new(Box::new(()), Box::new(()), Duration::from_millis(1));
        short.abandon();
        assert_eq!(short.deadline(), short.started + Duration::from_millis(1));
    }

    #[test]
    fn body_movement_counts_only_once_the_head_is_out() {
        let errand = Errand::new(Box::new(()), Box::new(()), WALL);
        let before = errand.deadline();
        std::thread::sleep(Duration::from_millis(2));
        errand.moved();
        assert_eq!(errand.deadline(), before);
        errand.answered();
        assert!(errand.deadline() > before);
    }

    fn over_after(answered: bool, waits: impl Fn(&Arc<Errand>, bool)) -> bool {
        let wall = Duration::from_millis(20);
        let errand = Arc::new(Errand::new(Box::new(()), Box::new(()), wall));
        if answered {
            errand.answered();
        }
        waits(&errand, true);
        std::thread::sleep(wall);
        waits(&errand, false);
        errand.time_over();
        assert_eq!(errand.failure().map(Error::code), Some("wall-time"));
        errand.is_clients_fault()
    }

    #[test]
    fn time_that_went_to_the_client_is_not_the_clerks_fault() {
        let asked = |errand: &Arc<Errand>, begins: bool| match begins {
            true => {
                let mut cx = Context::from_waker(Waker::noop());
                assert!(errand.ask(&mut cx, |_| Poll::<()>::Pending).is_pending());
            }
            false => errand.clone().wake(),
        };
        let taken = |errand: &Arc<Errand>, begins: bool| match begins {
            true => errand.given(),
            false => errand.taken(),
        };
        for answered in [false, true] {
            assert!(over_after(answered, asked));
            assert!(over_after(answered, taken));
            assert!(!over_after(answered, |_, _| ()));
        }
    }

    #[test]
    fn what_the_client_took_before_the_last_chunk_excuses_nothing_after_it() {
        let wall = Duration::from_millis(20);
        let errand = Arc::new(Errand::new(Box::new(()), Box::new(()), wall));
        errand.answered();
        errand.given();
        std::thread::sleep(wall);
        errand.taken();
        errand.moved();
        std::thread::sleep(wall);
        errand.time_over();
        assert!(!errand.is_clients_fault());
    }
}
