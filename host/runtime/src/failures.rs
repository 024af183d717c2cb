//! The failures of one window's instances, counted by reason.

use super::log::WindowLog;
use hms_core::error::RequestError;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The failures of one window since the host started.
pub struct Failures {
    log: Arc<WindowLog>,
    counts: Mutex<BTreeMap<&'static str, u64>>,
}

impl Failures {
    /// Each is also written to `log`.
    pub fn new(log: Arc<WindowLog>) -> Self {
        Failures {
            log,
            counts: Mutex::default(),
        }
    }

    /// A request failed for this reason.
    pub fn note(&self, error: &RequestError) {
        self.count(error.code(), &error.in_full());
    }

    /// An instance was refused something for this reason.
    pub fn count(&self, code: &'static str, sentence: &str) {
        self.log.line(&format!("{code}: {sentence}"));
        self.count_logged(code);
    }

    /// The same where the window's log has the sentence already.
    pub(super) fn count_logged(&self, code: &'static str) {
        let mut counts = self.counts.lock();
        *counts.entry(code).or_default() += 1;
    }

    /// The reasons, and the count of each.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        let counts = self.counts.lock();
        counts.clone()
    }
}
