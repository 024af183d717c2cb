//! How one release follows another.
//!
//! [`deploy`] is the one path by which a component becomes a release. It takes an upload from the
//! [`artifacts`], waits for a compiler in the [`deploy_queue`], shows the [`difference`] to the
//! live release, runs the [`probe`], and reports each step by [`progress`]. [`mod@file`] deploys a
//! file on this machine, and [`measured`] counts what came of deploys. [`mod@load`] loads a
//! recorded release, and [`fallback`] returns to an earlier one automatically.
//!
//! [`Release`] is one in memory. A holder of its `Arc` has a lease on it: the window while it is
//! live, and each request until both its instance and the last byte of its answer are gone. With
//! the last lease, the code is freed.

pub(super) mod artifacts;
pub(super) mod deploy;
pub(super) mod deploy_queue;
pub(super) mod difference;
pub(super) mod fallback;
pub(super) mod file;
pub(super) mod load;
pub(super) mod measured;
pub(super) mod probe;
pub(super) mod progress;

use super::ReleaseRecord;
use super::traffic::breaker::Breaker;
use super::traffic::measured::{ReleaseMeasures, WindowMeasures};
use hms_runtime::Instances;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use tokio::sync::watch;

/// Counts the releases that were loaded.
static LOADED: AtomicU64 = AtomicU64::new(0);

/// A release that can serve.
pub(crate) struct Release {
    /// Number, digest, time and author.
    pub record: ReleaseRecord,
    /// Unlike the number, another one each time that a release of any window is loaded.
    pub id: u64,
    pub(super) instances: Instances,
    pub(super) breaker: Arc<Breaker>,
    /// What is counted of its requests.
    pub(super) measures: Arc<ReleaseMeasures>,
    /// Closed when this release is dropped.
    _alive: watch::Sender<()>,
}

impl Release {
    pub(super) fn new(
        record: ReleaseRecord,
        instances: Instances,
        window: &WindowMeasures,
    ) -> Arc<Self> {
        Arc::new(Release {
            id: LOADED.fetch_add(1, Ordering::Relaxed),
            measures: window.release(record.number, &record.digest),
            record,
            instances,
            breaker: Arc::new(Breaker::new()),
            _alive: watch::Sender::new(()),
        })
    }

    /// A view of this release without a lease.
    pub(super) fn drain(self: &Arc<Self>) -> Drain {
        Drain {
            number: self.record.number,
            release: Arc::downgrade(self),
            instances: self.instances.cancel_handle(),
            gone: self._alive.subscribe(),
        }
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        self.instances.cancel_handle().close();
    }
}

/// An old release that drains.
#[derive(Clone)]
pub(super) struct Drain {
    pub number: u64,
    release: Weak<Release>,
    instances: hms_runtime::CancelHandle,
    gone: watch::Receiver<()>,
}

impl Drain {
    /// Requests in flight on it.
    pub(crate) fn leases(&self) -> usize {
        self.release.strong_count()
    }

    /// Resolves once nothing holds the release any more.
    pub(crate) async fn drained(&mut self) {
        // The channel carries no values: it changes only when the release ends.
        while self.gone.changed().await.is_ok() {}
    }

    /// Cancels the requests in flight; their clients see a failure, or a truncated body.
    pub(crate) fn cut(&self) {
        self.instances.cut();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn watch_ends_when_its_release_is_dropped() {
        let alive = watch::Sender::new(());
        let mut gone = alive.subscribe();
        let waiting = tokio::spawn(async move { while gone.changed().await.is_ok() {} });
        assert!(!waiting.is_finished());
        drop(alive);
        waiting.await.unwrap();
    }
}
