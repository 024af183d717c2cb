//! The progress of a request body: who is late with it, and why it broke off.
//!
//! The client sends at its own rate, which has its own bound (`body`). So the upstream's clock
//! stops while it has asked for more of the body and the client has not sent it, and restarts with
//! each piece handed on: it counts from the last byte sent.

use hms_core::error::RequestError;
use hms_core::stopwatch::Stopwatch;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Poll, ready};
use std::time::Duration;
use tokio::time::Instant;

/// Time between checks whether a client that is waited for has sent more. 1 s: an upstream that
/// asks for more can exceed its time by so much, and a client that pauses costs one check per
/// second.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Shared by the body and by those who time its upstream.
#[derive(Clone)]
pub struct Upload(Arc<State>);

struct State {
    begun: Instant,
    /// Runs while more of the body is asked for and has not arrived.
    waiting: Stopwatch,
    /// When a piece was last handed on, in microseconds since `begun`.
    moved_us: AtomicU64,
    /// How long the client had been waited for by then, in microseconds.
    waited_when_moved_us: AtomicU64,
    broken: OnceLock<RequestError>,
}

/// The time limit was exceeded.
#[derive(Debug, PartialEq, Eq)]
pub struct Late;

impl Default for Upload {
    fn default() -> Self {
        Upload(Arc::new(State {
            begun: Instant::now(),
            waiting: Stopwatch::default(),
            moved_us: AtomicU64::new(0),
            waited_when_moved_us: AtomicU64::new(0),
            broken: OnceLock::new(),
        }))
    }
}

impl Upload {
    fn now(&self) -> Duration {
        self.0.begun.elapsed()
    }

    /// More of the body is asked for, and the client has not sent it.
    pub(super) fn waits(&self) {
        self.0.waiting.start(self.now());
    }

    /// Nobody asks for more. From now on, time is not charged to the client.
    pub(super) fn unasked(&self) {
        self.0.waiting.stop(self.now());
    }

    /// A piece of the body, or its end, was handed on.
    pub(super) fn moved(&self) {
        let now = self.now();
        self.0.waiting.stop(now);
        let waited = self.0.waiting.read(now);
        let micros = |time: Duration| time.as_micros() as u64;
        self.0.waited_when_moved_us.store(micros(waited), Relaxed);
        self.0.moved_us.store(micros(now), Relaxed);
    }

    /// The body ends here by the client's fault.
    pub(super) fn break_off(&self, why: RequestError) {
        self.moved();
        let _ = self.0.broken.set(why);
    }

    /// Why the upstream did not get the whole body, if that was the client's fault.
    pub fn why(&self) -> Option<&RequestError> {
        self.0.broken.get()
    }

    /// When a piece of the body was last handed on; before the first, when the request began.
    pub fn last_moved(&self) -> Instant {
        self.0.begun + Duration::from_micros(self.0.moved_us.load(Relaxed))
    }

    /// Whether the client is being waited for right now.
    pub fn is_waiting(&self) -> bool {
        self.0.waiting.is_running()
    }

    /// The result of `future` within `limit` of the upstream's own time. The time counts from now,
    /// or from the last piece of the body handed on, and excludes waits for the client.
    ///
    /// By reference, because an async function that took the future by value would reserve space
    /// for it twice, and the state of a request is moved.
    ///
    /// # Errors
    ///
    /// [`Late`] if the time is over.
    pub async fn within<F: Future>(
        &self,
        limit: Duration,
        mut future: Pin<&mut F>,
    ) -> Result<F::Output, Late> {
        let begun = self.now();
        let waited = self.0.waiting.read(begun);
        let mut sleep = pin!(tokio::time::sleep(limit));
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            loop {
                ready!(sleep.as_mut().poll(cx));
                let left = limit.saturating_sub(self.spent(begun, waited));
                let wait = match self.is_waiting() {
                    true => left.max(LOOK_EVERY),
                    false if left.is_zero() => return Poll::Ready(Err(Late)),
                    false => left,
                };
                sleep.as_mut().reset(Instant::now() + wait);
            }
        })
        .await
    }

    /// How much of its own time an upstream has used that was asked at `begun`, when the client had
    /// been waited for so long.
    fn spent(&self, begun: Duration, waited: Duration) -> Duration {
        let now = self.now();
        let moved = Duration::from_micros(self.0.moved_us.load(Relaxed));
        let (since, before) = match moved > begun {
            true => (
                moved,
                Duration::from_micros(self.0.waited_when_moved_us.load(Relaxed)),
            ),
            false => (begun, waited),
        };
        let waited = self.0.waiting.read(now).saturating_sub(before);
        now.saturating_sub(since).saturating_sub(waited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::time::timeout;

    const LIMIT: Duration = Duration::from_millis(60);

    #[tokio::test(start_paused = true)]
    async fn upstream_time_starts_when_the_upstream_is_asked() {
        let upload = Upload::default();
        tokio::time::sleep(LIMIT).await;
        let begun = Instant::now();
        assert_eq!(upload.within(LIMIT, pin!(pending::<()>())).await, Err(Late));
        assert!(begun.elapsed() >= LIMIT);
        assert_eq!(upload.within(LIMIT, pin!(async { 7 })).await, Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn upstream_time_stops_while_the_client_is_awaited_and_restarts_at_the_last_piece() {
        let upload = Upload::default();
        upload.waits();
        let never = pin!(pending::<()>());
        let late = upload.within(LIMIT, never);
        let mut late = Box::pin(late);
        assert!(timeout(5 * LIMIT, &mut late).await.is_err(), "it waits");
        upload.moved();
        let begun = Instant::now();
        assert_eq!(late.await, Err(Late));
        assert!(begun.elapsed() >= LIMIT);
        assert!(begun.elapsed() < 2 * LOOK_EVERY);
    }

    #[tokio::test(start_paused = true)]
    async fn upload_that_nobody_reads_is_not_waited_for() {
        let upload = Upload::default();
        upload.waits();
        tokio::time::sleep(LIMIT).await;
        upload.unasked();
        assert!(!upload.is_waiting());
        let never = pin!(pending::<()>());
        let late = upload.within(LIMIT, never);
        assert_eq!(timeout(LOOK_EVERY, late).await, Ok(Err(Late)));
    }

    #[tokio::test(start_paused = true)]
    async fn upstream_that_keeps_reading_is_not_late() {
        let upload = Upload::default();
        let taking = async {
            for _ in 0..6 {
                tokio::time::sleep(LIMIT / 2).await;
                upload.moved();
            }
        };
        assert_eq!(upload.within(LIMIT, pin!(taking)).await, Ok(()));
    }
}
