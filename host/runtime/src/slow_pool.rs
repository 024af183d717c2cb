//! The slow pool: threads for instances that do not belong on a lane (`placement.rs`), because they
//! compute for long or may do so.
//!
//! Its threads have a lower priority than the lanes. Otherwise the system would give a window that
//! computes as much time as all lanes together, and the answers of its neighbours would wait behind
//! it without end.

use hms_net::lanes::{BLOCKING_THREAD_IDLE, threads_beside};
use std::io;
use tokio::runtime::{Builder, Handle, Runtime};

/// How much nicer its threads are than the others. 5: a third of the weight, so that its windows
/// always make progress.
#[cfg(target_os = "linux")]
const NICER: i32 = 5;

/// The threads, which end with it.
pub(super) struct SlowPool {
    handle: Handle,
    /// Taken when it ends.
    runtime: Option<Runtime>,
}

impl SlowPool {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// If the system provides no thread or no event queue.
    pub(crate) fn start() -> io::Result<SlowPool> {
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .thread_name("slow_pool")
            .worker_threads(threads_beside())
            .thread_keep_alive(BLOCKING_THREAD_IDLE)
            .on_thread_start(come_after)
            .build()?;
        Ok(SlowPool {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    /// The runtime on which its instances are started.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for SlowPool {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // It may be dropped where blocking is not allowed.
            runtime.shutdown_background();
        }
    }
}

/// Lowers the priority of this thread. If the system does not allow that, it shares the processors
/// equally with the others.
fn come_after() {
    // Only Linux has a niceness per thread.
    #[cfg(target_os = "linux")]
    if let Ok(now) = rustix::process::getpriority_process(None) {
        let _ = rustix::process::setpriority_process(None, now + NICER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn slow_pool_threads_have_a_lower_priority_than_lanes() {
        let niceness = || rustix::process::getpriority_process(None).unwrap();
        let here = niceness();
        let slow_pool = SlowPool::start().unwrap();
        let handle = slow_pool.handle();
        let worker = handle.spawn(async move { niceness() }).await.unwrap();
        let blocking = handle.spawn_blocking(niceness).await.unwrap();
        let nicest = 19;
        let expected = (here + NICER).min(nicest);
        assert_eq!((worker, blocking, niceness()), (expected, expected, here));
    }
}
