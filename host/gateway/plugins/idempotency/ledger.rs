//! The keys on disk: one store of its own, in which each key has its record and a place in the order of expiry.
//!
//! The two are written together, and only over the record that was looked at, so that of two who begin with one key one
//! begins, and clearing away never takes a record that was made anew meanwhile.

use super::record::Record;
use crate::store::{Applied, Entry, Op, RedbStore, Store, StoreError, StoreLimits};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Whose the store file is.
const OWNER: &str = "idempotency";

const RECORDS: &str = "records";
const EXPIRY: &str = "expiry";

/// Bytes above the bound for the answers of requests that are at work then.
const ROOM_BYTES: u64 = 256 << 20;

/// Bytes of a record beyond the answer's body: its header fields.
const MAX_HEAD_BYTES: usize = 256 << 10;

/// Keys that one sweep looks at.
pub const SWEEP_KEYS: usize = 256;

/// The open file.
pub struct Ledger {
    store: RedbStore,
    path: PathBuf,
    full_bytes: u64,
}

/// A record as it was found.
pub struct Found {
    pub record: Record,
    pub version: u64,
}

impl Ledger {
    /// Opens the file at `path` and makes it where there is none. From `full_bytes` on it is full for new keys. Blocks.
    ///
    /// # Errors
    /// When it is anything but a whole file of keys; it is left as it is.
    pub fn open(path: PathBuf, full_bytes: u64) -> Result<Self, StoreError> {
        let limits = StoreLimits {
            max_store_bytes: full_bytes.saturating_add(ROOM_BYTES),
            max_value_bytes: super::MAX_BODY_BYTES as usize + MAX_HEAD_BYTES,
            ..StoreLimits::default()
        };
        let store = RedbStore::open_file(&path, OWNER, limits)?;
        Ok(Ledger {
            store,
            path,
            full_bytes,
        })
    }

    /// Whether no new key is to be taken.
    pub fn is_full(&self) -> bool {
        self.store.stats().stored_bytes >= self.full_bytes
    }

    pub fn get(&self, scope: &str) -> Result<Option<Found>, StoreError> {
        let entry = self.store.get(RECORDS, scope)?;
        entry.map(|entry| self.found(entry)).transpose()
    }

    fn found(&self, Entry { value, version }: Entry) -> Result<Found, StoreError> {
        match Record::decode(value) {
            Some(record) => Ok(Found { record, version }),
            None => Err(StoreError::Corrupt {
                path: self.path.clone(),
                reason: "a record in it cannot be read".into(),
            }),
        }
    }

    /// Writes the first record of a key, over `expired` if there is one. False where another was quicker.
    pub async fn begin(
        &self,
        scope: &str,
        record: &Record,
        expired: Option<&Found>,
    ) -> Result<bool, StoreError> {
        let mut ops = vec![Op::Swap {
            bucket: RECORDS.into(),
            key: scope.into(),
            expected: expired.map(|found| found.version),
            value: record.encode(),
        }];
        ops.extend(expired.map(|found| self.leave_order(found.record.expires_ms, scope)));
        ops.push(self.enter_order(record.expires_ms, scope));
        let applied = self.store.write(ops).await?;
        Ok(!matches!(applied.first(), Some(Applied::Conflict(_))))
    }

    /// Writes what came of a request, in the place of what was begun until `begun_ms`.
    pub async fn finish(
        &self,
        scope: &str,
        begun_ms: u64,
        record: &Record,
    ) -> Result<(), StoreError> {
        let set = Op::Set {
            bucket: RECORDS.into(),
            key: scope.into(),
            value: record.encode(),
        };
        let ops = vec![
            set,
            self.leave_order(begun_ms, scope),
            self.enter_order(record.expires_ms, scope),
        ];
        self.store.write(ops).await.map(drop)
    }

    /// Takes back what was begun until `begun_ms`.
    pub async fn free(&self, scope: &str, begun_ms: u64) -> Result<(), StoreError> {
        let ops = vec![self.forget(scope), self.leave_order(begun_ms, scope)];
        self.store.write(ops).await.map(drop)
    }

    /// Removes what has expired at `now_ms`, looking at no more than [`SWEEP_KEYS`]. Whether more may be due.
    pub async fn sweep(self: &Arc<Self>, now_ms: u64) -> Result<bool, StoreError> {
        let ledger = self.clone();
        // Reading so many records may take a while.
        let due = tokio::task::spawn_blocking(move || ledger.due(now_ms)).await;
        let (due, more) = due.unwrap_or(Err(StoreError::Closed))?;
        let writes: Vec<_> = due.into_iter().map(|ops| self.store.write(ops)).collect();
        for write in writes {
            write.await?;
        }
        Ok(more)
    }

    /// What removes the first keys that are due, a write each, and whether more may be due.
    fn due(&self, now_ms: u64) -> Result<(Vec<Vec<Op>>, bool), StoreError> {
        let page = self.store.keys(EXPIRY, None, 0, SWEEP_KEYS)?;
        let mut due = Vec::new();
        for place in &page.keys {
            let read = read_place(place);
            if read.is_some_and(|(expires_ms, _)| expires_ms > now_ms) {
                return Ok((due, false));
            }
            let mut ops = Vec::new();
            if let Some((expires_ms, scope)) = read
                && let Some(found) = self.get(scope)?
                && found.record.expires_ms == expires_ms
            {
                // The swap holds the write to the record that was looked at.
                ops.push(Op::Swap {
                    bucket: RECORDS.into(),
                    key: scope.into(),
                    expected: Some(found.version),
                    value: Vec::new(),
                });
                ops.push(self.forget(scope));
            }
            ops.push(Op::Delete {
                bucket: EXPIRY.into(),
                key: place.clone(),
            });
            due.push(ops);
        }
        Ok((due, page.more))
    }

    fn forget(&self, scope: &str) -> Op {
        Op::Delete {
            bucket: RECORDS.into(),
            key: scope.into(),
        }
    }

    fn enter_order(&self, expires_ms: u64, scope: &str) -> Op {
        Op::Set {
            bucket: EXPIRY.into(),
            key: place(expires_ms, scope),
            value: Vec::new(),
        }
    }

    fn leave_order(&self, expires_ms: u64, scope: &str) -> Op {
        Op::Delete {
            bucket: EXPIRY.into(),
            key: place(expires_ms, scope),
        }
    }

    /// Closes the file. Blocks.
    #[cfg(test)]
    pub fn close(&self) {
        self.store.close();
    }

    #[cfg(test)]
    pub fn keys(&self) -> (usize, usize) {
        let count = |bucket| {
            let page = self.store.keys(bucket, None, 0, 1000).unwrap();
            page.keys.len()
        };
        (count(RECORDS), count(EXPIRY))
    }
}

/// Digits of a time in hex, so that the order of the texts is that of the times.
const TIME_DIGITS: usize = 16;

fn place(expires_ms: u64, scope: &str) -> String {
    format!("{expires_ms:0TIME_DIGITS$x}{scope}")
}

fn read_place(place: &str) -> Option<(u64, &str)> {
    let (time, scope) = place.split_at_checked(TIME_DIGITS)?;
    Some((u64::from_str_radix(time, 16).ok()?, scope))
}

/// Milliseconds since 1970. Records outlive the process, so no monotonic clock will do.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::super::key::fingerprint;
    use super::super::record::State;
    use super::*;

    fn ledger() -> (tempfile::TempDir, Arc<Ledger>) {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(folder.path().join("idempotency.redb"), 1 << 30).unwrap();
        (folder, Arc::new(ledger))
    }

    fn record(expires_ms: u64, state: State) -> Record {
        Record::new(
            fingerprint("POST", ("/", None), b"", b""),
            expires_ms,
            state,
        )
    }

    #[tokio::test]
    async fn one_begins_and_the_other_is_told() {
        let (_folder, ledger) = ledger();
        let begun = record(10, State::Begun);
        assert!(ledger.begin("k", &begun, None).await.unwrap());
        assert!(!ledger.begin("k", &begun, None).await.unwrap());
        let found = ledger.get("k").unwrap().unwrap();
        assert_eq!(found.record, begun);
        // It has expired, and two see it.
        let anew = record(20, State::Begun);
        assert!(ledger.begin("k", &anew, Some(&found)).await.unwrap());
        assert!(!ledger.begin("k", &anew, Some(&found)).await.unwrap());
        assert_eq!(ledger.keys(), (1, 1));
        ledger.free("k", 20).await.unwrap();
        assert_eq!(ledger.keys(), (0, 0));
    }

    #[tokio::test]
    async fn a_sweep_takes_what_is_due_a_bounded_number_at_a_time_and_nothing_else() {
        let (_folder, ledger) = ledger();
        let count = SWEEP_KEYS + 10;
        for i in 0..count {
            let begun = record(10, State::Begun);
            assert!(ledger.begin(&format!("k{i}"), &begun, None).await.unwrap());
        }
        // Answered later, so it holds longer than it was begun for.
        let later = record(30, State::NotKept);
        ledger.finish("k0", 10, &later).await.unwrap();
        assert!(!ledger.sweep(9).await.unwrap());
        assert_eq!(ledger.keys(), (count, count));
        assert!(ledger.sweep(10).await.unwrap());
        assert_eq!(ledger.keys(), (10, 10));
        assert!(!ledger.sweep(10).await.unwrap());
        assert_eq!(ledger.keys(), (1, 1));
        assert_eq!(ledger.get("k0").unwrap().unwrap().record, later);
        assert!(!ledger.sweep(30).await.unwrap());
        assert_eq!(ledger.keys(), (0, 0));
    }

    #[tokio::test]
    async fn what_was_written_is_there_when_the_file_is_opened_again() {
        let (folder, ledger) = ledger();
        let begun = record(10, State::Begun);
        ledger.begin("k", &begun, None).await.unwrap();
        ledger.close();
        let again = Ledger::open(folder.path().join("idempotency.redb"), 1 << 30).unwrap();
        assert_eq!(again.get("k").unwrap().unwrap().record, begun);
    }
}
