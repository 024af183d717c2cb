//! The records of all windows: each one JSON value in `host.redb`, replaced as a whole by
//! compare-and-swap. So a change is complete or absent, and never overwrites another.

use super::blocking::blocking;
use super::record::{RecordVersion, WindowRecord, drawn};
use super::{ChangeError, WindowName};
use hms_disk::crash;
use hms_store::{Applied, Entry, Op, Scratch, Snapshot, Store, StoreError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

const BUCKET: &str = "windows";

/// A window, and its record if that can be read.
pub(super) type Recorded = (WindowName, Result<WindowRecord, ChangeError>);

/// The records of all windows.
#[derive(Clone)]
pub(super) struct Records {
    store: Arc<dyn Store>,
    /// The random part of its versions.
    writer: u64,
    /// The number of the last version.
    last: Arc<AtomicU64>,
}

/// The result of a compare-and-swap.
pub(super) enum Swapped {
    /// It is durable.
    Done,
    /// Nothing was written: this is the current record.
    Met(Option<Met>),
}

/// A version that no record has: expecting it never writes, and returns the current record.
pub(super) const NOWHERE: u64 = 0;

/// A record on disk.
pub(super) struct Met {
    pub record: Result<WindowRecord, ChangeError>,
    /// What to expect in [`Records::swap`].
    pub place: u64,
}

impl Met {
    pub(crate) fn version(&self) -> RecordVersion {
        let readable = self.record.as_ref();
        readable.map_or(RecordVersion::UNREADABLE, |record| record.version)
    }
}

impl Records {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Records {
            store,
            writer: drawn(),
            last: Arc::default(),
        }
    }

    /// Whether other hosts may write records.
    pub(super) fn is_shared(&self) -> bool {
        self.store.is_shared()
    }

    /// A version for the record that follows one of version `before`.
    pub(super) fn version_after(&self, before: RecordVersion) -> RecordVersion {
        let greater = |last: u64| last.max(before.number).saturating_add(1);
        let last = self
            .last
            .fetch_update(SeqCst, SeqCst, |last| Some(greater(last)));
        RecordVersion {
            number: greater(last.unwrap_or_else(|last| last)),
            writer: self.writer,
        }
    }

    /// Whether this host gave `version`, after `earlier`.
    pub(super) fn gave(&self, version: RecordVersion, earlier: Option<RecordVersion>) -> bool {
        let before = earlier.map_or(0, |earlier| earlier.number);
        version.writer == self.writer && version.number > before
    }

    /// Every window with a record. An unreadable one does not affect the others.
    pub(super) async fn all(&self) -> Result<Vec<Recorded>, ChangeError> {
        let records = self.clone();
        blocking(move || records.all_blocking()).await
    }

    /// The same, on a thread that may block.
    pub(super) fn all_blocking(&self) -> Result<Vec<Recorded>, ChangeError> {
        Ok(parsed(entries(&*self.store)?))
    }

    /// A copy of the file of the records, on a thread that may block.
    pub(super) fn snapshot(&self, scratch: &mut Scratch<'_>) -> Result<Snapshot, ChangeError> {
        Ok(self.store.snapshot(scratch)?)
    }

    /// Writes what of `record` must be durable (nothing if it is vacant), if the current value is
    /// that of `place`, or absent for None. Durable once the future resolves.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub(super) async fn swap(
        self,
        name: WindowName,
        record: WindowRecord,
        place: Option<u64>,
    ) -> Result<Swapped, ChangeError> {
        let (bucket, key) = (BUCKET.to_owned(), name.as_str().to_owned());
        let vacant = record.is_vacant();
        let value = match vacant {
            true => Vec::new(),
            false => serde_json::to_vec(&record)
                .map_err(|error| ChangeError::Internal(error.to_string()))?,
        };
        let mut ops = vec![Op::Swap {
            bucket: bucket.clone(),
            key: key.clone(),
            expected: place,
            value,
        }];
        if vacant {
            // In the same write, so that it deletes only what was expected.
            ops.push(Op::Delete { bucket, key });
        }
        crash::point("asked");
        let applied = self.store.write(ops).await?;
        if let Some(Applied::Conflict(met)) = applied.into_iter().next() {
            let met = met.map(|Entry { value, version }| Met {
                record: parse(name.as_str(), &value),
                place: version,
            });
            return Ok(Swapped::Met(met));
        }
        crash::point("recorded");
        Ok(Swapped::Done)
    }
}

fn entries(store: &(dyn Store + 'static)) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    let mut entries = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = store.keys(BUCKET, after.as_deref(), 0, 1000).wait()?;
        for key in &page.keys {
            if let Some(entry) = store.get(BUCKET, key).wait()? {
                entries.push((key.clone(), entry.value));
            }
        }
        after = page.keys.last().cloned();
        if !page.more {
            return Ok(entries);
        }
    }
}

/// The records in a copy of the file.
pub(super) fn parse_entries(records: &mut Snapshot) -> Result<Vec<Recorded>, ChangeError> {
    Ok(parsed(records.entries(BUCKET)?))
}

fn parsed(entries: Vec<(String, Vec<u8>)>) -> Vec<Recorded> {
    let mut records = Vec::new();
    for (key, value) in entries {
        match key.parse() {
            Ok(name) => records.push((name, parse(&key, &value))),
            Err(error) => tracing::error!(key, "skipping a record in host.redb: {error}"),
        }
    }
    records
}

fn parse(name: &str, json: &[u8]) -> Result<WindowRecord, ChangeError> {
    serde_json::from_slice(json).map_err(|error| ChangeError::Record {
        window: name.to_owned(),
        why: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{KEPT_RELEASES, ReleaseRecord};
    use crate::testing::numbered;

    #[tokio::test]
    async fn record_is_written_only_over_the_expected_version() {
        use hms_store::{StoreLimits, open_file};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("host.redb");
        let store = open_file(&path, "host", StoreLimits::default()).unwrap();
        let records = Records::new(store);
        let first = WindowRecord::default().with_release(numbered(0), None);
        let vacant = WindowRecord::default();
        let swap = async |record: &WindowRecord, place| {
            let name = "w".parse().unwrap();
            let swapped = records.clone().swap(name, record.clone(), place);
            match swapped.await.unwrap() {
                Swapped::Done => None,
                Swapped::Met(met) => Some(met.map(|met| (met.record.unwrap(), met.place))),
            }
        };
        assert_eq!(swap(&first, Some(NOWHERE)).await, Some(None));
        assert_eq!(swap(&first, None).await, None);
        for (record, place) in [(&first, None), (&first, Some(NOWHERE)), (&vacant, None)] {
            let met = swap(record, place).await.unwrap().unwrap();
            assert_eq!(met, (first.clone(), 1));
        }
        assert_eq!(swap(&vacant, Some(1)).await, None);
        assert!(records.all_blocking().unwrap().is_empty());
        assert_eq!(swap(&first, Some(1)).await, Some(None));
    }

    #[test]
    fn change_versions_are_unique_and_ordered() {
        let disk = crate::testing::Disk::new();
        let hosts = [0, 1].map(|_| Records::new(disk.clone()));
        let mut seen = std::collections::HashSet::new();
        let mut version = RecordVersion::default();
        for change in 0..100 {
            // A window that is removed, and made anew by the other host.
            let before = match change % 10 {
                0 => RecordVersion::default(),
                _ => version,
            };
            let [host, other] = [&hosts[change / 10 % 2], &hosts[(change / 10 + 1) % 2]];
            version = host.version_after(before);
            assert!(seen.insert((version.number, version.writer)));
            assert!(host.gave(version, Some(before)) && !other.gave(version, Some(before)));
            assert!(!host.gave(version, Some(version)));
        }
    }

    #[tokio::test]
    async fn record_change_needs_less_than_a_quarter_of_the_reserve() {
        use hms_disk::reserve::RESERVE_BYTES;
        use hms_store::{StoreLimits, open_file};
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("host.redb");
        let store = open_file(&path, "host", StoreLimits::default()).unwrap();
        let records = Records::new(store);
        let mut record = WindowRecord::default();
        for _ in 0..KEPT_RELEASES {
            let release = ReleaseRecord {
                digest: "d".repeat(64),
                imports: vec!["wasi:some/interface@0.2.0".into(); 20],
                ..numbered(0)
            };
            record = record.with_release(release, None);
        }
        // 512 bytes each, whatever the file system says of its own.
        let taken = || std::fs::metadata(&path).unwrap().blocks() * 512;
        let mut most = 0;
        for change in 0..600_u64 {
            let name = format!("window-{}", change % 300).parse().unwrap();
            record.next += 1;
            let before = taken();
            let place = match change < 300 {
                true => None,
                false => Some(change - 299),
            };
            let swapped = records.clone().swap(name, record.clone(), place);
            assert!(matches!(swapped.await.unwrap(), Swapped::Done));
            most = most.max(taken().saturating_sub(before));
        }
        assert!(most <= RESERVE_BYTES as u64 / 4, "{most} bytes");
    }
}
