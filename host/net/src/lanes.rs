//! Lanes: thread-per-core workers. Each serves its own connections alone, from the accept to the
//! instance and back.
//!
//! A request that stays on one thread wakes no other, finds its data in that thread's caches, and
//! is served together with others at the same step. On two processors that is a third to a half
//! more requests than with a work-stealing runtime (docs/performance.md). The cost is that nobody
//! takes over while a lane is held, so code that computes for long must not run here. Instances of
//! a window that was seen to do so, or has not answered much yet (`host/runtime/src/placement.rs`),
//! start in a separate runtime with a lower priority (`host/runtime/src/slow_pool.rs`). Requests of
//! HTTP/2 connections, which may be many at once, do not run here either
//! (`host/gateway/src/server/connection.rs`): they run on tokio's multi-threaded runtime, on which
//! the host was started.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

thread_local!(static CURRENT: Cell<usize> = const { Cell::new(0) });

/// How long an idle thread for blocking work is kept: its stack and its part of the allocator are
/// memory. With tokio's 10 s the scans of the folders, each on the next thread in turn, would keep
/// all of them forever.
pub const BLOCKING_THREAD_IDLE: Duration = Duration::from_secs(1);

/// The number of lanes: one per processor.
pub fn count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The number of threads of a runtime besides the lanes: one more than processors. Guest code
/// cannot always be interrupted, so there must be one more than guests can hold; the system then
/// shares the processors between them.
pub fn threads_beside() -> usize {
    count() + 1
}

/// The number of this thread's lane, from 1 to [`count`]; 0 on other threads.
pub fn current() -> usize {
    CURRENT.get()
}

/// One of a thing for each lane, and one for what runs beside them: so that lanes share nothing and
/// wait for nobody.
#[derive(Debug, Clone)]
pub struct PerLane<T> {
    beside: T,
    lanes: Box<[T]>,
}

impl<T> PerLane<T> {
    /// Makes one for each.
    pub fn new(mut make: impl FnMut() -> T) -> Self {
        PerLane {
            beside: make(),
            lanes: (0..count()).map(|_| make()).collect(),
        }
    }

    /// That of this thread.
    pub fn here(&self) -> &T {
        let lane = current().checked_sub(1);
        lane.and_then(|lane| self.lanes.get(lane))
            .unwrap_or(&self.beside)
    }

    /// That beside the lanes.
    pub fn beside(&self) -> &T {
        &self.beside
    }
}

/// The lanes of a host.
#[derive(Debug, Clone)]
pub struct Lanes(Arc<[Lane]>);

#[derive(Debug)]
struct Lane {
    handle: Handle,
    connections: Arc<AtomicUsize>,
}

/// The threads of the lanes, which end with it.
#[derive(Debug)]
pub struct Threads(Vec<(oneshot::Sender<()>, JoinHandle<()>)>);

/// A connection's place on a lane.
#[derive(Debug)]
pub struct LaneGuard {
    handle: Handle,
    connections: Arc<AtomicUsize>,
}

impl Lanes {
    /// Starts one for each processor.
    ///
    /// # Errors
    /// When the system gives no thread or no event queue.
    pub fn start() -> io::Result<(Lanes, Threads)> {
        let (mut lanes, mut threads) = (Vec::new(), Vec::new());
        for number in 1..=count() {
            // Of one thread: a task that becomes ready stands behind all others, so that requests
            // go from step to step together.
            let runtime = Builder::new_current_thread()
                .enable_all()
                .thread_keep_alive(BLOCKING_THREAD_IDLE)
                .build()?;
            lanes.push(Lane {
                handle: runtime.handle().clone(),
                connections: Arc::default(),
            });
            let (running, ended) = oneshot::channel::<()>();
            let thread = std::thread::Builder::new()
                .name(format!("lane-{number}"))
                .spawn(move || {
                    CURRENT.set(number);
                    // Nothing is ever sent.
                    let _ = runtime.block_on(ended);
                })?;
            threads.push((running, thread));
        }
        Ok((Lanes(lanes.into()), Threads(threads)))
    }

    /// A place on the lane with the fewest connections.
    pub fn guard(&self) -> Option<LaneGuard> {
        let load = |lane: &&Lane| lane.connections.load(Relaxed);
        let lane = self.0.iter().min_by_key(load)?;
        lane.connections.fetch_add(1, Relaxed);
        Some(LaneGuard {
            handle: lane.handle.clone(),
            connections: lane.connections.clone(),
        })
    }
}

impl Threads {
    /// Ends them, and what still runs on them as soon as it stops for the first time; waits for
    /// blocking work that has begun.
    pub async fn end(self) {
        let ending: Vec<_> = self.0.into_iter().map(|(_, thread)| thread).collect();
        let ended = tokio::task::spawn_blocking(move || {
            for thread in ending {
                // What panics is a task, which tokio catches.
                let _ = thread.join();
            }
        });
        // It does not panic, and is not cancelled.
        let _ = ended.await;
    }
}

impl LaneGuard {
    /// The lane's runtime.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for LaneGuard {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connection_goes_to_the_least_loaded_lane_and_frees_its_place_at_its_end() {
        let (lanes, threads) = Lanes::start().unwrap();
        let mut counts: Vec<LaneGuard> = (0..count() * 3).filter_map(|_| lanes.guard()).collect();
        let loads = || lanes.0.iter().map(|lane| lane.connections.load(Relaxed));
        assert!(
            loads().all(|load| load == 3),
            "{:?}",
            loads().collect::<Vec<_>>()
        );
        let left = counts.remove(0);
        let id = left.handle.id();
        drop(left);
        assert_eq!(lanes.guard().unwrap().handle.id(), id);
        threads.end().await;
    }

    #[tokio::test]
    async fn every_lane_has_its_own_thread_and_values() {
        let (lanes, threads) = Lanes::start().unwrap();
        let mut next = 0;
        let things = Arc::new(PerLane::new(|| {
            next += 1;
            next
        }));
        assert_eq!((current(), *things.here(), *things.beside()), (0, 1, 1));
        let mut found = Vec::new();
        let counts: Vec<LaneGuard> = (0..count()).filter_map(|_| lanes.guard()).collect();
        for guard in &counts {
            let things = things.clone();
            let there = guard
                .handle()
                .spawn(async move { (current(), *things.here()) });
            found.push(there.await.unwrap());
        }
        found.sort_unstable();
        let expected: Vec<_> = (1..=count()).map(|lane| (lane, lane + 1)).collect();
        assert_eq!(found, expected);
        threads.end().await;
    }

    #[tokio::test]
    async fn shutdown_of_the_lanes_ends_tasks_still_waiting_there() {
        let (lanes, threads) = Lanes::start().unwrap();
        let held = Arc::new(());
        let guard = lanes.guard().unwrap();
        let on_lane = held.clone();
        let waiting = guard.handle().spawn(async move {
            std::future::pending::<()>().await;
            drop(on_lane);
        });
        threads.end().await;
        assert!(waiting.await.is_err());
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
