//! `/windows`: windows, their releases and their logs.

use crate::words::words;
use crate::{LimitValues, Word};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// The answer to `GET /windows`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowList {
    /// All windows, by name.
    pub windows: Vec<WindowStatus>,
}

/// The answer to `GET /windows/NAME`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowDetail {
    /// The window.
    pub window: WindowStatus,
    /// The releases that can be rolled back to, oldest first.
    pub releases: Vec<Release>,
}

/// The answer to `POST /windows/NAME/VERB`, in a [`Changed`](crate::Changed).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangedWindow {
    /// The window after the change.
    pub window: WindowStatus,
}

/// A window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowStatus {
    /// Its name.
    pub name: String,
    /// Whether it serves.
    pub state: WindowState,
    /// The live release.
    pub live: Option<Release>,
    /// Requests in flight on the live release.
    pub leases: usize,
    /// Requests that wait for an instance.
    pub queued: usize,
    /// The running canary.
    pub canary: Option<CanaryStatus>,
    /// Failed requests since the host started, by error code.
    #[serde(default)]
    pub failures: BTreeMap<Word, u64>,
    /// Why `reuse` is not in effect, and when it is tried again. None if it is.
    pub reuse_off: Option<String>,
    /// After how many consecutive failures the breaker closed the window. None if it has not.
    pub tripped: Option<u64>,
    /// The same once the time of the breaker is over and the next request decides.
    pub half_open: Option<u64>,
    /// Why the store cannot be opened: which file, and what to do.
    pub store_fault: Option<String>,
    /// The limits in effect.
    #[serde(default)]
    pub limits: LimitValues,
    /// Old releases that still have requests.
    #[serde(default)]
    pub draining: Vec<DrainStatus>,
    /// The last change, if it is not on disk yet.
    pub unsaved: Option<Unsaved>,
    /// Why the record in `host.redb` cannot be read. None if it can.
    pub unreadable: Option<String>,
    /// What of its subscriptions waits for a person. None: nothing, or it was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliveries: Option<DeliveriesStatus>,
}

/// Subscriptions of a window that wait for a person.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveriesStatus {
    /// Names of those that are paused.
    pub paused: Vec<String>,
    /// Parked events of all of them.
    pub parked: u64,
}

words! {
    /// Whether a window serves.
    pub enum WindowState {
        /// It serves.
        Open = "open",
        /// Its breaker has closed it for a time, because its instances keep failing.
        Tripped = "tripped",
        /// That time is over. The next request, or one in flight, decides.
        HalfOpen = "half-open",
        /// Its store cannot be opened.
        StoreUnavailable = "store-unavailable",
        /// An operator stopped it.
        Stopped = "stopped",
        /// It is removed, and the removal is not on disk yet.
        Removing = "removing",
        /// Its record cannot be read.
        Unreadable = "unreadable",
        /// Its live release could not be loaded.
        Unavailable = "unavailable",
    }
}

/// A release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
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
    #[serde(default)]
    pub imports: Vec<String>,
    /// Interfaces it exports.
    #[serde(default)]
    pub exports: Vec<String>,
    /// Whether the window returns to the previous release if this one keeps failing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fallback: bool,
    /// Whether functions that it imports and no window is given end the request that calls them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trap_unknown: bool,
    /// SHA-256 of the grants file that was in force when it was deployed, hexadecimal. None: there
    /// was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<String>,
    /// How it ended: a canary that was not promoted, or a live release that fell back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
}

/// A canary, and what was seen of it since it began or the host started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CanaryStatus {
    /// The candidate's number.
    pub number: u64,
    /// Its share of the traffic, such as `10%`.
    pub share: String,
    /// Requests in flight on it.
    #[serde(default)]
    pub leases: usize,
    /// The answers of the candidate.
    pub candidate: SideStatus,
    /// The answers of the live release meanwhile.
    pub live: SideStatus,
    /// Requests that were not compared, because too many were in flight.
    #[serde(default)]
    pub skipped: u64,
}

/// The answers of one release during a canary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SideStatus {
    /// Answers.
    pub requests: u64,
    /// Those that were 5xx or broke off.
    pub failures: u64,
    /// The 99th percentile of the time to the head, in milliseconds.
    pub p99_ms: Option<f64>,
}

/// An old release that still has requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainStatus {
    /// Its number.
    pub number: u64,
    /// Requests in flight on it.
    pub leases: usize,
}

/// A change that is in effect, and not on disk yet. A restart before it is undoes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsaved {
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// Why the disk did not accept it, the last time. Empty during the first attempt.
    pub why: String,
    /// Whether it is in effect. Otherwise the change failed, and the state before it is written
    /// once more, because the disk may have either.
    pub enforced: bool,
}

/// The answer to `DELETE /windows/NAME`, in a [`Changed`](crate::Changed).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedWindow {
    /// The window's name.
    pub removed: String,
    /// What became of its store.
    pub store: StoreFate,
    /// The component in the watched folder that would create the window again.
    pub left: Option<LeftFile>,
}

words! {
    /// What became of the store of a removed window.
    pub enum StoreFate {
        /// The next window of that name gets it.
        Kept = "kept",
        /// It is deleted.
        Deleted = "deleted",
        /// It is deleted as soon as the disk allows.
        Deleting = "deleting",
    }
}

/// A component that is still in the watched folder although its window was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftFile {
    /// Its name. Bytes that are not UTF-8 are replaced.
    pub file: String,
    /// The folder, likewise.
    pub folder: String,
    /// When it is deployed again: `when it changes`, or `at the next start` if the host could not
    /// record that it must not be.
    pub deployed_again: Word,
}

/// The answer to `GET /windows/NAME/log`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLines {
    /// Oldest first.
    pub lines: Vec<LogLine>,
}

/// One line of a window's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was written.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// How serious it is, where the window said so: `trace` to `critical`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Word>,
    /// What it says, control characters escaped.
    pub text: String,
}
