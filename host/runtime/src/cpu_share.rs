//! How the guests of one window share the processors with those of the others.
//!
//! Guest code that runs long is interrupted at every epoch and goes to the back of tokio's queue.
//! If that were all, a window with 64 spinning instances would stand in the queue 64 times. An
//! instance that has used up its first, free time therefore needs a CPU share of its window to
//! continue. A window has one share fewer than there are processors; its other instances wait in
//! the window's own queue.
//!
//! Some operations of a guest cannot be interrupted: filling much memory is one instruction. An
//! instance therefore starts with a start permit, of which a window has as many as there are
//! processors, and keeps it until it stops for the first time. A window of such guests thus holds
//! at most that many threads, and there are more (`slow_pool.rs`). For a second after a guest was
//! seen in such an operation for long, the window's instances need a CPU share to start as well.
//!
//! The window's placement decides whether an instance starts on the lane of its request or in the
//! slow pool (`placement.rs`); what is observed here feeds it.

use super::meter::EPOCH_TICK;
use super::placement::Placement;
use parking_lot::{Mutex, MutexGuard};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Time that an instance runs before it needs a CPU share. 5 ms: most requests never need one.
const FREE: Duration = Duration::from_millis(5);

/// Processor time without a stop after which a guest counts as uninterruptible. 4 ms; interruptions
/// come every millisecond. Not wall time: under load the system itself delays threads.
const LONG: Duration = Duration::from_millis(4);

/// The processor time at which a request counts as long. 50 ms: it is a sum of samples, each of
/// which may be up to an epoch too high.
const LONG_REQUEST: Duration = Duration::from_millis(50);

/// Epochs for which a window is treated in this way.
const REMEMBERED: u64 = 1000;

/// Counts the epochs of an engine.
#[derive(Clone, Default)]
pub(super) struct Clock(Arc<AtomicU64>);

impl Clock {
    pub(crate) fn tick(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    fn now(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The CPU shares of one window.
#[derive(Clone)]
pub struct CpuShares {
    cpu_shares: Arc<Semaphore>,
    start_permits: Arc<Semaphore>,
    /// The epoch until which its instances need a CPU share to start.
    hot_until: Arc<AtomicU64>,
    placement: Arc<Placement>,
}

impl Default for CpuShares {
    fn default() -> Self {
        let processors = hms_net::lanes::count();
        CpuShares::new(processors.saturating_sub(1).max(1), processors)
    }
}

impl CpuShares {
    fn new(cpu_shares: usize, start_permits: usize) -> Self {
        CpuShares {
            cpu_shares: Arc::new(Semaphore::new(cpu_shares)),
            start_permits: Arc::new(Semaphore::new(start_permits)),
            hot_until: Arc::default(),
            placement: Arc::default(),
        }
    }

    /// One of its instances has answered.
    pub(super) fn answered(&self) {
        self.placement.answered();
    }

    /// Whether its instances belong on lanes now.
    pub(super) fn fit_lanes(&self, clock: &Clock) -> bool {
        self.placement.fits_lanes(clock.now())
    }
}

/// One instance's part in the shares. Clones share it.
#[derive(Clone)]
pub(super) struct CpuShare(Arc<Part>);

struct Part {
    cpu_shares: CpuShares,
    clock: Clock,
    state: Mutex<State>,
    /// Held until it has stopped running for the first time.
    start_permit: Mutex<Option<OwnedSemaphorePermit>>,
    /// The epoch at which guest code started or resumed.
    since: AtomicU64,
    /// The processor time of its thread at that moment, in nanoseconds.
    thread_since: AtomicU64,
    /// Processor time used for its request up to the last interruption, in nanoseconds.
    used: AtomicU64,
}

/// Processor time that this thread has used, in nanoseconds.
fn thread_time() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
}

/// The same, read once per epoch: guest code resumes at every return of a host call, and this is a
/// system call.
fn thread_time_at(epoch: u64) -> u64 {
    thread_local!(static LAST: Cell<(u64, u64)> = const { Cell::new((u64::MAX, 0)) });
    LAST.with(|last| {
        if last.get().0 != epoch {
            last.set((epoch, thread_time()));
        }
        last.get().1
    })
}

enum State {
    Without,
    /// Granted, and waiting in tokio's queue.
    Given(OwnedSemaphorePermit),
    /// In use.
    Running(#[expect(dead_code, reason = "held until it is dropped")] OwnedSemaphorePermit),
}

impl CpuShare {
    pub(crate) fn new(cpu_shares: &CpuShares, clock: &Clock) -> Self {
        CpuShare(Arc::new(Part {
            cpu_shares: cpu_shares.clone(),
            clock: clock.clone(),
            state: Mutex::new(State::Without),
            start_permit: Mutex::default(),
            since: AtomicU64::new(clock.now()),
            thread_since: AtomicU64::default(),
            used: AtomicU64::default(),
        }))
    }

    /// Waits for a start permit. Must be called before any guest code runs.
    pub(crate) async fn begin(&self) {
        let start_permit = self
            .0
            .cpu_shares
            .start_permits
            .clone()
            .acquire_owned()
            .await;
        *self.start_permit() = start_permit.ok();
        if self.0.clock.now() < self.0.cpu_shares.hot_until.load(Relaxed)
            && let Ok(permit) = self.0.cpu_shares.cpu_shares.clone().acquire_owned().await
        {
            self.set(State::Running(permit));
        }
        self.runs();
    }

    fn start_permit(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.0.start_permit.lock()
    }

    /// Guest code runs from here.
    pub(crate) fn runs(&self) {
        let now = self.0.clock.now();
        self.0.since.store(now, Relaxed);
        self.0.thread_since.store(thread_time_at(now), Relaxed);
    }

    /// Another request begins.
    pub(crate) fn restart(&self) {
        self.0.used.store(0, Relaxed);
    }

    /// Epochs in which it has run since: at least one, so that no pattern of short runs escapes the
    /// count, and many if it was in an operation that cannot be interrupted, such as filling
    /// memory.
    pub(crate) fn ran(&self) -> u64 {
        let now = self.0.clock.now();
        let ended = now.saturating_sub(self.0.since.load(Relaxed));
        let ran = ended.max(1);
        // A system call, but at most one per epoch.
        let took = thread_time().saturating_sub(self.0.thread_since.load(Relaxed));
        let cpu_shares = &self.0.cpu_shares;
        let uninterrupted = ran > LONG.as_millis() as u64 && took >= LONG.as_nanos() as u64;
        if uninterrupted {
            cpu_shares.hot_until.store(now + REMEMBERED, Relaxed);
        }
        // In an epoch that ends late, the thread may have worked for many others since its time was
        // read.
        let epoch = EPOCH_TICK.as_nanos() as u64;
        let own = took.min(ran.saturating_mul(epoch));
        let used = self.0.used.fetch_add(own, Relaxed) + own;
        cpu_shares.placement.computed(match ended {
            // It has just resumed: after a wait, or between host calls, which may follow each other
            // endlessly.
            0 => u64::from(used >= FREE.as_nanos() as u64),
            // The system may have delayed it.
            _ => ended.min(took.div_ceil(epoch)),
        });
        if uninterrupted || used >= LONG_REQUEST.as_nanos() as u64 {
            cpu_shares.placement.took_long(now);
        }
        ran
    }

    fn set(&self, state: State) {
        *self.0.state.lock() = state;
    }

    /// Called when a guest that has run for `ran` so far was interrupted. Ready when it may
    /// continue.
    pub(crate) async fn next(self, ran: Duration) {
        self.wait(ran).await;
        self.runs();
    }

    async fn wait(&self, ran: Duration) {
        *self.start_permit() = None;
        self.set(State::Without);
        if ran <= FREE {
            // tokio's own yield puts the task behind all others; wasmtime's would put it first
            // again.
            return tokio::task::yield_now().await;
        }
        let Ok(permit) = self.0.cpu_shares.cpu_shares.clone().acquire_owned().await else {
            return;
        };
        self.set(State::Given(permit));
        tokio::task::yield_now().await;
        let mut state = self.0.state.lock();
        if let State::Given(permit) = std::mem::replace(&mut *state, State::Without) {
            *state = State::Running(permit);
        }
    }

    /// Runs `work` outside of a worker, which would otherwise report when it stops.
    pub(crate) async fn around<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        std::future::poll_fn(|cx| {
            let polled = work.as_mut().poll(cx);
            if polled.is_pending() {
                self.over();
            } else {
                self.give_back();
            }
            polled
        })
        .await
    }

    /// The instance has stopped running for now, for whatever reason. It returns its CPU share and
    /// its start permit: a waiting instance must not keep them.
    pub(crate) fn over(&self) {
        *self.start_permit() = None;
        self.give_back();
    }

    fn give_back(&self) {
        let mut state = self.0.state.lock();
        if matches!(*state, State::Running(_)) {
            *state = State::Without;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    const LONG_TIME: Duration = Duration::from_secs(1);

    fn cpu_share(cpu_shares: &CpuShares) -> CpuShare {
        CpuShare::new(cpu_shares, &Clock::default())
    }

    fn cpu_shares() -> CpuShares {
        CpuShares::new(1, 1)
    }

    #[tokio::test]
    async fn second_instance_waits_until_the_share_is_released() {
        let cpu_shares = cpu_shares();
        let (first, second) = (cpu_share(&cpu_shares), cpu_share(&cpu_shares));
        first.clone().next(LONG_TIME).await;
        let mut waiting = Box::pin(second.next(LONG_TIME));
        assert!(waiting.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
        assert!(waiting.as_mut().now_or_never().is_none());
        first.over();
        waiting.await;
    }

    #[tokio::test]
    async fn granted_share_is_held_until_it_is_used() {
        let cpu_shares = cpu_shares();
        let (first, second) = (cpu_share(&cpu_shares), cpu_share(&cpu_shares));
        let mut given = Box::pin(first.clone().next(LONG_TIME));
        assert!(given.as_mut().now_or_never().is_none());
        first.over();
        assert!(Box::pin(second.next(LONG_TIME)).now_or_never().is_none());
        given.await;
    }

    #[tokio::test]
    async fn dropped_instance_releases_its_share() {
        let cpu_shares = cpu_shares();
        let first = cpu_share(&cpu_shares);
        first.clone().next(LONG_TIME).await;
        drop(first);
        cpu_share(&cpu_shares).next(LONG_TIME).await;
    }

    #[tokio::test]
    async fn instance_starts_once_the_previous_one_has_first_stopped() {
        let cpu_shares = cpu_shares();
        let (first, second) = (cpu_share(&cpu_shares), cpu_share(&cpu_shares));
        first.begin().await;
        assert!(second.begin().now_or_never().is_none());
        first.over();
        second.begin().await;
        let third = cpu_share(&cpu_shares);
        assert!(third.begin().now_or_never().is_none());
        drop(second);
        third.begin().await;
    }

    #[tokio::test]
    async fn window_with_uninterruptible_guests_starts_one_instance_at_a_time() {
        let (cpu_shares, clock) = (CpuShares::new(1, 2), Clock::default());
        let new = || CpuShare::new(&cpu_shares, &clock);
        let (first, second) = (new(), new());
        first.begin().await;
        second.begin().await;
        first.runs();
        (0..10).for_each(|_| clock.tick());
        first.ran();
        assert_eq!(
            cpu_shares.hot_until.load(Relaxed),
            0,
            "it was kept waiting, it did not run"
        );
        let begun = thread_time();
        while thread_time() < begun + LONG.as_nanos() as u64 {}
        first.ran();
        first.over();
        second.over();
        first.begin().await;
        assert!(second.begin().now_or_never().is_none());
        first.over();
        second.begin().await;
        second.over();
        (0..REMEMBERED).for_each(|_| clock.tick());
        first.begin().await;
        second.begin().await;
    }

    #[test]
    fn guest_computation_counts_towards_window_placement() {
        let (cpu_shares, clock) = (cpu_shares(), Clock::default());
        let answers = |count: usize| (0..count).for_each(|_| cpu_shares.answered());
        let busy = |cpu_share: &CpuShare, time: Duration| {
            cpu_share.runs();
            let begun = thread_time();
            while thread_time() < begun + time.as_nanos() as u64 {}
            clock.tick();
            cpu_share.ran();
        };
        answers(32);
        assert!(cpu_shares.fit_lanes(&clock));
        // One that has just gone on after a wait, which is no time at all.
        let waited = CpuShare::new(&cpu_shares, &clock);
        for _ in 0..20 {
            clock.tick();
            waited.runs();
            waited.ran();
            waited.restart();
        }
        assert!(cpu_shares.fit_lanes(&clock));
        // Requests of a millisecond each, more than they earn.
        for _ in 0..20 {
            busy(
                &CpuShare::new(&cpu_shares, &clock),
                Duration::from_millis(1),
            );
            cpu_shares.answered();
        }
        assert!(!cpu_shares.fit_lanes(&clock));
        // Short ones in epochs that end late, on a thread that has worked for others.
        answers(32);
        for _ in 0..10 {
            busy(
                &CpuShare::new(&cpu_shares, &clock),
                Duration::from_millis(8),
            );
            answers(2);
        }
        assert!(cpu_shares.fit_lanes(&clock));
        // Host calls without end: it has always just gone on.
        let calling = CpuShare::new(&cpu_shares, &clock);
        for _ in 0..40 {
            calling.runs();
            let begun = thread_time();
            while thread_time() < begun + EPOCH_TICK.as_nanos() as u64 {}
            calling.ran();
        }
        assert!(!cpu_shares.fit_lanes(&clock));
        // A long one.
        answers(32);
        assert!(cpu_shares.fit_lanes(&clock));
        let long = CpuShare::new(&cpu_shares, &clock);
        for _ in 0..60 {
            busy(&long, Duration::from_millis(1));
        }
        answers(32);
        assert!(!cpu_shares.fit_lanes(&clock));
    }

    #[tokio::test]
    async fn uninterruptible_work_counts_for_as_long_as_it_took() {
        let clock = Clock::default();
        let cpu_share = CpuShare::new(&cpu_shares(), &clock);
        assert_eq!(cpu_share.ran(), 1);
        (0..40).for_each(|_| clock.tick());
        assert_eq!(cpu_share.ran(), 40);
        cpu_share.clone().next(FREE).await;
        assert_eq!(cpu_share.ran(), 1);
    }

    #[tokio::test]
    async fn short_work_needs_no_share() {
        let cpu_shares = cpu_shares();
        let first = cpu_share(&cpu_shares);
        first.clone().next(LONG_TIME).await;
        cpu_share(&cpu_shares).next(Duration::from_millis(1)).await;
    }
}
