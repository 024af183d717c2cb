//! The content of a store file, and the encoding of entries. docs/store-format.md describes it.
//!
//! - `heads`: (bucket, key) to version and value. A value above [`INLINE_MAX_BYTES`] is not in its
//!   head, which then has only its length, but
//! - `blobs`: version to value. So listing keys, `exists` and compare-and-swap read small heads
//!   only, however large the values are, and large values lie in the order they were written.
//! - `meta`: the format, the last version given, and the bytes stored.
//! - `owner`: whose store this is.
//!
//! The tables of the log are in [`log`], and in the file once they are needed.

use super::fault::Fault;
use super::log::{self, LogTables};
use super::snapshot::{STEP_BYTES, STEP_TIME, Stop};
use super::{Entry, LogState};
use redb::{
    Database, Key, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, Table,
    TableDefinition, TableError, Value, WriteTransaction,
};
use std::ops::Bound;
use std::time::Instant;

type HeadKey = (&'static str, &'static str);
type Bytes = &'static [u8];

const HEADS: TableDefinition<HeadKey, Bytes> = TableDefinition::new("heads");
const BLOBS: TableDefinition<u64, Bytes> = TableDefinition::new("blobs");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const OWNER: TableDefinition<&str, &str> = TableDefinition::new("owner");

const FORMAT: &str = "format";
const VERSION: &str = "version";
const STORED: &str = "stored-bytes";
const NAME: &str = "name";

/// The format of a new file.
const FORMAT_NEW: u64 = 1;

/// The format of a file with the tables of the log.
const FORMAT_LOG: u64 = 2;

/// The newest format that this code knows. It knows all before it, too.
const FORMAT_NOW: u64 = FORMAT_LOG;

/// The largest value that is stored in its head. A page of the tree, 4 KiB, still holds several of
/// them.
const INLINE_MAX_BYTES: usize = 1 << 10;

const INLINE: u8 = 0;
const APART: u8 = 1;

/// The overhead of an entry beyond its bytes: its share of pages, version and lengths. It keeps ten
/// million empty values from being free.
const ENTRY_OVERHEAD_BYTES: u64 = 64;

/// The bytes of an entry that count against `max_store_bytes`.
pub(super) fn entry_cost(bucket: &str, key: &str, value_len: u64) -> u64 {
    (bucket.len() as u64) + (key.len() as u64) + value_len + ENTRY_OVERHEAD_BYTES
}

/// An entry, as stored in its head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) version: u64,
    pub(super) value: Stored,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stored {
    Inline(Vec<u8>),
    /// In `blobs`, with this length.
    Apart(u64),
}

impl Head {
    pub(super) fn value_len(&self) -> u64 {
        match &self.value {
            Stored::Inline(value) => value.len() as u64,
            Stored::Apart(len) => *len,
        }
    }

    fn decode(raw: &[u8]) -> Option<Self> {
        let (version, rest) = raw.split_first_chunk()?;
        let (kind, rest) = rest.split_first()?;
        let value = match *kind {
            INLINE => Stored::Inline(rest.to_vec()),
            APART => Stored::Apart(u64::from_le_bytes(rest.try_into().ok()?)),
            _ => return None,
        };
        Some(Self {
            version: u64::from_le_bytes(*version),
            value,
        })
    }
}

/// One consistent view of a store.
pub(super) struct View {
    read: ReadTransaction,
    /// Kept open as long as the view exists, and its root page with it: no head is larger than a
    /// page. The root of `blobs` may be as large as the largest value, so `blobs` is opened only
    /// when needed.
    heads: ReadOnlyTable<HeadKey, Bytes>,
}

impl View {
    pub(super) fn of(db: &Database) -> Result<Self, Fault> {
        let read = db.begin_read()?;
        Ok(Self {
            heads: read.open_table(HEADS)?,
            read,
        })
    }

    pub(super) fn exists(&self, bucket: &str, key: &str) -> Result<bool, Fault> {
        Ok(ReadableTable::get(&self.heads, (bucket, key))?.is_some())
    }

    pub(super) fn head(&self, bucket: &str, key: &str) -> Result<Option<Head>, Fault> {
        head(&self.heads, bucket, key)
    }

    pub(super) fn entry(&self, head: Head) -> Result<Entry, Fault> {
        match head {
            Head {
                version,
                value: Stored::Inline(value),
            } => Ok(Entry { value, version }),
            head => entry(&self.read.open_table(BLOBS)?, head),
        }
    }

    /// A table that not every file has.
    pub(super) fn table<K: Key + 'static, V: Value + 'static>(
        &self,
        table: TableDefinition<K, V>,
    ) -> Result<Option<ReadOnlyTable<K, V>>, Fault> {
        match self.read.open_table(table) {
            Ok(table) => Ok(Some(table)),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Keys in order, as in [`Store::keys`](super::Store::keys), and whether more follow.
    pub(super) fn keys(
        &self,
        bucket: &str,
        after: Option<&str>,
        skip: u64,
        limit: usize,
    ) -> Result<(Vec<String>, bool), Fault> {
        let from = match after {
            Some(key) => Bound::Excluded((bucket, key)),
            None => Bound::Included((bucket, "")),
        };
        let range = ReadableTable::range::<(&str, &str)>(&self.heads, (from, Bound::Unbounded))?;
        let mut keys = Vec::new();
        let mut skipped = 0;
        for item in range {
            let (name, _) = item?;
            let (in_bucket, key) = name.value();
            if in_bucket != bucket {
                break;
            }
            if skipped < skip {
                skipped += 1;
            } else if keys.len() < limit {
                keys.push(key.to_owned());
            } else {
                return Ok((keys, true));
            }
        }
        Ok((keys, false))
    }

    /// Buckets in order, as in [`Store::buckets`](super::Store::buckets), and whether more follow.
    pub(super) fn buckets(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<String>, bool), Fault> {
        // The least name behind a bucket's own: between them is nothing but its keys.
        let behind = |bucket: &str| format!("{bucket}\0");
        let mut from = after.map(behind).unwrap_or_default();
        let mut buckets = Vec::new();
        loop {
            let first = Bound::Included((from.as_str(), ""));
            let mut range =
                ReadableTable::range::<(&str, &str)>(&self.heads, (first, Bound::Unbounded))?;
            let Some(item) = range.next() else {
                return Ok((buckets, false));
            };
            let (name, _) = item?;
            if buckets.len() >= limit {
                return Ok((buckets, true));
            }
            let (bucket, _) = name.value();
            from = behind(bucket);
            buckets.push(bucket.to_owned());
        }
    }
}

/// Copies everything in `view` into the empty database `to`, in commits of at most [`STEP_BYTES`]
/// and [`STEP_TIME`]. After each, `step` gets its size and may end the copy. The content is
/// checked: every value exists, and the sum is as stored.
pub(super) fn copy(
    view: &View,
    to: &Database,
    step: &mut dyn FnMut(u64) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let (meta, owner) = (view.read.open_table(META)?, view.read.open_table(OWNER)?);
    let blobs = view.read.open_table(BLOBS)?;
    let (mut stored, mut apart, mut apart_bytes) = (0_u64, 0_u64, 0_u64);
    let mut unreadable = false;
    copy_table(
        &view.heads,
        to,
        HEADS,
        step,
        &mut |(bucket, key), raw| match Head::decode(raw) {
            Some(head) => {
                stored = stored.saturating_add(entry_cost(bucket, key, head.value_len()));
                if let Stored::Apart(len) = head.value {
                    apart += 1;
                    apart_bytes = apart_bytes.saturating_add(len);
                }
            }
            None => unreadable = true,
        },
    )?;
    copy_table(&blobs, to, BLOBS, step, &mut |_, value| {
        apart = apart.wrapping_sub(1);
        apart_bytes = apart_bytes.wrapping_sub(value.len() as u64);
    })?;
    let damaged = |what: &str| Stop::Source(Fault::Damaged(what.into()));
    if unreadable {
        return Err(damaged("an entry in it cannot be read"));
    }
    if apart != 0 || apart_bytes != 0 {
        return Err(damaged("a value in it is missing"));
    }
    let has_log = counter(&meta, FORMAT).map_err(Stop::Source)? >= FORMAT_LOG;
    if has_log {
        stored = stored.saturating_add(log::copy(view, &meta, to, step)?);
    }
    if stored != counter(&meta, STORED).map_err(Stop::Source)? {
        // The store is usable all the same.
        return Err(Stop::Damaged("its sum is not that of its entries".into()));
    }
    copy_table(&meta, to, META, step, &mut |_, _| {})?;
    if has_log {
        // What is emitted after a restore is not what the store itself emits from here on.
        let txn = to.begin_write().map_err(unwritable)?;
        let mut meta = txn.open_table(META).map_err(unwritable)?;
        meta.insert(log::LOG_ID, log::log_id())
            .map_err(unwritable)?;
        drop(meta);
        txn.commit().map_err(unwritable)?;
    }
    copy_table(&owner, to, OWNER, step, &mut |_, _| {})
}

pub(super) fn copy_table<K: Key + 'static, V: Value + 'static>(
    from: &ReadOnlyTable<K, V>,
    to: &Database,
    table: TableDefinition<K, V>,
    step: &mut dyn FnMut(u64) -> Result<(), Stop>,
    seen: &mut dyn FnMut(&K::SelfType<'_>, &V::SelfType<'_>),
) -> Result<(), Stop> {
    let mut entries = ReadableTable::iter(from)?;
    let mut ended = false;
    while !ended {
        let (mut bytes, begun) = (0, Instant::now());
        let txn = to.begin_write().map_err(unwritable)?;
        let mut copy = txn.open_table(table).map_err(unwritable)?;
        while bytes < STEP_BYTES && begun.elapsed() < STEP_TIME {
            let Some(entry) = entries.next() else {
                ended = true;
                break;
            };
            let (key, value) = entry?;
            let (key, value) = (key.value(), value.value());
            seen(&key, &value);
            bytes += K::as_bytes(&key).as_ref().len() + V::as_bytes(&value).as_ref().len();
            copy.insert(&key, &value).map_err(unwritable)?;
        }
        drop(copy);
        txn.commit().map_err(unwritable)?;
        step(bytes as u64)?;
    }
    Ok(())
}

fn unwritable(error: impl Into<redb::Error>) -> Stop {
    Stop::Scratch(error.into().to_string())
}

/// The tables of a store inside a write transaction, and the counters for its end.
pub(super) struct Tables<'txn> {
    txn: &'txn WriteTransaction,
    heads: Table<'txn, HeadKey, Bytes>,
    blobs: Table<'txn, u64, Bytes>,
    meta: Table<'txn, &'static str, u64>,
    /// Opened by the first write that needs it.
    log: Option<LogTables<'txn>>,
    /// The last version assigned.
    pub(super) version: u64,
    /// The sum of [`entry_cost`].
    pub(super) stored_bytes: u64,
    /// Whether there is anything to commit.
    pub(super) changed: bool,
}

impl<'txn> Tables<'txn> {
    pub(super) fn open(txn: &'txn WriteTransaction) -> Result<Self, Fault> {
        let meta = txn.open_table(META)?;
        Ok(Self {
            txn,
            log: None,
            version: counter(&meta, VERSION)?,
            stored_bytes: counter(&meta, STORED)?,
            heads: txn.open_table(HEADS)?,
            blobs: txn.open_table(BLOBS)?,
            meta,
            changed: false,
        })
    }

    pub(super) fn head(&self, bucket: &str, key: &str) -> Result<Option<Head>, Fault> {
        head(&self.heads, bucket, key)
    }

    pub(super) fn entry(&self, head: Head) -> Result<Entry, Fault> {
        entry(&self.blobs, head)
    }

    /// Writes an entry over `old`, which is the result of [`Tables::head`] for this key.
    pub(super) fn put(
        &mut self,
        bucket: &str,
        key: &str,
        old: Option<&Head>,
        version: u64,
        value: &[u8],
    ) -> Result<(), Fault> {
        self.forget_blob(old)?;
        let len = (value.len() as u64).to_le_bytes();
        let (kind, rest) = if value.len() <= INLINE_MAX_BYTES {
            (INLINE, value)
        } else {
            self.blobs.insert(version, value)?;
            (APART, len.as_slice())
        };
        let raw = [version.to_le_bytes().as_slice(), &[kind], rest].concat();
        self.heads.insert((bucket, key), raw.as_slice())?;
        self.changed = true;
        Ok(())
    }

    /// Removes the entry with the head `old`.
    pub(super) fn remove(&mut self, bucket: &str, key: &str, old: &Head) -> Result<(), Fault> {
        self.forget_blob(Some(old))?;
        self.heads.remove((bucket, key))?;
        self.changed = true;
        Ok(())
    }

    /// The log, if the file has one.
    pub(super) fn log(&mut self) -> Result<Option<&mut LogTables<'txn>>, Fault> {
        if self.log.is_none() && counter(&self.meta, FORMAT)? >= FORMAT_LOG {
            self.log = Some(LogTables::open(self.txn, &self.meta)?);
        }
        Ok(self.log.as_mut())
    }

    /// The log, to be changed. A file without one gets one, with the ids `id`, and its format.
    pub(super) fn log_to_change(&mut self, id: u64) -> Result<&mut LogTables<'txn>, Fault> {
        self.changed = true;
        if self.log()?.is_none() {
            self.log = Some(LogTables::found(self.txn, id)?);
            self.meta.insert(FORMAT, FORMAT_LOG)?;
        }
        let missing = || Fault::Damaged("its log is missing".into());
        self.log.as_mut().ok_or_else(missing)
    }

    /// Must be called once after the last change, before the commit. Returns where the log stands,
    /// if it was changed.
    pub(super) fn save_counters(&mut self) -> Result<Option<LogState>, Fault> {
        self.meta.insert(VERSION, self.version)?;
        self.meta.insert(STORED, self.stored_bytes)?;
        let Some(log) = &self.log else {
            return Ok(None);
        };
        log.save_counters(&mut self.meta)?;
        log.changed.then(|| log.state()).transpose()
    }

    fn forget_blob(&mut self, old: Option<&Head>) -> Result<(), Fault> {
        if let Some(Head {
            version,
            value: Stored::Apart(_),
        }) = old
        {
            self.blobs.remove(version)?;
        }
        Ok(())
    }
}

/// Creates the tables of a new store that belongs to `owner`.
pub(super) fn found(txn: &WriteTransaction, owner: &str) -> Result<(), Fault> {
    txn.open_table(HEADS)?;
    txn.open_table(BLOBS)?;
    txn.open_table(OWNER)?.insert(NAME, owner)?;
    let mut meta = txn.open_table(META)?;
    meta.insert(FORMAT, FORMAT_NEW)?;
    meta.insert(VERSION, 0)?;
    meta.insert(STORED, 0)?;
    Ok(())
}

/// The owner of a store, how many bytes it holds, and where its log stands.
pub(super) struct Identity {
    pub(super) owner: String,
    pub(super) stored_bytes: u64,
    pub(super) log: LogState,
}

/// Reads the owner of the store, and refuses a database that is not a store of a known format.
pub(super) fn identify(db: &Database) -> Result<Identity, Fault> {
    let read = db.begin_read()?;
    let meta = read.open_table(META)?;
    let format = counter(&meta, FORMAT)?;
    if !(FORMAT_NEW..=FORMAT_NOW).contains(&format) {
        return Err(Fault::Damaged(format!(
            "its format is {format}, and this host knows {FORMAT_NEW} to {FORMAT_NOW}"
        )));
    }
    // Opened once here, so that a file without them is refused now and not at the first use.
    read.open_table(HEADS)?;
    read.open_table(BLOBS)?;
    counter(&meta, VERSION)?;
    let owner = ReadableTable::get(&read.open_table(OWNER)?, NAME)?
        .map(|name| name.value().to_owned())
        .ok_or_else(|| Fault::Damaged("it names no owner".into()))?;
    let log = match format {
        FORMAT_NEW => LogState::default(),
        _ => log::identify(&read, &meta)?,
    };
    Ok(Identity {
        owner,
        log,
        stored_bytes: counter(&meta, STORED)?,
    })
}

fn head(
    heads: &impl ReadableTable<HeadKey, Bytes>,
    bucket: &str,
    key: &str,
) -> Result<Option<Head>, Fault> {
    let Some(raw) = heads.get((bucket, key))? else {
        return Ok(None);
    };
    match Head::decode(raw.value()) {
        Some(head) => Ok(Some(head)),
        None => Err(Fault::Damaged("an entry in it cannot be read".into())),
    }
}

fn entry(blobs: &impl ReadableTable<u64, Bytes>, head: Head) -> Result<Entry, Fault> {
    let version = head.version;
    let value = match head.value {
        Stored::Inline(value) => value,
        Stored::Apart(len) => blobs
            .get(version)?
            .map(|blob| blob.value().to_vec())
            .filter(|value| value.len() as u64 == len)
            .ok_or_else(|| Fault::Damaged("a value in it is missing".into()))?,
    };
    Ok(Entry { value, version })
}

pub(super) fn counter(
    meta: &impl ReadableTable<&'static str, u64>,
    name: &'static str,
) -> Result<u64, Fault> {
    meta.get(name)?
        .map(|value| value.value())
        .ok_or_else(|| Fault::Damaged(format!("its '{name}' is missing")))
}
