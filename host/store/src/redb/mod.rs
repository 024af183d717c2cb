//! Stores in files: each is a redb database, as described in docs/store-format.md.
//!
//! The life of a write: `redb_store` checks it against the limits and passes it to `commit`, which
//! gathers what arrives while an earlier commit runs. `plan` decides each write by itself, so that
//! a failing one does not affect the others. `layout` puts the accepted ones into the tables, and
//! `log` their events. One commit makes them durable, and only then are their futures resolved.
//! `file` holds the open database and reopens it after a fault. `create` creates a new file so that
//! a crash never leaves an incomplete one. `files` is the backend, a folder of them.
//!
//! A read, in `reads`, uses the view that the last commit left. `disk_file` is the file as redb
//! sees it. A read that would wait for the disk leaves its thread by `waiting`. A file whose sync
//! failed is not used before `unsynced` knows what the disk holds.
//!
//! A `snapshot` is a copy of a whole store as one commit left it, for a backup.

mod commit;
mod create;
mod disk_file;
mod fault;
mod file;
mod files;
mod layout;
mod log;
mod plan;
mod reads;
mod redb_store;
mod snapshot;
#[cfg(test)]
mod tests;
mod unsynced;
mod waiting;

pub(super) use files::RedbFiles;
pub(super) use redb_store::RedbStore;

// What these files use of the crate.
use super::{
    Applied, Backend, Check, Committed, Entry, EntryKey, EventsPage, LEAST_FREE_BYTES, LogBounds,
    LogObserver, LogState, NewEvent, Op, Page, Read, Scratch, Snapshot, Store, StoreError, StoreId,
    StoreLimits, StoreStats, StoredEvent, TransactFuture, Transacted, Transaction, WriteFuture,
    check_name, health, limits, once_cost,
};
#[cfg(test)]
use super::{Stores, conformance};
