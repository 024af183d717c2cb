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

/// What all [`Connections`] that share it may have together: connections, and look-ups of names.
#[derive(Debug, Clone)]
pub struct OfAll(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    connections: Arc<Permits>,
    look_ups: Arc<Permits>,
}

impl OfAll {
    /// So many connections.
    pub fn new(most: usize) -> Self {
        OfAll(Arc::new(Shared {
            most,
            connections: Arc::default(),
            look_ups: Arc::default(),
        }))
    }

    /// Whether a new connection has to wait until another has ended.
    pub fn are_full(&self) -> bool {
        self.0.connections.taken() >= self.0.most
    }
}

impl Default for OfAll {
    /// Any number of connections.
    fn default() -> Self {
        OfAll::new(usize::MAX)
    }
}

/// A connection, or a look-up of a name, until it is dropped.
#[derive(Debug)]
pub(super) struct Counted {
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
    of_all: OfAll,
}

/// There are as many connections as there may be, and none has ended in time.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("connection limit reached")]
pub(super) struct TooManyConnections {
    /// Of the host, not of those that share a [`Connections`].
    pub of_all: bool,
}

impl Connections {
    /// With connections and look-ups that count among those of others.
    pub fn among(of_all: OfAll) -> Self {
        Connections {
            of_all,
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
    pub(super) async fn look_up(&self) -> Result<Counted, TooManyConnections> {
        let of_all = (&self.of_all.0.look_ups, MAX_LOOK_UPS_OF_ALL);
        counted((&self.look_ups, MAX_LOOK_UPS), of_all).await
    }

    /// A permit for one more. Waits up to 1 s for it.
    pub(super) async fn enter(&self) -> Result<Counted, TooManyConnections> {
        let of_all = (&self.of_all.0.connections, self.of_all.0.most);
        counted((&self.permits, self.most.load(Relaxed)), of_all).await
    }
}

/// A permit of each, of so many.
async fn counted(
    (own, most): (&Arc<Permits>, usize),
    (of_all, most_of_all): (&Arc<Permits>, usize),
) -> Result<Counted, TooManyConnections> {
    let until = Instant::now() + WAIT;
    let own = own.enter(most, until).await;
    let own = own.ok_or(TooManyConnections { of_all: false })?;
    let of_all = of_all.enter(most_of_all, until).await;
    Ok(Counted {
        _own: own,
        _of_all: of_all.ok_or(TooManyConnections { of_all: true })?,
    })
}
