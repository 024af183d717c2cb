//! How many connections are open or being made, over several clients.

use super::permits::{Permit, Permits};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::Instant;

/// Longest wait for a connection of others to end. As calls wait for their permits: a burst is
/// served late instead of refused.
const WAIT: Duration = Duration::from_secs(1);

/// Look-ups of names of one window at once, also abandoned ones: the system's take a thread each
/// until their end, which can be half a minute where no name server answers. 8.
const MAX_LOOK_UPS: usize = 8;

/// The same of all windows together, of the 512 threads that wait for disks as well. 128.
const MAX_LOOK_UPS_OF_ALL: usize = 128;

/// Bounds the look-ups of names of all [`Connections`] that share it.
#[derive(Debug, Clone, Default)]
pub struct LookUps(Arc<Permits>);

/// A look-up of a name, until it is dropped.
pub(super) struct LookUp {
    _own: Permit,
    _of_all: Permit,
}

/// Bounds the connections of all clients that share it: from before the name is resolved until the
/// connection is closed, whether it was made or not, and whoever still waits for it. None may be
/// made until [`Connections::set_most`] says how many.
#[derive(Debug, Default)]
pub struct Connections {
    permits: Arc<Permits>,
    most: AtomicUsize,
    look_ups: Arc<Permits>,
    look_ups_of_all: LookUps,
}

/// There are as many connections as there may be, and none has ended in time.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("as many connections are open as may be at once")]
pub(super) struct TooManyConnections;

impl Connections {
    /// With look-ups that count as those of others do.
    pub fn sharing(look_ups: LookUps) -> Self {
        Connections {
            look_ups_of_all: look_ups,
            ..Connections::default()
        }
    }

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

    /// A permit to look up a name. Waits up to 1 s for it.
    pub(super) async fn look_up(&self) -> Result<LookUp, TooManyConnections> {
        let until = Instant::now() + WAIT;
        let own = self.look_ups.enter(MAX_LOOK_UPS, until).await;
        let own = own.ok_or(TooManyConnections)?;
        let LookUps(of_all) = &self.look_ups_of_all;
        let of_all = of_all.enter(MAX_LOOK_UPS_OF_ALL, until).await;
        Ok(LookUp {
            _own: own,
            _of_all: of_all.ok_or(TooManyConnections)?,
        })
    }

    /// A permit for one more. Waits up to 1 s for it.
    pub(super) async fn enter(&self) -> Result<Permit, TooManyConnections> {
        let most = self.most.load(Relaxed);
        let permit = self.permits.enter(most, Instant::now() + WAIT).await;
        permit.ok_or(TooManyConnections)
    }
}
