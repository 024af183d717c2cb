//! Ends an instance that takes too long, from outside its event loop: epoch yields and asynchronous
//! host calls hold the wasmtime store, so a timer inside the loop may never be polled.

use super::cpu_share::CpuShare;
use super::error::InstanceError;
use super::factory::CancelHandle;
use super::in_flight_set::{InFlightSet, Stand};
use super::reuse::Reuse;
use super::waiters::WaitShare;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep, sleep_until};
use wasmtime_wasi_http::handler::{WorkerExpiration, WorkerStatus};

/// How long a reused instance waits for its next request. 5 s: a window with few requests starts
/// its instances anew, and one under load never does.
const IDLE: Duration = Duration::from_secs(5);

/// The deadline of one instance.
pub(super) struct Deadline {
    /// Its time once all its answers have been sent.
    wall_time: Duration,
    in_flight_set: Arc<InFlightSet>,
    /// The idle instances, over all windows.
    room: Arc<Semaphore>,
    /// The instances that may wait for slow clients.
    share: WaitShare,
    sleep: Option<Pin<Box<Sleep>>>,
    cpu_share: CpuShare,
    /// Wakes the worker once it is known whether the instance may have another request.
    reuse: Arc<Reuse>,
    cut_off: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
    closed: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
}

impl Deadline {
    pub(super) fn new(
        wall_time: Duration,
        in_flight_set: Arc<InFlightSet>,
        room: Arc<Semaphore>,
        share: WaitShare,
        cancel_handle: CancelHandle,
        cpu_share: CpuShare,
        reuse: Arc<Reuse>,
    ) -> Self {
        Deadline {
            reuse,
            wall_time,
            in_flight_set,
            room,
            share,
            sleep: None,
            cpu_share,
            cut_off: Box::pin(cancel_handle.clone().cut_off()),
            closed: Box::pin(cancel_handle.closed()),
        }
    }

    /// Whether that time has come; otherwise this is polled then, or earlier. A timer that is set
    /// for an earlier time is kept, because setting it for each request costs more than one poll
    /// too many.
    fn is_past(&mut self, deadline: Instant, now: Instant, cx: &mut Context<'_>) -> bool {
        if deadline <= now {
            return true;
        }
        let at_deadline = || Box::pin(sleep_until(deadline));
        let sleep = self.sleep.get_or_insert_with(at_deadline);
        if deadline < sleep.deadline() {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if deadline <= sleep.deadline() {
                return true;
            }
            sleep.as_mut().reset(deadline);
        }
        false
    }
}

impl WorkerExpiration for Deadline {
    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        status: WorkerStatus,
        since: std::time::Instant,
    ) -> Poll<()> {
        let since = Instant::from_std(since);
        // The worker asks here whenever its guest has stopped running.
        self.cpu_share.over();
        if self.cut_off.as_mut().poll(cx).is_ready() {
            self.in_flight_set.fail(&InstanceError::DrainDeadline);
            return Poll::Ready(());
        }
        if let Some(trial) = self.in_flight_set.tried()
            && self.reuse.is_trial(trial)
        {
            self.reuse.wait(trial, cx.waker());
        }
        if status == WorkerStatus::Idle {
            let may_stay = self
                .in_flight_set
                .rest(&self.room.clone(), self.share.weight)
                && self.closed.as_mut().poll(cx).is_pending();
            if !may_stay || self.is_past(since + IDLE, Instant::now(), cx) {
                return Poll::Ready(());
            }
            return Poll::Pending;
        }
        for (in_flight, slow) in self.in_flight_set.watch(cx.waker(), &self.share.short) {
            self.share.add(&in_flight, slow);
        }
        loop {
            let now = Instant::now();
            let deadline = match self.in_flight_set.stand(now) {
                Stand::Over => return Poll::Ready(()),
                Stand::Until(deadline) => deadline,
                // Its answers have been sent, and it continues with work of its own.
                Stand::Empty => {
                    let deadline = since + self.wall_time;
                    if self.is_past(deadline, now, cx) {
                        return Poll::Ready(());
                    }
                    return Poll::Pending;
                }
            };
            // When the time has come a body may have moved meanwhile: look again rather than end.
            if !self.is_past(deadline, now, cx) {
                return Poll::Pending;
            }
        }
    }
}
