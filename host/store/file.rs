//! The open database of a store, and its return after a fault.
//!
//! After an I/O error redb refuses all work until the file is opened anew, and after damage nothing it
//! holds in memory can be trusted. So a fault closes the database at once, and the file is opened again
//! behind the callers' backs: they get an error meanwhile, and never wait for it.

use super::StoreError;
use super::fault::{Fault, guarded};
use super::layout::{self, Identity};
use super::limits::MAX_REOPEN_PAUSE;
use redb::{Database, DatabaseError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

/// Opens the database of an existing store. With `true`, it must check all of the file first.
pub(super) type Opener = Box<dyn Fn(bool) -> Result<Database, DatabaseError> + Send + Sync>;

/// The opener of the file at `path`. It never makes one, nor takes an empty file for a new store.
pub(super) fn opener(path: PathBuf, cache_bytes: usize) -> Opener {
    Box::new(move |check| {
        Database::builder()
            .set_cache_size(cache_bytes)
            .set_check_integrity_on_open(check)
            .open(&path)
    })
}

pub(super) struct StoreFile {
    path: PathBuf,
    owner: String,
    opener: Opener,
    reopen_pause: Duration,
    state: RwLock<State>,
    reopened: AtomicU64,
}

enum State {
    Open {
        db: Database,
        /// Tells a late report of a fault from one of the database that is open now.
        generation: u64,
    },
    Broken(Broken),
    /// Somebody is opening it, outside the lock.
    Opening(Broken),
    Closed,
}

#[derive(Clone)]
struct Broken {
    /// What callers are told.
    error: StoreError,
    /// Whether the next opening must check the whole file.
    suspect: bool,
    generation: u64,
    failures: u32,
    retry_at: Instant,
}

impl StoreFile {
    /// Opens the file and checks that it is a store of `owner`. Blocks; after a crash, for the repair.
    pub(super) fn open(
        path: PathBuf,
        owner: String,
        opener: Opener,
        reopen_pause: Duration,
    ) -> Result<(Self, Identity), StoreError> {
        let (db, identity) =
            open_checked(&opener, &owner, &path, false).map_err(|fault| fault.into_error(&path))?;
        let file = Self {
            path,
            owner,
            opener,
            reopen_pause,
            state: RwLock::new(State::Open { db, generation: 0 }),
            reopened: AtomicU64::new(0),
        };
        Ok((file, identity))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How often the file came back after a fault.
    pub(super) fn reopened(&self) -> u64 {
        self.reopened.load(Ordering::Relaxed)
    }

    /// Does `work` on the open database. Where there is none, it has the file opened again in the
    /// background, if it is time, and returns what is wrong.
    pub(super) fn with<T>(
        self: &Arc<Self>,
        work: impl FnOnce(&Database) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let result = self.attempt(work);
        if result.is_err() && self.is_due() {
            let file = self.clone();
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn_blocking(move || file.reopen())),
                Err(_) => file.reopen(),
            }
        }
        result
    }

    /// As [`Self::with`], for a thread that may block: it opens the file itself where that is due, before
    /// the work, and again after a fault in it.
    pub(super) fn with_blocking<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        if self.is_due() {
            self.reopen();
        }
        let result = self.attempt(work);
        if result.is_err() && self.is_due() {
            self.reopen();
        }
        result
    }

    /// Closes the database, once the work that is being done on it has ended. Blocks until then.
    pub(super) fn close(&self) {
        let before = std::mem::replace(&mut *self.write_state(), State::Closed);
        dispose(before);
    }

    fn attempt<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let state = self.read_state();
        let (fault, generation) = match &*state {
            State::Open { db, generation } => match guarded(|| work(db)) {
                Ok(done) => return Ok(done),
                Err(fault) => (fault, *generation),
            },
            State::Broken(broken) | State::Opening(broken) => return Err(broken.error.clone()),
            State::Closed => return Err(StoreError::Closed),
        };
        drop(state);
        Err(self.break_off(fault, generation))
    }

    /// Takes the database that failed out of use.
    fn break_off(&self, fault: Fault, failed: u64) -> StoreError {
        let suspect = fault.is_suspect();
        let error = fault.into_error(&self.path);
        if !error.is_fault() {
            return error;
        }
        let mut state = self.write_state();
        match &*state {
            State::Open { generation, .. } if *generation == failed => {}
            // Somebody else saw it first; what each of them saw may differ.
            _ => {
                tracing::warn!(store = %self.owner, %error, "one more failure of the store");
                return error;
            }
        }
        tracing::error!(store = %self.owner, %error, "the store is closed until its file can be opened again");
        let broken = Broken {
            error: error.clone(),
            suspect,
            generation: failed,
            failures: 0,
            retry_at: Instant::now(),
        };
        dispose(std::mem::replace(&mut *state, State::Broken(broken)));
        error
    }

    fn is_due(&self) -> bool {
        matches!(&*self.read_state(), State::Broken(broken) if Instant::now() >= broken.retry_at)
    }

    /// Opens the file again, if nobody else is at it. The lock is not held meanwhile.
    fn reopen(&self) {
        let mut broken = {
            let mut state = self.write_state();
            let State::Broken(broken) = &*state else {
                return;
            };
            let broken = broken.clone();
            *state = State::Opening(broken.clone());
            broken
        };
        let opened = open_checked(&self.opener, &self.owner, &self.path, broken.suspect);
        let mut state = self.write_state();
        if !matches!(&*state, State::Opening(_)) {
            // Closed meanwhile.
            drop(state);
            if let Ok((db, _)) = opened {
                drop_quietly(db);
            }
            return;
        }
        *state = match opened {
            Ok((db, _)) => {
                tracing::info!(store = %self.owner, "the store is open again");
                self.reopened.fetch_add(1, Ordering::Relaxed);
                State::Open {
                    db,
                    generation: broken.generation + 1,
                }
            }
            Err(fault) => {
                broken.suspect |= fault.is_suspect();
                broken.error = fault.into_error(&self.path);
                let pause = self
                    .reopen_pause
                    .saturating_mul(1 << broken.failures.min(16))
                    .min(MAX_REOPEN_PAUSE);
                broken.failures = broken.failures.saturating_add(1);
                broken.retry_at = Instant::now() + pause;
                tracing::warn!(store = %self.owner, error = %broken.error, retry_in_ms = pause.as_millis() as u64, "the store cannot be opened again yet");
                State::Broken(broken)
            }
        };
    }

    // A panic under these locks is caught by `guarded`, and no state is left half changed by one.
    fn read_state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_state(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open_checked(
    opener: &Opener,
    owner: &str,
    path: &Path,
    check: bool,
) -> Result<(Database, Identity), Fault> {
    guarded(|| {
        let db = opener(check)?;
        let identity = layout::identify(&db)?;
        if identity.owner != owner {
            return Err(Fault::Refused(StoreError::WrongOwner {
                path: path.to_path_buf(),
                owner: identity.owner,
                expected: owner.to_owned(),
            }));
        }
        Ok((db, identity))
    })
}

fn dispose(state: State) {
    if let State::Open { db, .. } = state {
        drop_quietly(db);
    }
}

/// Closing writes to the file, so on a damaged one it may fail like any other access. Nothing is lost with
/// that: what was acknowledged is on disk already.
fn drop_quietly(db: Database) {
    let closed = guarded(|| {
        db.close()?;
        Ok(())
    });
    if let Err(fault) = closed {
        tracing::debug!(?fault, "closing a store file failed");
    }
}
