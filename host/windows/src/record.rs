//! The durable state of a window, as one value, and what changes do to it.

use super::TrafficShare;
use hms_runtime::{Experimental, LimitsSet, inspect};
use serde::{Deserialize, Serialize};
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
    pub(super) number: u64,
    /// Random for each run of a host: two hosts may use the same number.
    pub(super) writer: u64,
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
pub(super) fn drawn() -> u64 {
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
    /// to which a rollback returns.
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
        let needed = [Some(self.live), Some(number), self.before_live()];
        while self.releases.len() > KEPT_RELEASES {
            let oldest = self
                .releases
                .iter()
                .position(|release| !needed.contains(&Some(release.number)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

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

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Deploy,
        Canary,
        Promote,
        Abort,
        Rollback,
        To(usize),
        FallBack,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => Just(Step::Deploy),
            6 => Just(Step::Canary),
            1 => Just(Step::Promote),
            5 => Just(Step::Abort),
            1 => Just(Step::Rollback),
            2 => any::<usize>().prop_map(Step::To),
            1 => Just(Step::FallBack),
        ]
    }

    proptest! {
        #[test]
        fn rollback_returns_to_what_was_live_at_the_deploy(
            steps in prop::collection::vec(step(), 1..100),
        ) {
            let mut record = WindowRecord::default().with_release(release(), None);
            let mut live_at = BTreeMap::new();
            let mut due = None;
            for step in steps {
                let (live, running) = (record.live, record.canary.map(|canary| canary.number));
                if running.is_none() {
                    live_at.insert(record.next, live);
                }
                match (step, running) {
                    (Step::Deploy, None) => record = record.with_release(release(), None),
                    (Step::Canary, None) => {
                        record = record.with_release(release(), "10%".parse().ok());
                    }
                    (Step::Promote, Some(number)) => {
                        record.canary = None;
                        record.live = number;
                    }
                    (Step::Abort, Some(_)) => record.end_canary("aborted"),
                    (Step::Rollback, None) => {
                        let to = record.before_live().unwrap_or(live);
                        record.return_to(to);
                    }
                    (Step::To(index), None) => {
                        let number = record.releases[index % record.releases.len()].number;
                        record.return_to(number);
                    }
                    (Step::FallBack, None) => {
                        if let Some(before) = record.before_live() {
                            record.fall_back_to(before, "it failed");
                        }
                    }
                    _ => {}
                }
                let fit = |number: &u64| {
                    record.release(*number).is_some_and(|it| it.outcome.is_none())
                };
                // Numbers are given in order, so that of a release not deployed is overwritten.
                if record.live != live {
                    due = live_at.get(&record.live).copied().filter(fit);
                }
                let before = record.before_live();
                prop_assert!(due.is_none() || before == due, "{due:?}: {record:#?}");
                prop_assert!(before.is_none_or(|it| it < record.live && fit(&it)), "{record:#?}");
                prop_assert!(record.releases.len() <= KEPT_RELEASES);
            }
        }
    }
}
