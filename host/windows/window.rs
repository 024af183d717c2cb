//! One window: the pointer to its live release, and what is draining behind it.

use super::record::WindowRecord;
use super::release::{Drain, Release};
use super::{ReleaseStatus, WindowName, WindowStatus};
use crate::error::Error;
use crate::runtime::WindowLog;
use arc_swap::ArcSwap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What a request finds.
pub(super) enum Live {
    Empty,
    Stopped,
    Open(Arc<Release>),
}

/// A window in memory.
pub struct Window {
    pub(super) name: WindowName,
    live: ArcSwap<Live>,
    draining: Mutex<Vec<Drain>>,
    pub(super) log: Arc<WindowLog>,
    /// The record as it is on disk. Held locked through a change, so that the changes of one window follow each other
    /// and those of two do not wait for one another.
    pub(super) record: tokio::sync::Mutex<WindowRecord>,
}

impl Window {
    pub(super) fn new(name: WindowName, record: WindowRecord, log: Arc<WindowLog>) -> Self {
        Window {
            name,
            live: ArcSwap::from_pointee(Live::Empty),
            draining: Mutex::default(),
            log,
            record: tokio::sync::Mutex::new(record),
        }
    }

    /// A lease on the live release.
    ///
    /// # Errors
    /// When the window is closed or nothing is deployed.
    pub(super) fn lease(&self) -> Result<Arc<Release>, Error> {
        let window = || self.name.to_string();
        match &**self.live.load() {
            Live::Open(release) => Ok(release.clone()),
            Live::Stopped => Err(Error::WindowStopped { window: window() }),
            Live::Empty => Err(Error::WindowNotDeployed { window: window() }),
        }
    }

    /// Swaps the pointer. What was live drains: it serves the requests that it began, for at most `deadline`, and
    /// then is cut. No request is between the two: it leased the one or the other.
    pub(super) fn swap(self: &Arc<Self>, next: Live, deadline: Duration) {
        let before = self.live.swap(Arc::new(next));
        let Live::Open(old) = &*before else { return };
        let drain = old.drain();
        let mut draining = self.draining.lock().unwrap_or_else(PoisonError::into_inner);
        draining.push(drain.clone());
        drop(draining);
        tokio::spawn(self.clone().drain(drain, deadline));
    }

    async fn drain(self: Arc<Self>, mut drain: Drain, deadline: Duration) {
        if tokio::time::timeout(deadline, drain.drained())
            .await
            .is_err()
        {
            tracing::warn!(
                window = %self.name,
                release = drain.number,
                leases = drain.leases(),
                "the drain deadline has passed: what still runs on the old release is cut"
            );
            drain.cut();
            drain.drained().await;
        }
        tracing::info!(window = %self.name, release = drain.number, "drained");
        let mut draining = self.draining.lock().unwrap_or_else(PoisonError::into_inner);
        draining.retain(|other| other.leases() > 0);
    }

    /// Resolves once no old release has a request left.
    pub(super) async fn drained(&self) {
        let draining = || {
            self.draining
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone()
        };
        for mut drain in draining() {
            drain.drained().await;
        }
    }

    /// What operators see of it. `record` is the caller's view of the record.
    pub(super) fn status(&self, record: &WindowRecord) -> WindowStatus {
        let (state, leases) = match &**self.live.load() {
            // One is the pointer's own.
            Live::Open(release) => ("open", Arc::strong_count(release).saturating_sub(1)),
            Live::Stopped => ("stopped", 0),
            Live::Empty => ("unavailable", 0),
        };
        let draining = self.draining.lock().unwrap_or_else(PoisonError::into_inner);
        WindowStatus {
            name: self.name.clone(),
            state,
            live: record.release(record.live).cloned(),
            leases,
            draining: draining
                .iter()
                .filter(|drain| drain.leases() > 0)
                .map(|drain| ReleaseStatus {
                    number: drain.number,
                    leases: drain.leases(),
                })
                .collect(),
        }
    }
}
