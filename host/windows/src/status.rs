//! What operators see of a window.

use super::traffic::serving::Canary;
use super::{ReleaseRecord, TrafficShare, Unsaved, WindowName};
use hms_runtime::WindowLimits;
use serde::Serialize;
use std::collections::BTreeMap;

/// A window as `hms windows` and `GET /windows` show it.
#[derive(Debug, Clone, Serialize)]
pub struct WindowStatus {
    /// Its name.
    pub name: WindowName,
    /// `open`, `tripped` for a time where its instances keep failing, `half-open` once that time is
    /// over and the next request, or one that is on its way, decides whether it is open again,
    /// `store-unavailable` where its store cannot be opened, `stopped`, `removing` where it is
    /// removed and the disk has not taken that yet, `unreadable` where its record cannot be read,
    /// or `unavailable` where its live release could not be loaded.
    pub state: &'static str,
    /// The live release.
    pub live: Option<ReleaseRecord>,
    /// Requests at work on the live release.
    pub leases: usize,
    /// Requests that wait for an instance.
    pub queued: usize,
    /// The candidate beside it, where a canary is running.
    pub canary: Option<CanaryStatus>,
    /// Failures of requests since the host began, by reason.
    pub failures: BTreeMap<&'static str, u64>,
    /// Why its `reuse` is not in effect, where it is not, and when it is tried again: an instance
    /// failed at its second request.
    pub reuse_off: Option<String>,
    /// After how many failures in a row the window is closed for a time, where it is.
    pub tripped: Option<u64>,
    /// The same where that time is over, and the next request decides.
    pub half_open: Option<u64>,
    /// Why its store cannot be opened, where it cannot: which file, and what to do.
    pub store_fault: Option<String>,
    /// Its limits as they hold.
    pub limits: WindowLimits,
    /// Old releases that still have requests.
    pub draining: Vec<DrainStatus>,
    /// The last change of it, where the disk has not taken that yet.
    pub unsaved: Option<Unsaved>,
    /// Why its record cannot be read, where it cannot.
    pub unreadable: Option<String>,
}

/// A canary, and what was seen of it since it began or the host was started.
#[derive(Debug, Clone, Serialize)]
pub struct CanaryStatus {
    /// The candidate's number.
    pub number: u64,
    /// Its share of the requests.
    pub share: TrafficShare,
    /// Requests at work on it.
    pub leases: usize,
    /// What the candidate answered.
    pub candidate: SideStatus,
    /// What the live release answered meanwhile.
    pub live: SideStatus,
    /// Requests that were not compared, because too many were under way at once.
    pub left_out: u64,
}

/// The answers of one release during a canary.
#[derive(Debug, Clone, Serialize)]
pub struct SideStatus {
    /// Answers.
    pub requests: u64,
    /// Those of them that were 5xx or broke off.
    pub failures: u64,
    /// Milliseconds within which 99 of 100 heads came.
    pub p99_ms: Option<f64>,
}

/// An old release that still has requests.
#[derive(Debug, Clone, Serialize)]
pub struct DrainStatus {
    /// Its number.
    pub number: u64,
    /// Requests that still run on it.
    pub leases: usize,
}

impl CanaryStatus {
    pub(super) fn of(canary: &Canary, leases: usize) -> Self {
        let seen = canary.analysis.seen();
        let side = |answers: super::canary::analysis::Answers| SideStatus {
            requests: answers.requests,
            failures: answers.failures,
            p99_ms: answers.p99().map(|p99| p99.as_secs_f64() * 1000.0),
        };
        CanaryStatus {
            number: canary.release.record.number,
            share: TrafficShare::of_steps(seen.share),
            leases,
            candidate: side(seen.candidate),
            live: side(seen.live),
            left_out: seen.left_out,
        }
    }
}
