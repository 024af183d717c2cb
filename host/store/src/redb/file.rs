//! The open database of a store, and how it is reopened after a fault.
//!
//! After an I/O error redb refuses all work until the file is reopened, and after damage nothing
//! that it holds in memory can be trusted. So a fault takes the database out of use at once, and
//! the file is reopened in the background: callers get an error meanwhile, and never wait for it.
//! [`Health`] has the states in between.
//!
//! A reader takes no lock: it reads the [`View`] that the last commit left. redb itself holds locks
//! while it extends a file, for which a new reader of its own would wait.

use super::fault::{Fault, guarded};
use super::health::{Health, Opened, Pauses, State};
use super::layout::{self, Identity, View};
use super::limits::MAX_REOPEN_PAUSE;
use super::log::LogWatch;
use super::snapshot::Stop;
use super::{Scratch, Snapshot, StoreError};
use parking_lot::Mutex;
use redb::{Database, DatabaseError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time between checks whether all work on a database that must be closed has ended.
const CLOSING_PAUSE: Duration = Duration::from_millis(1);

/// What a store is on: a file, or in tests a disk in memory.
pub(super) trait Medium: Send + Sync {
    /// Opens the database of an existing store, and never creates one. With `check`, checks all of
    /// it first.
    fn open(&self, check: bool) -> Result<Database, DatabaseError>;

    /// Whether a sync failed, and the content of the disk has been unknown since.
    fn is_in_doubt(&self) -> bool;

    /// Makes sure that reads return what the disk holds, which ends the doubt. Only while no
    /// database is open.
    fn settle(&self) -> io::Result<()>;

    /// Its size.
    fn bytes(&self) -> u64;
}

pub(super) struct StoreFile {
    path: PathBuf,
    owner: String,
    medium: Box<dyn Medium>,
    health: Health<Open>,
    /// Databases out of use that must still be closed.
    remains: Mutex<Vec<Arc<Database>>>,
    reopened: AtomicU64,
    log: LogWatch,
}

struct Open {
    /// Whoever works on it holds the state, and this with it: it is closed when nobody does.
    db: Arc<Database>,
    /// As the last commit left it.
    view: View,
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
        let db = Arc::new(db);
        let pauses = Pauses {
            first: reopen_pause,
            longest: MAX_REOPEN_PAUSE,
        };
        let file = Self {
            path,
            owner,
            medium,
            health: Health::open(Open { db, view }, pauses),
            remains: Mutex::default(),
            reopened: AtomicU64::new(0),
            log: LogWatch::default(),
        };
        file.log.found(identity.log);
        Ok((file, identity))
    }

    /// The size of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.medium.bytes()
    }

    /// Where its log stands.
    pub(super) fn log(&self) -> &LogWatch {
        &self.log
    }

    /// How often the file was reopened after a fault.
    pub(super) fn reopened(&self) -> u64 {
        self.reopened.load(Ordering::Relaxed)
    }

    /// Reads with `work` what the last commit left. If no database is open, starts reopening the
    /// file in the background, if that is due, and returns the error.
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

    /// Does `work` on the open database; readers see its result once this returns. For a thread
    /// that may block: it first reopens the file itself, if that is due.
    pub(super) fn change<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.recover();
        self.attempt(work)
    }

    /// Reopens the file, if that is due. Blocks.
    pub(super) fn recover(&self) {
        if self.is_due() {
            self.reopen();
        }
    }

    /// Copies what the last commit left. It ends as soon as the database is taken out of use,
    /// because closing waits for it.
    pub(super) fn snapshot(&self, scratch: &mut Scratch<'_>) -> Result<Snapshot, StoreError> {
        self.recover();
        let state = self.health.load_full();
        let open = open_in(&state)?;
        let generation = open.generation;
        let still_open = || match open_in(&self.health.load())? {
            open if open.generation == generation => Ok(()),
            _ => Err(StoreError::Closed),
        };
        let mut ended = None;
        let made = guarded(
            || match Snapshot::make(&open.value.view, scratch, &still_open) {
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
            },
        );
        drop(state);
        match made {
            Ok(Some(snapshot)) => Ok(snapshot),
            Ok(None) => Err(ended.unwrap_or(StoreError::GivenUp)),
            Err(fault) => Err(self.break_off(fault, generation)),
        }
    }

    /// Closes the database, once the work in progress on it has ended. Blocks until then.
    pub(super) fn close(&self) {
        let before = self.health.close();
        if let State::Open(open) = &*before {
            self.remains.lock().push(open.value.db.clone());
        }
        drop(before);
        self.clear_away();
    }

    fn look<T>(&self, work: impl FnOnce(&View) -> Result<T, Fault>) -> Result<T, StoreError> {
        let state = self.health.load();
        let open = open_in(&state)?;
        let fault = match guarded(|| work(&open.value.view)) {
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
            let state = self.health.load();
            let open = open_in(&state)?;
            (open.value.db.clone(), open.generation)
        };
        let done = guarded(|| {
            let done = work(&db)?;
            Ok((done, View::of(&db)?))
        });
        match done {
            Ok((done, view)) => {
                let value = Open { db, view };
                self.health.replace(Opened { value, generation });
                Ok(done)
            }
            Err(fault) => {
                drop(db);
                Err(self.break_off(fault, generation))
            }
        }
    }

    /// Takes the failed database out of use. Does not block: whoever reopens the file closes it.
    fn break_off(&self, fault: Fault, failed: u64) -> StoreError {
        let suspect = fault.is_suspect();
        let error = fault.into_error(&self.path);
        if !error.is_fault() {
            return error;
        }
        let first = self
            .health
            .fail(failed, error.clone(), suspect, Instant::now(), |open| {
                self.remains.lock().push(open.db.clone());
            });
        if first {
            tracing::error!(store = %self.owner, %error, "the store is closed until its file can be reopened");
        } else {
            // Another caller noticed first; their errors may differ.
            tracing::warn!(store = %self.owner, %error, "another failure of the store");
        }
        error
    }

    fn is_due(&self) -> bool {
        self.health.is_due(Instant::now())
    }

    /// Reopens the file, if that is due and nobody else is doing it. No lock is held meanwhile.
    fn reopen(&self) {
        let Some(attempt) = self.health.begin(Instant::now()) else {
            return;
        };
        self.clear_away();
        let in_doubt = attempt.before().is_some_and(|failure| failure.in_doubt);
        match open_checked(&*self.medium, &self.owner, &self.path, in_doubt) {
            Ok((db, view, identity)) => {
                let db = Arc::new(db);
                // A commit that failed may be there. Before the next one can be made.
                self.log.found(identity.log);
                match attempt.succeeded(Open { db, view }) {
                    Ok(()) => {
                        self.reopened.fetch_add(1, Ordering::Relaxed);
                        tracing::info!(store = %self.owner, "the store is open again");
                    }
                    // It was closed meanwhile.
                    Err(Open { db, view }) => {
                        drop(view);
                        close_when_idle(db);
                    }
                }
            }
            Err(fault) => {
                let suspect = fault.is_suspect();
                let error = fault.into_error(&self.path);
                let pause = attempt.failed(error.clone(), suspect, Instant::now());
                tracing::warn!(store = %self.owner, %error, retry_in_ms = pause.as_millis() as u64, "the store cannot be reopened yet");
            }
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

/// A store that nobody closed is closed with its last holder: redb's own drop writes to the file,
/// and panics if that is damaged.
impl Drop for StoreFile {
    fn drop(&mut self) {
        self.close();
    }
}

fn open_in(state: &State<Open>) -> Result<&Opened<Open>, StoreError> {
    match state {
        State::Open(open) => Ok(open),
        State::Failed(failure) | State::Opening(Some(failure)) => Err(failure.error.clone()),
        // It is open from the beginning.
        State::Idle | State::Opening(None) | State::Closed => Err(StoreError::Closed),
    }
}

// The guarded data is consistent at every moment, so a panic elsewhere does not corrupt it.

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
                "a sync of the store had failed: checking and using what the disk holds"
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

/// Closes a database that is out of use, once the work on it has ended. It must be the last holder:
/// closing writes to the file, which no reader's thread may be made to do.
fn close_when_idle(mut db: Arc<Database>) {
    loop {
        match Arc::try_unwrap(db) {
            Ok(db) => return close_quietly(db),
            Err(in_use) => db = in_use,
        }
        std::thread::sleep(CLOSING_PAUSE);
    }
}

/// On a damaged file closing may fail like any other access. Nothing is lost: acknowledged writes
/// are on disk already.
fn close_quietly(db: Database) {
    let closed = guarded(|| {
        db.close()?;
        Ok(())
    });
    if let Err(fault) = closed {
        tracing::debug!(?fault, "closing a store file failed");
    }
}
