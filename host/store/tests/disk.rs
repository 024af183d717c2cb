//! A disk in memory that loses power, fails, waits and counts on command.

use super::super::create::found;
use super::super::file::Opener;
use super::OWNER;
use redb::{Database, StorageBackend};
use std::io::{self, Error, ErrorKind};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// What is to happen, by the number of the access (from 1, counted since the last [`Disk::arm`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    None,
    /// From this access on the disk answers nothing any more.
    PowerLoss(u64),
    /// This access fails, and no other.
    FailOnce(u64, ErrorKind),
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
    read_bytes: u64,
    hold_syncs: bool,
    syncs_held: usize,
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
            read_bytes: 0,
            hold_syncs: false,
            syncs_held: 0,
        };
        Self(Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }))
    }

    pub(super) fn opener(&self, cache_bytes: usize) -> Opener {
        let disk = self.clone();
        Box::new(move |check| {
            Database::builder()
                .set_cache_size(cache_bytes)
                .set_check_integrity_on_open(check)
                .create_with_backend(disk.clone())
        })
    }

    pub(super) fn arm(&self, trouble: Trouble) {
        let mut state = self.0.state.lock().unwrap();
        state.trouble = trouble;
        state.accesses = 0;
    }

    /// Whether the trouble has come.
    pub(super) fn struck(&self) -> bool {
        let state = self.0.state.lock().unwrap();
        match state.trouble {
            Trouble::None => false,
            Trouble::PowerLoss(at) | Trouble::FailOnce(at, _) => state.accesses >= at,
        }
    }

    pub(super) fn read_bytes(&self) -> u64 {
        self.0.state.lock().unwrap().read_bytes
    }

    /// What a power loss now would leave: all that was synced, and of the rest some, in parts, as `seed`
    /// has it. Seed 0 leaves none of it, seed 1 all.
    pub(super) fn after_power_loss(&self, seed: u64) -> Vec<u8> {
        let state = self.0.state.lock().unwrap();
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
        self.0.state.lock().unwrap().hold_syncs = true;
        Hold(self.clone())
    }

    fn access(&self) -> io::Result<std::sync::MutexGuard<'_, State>> {
        let mut state = self.0.state.lock().unwrap();
        state.accesses += 1;
        match state.trouble {
            Trouble::PowerLoss(at) if state.accesses >= at => {
                Err(Error::other("the power is gone"))
            }
            Trouble::FailOnce(at, kind) if state.accesses == at => Err(kind.into()),
            _ => Ok(state),
        }
    }
}

/// See [`Disk::hold_syncs`].
pub(super) struct Hold(Disk);

impl Hold {
    /// Waits until a commit has got as far as its sync.
    pub(super) fn wait_for_sync(&self) {
        let shared = &self.0.0;
        let state = shared.state.lock().unwrap();
        let (_state, late) = shared
            .changed
            .wait_timeout_while(state, Duration::from_secs(30), |state| {
                state.syncs_held == 0
            })
            .unwrap();
        assert!(!late.timed_out(), "no commit came to sync");
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.0.state.lock().unwrap().hold_syncs = false;
        self.0.0.changed.notify_all();
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.access()?.current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.access()?;
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
        let mut state = self.access()?;
        state.syncs_held += 1;
        self.0.changed.notify_all();
        while state.hold_syncs {
            state = self.0.changed.wait(state).unwrap();
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
        let change = Change::Write(offset, data.to_vec());
        change.apply(&mut state.current);
        state.unsynced.push(change);
        Ok(())
    }
}
