//! One request from the clerk's side: shared by the clerk that serves it, the body that carries the answer
//! out, and the watch that ends it when it takes too long.

use super::failure::MemoryExhausted;
use crate::error::Error;
use crate::next::Next;
use futures_util::task::AtomicWaker;
use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Time that a clerk has to tidy up once nobody waits for its answer any more. An upload that broke off
/// removes its chunks in this time.
const ABANDON_GRACE: Duration = Duration::from_secs(5);

/// The state of one request at a clerk.
pub(super) struct Errand {
    started: Instant,
    /// What it has until the answer begins, and between two chunks of a body.
    wall_time: Duration,
    /// Milliseconds since `started` at which the body last moved, in either direction.
    moved_ms: AtomicU64,
    answered: AtomicBool,
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
        let now = self.started.elapsed().as_millis();
        self.moved_ms.store(now as u64, Relaxed);
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

    /// What is said when the deadline has passed.
    pub(super) fn wall_time_over(&self) -> Error {
        Error::WallTime {
            limit: self.wall_time,
        }
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
}
