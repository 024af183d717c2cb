//! Reading without waiting for the disk.
//!
//! A lane serves many connections, so a read that waits for a disk must not wait there. So
//! [`Readers::read`] takes at once what memory holds, and has a thread that may wait do the read
//! anew where that is not all. Each store has a few such threads, so that one slow disk cannot take
//! those of the other stores.

use super::{Read, StoreError};
use std::cell::Cell;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// Threads that wait for the disk under one store at once. 4: a disk that answers takes more than one
/// request at a time, and one that hangs holds no more threads than that.
pub(super) const READERS_PER_STORE: usize = 4;

/// Threads that wait for disks at once, for the stores of all windows together. 64: sixteen stores on disks that hang,
/// and an eighth of the blocking threads that a runtime may have. The host's own stores have theirs beside these.
pub(super) const READERS: usize = 64;

thread_local!(static MAY_WAIT: Cell<bool> = const { Cell::new(true) });

/// Whether the read that this thread is at may wait for the disk.
pub(super) fn may_wait() -> bool {
    MAY_WAIT.get()
}

/// What a read unwinds with where it would have to wait.
pub(super) struct WouldWait;

/// Ends the read that this thread is at, up to [`super::fault::guarded`], with
/// [`StoreError::WouldWait`]. The caller must hold no lock.
///
/// It unwinds because redb takes an error of its backend for a broken disk, and refuses all work after one.
/// No hook is run and nothing is printed.
pub(super) fn would_wait() -> ! {
    resume_unwind(Box::new(WouldWait))
}

/// Does `read`, whose store calls end with [`StoreError::WouldWait`] where they would wait for the disk.
fn at_once<T>(read: impl FnOnce() -> T) -> T {
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            MAY_WAIT.set(self.0);
        }
    }
    let _before = Before(MAY_WAIT.replace(false));
    read()
}

/// A store's share of the threads that wait for disks.
#[derive(Debug)]
pub(super) struct Readers {
    places: Arc<Semaphore>,
    /// The places of all stores that it shares a bound with.
    shared: Option<Arc<Semaphore>>,
    left: AtomicU64,
    waiting: AtomicU64,
}

impl Readers {
    /// Of a store that shares the bound `shared` with others, or is alone.
    pub(super) fn new(shared: Option<Arc<Semaphore>>) -> Self {
        Readers {
            places: Arc::new(Semaphore::new(READERS_PER_STORE)),
            shared,
            left: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
        }
    }

    /// Reads from `source` by `first`: here where that needs no waiting for the disk, and otherwise
    /// by what `again` makes, on a thread that may wait, for which it waits its turn.
    ///
    /// # Errors
    /// Those of the read; [`StoreError::Closed`] where the runtime is going down.
    pub(super) fn read<S, T, W>(
        self: &Arc<Self>,
        source: &Arc<S>,
        first: impl FnOnce(&S) -> Result<T, StoreError>,
        again: impl FnOnce() -> W,
    ) -> Read<T>
    where
        S: Send + Sync + 'static,
        T: Send + 'static,
        W: FnOnce(&S) -> Result<T, StoreError> + Send + 'static,
    {
        match at_once(|| first(source)) {
            Err(StoreError::WouldWait) => {}
            done => return Read::ready(done),
        }
        let (source, again) = (source.clone(), again());
        // A thread without a runtime, as in a plain program or test, may wait itself.
        let Ok(runtime) = Handle::try_current() else {
            return Read::ready(again(&source));
        };
        let waiting = Waiting::new(self.clone());
        Read::waiting(async move {
            // The store's own place first: those who wait for one hold none of the others'.
            let mut places = Vec::with_capacity(2);
            for bound in [Some(&waiting.0.places), waiting.0.shared.as_ref()]
                .into_iter()
                .flatten()
            {
                let place = bound.clone().acquire_owned().await;
                places.push(place.map_err(|_| StoreError::Closed)?);
            }
            // The places go with the read, which goes on where the caller does not wait for it.
            let read = runtime.spawn_blocking(move || {
                let _held = (waiting, places);
                again(&source)
            });
            read.await.unwrap_or(Err(StoreError::Closed))
        })
    }

    /// Reads that waited for the disk, away from the thread that asked.
    pub(super) fn left(&self) -> u64 {
        self.left.load(Relaxed)
    }

    /// Reads that wait now, those without a thread yet included.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.load(Relaxed)
    }
}

/// Counts a read that waits, until it is dropped.
struct Waiting(Arc<Readers>);

impl Waiting {
    fn new(readers: Arc<Readers>) -> Self {
        readers.left.fetch_add(1, Relaxed);
        readers.waiting.fetch_add(1, Relaxed);
        Waiting(readers)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}
