//! What operators see of a window, in the types of the admin API. What the disk holds has its own
//! types, so that a change of the API does not change the format of a record.

use super::traffic::serving::Canary;
use super::{ReleaseRecord, TrafficShare};
use hms_api::{CanaryStatus, LimitValues, Release, SideStatus, Word};

impl From<&ReleaseRecord> for Release {
    fn from(record: &ReleaseRecord) -> Self {
        Release {
            number: record.number,
            digest: record.digest.clone(),
            size: record.size,
            deployed_at: record.deployed_at,
            by: record.by.clone(),
            imports: record.imports.clone(),
            exports: record.exports.clone(),
            fallback: record.fallback,
            trap_unknown: record.trap_unknown,
            grants: record.grants.clone(),
            outcome: record.outcome.clone(),
        }
    }
}

/// Limits by the names that operators use.
pub(crate) fn limit_values(limits: impl Iterator<Item = (&'static str, u64)>) -> LimitValues {
    limits
        .map(|(name, value)| (Word::from(name), value))
        .collect()
}

/// A running canary, with so many requests in flight on it.
pub(super) fn canary_status(canary: &Canary, leases: usize) -> CanaryStatus {
    let seen = canary.analysis.seen();
    let side = |answers: super::canary::analysis::Answers| SideStatus {
        requests: answers.requests,
        failures: answers.failures,
        p99_ms: answers.p99().map(|p99| p99.as_secs_f64() * 1000.0),
    };
    CanaryStatus {
        number: canary.release.record.number,
        share: TrafficShare::of_steps(seen.share).to_string(),
        leases,
        candidate: side(seen.candidate),
        live: side(seen.live),
        skipped: seen.skipped,
    }
}
