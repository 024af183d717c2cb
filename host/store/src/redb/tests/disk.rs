//! A disk in memory that loses power, fails, waits and counts on command.
//!
//! It is as unkind as Linux: pages that a failed sync did not write are read back as written, the
//! next sync reports success without them, and a power loss shows that they are not there.

use super::super::create::found;
use super::super::file::Medium;
use super::super::waiting::{may_wait, would_wait};
use super::OWNER;
use parking_lot::{Condvar, Mutex};
use redb::{Database, DatabaseError, StorageBackend};
use std::io::{self, Error, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a page of memory.
const PAGE_BYTES: usize = 4_096;

/// What is to happen, by the number of the access (from 1, counted since the last [`Disk::arm`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    None,
    /// From this access on the disk answers nothing any more.
    PowerLoss(u64),
    /// This access fails, and no other.
    FailOnce(u64, ErrorKind),
    /// The sync of this number fails, counted by themselves; then, so many accesses later, the
    /// power goes.
    FailSync(u64, u64),
}

#[derive(Debug, Clone)]
pub(super) struct Disk(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// What the last sync made sure of.
    durable: Vec<u8>,
    /// What a reader sees.
    current: Vec<u8>,
    /// What lies between the two, in order.
    unsynced: Vec<Change>,
    trouble: Trouble,
    accesses: u64,
    syncs: u64,
    /// The access at which the sync failed that [`Trouble::FailSync`] is about.
    failed_at: Option<u64>,
    /// Whether a sync failed since the content was last taken from the disk.
    in_doubt: bool,
    read_bytes: u64,
    hold_syncs: bool,
    syncs_held: usize,
    /// Whether memory holds nothing of it, so that each read waits.
    cold: bool,
    hold_reads: bool,
    reads_held: usize,
}

#[derive(Debug, Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

impl Change {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::Length(len) => image.resize(*len as usize, 0),
            Self::Write(at, data) => {
                let (at, end) = (*at as usize, *at as usize + data.len());
                // Beyond an end that was not made durable there is nowhere to write to.
                if end <= image.len() {
                    image[at..end].copy_from_slice(data);
                }
            }
        }
    }
}

impl Disk {
    /// A disk that holds an empty store of [`OWNER`].
    pub(super) fn new() -> Self {
        let disk = Self::of(Vec::new());
        let db = Database::builder()
            .create_with_backend(disk.clone())
            .unwrap();
        found(&db, OWNER).unwrap();
        drop(db);
        disk
    }

    pub(super) fn of(image: Vec<u8>) -> Self {
        let state = State {
            durable: image.clone(),
            current: image,
            unsynced: Vec::new(),
            trouble: Trouble::None,
            accesses: 0,
            syncs: 0,
            failed_at: None,
            in_doubt: false,
            read_bytes: 0,
            hold_syncs: false,
            syncs_held: 0,
            cold: false,
            hold_reads: false,
            reads_held: 0,
        };
        Self(Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }))
    }

    pub(super) fn medium(&self, cache_bytes: usize) -> Box<dyn Medium> {
        Box::new(DiskMedium {
            disk: self.clone(),
            cache_bytes,
        })
    }

    pub(super) fn arm(&self, trouble: Trouble) {
        let mut state = self.0.state.lock();
        state.trouble = trouble;
        state.accesses = 0;
        state.syncs = 0;
        state.failed_at = None;
    }

    /// Whether the trouble has come.
    pub(super) fn struck(&self) -> bool {
        let state = self.0.state.lock();
        match state.trouble {
            Trouble::None => false,
            Trouble::PowerLoss(at) | Trouble::FailOnce(at, _) => state.accesses >= at,
            Trouble::FailSync(..) => state.power_is_gone(),
        }
    }

    /// Whether the sync has failed that was to fail.
    pub(super) fn sync_failed(&self) -> bool {
        self.0.state.lock().failed_at.is_some()
    }

    pub(super) fn read_bytes(&self) -> u64 {
        self.0.state.lock().read_bytes
    }

    /// What a power loss now would leave: all that was synced, and of the rest some, in parts, as
    /// `seed` has it. Seed 0 leaves none of it, seed 1 all.
    pub(super) fn after_power_loss(&self, seed: u64) -> Vec<u8> {
        let state = self.0.state.lock();
        let mut image = state.durable.clone();
        let mut dice = seed;
        for change in &state.unsynced {
            // An xorshift generator: the same seed is the same accident.
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            match (seed, dice % 3, change) {
                (0, ..) => {}
                (1, ..) | (_, 0, _) => change.apply(&mut image),
                (_, 1, Change::Write(at, data)) => {
                    // Sectors are written whole.
                    let sectors = (data.len() / 512) as u64;
                    let kept = (dice / 3 % (sectors + 1)) as usize * 512;
                    Change::Write(*at, data[..kept].to_vec()).apply(&mut image);
                }
                _ => {}
            }
        }
        image
    }

    /// Lets no sync return until the guard is dropped.
    pub(super) fn hold_syncs(&self) -> Hold {
        self.0.state.lock().hold_syncs = true;
        Hold(self.clone())
    }

    /// Has memory hold nothing of the disk, and no read of it return until the guard is dropped.
    pub(super) fn hold_reads(&self) -> Hold {
        let mut state = self.0.state.lock();
        (state.cold, state.hold_reads) = (true, true);
        drop(state);
        Hold(self.clone())
    }

    /// Whether each read waits for the disk.
    pub(super) fn set_cold(&self, cold: bool) {
        self.0.state.lock().cold = cold;
    }

    /// Reads of the disk that are being waited for.
    pub(super) fn reads_held(&self) -> usize {
        self.0.state.lock().reads_held
    }

    fn access(&self) -> io::Result<parking_lot::MutexGuard<'_, State>> {
        let mut state = self.0.state.lock();
        state.accesses += 1;
        if state.power_is_gone() {
            return Err(Error::other("the power is gone"));
        }
        match state.trouble {
            Trouble::PowerLoss(at) if state.accesses >= at => {
                Err(Error::other("the power is gone"))
            }
            Trouble::FailOnce(at, kind) if state.accesses == at => Err(kind.into()),
            _ => Ok(state),
        }
    }
}

impl State {
    fn power_is_gone(&self) -> bool {
        match (self.trouble, self.failed_at) {
            (Trouble::FailSync(_, later), Some(failed_at)) => self.accesses > failed_at + later,
            _ => false,
        }
    }

    /// A sync that fails: of the pages some were written, and all count as clean from now on.
    /// Lengths are kept elsewhere and are not lost.
    fn fail_sync(&mut self) -> io::Error {
        self.in_doubt = true;
        let mut lengths = Vec::new();
        for (number, change) in self.unsynced.drain(..).enumerate() {
            match change {
                Change::Length(_) => lengths.push(change),
                Change::Write(..) if (number as u64 + self.accesses).is_multiple_of(3) => {
                    change.apply(&mut self.durable);
                }
                Change::Write(..) => {}
            }
        }
        self.unsynced = lengths;
        Error::other("the sync failed")
    }
}

/// The disk as a store's medium.
struct DiskMedium {
    disk: Disk,
    cache_bytes: usize,
}

impl Medium for DiskMedium {
    fn open(&self, check: bool) -> Result<Database, DatabaseError> {
        Database::builder()
            .set_cache_size(self.cache_bytes)
            .set_check_integrity_on_open(check)
            .create_with_backend(self.disk.clone())
    }

    fn is_in_doubt(&self) -> bool {
        self.disk.0.state.lock().in_doubt
    }

    fn settle(&self) -> io::Result<()> {
        self.disk.sync_data()?;
        let mut state = self.disk.access()?;
        state.current = state.durable.clone();
        state.in_doubt = false;
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.disk.0.state.lock().current.len() as u64
    }
}

/// See [`Disk::hold_syncs`] and [`Disk::hold_reads`].
pub(super) struct Hold(Disk);

impl Hold {
    /// Waits until a commit has got as far as its sync.
    pub(super) fn wait_for_sync(&self) {
        let shared = &self.0.0;
        let mut state = shared.state.lock();
        let waits = |state: &mut State| state.syncs_held == 0;
        let longest = Duration::from_secs(30);
        shared.changed.wait_while_for(&mut state, waits, longest);
        assert!(state.syncs_held > 0, "no commit came to sync");
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.0.0.state.lock();
        (state.hold_syncs, state.hold_reads) = (false, false);
        drop(state);
        self.0.0.changed.notify_all();
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.access()?.current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.access()?;
        if state.cold && !may_wait() {
            drop(state);
            would_wait();
        }
        if state.hold_reads {
            state.reads_held += 1;
            self.0.changed.notify_all();
            while state.hold_reads {
                self.0.changed.wait(&mut state);
            }
            state.reads_held -= 1;
        }
        state.read_bytes += out.len() as u64;
        let range = offset as usize..offset as usize + out.len();
        let data = state.current.get(range);
        out.copy_from_slice(data.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.access()?;
        let change = Change::Length(len);
        change.apply(&mut state.current);
        state.unsynced.push(change);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = match self.access() {
            Ok(state) => state,
            Err(error) => {
                let mut state = self.0.state.lock();
                if matches!(state.trouble, Trouble::FailOnce(..)) {
                    state.fail_sync();
                }
                return Err(error);
            }
        };
        state.syncs += 1;
        if matches!(state.trouble, Trouble::FailSync(at, _) if state.syncs == at) {
            state.failed_at = Some(state.accesses);
            return Err(state.fail_sync());
        }
        state.syncs_held += 1;
        self.0.changed.notify_all();
        while state.hold_syncs {
            self.0.changed.wait(&mut state);
        }
        state.syncs_held -= 1;
        let State {
            durable, unsynced, ..
        } = &mut *state;
        for change in unsynced.drain(..) {
            change.apply(durable);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.access()?;
        Change::Write(offset, data.to_vec()).apply(&mut state.current);
        // Memory and disk exchange whole pages: what a failed sync lost of one is written with the
        // rest of it.
        let from = offset as usize / PAGE_BYTES * PAGE_BYTES;
        let to = (offset as usize + data.len()).next_multiple_of(PAGE_BYTES);
        let to = to.min(state.current.len());
        let pages = state.current.get(from..to).unwrap_or_default().to_vec();
        state.unsynced.push(Change::Write(from as u64, pages));
        Ok(())
    }
}
