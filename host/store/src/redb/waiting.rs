//! Reads that do not wait for the disk.
//!
//! A lane serves many connections, so a read must not wait for a disk there. [`Readers::read`]
//! returns at once what is in memory. If that is not enough, a thread that may wait repeats the
//! read. Each store has only a few such threads, so that one slow disk cannot use up those of the
//! other stores.

use super::{Read, StoreError};
use std::cell::Cell;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// Threads that wait for the disk of one store at once. 4: a working disk handles several requests
/// at a time, and one that hangs holds no more threads than that.
pub(super) const READERS_PER_STORE: usize = 4;

/// Threads that wait for disks at once, over the stores of all windows. 64: sixteen stores on disks
/// that hang, and an eighth of the blocking threads that a runtime may have. The host's own stores
/// have additional ones.
pub(super) const READERS: usize = 64;

thread_local!(static MAY_WAIT: Cell<bool> = const { Cell::new(true) });

/// Whether the read in progress on this thread may wait for the disk.
pub(super) fn may_wait() -> bool {
    MAY_WAIT.get()
}

/// The payload with which a read unwinds that would have to wait.
pub(super) struct WouldWait;

/// Ends the read in progress on this thread, up to [`super::fault::guarded`], with
/// [`StoreError::WouldWait`]. The caller must hold no lock.
///
/// It unwinds because redb treats an error of its backend as a broken disk, and refuses all work
/// after it. No panic hook runs and nothing is printed.
pub(super) fn would_wait() -> ! {
    resume_unwind(Box::new(WouldWait))
}

/// Runs `read`, whose store calls end with [`StoreError::WouldWait`] if they would wait for the
/// disk.
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

/// A store's part of the threads that wait for disks.
#[derive(Debug)]
pub(super) struct Readers {
    places: Arc<Semaphore>,
    /// The permits of all stores that share the bound.
    shared: Option<Arc<Semaphore>>,
    left: AtomicU64,
    waiting: AtomicU64,
}

impl Readers {
    /// For a store that shares the bound `shared` with others, or has its own.
    pub(super) fn new(shared: Option<Arc<Semaphore>>) -> Self {
        Readers {
            places: Arc::new(Semaphore::new(READERS_PER_STORE)),
            shared,
            left: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
        }
    }

    /// Reads from `source` with `first`: here if that need not wait for the disk, and otherwise
    /// with a read made by `again`, on a thread that may wait, once it has its turn.
    ///
    /// # Errors
    ///
    /// Those of the read; [`StoreError::Closed`] if the runtime is shutting down.
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
            // The store's own permit first: those who wait for one hold none of the shared ones.
            let mut places = Vec::with_capacity(2);
            for bound in [Some(&waiting.0.places), waiting.0.shared.as_ref()]
                .into_iter()
                .flatten()
            {
                let place = bound.clone().acquire_owned().await;
                places.push(place.map_err(|_| StoreError::Closed)?);
            }
            // The permits stay with the read, which continues even if the caller leaves.
            let read = runtime.spawn_blocking(move || {
                let _held = (waiting, places);
                again(&source)
            });
            read.await.unwrap_or(Err(StoreError::Closed))
        })
    }

    /// Reads that waited for the disk, outside of the calling thread.
    pub(super) fn left(&self) -> u64 {
        self.left.load(Relaxed)
    }

    /// Reads that wait now, including those without a thread yet.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.load(Relaxed)
    }
}

/// Counts a waiting read, until it is dropped.
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
