//! The open database of a store, and its return after a fault.
//!
//! After an I/O error redb refuses all work until the file is opened anew, and after damage nothing
//! it holds in memory can be trusted. So a fault takes the database out of use at once, and the
//! file is opened again behind the callers' backs: they get an error meanwhile, and never wait for
//! it.
//!
//! A reader takes no lock: it looks at the [`View`] that the last commit left behind. redb itself
//! holds locks while it makes a file longer, for which a new reader of its own would wait.

use super::StoreError;
use super::fault::{Fault, guarded};
use super::layout::{self, Identity, View};
use super::limits::MAX_REOPEN_PAUSE;
use super::snapshot::{Scratch, Snapshot, Stop};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use redb::{Database, DatabaseError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The pause between two looks at whether all work on a database that is to be closed has ended.
const CLOSING_PAUSE: Duration = Duration::from_millis(1);

/// What a store lies on: a file, or in tests a disk in memory.
pub(super) trait Medium: Send + Sync {
    /// Opens the database of an existing store, and never makes one. With `check`, it checks all of
    /// it first.
    fn open(&self, check: bool) -> Result<Database, DatabaseError>;

    /// Whether a sync failed, and it is not known since what the disk holds.
    fn is_in_doubt(&self) -> bool;

    /// Sees to it that what is read from now on is what the disk holds, which ends the doubt. Only
    /// while no database is open.
    fn settle(&self) -> io::Result<()>;

    /// Its size.
    fn bytes(&self) -> u64;
}

pub(super) struct StoreFile {
    path: PathBuf,
    owner: String,
    medium: Box<dyn Medium>,
    reopen_pause: Duration,
    /// Replaced as a whole, so that a reader waits for nobody.
    state: ArcSwap<State>,
    /// Held while `state` is replaced, and never while a file is waited for.
    changing: Mutex<()>,
    /// Databases out of use that are still to be closed.
    remains: Mutex<Vec<Arc<Database>>>,
    reopened: AtomicU64,
}

#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each store, behind a pointer"
)]
enum State {
    Open(Open),
    FileFault(FileFault),
    /// Somebody is opening it.
    Opening(FileFault),
    Closed,
}

struct Open {
    /// Whoever works on it holds the state, and this with it: it is closed when nobody does.
    db: Arc<Database>,
    /// As the last commit left it.
    view: View,
    /// Tells a late report of a fault from one of the database that is open now.
    generation: u64,
}

#[derive(Clone)]
struct FileFault {
    /// What callers are told.
    error: StoreError,
    /// Whether the next opening must check the whole file.
    suspect: bool,
    generation: u64,
    failures: u32,
    retry_at: Instant,
}

impl StoreFile {
    /// Opens the file and checks that it is a store of `owner`. Blocks; after a crash, for the
    /// repair.
    pub(super) fn open(
        path: PathBuf,
        owner: String,
        medium: Box<dyn Medium>,
        reopen_pause: Duration,
    ) -> Result<(Self, Identity), StoreError> {
        let (db, view, identity) = open_checked(&*medium, &owner, &path, false)
            .map_err(|fault| fault.into_error(&path))?;
        let open = Open {
            db: Arc::new(db),
            view,
            generation: 0,
        };
        let file = Self {
            path,
            owner,
            medium,
            reopen_pause,
            state: ArcSwap::from_pointee(State::Open(open)),
            changing: Mutex::default(),
            remains: Mutex::default(),
            reopened: AtomicU64::new(0),
        };
        Ok((file, identity))
    }

    /// The size of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.medium.bytes()
    }

    /// How often the file came back after a fault.
    pub(super) fn reopened(&self) -> u64 {
        self.reopened.load(Ordering::Relaxed)
    }

    /// Reads by `work` what the last commit left. Where no database is open, it has the file opened
    /// again in the background, if it is time, and returns what is wrong.
    pub(super) fn with<T>(
        self: &Arc<Self>,
        work: impl FnOnce(&View) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let result = self.look(work);
        if result.is_err() && self.is_due() {
            let file = self.clone();
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn_blocking(move || file.reopen())),
                Err(_) => file.reopen(),
            }
        }
        result
    }

    /// Does `work` on the open database; readers see what it did from when this returns on. For a
    /// thread that may block: it opens the file itself first, where that is due.
    pub(super) fn change<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.recover();
        self.attempt(work)
    }

    /// Opens the file again, where that is due. Blocks.
    pub(super) fn recover(&self) {
        if self.is_due() {
            self.reopen();
        }
    }

    /// Copies what the last commit left. It ends as soon as the database is taken out of use, whose
    /// closing waits for it.
    pub(super) fn snapshot(&self, scratch: &mut Scratch<'_>) -> Result<Snapshot, StoreError> {
        self.recover();
        let state = self.state.load_full();
        let open = open_in(&state)?;
        let generation = open.generation;
        let still_open = || match open_in(&self.state.load())? {
            open if open.generation == generation => Ok(()),
            _ => Err(StoreError::Closed),
        };
        let mut ended = None;
        let made = guarded(|| match Snapshot::make(&open.view, scratch, &still_open) {
            Ok(snapshot) => Ok(Some(snapshot)),
            Err(Stop::Source(fault)) => Err(fault),
            Err(Stop::Damaged(reason)) => {
                let path = self.path.clone();
                ended = Some(StoreError::Corrupt { path, reason });
                Ok(None)
            }
            Err(Stop::Scratch(reason)) => {
                ended = Some(StoreError::Scratch { reason });
                Ok(None)
            }
            Err(Stop::Ended(why)) => {
                ended = Some(why);
                Ok(None)
            }
        });
        drop(state);
        match made {
            Ok(Some(snapshot)) => Ok(snapshot),
            Ok(None) => Err(ended.unwrap_or(StoreError::GivenUp)),
            Err(fault) => Err(self.break_off(fault, generation)),
        }
    }

    /// Closes the database, once the work that is being done on it has ended. Blocks until then.
    pub(super) fn close(&self) {
        let before = {
            let _changing = self.changing.lock();
            self.state.swap(Arc::new(State::Closed))
        };
        if let State::Open(open) = &*before {
            self.remains.lock().push(open.db.clone());
        }
        drop(before);
        self.clear_away();
    }

    fn look<T>(&self, work: impl FnOnce(&View) -> Result<T, Fault>) -> Result<T, StoreError> {
        let state = self.state.load();
        let open = open_in(&state)?;
        let fault = match guarded(|| work(&open.view)) {
            Ok(done) => return Ok(done),
            Err(fault) => fault,
        };
        let generation = open.generation;
        drop(state);
        Err(self.break_off(fault, generation))
    }

    fn attempt<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let (db, generation) = {
            let state = self.state.load();
            let open = open_in(&state)?;
            (open.db.clone(), open.generation)
        };
        let done = guarded(|| {
            let done = work(&db)?;
            Ok((done, View::of(&db)?))
        });
        match done {
            Ok((done, view)) => {
                self.publish(Open {
                    db,
                    view,
                    generation,
                });
                Ok(done)
            }
            Err(fault) => {
                drop(db);
                Err(self.break_off(fault, generation))
            }
        }
    }

    fn publish(&self, open: Open) {
        let _changing = self.changing.lock();
        if matches!(&**self.state.load(), State::Open(now) if now.generation == open.generation) {
            self.state.store(Arc::new(State::Open(open)));
        }
    }

    /// Takes the database that failed out of use. Does not block: it is closed by whoever opens the
    /// file again.
    fn break_off(&self, fault: Fault, failed: u64) -> StoreError {
        let suspect = fault.is_suspect();
        let error = fault.into_error(&self.path);
        if !error.is_fault() {
            return error;
        }
        let broken = FileFault {
            error: error.clone(),
            suspect,
            generation: failed,
            failures: 0,
            retry_at: Instant::now(),
        };
        let first = {
            let _changing = self.changing.lock();
            let state = self.state.load();
            match &**state {
                State::Open(open) if open.generation == failed => {
                    self.remains.lock().push(open.db.clone());
                    self.state.store(Arc::new(State::FileFault(broken)));
                    true
                }
                _ => false,
            }
        };
        if first {
            tracing::error!(store = %self.owner, %error, "the store is closed until its file can be opened again");
        } else {
            // Somebody else saw it first; what each of them saw may differ.
            tracing::warn!(store = %self.owner, %error, "one more failure of the store");
        }
        error
    }

    fn is_due(&self) -> bool {
        matches!(&**self.state.load(), State::FileFault(broken) if Instant::now() >= broken.retry_at)
    }

    /// Opens the file again, if nobody else is at it. No lock is held meanwhile.
    fn reopen(&self) {
        let mut broken = {
            let _changing = self.changing.lock();
            let state = self.state.load();
            let State::FileFault(broken) = &**state else {
                return;
            };
            let broken = broken.clone();
            self.state.store(Arc::new(State::Opening(broken.clone())));
            broken
        };
        self.clear_away();
        let opened = open_checked(&*self.medium, &self.owner, &self.path, broken.suspect);
        let next = match opened {
            Ok((db, view, _)) => State::Open(Open {
                db: Arc::new(db),
                view,
                generation: broken.generation + 1,
            }),
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
                State::FileFault(broken)
            }
        };
        let is_open = matches!(next, State::Open(_));
        let closed_meanwhile = {
            let _changing = self.changing.lock();
            match &**self.state.load() {
                State::Opening(_) => {
                    self.state.store(Arc::new(next));
                    None
                }
                _ => Some(next),
            }
        };
        match closed_meanwhile {
            Some(State::Open(open)) => close_when_idle(open.db),
            Some(_) => {}
            None if is_open => {
                self.reopened.fetch_add(1, Ordering::Relaxed);
                tracing::info!(store = %self.owner, "the store is open again");
            }
            None => {}
        }
    }

    /// Closes what is out of use. Blocks until it is closed.
    fn clear_away(&self) {
        let remains = std::mem::take(&mut *self.remains.lock());
        for db in remains {
            close_when_idle(db);
        }
    }
}

fn open_in(state: &State) -> Result<&Open, StoreError> {
    match state {
        State::Open(open) => Ok(open),
        State::FileFault(broken) | State::Opening(broken) => Err(broken.error.clone()),
        State::Closed => Err(StoreError::Closed),
    }
}

fn open_checked(
    medium: &dyn Medium,
    owner: &str,
    path: &Path,
    mut check: bool,
) -> Result<(Database, View, Identity), Fault> {
    guarded(|| {
        if medium.is_in_doubt() {
            medium
                .settle()
                .map_err(|error| Fault::from(redb::Error::Io(error)))?;
            tracing::warn!(
                store = owner,
                "a sync of the store had failed: what its disk holds is used, and checked first"
            );
            check = true;
        }
        let db = medium.open(check)?;
        let identity = layout::identify(&db)?;
        if identity.owner != owner {
            return Err(Fault::Refused(StoreError::WrongOwner {
                path: path.to_path_buf(),
                owner: identity.owner,
                expected: owner.to_owned(),
            }));
        }
        let view = View::of(&db)?;
        Ok((db, view, identity))
    })
}

/// Closes a database that is out of use, once the work that was begun on it has ended. It is the
/// last to hold it: closing writes to the file, which no reader's thread may be made to do.
fn close_when_idle(mut db: Arc<Database>) {
    loop {
        match Arc::try_unwrap(db) {
            Ok(db) => return close_quietly(db),
            Err(in_use) => db = in_use,
        }
        std::thread::sleep(CLOSING_PAUSE);
    }
}

/// On a damaged file closing may fail like any other access. Nothing is lost with that: what was
/// acknowledged is on disk already.
fn close_quietly(db: Database) {
    let closed = guarded(|| {
        db.close()?;
        Ok(())
    });
    if let Err(fault) = closed {
        tracing::debug!(?fault, "closing a store file failed");
    }
}
