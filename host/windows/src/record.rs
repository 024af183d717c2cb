//! The durable state of a window: one JSON value in `host.redb`, replaced as a whole by
//! compare-and-swap. So a change is complete or absent, and never overwrites another.

use super::blocking::blocking;
use super::{ChangeError, TrafficShare, WindowName};
use hms_disk::crash;
use hms_runtime::{Experimental, LimitsSet, inspect};
use hms_store::{Applied, Entry, Op, Scratch, Snapshot, Store, StoreError};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use time::OffsetDateTime;

/// Releases kept in a window's history.
pub(crate) const KEPT_RELEASES: usize = 10;

/// The durable state of one window, except its store.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WindowRecord {
    /// The version that its last change gave it.
    #[serde(default)]
    pub version: RecordVersion,
    /// The number the next release will get; never reused.
    pub next: u64,
    /// The live release.
    pub live: u64,
    /// Closed by `stop`.
    pub stopped: bool,
    /// Removed together with its store, which takes more than one write. If the host ends between
    /// them, it completes the removal at its next start.
    #[serde(default)]
    pub removing: bool,
    /// The candidate beside the live release, if a canary is running.
    #[serde(default)]
    pub canary: Option<CanaryRecord>,
    /// The limits that an operator has set.
    #[serde(default)]
    pub limits: LimitsSet,
    /// The releases that can be rolled back to, oldest first.
    pub releases: Vec<ReleaseRecord>,
}

/// Distinguishes a record from every other that its window, or a removed window of the same name,
/// ever had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordVersion {
    /// Greater than that of the previous record.
    number: u64,
    /// Random for each run of a host: two hosts may use the same number.
    writer: u64,
}

impl RecordVersion {
    /// The version of an unreadable record, whoever wrote it.
    pub(super) const UNREADABLE: Self = RecordVersion {
        number: 0,
        writer: u64::MAX,
    };
}

/// A canary that is running.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CanaryRecord {
    /// The candidate.
    pub number: u64,
    /// Its share of the requests.
    pub share: TrafficShare,
    /// Random and secret, for this canary only: decides which callers get the candidate.
    #[serde(default)]
    pub salt: u64,
}

impl CanaryRecord {
    /// With a salt of its own.
    fn new(number: u64, share: TrafficShare) -> Self {
        CanaryRecord {
            number,
            share,
            salt: drawn(),
        }
    }
}

/// A number that cannot be guessed.
fn drawn() -> u64 {
    let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
    // The two have their fixed bits in different places.
    high ^ low
}

/// A completed deploy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReleaseRecord {
    /// 1 for the first release of a window, then increasing.
    pub number: u64,
    /// SHA-256 of the component, hexadecimal.
    pub digest: String,
    /// Bytes of the component.
    pub size: u64,
    /// When it first went live.
    #[serde(with = "time::serde::rfc3339")]
    pub deployed_at: OffsetDateTime,
    /// Who deployed it, according to themselves.
    pub by: String,
    /// The interfaces it imports.
    pub imports: Vec<String>,
    /// The interfaces it exports.
    pub exports: Vec<String>,
    /// Whether the window falls back to the previous release if this one keeps failing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fallback: bool,
    /// Whether functions that it imports and no window is given end the request that calls them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trap_unknown: bool,
    /// SHA-256 of the grants file that was in force when it was deployed. None: there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<String>,
    /// The release that was live when it was deployed, to which a rollback returns. None: it was
    /// the first, or its host did not record this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// How it ended, if it did: as a canary that was not promoted, or by falling back. None as
    /// well once an operator has made it live again.
    #[serde(default, alias = "fate", skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
}

impl ReleaseRecord {
    /// Interfaces it imports whose functions end the request that calls them,
    /// on a host that provides what is `experimental` beside the rest.
    pub fn trapped(&self, experimental: Experimental) -> Vec<String> {
        match self.trap_unknown {
            true => inspect::unknown(&self.imports, experimental),
            false => Vec::new(),
        }
    }
}

impl WindowRecord {
    /// Whether nothing needs to be stored: no release, no limits.
    pub(super) fn is_vacant(&self) -> bool {
        !self.removing && self.releases.is_empty() && self.limits == LimitsSet::default()
    }

    /// The release of that number, if it is still kept.
    pub fn release(&self, number: u64) -> Option<&ReleaseRecord> {
        self.releases
            .iter()
            .find(|release| release.number == number)
    }

    /// Adds `release` under the next number: as the live one, or as the candidate if a share is
    /// given. Drops the oldest if there are too many, but never one that gets requests, nor the one
    /// that got them until now.
    pub(super) fn with_release(
        mut self,
        mut release: ReleaseRecord,
        share: Option<TrafficShare>,
    ) -> Self {
        self.next = self.next.max(1);
        self.removing = false;
        let number = self.next;
        let before = self.live;
        release.number = number;
        release.before = (before > 0).then_some(before);
        self.next += 1;
        self.releases.push(release);
        match share {
            Some(share) => self.canary = Some(CanaryRecord::new(number, share)),
            None => self.live = number,
        }
        while self.releases.len() > KEPT_RELEASES {
            let needed = [before, self.live, number];
            let oldest = self
                .releases
                .iter()
                .position(|release| !needed.contains(&release.number));
            match oldest {
                Some(index) => self.releases.remove(index),
                None => break,
            };
        }
        self
    }

    /// Whether there is a release, and the window is not being removed.
    pub(super) fn is_deployed(&self) -> bool {
        !self.removing && !self.releases.is_empty()
    }

    /// Ends the canary, and records in the history how it ended.
    pub(super) fn end_canary(&mut self, outcome: &str) {
        let ended = self.canary.take().map(|canary| canary.number);
        self.set_outcome(ended, outcome.to_owned());
    }

    /// Replaces the live release by the kept one of that number.
    pub(super) fn fall_back_to(&mut self, number: u64, why: &str) {
        self.set_outcome(Some(self.live), format!("fell back to {number}: {why}"));
        self.live = number;
    }

    /// Makes the kept release of that number live, as an operator wants it: it has not ended.
    pub(super) fn return_to(&mut self, number: u64) {
        self.live = number;
        if let Some(release) = self.releases.iter_mut().find(|it| it.number == number) {
            release.outcome = None;
        }
    }

    fn set_outcome(&mut self, number: Option<u64>, outcome: String) {
        let mut releases = self.releases.iter_mut();
        if let Some(release) = releases.find(|release| Some(release.number) == number) {
            release.outcome = Some(outcome);
        }
    }

    /// The releases that an automatic fallback could make live: of those before the live one, if
    /// that falls back.
    pub(super) fn fallbacks(&self) -> impl Iterator<Item = u64> {
        let falls_back = self.release(self.live).is_some_and(|live| live.fallback);
        let earlier = self.releases.iter().filter(move |release| {
            falls_back && release.outcome.is_none() && release.number < self.live
        });
        earlier.map(|release| release.number)
    }

    /// The release to which a rollback returns: that before the live one, without those that ended
    /// badly.
    pub(super) fn before_live(&self) -> Option<u64> {
        let mut number = self.live;
        loop {
            number = self.before(number)?;
            if self.release(number).is_some_and(|it| it.outcome.is_none()) {
                return Some(number);
            }
        }
    }

    /// The release that was live before that one; always a lower number. If that is not recorded,
    /// the next lower one that is kept.
    fn before(&self, number: u64) -> Option<u64> {
        let recorded = self.release(number).and_then(|release| release.before);
        let kept = self.releases.iter().map(|release| release.number);
        recorded
            .filter(|before| *before < number)
            .or_else(|| kept.filter(|kept| *kept < number).max())
    }
}

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

    fn release() -> ReleaseRecord {
        ReleaseRecord {
            number: 0,
            digest: "d".into(),
            size: 1,
            deployed_at: OffsetDateTime::UNIX_EPOCH,
            by: "test".into(),
            imports: vec![],
            exports: vec![],
            fallback: false,
            trap_unknown: false,
            grants: None,
            before: None,
            outcome: None,
        }
    }

    #[test]
    fn release_numbers_count_up_and_are_never_reused() {
        let mut record = WindowRecord::default();
        for expected in 1..=25 {
            record = record.with_release(release(), None);
            assert_eq!(record.live, expected);
        }
        assert_eq!(record.releases.len(), KEPT_RELEASES);
        assert_eq!(record.releases[0].number, 16);
        assert_eq!(record.before_live(), Some(24));
    }

    #[test]
    fn release_that_was_live_at_the_deploy_is_the_one_before() {
        let deployed = |record: WindowRecord| record.with_release(release(), None);
        let back = |record: &WindowRecord, to| WindowRecord {
            live: to,
            ..record.clone()
        };
        let mut record = (0..4).fold(WindowRecord::default(), |record, _| deployed(record));
        record = deployed(back(&record, 1));
        assert_eq!((record.live, record.before_live()), (5, Some(1)));
        assert_eq!(back(&record, 1).before_live(), None);
        assert_eq!(back(&record, 4).before_live(), Some(3));
        // One that fell back is passed over, for the one before it.
        record = deployed(deployed(record));
        record.fall_back_to(6, "test");
        record.live = 6;
        record.fall_back_to(5, "test");
        assert_eq!(back(&record, 7).before_live(), Some(5));
        // Unless an operator makes it live again.
        record.return_to(6);
        assert_eq!(deployed(record.clone()).before_live(), Some(6));
        // It is kept, however old.
        record = back(&record, 1);
        for expected in 8..=20 {
            let next = deployed(record.clone());
            assert_eq!((next.live, next.before_live()), (expected, Some(1)));
            record = back(&next, 1);
        }
        // A record from before.
        for release in &mut record.releases {
            release.before = None;
        }
        assert_eq!(back(&record, 20).before_live(), Some(19));
    }

    #[test]
    fn live_release_is_kept_however_many_canaries_fail() {
        let mut record = WindowRecord::default().with_release(release(), None);
        for expected in 2..=30 {
            record = record.with_release(release(), "10%".parse().ok());
            assert_eq!((record.live, record.canary.unwrap().number), (1, expected));
            assert!(record.release(1).is_some() && record.release(expected).is_some());
        }
        assert_eq!(record.releases.len(), KEPT_RELEASES);
    }

    #[test]
    fn outcome_of_a_release_is_read_under_its_name_of_before() {
        let mut json = serde_json::to_value(release()).unwrap();
        json["fate"] = "aborted".into();
        let read: ReleaseRecord = serde_json::from_value(json).unwrap();
        assert_eq!(read.outcome.as_deref(), Some("aborted"));
    }

    #[test]
    fn first_release_has_no_predecessor() {
        assert_eq!(
            WindowRecord::default()
                .with_release(release(), None)
                .before_live(),
            None
        );
    }

    #[tokio::test]
    async fn record_is_written_only_over_the_expected_version() {
        use hms_store::{StoreLimits, open_file};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("host.redb");
        let store = open_file(&path, "host", StoreLimits::default()).unwrap();
        let records = Records::new(store);
        let first = WindowRecord::default().with_release(release(), None);
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
                ..release()
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
