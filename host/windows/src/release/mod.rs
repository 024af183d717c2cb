//! How one release follows another.
//!
//! [`deploy`] is the one path by which a component becomes a release. It takes an upload from the
//! [`artifacts`], waits its turn for a compiler in the [`deploy_queue`], shows the [`difference`] to
//! the live release, has the [`probe`] asked, and tells each step by [`progress`]. [`mod@file`]
//! deploys a file of this machine. [`mod@load`] makes a release
//! of what a record names, and [`fallback`] goes back to an earlier one by itself.
//!
//! [`Release`] is one in memory. Whoever holds its `Arc` holds a lease on it: the window while it is
//! live, each request until both its instance and the last byte of its answer are gone. With the
//! last of them the code is freed.

pub(super) mod artifacts;
pub(super) mod deploy;
pub(super) mod deploy_queue;
pub(super) mod difference;
pub(super) mod fallback;
pub(super) mod file;
pub(super) mod load;
pub(super) mod probe;
pub(super) mod progress;

use super::ReleaseRecord;
use super::traffic::breaker::Breaker;
use hms_runtime::Instances;
use std::sync::{Arc, Weak};
use tokio::sync::watch;

/// A release that can serve.
pub(crate) struct Release {
    /// Number, digest, when, by whom.
    pub record: ReleaseRecord,
    pub(super) instances: Instances,
    pub(super) breaker: Arc<Breaker>,
    /// Closed by the drop of this release.
    _alive: watch::Sender<()>,
}

impl Release {
    pub(super) fn new(record: ReleaseRecord, instances: Instances) -> Arc<Self> {
        Arc::new(Release {
            record,
            instances,
            breaker: Arc::new(Breaker::new()),
            _alive: watch::Sender::new(()),
        })
    }

    /// A view on this release that holds no lease.
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

/// An old release on its way out.
#[derive(Clone)]
pub(super) struct Drain {
    pub number: u64,
    release: Weak<Release>,
    instances: hms_runtime::CancelHandle,
    gone: watch::Receiver<()>,
}

impl Drain {
    /// Requests that still run on it.
    pub(crate) fn leases(&self) -> usize {
        self.release.strong_count()
    }

    /// Resolves once nothing holds the release any more.
    pub(crate) async fn drained(&mut self) {
        // The channel carries no values: it changes only by the release's end.
        while self.gone.changed().await.is_ok() {}
    }

    /// Ends what still runs on it; its clients see a failure, or a body cut off.
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
