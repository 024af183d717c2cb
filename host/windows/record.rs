//! What the disk knows of a window: one JSON value a window in `host.redb`, replaced whole, so that
//! a change is wholly there or not at all.

use super::operate::blocking;
use super::{ChangeError, TrafficShare, WindowName, crash};
use crate::runtime::LimitsSet;
use crate::store::{Op, Scratch, Snapshot, Store, StoreError};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use time::OffsetDateTime;

/// Releases kept in a window's history.
pub const KEPT_RELEASES: usize = 10;

/// Everything durable about one window but its store.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WindowRecord {
    /// The number the next release will get; never reused.
    pub next: u64,
    /// The release that requests go to.
    pub live: u64,
    /// Closed by `stop`.
    pub stopped: bool,
    /// Removed together with its store, which takes more than one write: a host that ends between
    /// them finishes it at its next start.
    #[serde(default)]
    pub removing: bool,
    /// The candidate beside the live release, where a canary is running.
    #[serde(default)]
    pub canary: Option<CanaryRecord>,
    /// What an operator has set of its limits.
    #[serde(default)]
    pub limits: LimitsSet,
    /// Releases that can be gone back to, oldest first.
    pub releases: Vec<ReleaseRecord>,
}

/// A canary that is running.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CanaryRecord {
    /// The candidate.
    pub number: u64,
    /// Its share of the requests.
    pub share: TrafficShare,
    /// Drawn for this canary, and told to nobody: decides which callers get it.
    #[serde(default)]
    pub salt: u64,
}

impl CanaryRecord {
    /// With a salt of its own.
    fn new(number: u64, share: TrafficShare) -> Self {
        let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
        CanaryRecord {
            number,
            share,
            // The two have their fixed bits in different places.
            salt: high ^ low,
        }
    }
}

/// One deploy that went through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReleaseRecord {
    /// 1 for the first of a window, then counting up.
    pub number: u64,
    /// SHA-256 of the component, hexadecimal.
    pub digest: String,
    /// Bytes of the component.
    pub size: u64,
    /// When it went live first.
    #[serde(with = "time::serde::rfc3339")]
    pub deployed_at: OffsetDateTime,
    /// Who deployed it, as they said.
    pub by: String,
    /// Interfaces it imports.
    pub imports: Vec<String>,
    /// Interfaces it exports.
    pub exports: Vec<String>,
    /// Whether the window goes back to the release before by itself when this one keeps failing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fallback: bool,
    /// How it ended: its canary, where that was not by promotion, or its time as the live release,
    /// where it fell back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fate: Option<String>,
}

impl WindowRecord {
    /// Whether there is nothing that the disk should know: no release, no limits.
    pub(super) fn is_vacant(&self) -> bool {
        !self.removing && self.releases.is_empty() && self.limits == LimitsSet::default()
    }

    /// The release of that number, if it is still kept.
    pub fn release(&self, number: u64) -> Option<&ReleaseRecord> {
        self.releases
            .iter()
            .find(|release| release.number == number)
    }

    /// With `release` added under the next number: live, or as the candidate where a share is
    /// given. The oldest are dropped when there are too many, but never one that gets requests.
    pub(super) fn with_release(
        mut self,
        mut release: ReleaseRecord,
        share: Option<TrafficShare>,
    ) -> Self {
        self.next = self.next.max(1);
        self.removing = false;
        let number = self.next;
        release.number = number;
        self.next += 1;
        self.releases.push(release);
        match share {
            Some(share) => self.canary = Some(CanaryRecord::new(number, share)),
            None => self.live = number,
        }
        while self.releases.len() > KEPT_RELEASES {
            let serving = [self.live, number];
            let oldest = self
                .releases
                .iter()
                .position(|release| !serving.contains(&release.number));
            match oldest {
                Some(index) => self.releases.remove(index),
                None => break,
            };
        }
        self
    }

    /// Ends the canary, with how it ended in the history.
    pub(super) fn end_canary(&mut self, fate: &str) {
        let ended = self.canary.take().map(|canary| canary.number);
        self.set_fate(ended, fate.to_owned());
    }

    /// Gives up the live release for the kept one of that number.
    pub(super) fn fall_back_to(&mut self, number: u64, why: &str) {
        self.set_fate(Some(self.live), format!("fell back to {number}: {why}"));
        self.live = number;
    }

    fn set_fate(&mut self, number: Option<u64>, fate: String) {
        let mut releases = self.releases.iter_mut();
        if let Some(release) = releases.find(|release| Some(release.number) == number) {
            release.fate = Some(fate);
        }
    }

    /// The newest release older than the live one that did not end as a failed canary.
    pub(super) fn before_live(&self) -> Option<u64> {
        self.releases
            .iter()
            .filter(|release| release.fate.is_none())
            .map(|release| release.number)
            .filter(|number| *number < self.live)
            .max()
    }
}

const BUCKET: &str = "windows";

/// A window, and its record where that can be read.
pub(super) type Recorded = (WindowName, Result<WindowRecord, ChangeError>);

/// The records of all windows.
#[derive(Clone)]
pub(super) struct Records {
    store: Arc<dyn Store>,
}

impl Records {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Records { store }
    }

    /// Every window that has a record. One that cannot be read says nothing of the others.
    pub(super) async fn all(&self) -> Result<Vec<Recorded>, ChangeError> {
        let records = self.clone();
        blocking(move || records.all_blocking()).await
    }

    /// The same, on a thread that may wait for the disk.
    pub(super) fn all_blocking(&self) -> Result<Vec<Recorded>, ChangeError> {
        Ok(parsed(entries(&*self.store)?))
    }

    /// A copy of the file that they are in, on a thread that may wait for the disk.
    pub(super) fn snapshot(&self, scratch: &mut Scratch<'_>) -> Result<Snapshot, ChangeError> {
        Ok(self.store.snapshot(scratch)?)
    }

    /// Has the disk know of `record` what is to be known: nothing, where it is vacant. Durable once
    /// the future resolves.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) async fn save(
        &self,
        name: &WindowName,
        record: &WindowRecord,
    ) -> Result<(), ChangeError> {
        if record.is_vacant() {
            return self.delete(name).await;
        }
        let value =
            serde_json::to_vec(record).map_err(|error| ChangeError::Internal(error.to_string()))?;
        let set = Op::Set {
            bucket: BUCKET.into(),
            key: name.as_str().into(),
            value,
        };
        self.write(set).await
    }

    async fn delete(&self, name: &WindowName) -> Result<(), ChangeError> {
        let delete = Op::Delete {
            bucket: BUCKET.into(),
            key: name.as_str().into(),
        };
        self.write(delete).await
    }

    async fn write(&self, op: Op) -> Result<(), ChangeError> {
        crash::point("asked");
        self.store.write(vec![op]).await?;
        crash::point("recorded");
        Ok(())
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
            Err(error) => tracing::error!(key, "a record in host.redb is passed over: {error}"),
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
            fate: None,
        }
    }

    #[test]
    fn numbers_count_up_and_are_never_reused() {
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
    fn the_live_release_stays_however_many_canaries_fail() {
        let mut record = WindowRecord::default().with_release(release(), None);
        for expected in 2..=30 {
            record = record.with_release(release(), "10%".parse().ok());
            assert_eq!((record.live, record.canary.unwrap().number), (1, expected));
            assert!(record.release(1).is_some() && record.release(expected).is_some());
        }
        assert_eq!(record.releases.len(), KEPT_RELEASES);
    }

    #[test]
    fn the_first_release_has_none_before_it() {
        assert_eq!(
            WindowRecord::default()
                .with_release(release(), None)
                .before_live(),
            None
        );
    }

    #[tokio::test]
    async fn a_change_of_a_record_takes_less_than_a_quarter_of_the_reserve() {
        use crate::reserve::RESERVE_BYTES;
        use crate::store::{StoreLimits, open_file};
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
            records.save(&name, &record).await.unwrap();
            most = most.max(taken().saturating_sub(before));
        }
        assert!(most <= RESERVE_BYTES as u64 / 4, "{most} bytes");
    }
}
