//! The log of events in a store file, and what goes with it: events that wait for their time, and
//! the `once` keys of transactions.
//!
//! A file has these tables from the first commit on that needs one of them, and then has format 2.
//! `row` is the encoding of an event. `tables` is the log inside a write transaction; `outbox` puts
//! the events of a transaction there, and `upkeep` moves and drops what is due. `reads` is for
//! readers. `copy` copies and checks it for a backup. `watch` is where the log stands, for those
//! who want to know without reading.

mod copy;
mod outbox;
mod reads;
mod row;
mod tables;
mod upkeep;
mod watch;

pub(super) use copy::copy;
pub(super) use outbox::Outbox;
pub(super) use reads::identify;
pub(super) use tables::{LogTables, log_id};
pub(super) use upkeep::{promote, trim};
pub(super) use watch::LogWatch;

use redb::TableDefinition;

type Bytes = &'static [u8];

/// The time when it is due, and the number in its id.
type Due = (u64, u64);

const EVENTS: TableDefinition<u64, Bytes> = TableDefinition::new("events");
const WAITING: TableDefinition<Due, Bytes> = TableDefinition::new("waiting");
const NAMES: TableDefinition<&str, Due> = TableDefinition::new("names");
const ONCE: TableDefinition<&str, (u64, u64)> = TableDefinition::new("once");
const ONCE_TIMES: TableDefinition<(u64, &str), ()> = TableDefinition::new("once_times");

/// Rows in `meta`.
pub(super) const LOG_ID: &str = "log-id";
const NUMBER: &str = "log-number";
const LAST: &str = "log-last";
const LOG_BYTES: &str = "log-bytes";
