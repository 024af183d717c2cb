//! Ends a clerk that takes too long, from outside its event loop: epoch yields and asynchronous host calls
//! hold the wasmtime store, so a timer inside the loop may never be polled.

use super::clerk::Cutter;
use super::errand::Errand;
use super::turns::Turn;
use crate::error::Error;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::{Sleep, sleep_until};
use wasmtime_wasi_http::handler::{WorkerExpiration, WorkerStatus};

/// The deadline of one clerk.
pub(super) struct Deadline {
    wall_time: Duration,
    /// Filled when the clerk accepts its request, which is after this watch was made.
    errand: Arc<OnceLock<Arc<Errand>>>,
    sleep: Option<Pin<Box<Sleep>>>,
    turn: Turn,
    cut_off: Pin<Box<dyn Future<Output = Error> + Send + Sync>>,
}

impl Deadline {
    pub(super) fn new(
        wall_time: Duration,
        errand: Arc<OnceLock<Arc<Errand>>>,
        cutter: Cutter,
        turn: Turn,
    ) -> Self {
        Deadline {
            wall_time,
            errand,
            sleep: None,
            turn,
            cut_off: Box::pin(cutter.cut_off()),
        }
    }
}

impl WorkerExpiration for Deadline {
    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: WorkerStatus,
        _: Instant,
    ) -> Poll<()> {
        // The worker asks here whenever its guest has stopped running.
        self.turn.over();
        let Some(errand) = self.errand.get().cloned() else {
            return Poll::Pending;
        };
        if let Poll::Ready(why) = self.cut_off.as_mut().poll(cx) {
            errand.fail(why);
            return Poll::Ready(());
        }
        errand.watch(cx.waker());
        loop {
            let deadline = errand.deadline(self.wall_time);
            if deadline <= Instant::now() {
                errand.fail(Error::WallTime {
                    limit: self.wall_time,
                });
                return Poll::Ready(());
            }
            let at = tokio::time::Instant::from_std(deadline);
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
            if sleep.deadline() != at {
                sleep.as_mut().reset(at);
            }
            // When it fires the body may have moved meanwhile: look again rather than end.
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}
