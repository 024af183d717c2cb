//! How many connections are open or being made, over several clients.

use super::permits::{Permit, Permits};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::Instant;

/// Longest wait for a connection of others to end. As calls wait for their permits: a burst is
/// served late instead of refused.
const WAIT: Duration = Duration::from_secs(1);

/// Bounds the connections of all clients that share it: from before the name is resolved until the
/// connection is closed, whether it was made or not, and whoever still waits for it. None may be
/// made until [`Connections::set_most`] says how many.
#[derive(Debug, Default)]
pub struct Connections {
    permits: Arc<Permits>,
    most: AtomicUsize,
}

/// There are as many connections as there may be, and none has ended in time.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("as many connections are open as may be at once")]
pub(super) struct TooManyConnections;

impl Connections {
    /// From now on there may be so many. Those that are open stay.
    pub fn set_most(&self, most: usize) {
        self.most.store(most, Relaxed);
    }

    /// Whether a new one has to wait until another has ended.
    pub fn are_full(&self) -> bool {
        self.open() >= self.most.load(Relaxed)
    }

    /// Those that are open or being made.
    pub fn open(&self) -> usize {
        self.permits.taken()
    }

    /// A permit for one more. Waits up to 1 s for it.
    pub(super) async fn enter(&self) -> Result<Permit, TooManyConnections> {
        let most = self.most.load(Relaxed);
        let permit = self.permits.enter(most, Instant::now() + WAIT).await;
        permit.ok_or(TooManyConnections)
    }
}
