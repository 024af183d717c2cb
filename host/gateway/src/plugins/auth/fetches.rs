//! The results of fetching one issuer's keys: counted, and logged when they change, so that a
//! setting that cannot work is noticed at startup.

use super::source::JwksSource;
use parking_lot::{Mutex, MutexGuard};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time between log lines that repeat the same result for an issuer. A file is read every second.
const SAY_AGAIN: Duration = Duration::from_secs(300);

/// Characters of a reason that are logged: it may contain a provider's text.
const SHOWN: usize = 500;

/// The state of fetching one issuer's keys.
pub(super) struct Fetches {
    issuer: String,
    /// The issuer's name in the log.
    source: String,
    /// The age at which a key set is no longer accepted.
    dead: Duration,
    start: Instant,
    failed: AtomicU64,
    failing: Mutex<Option<Failing>>,
}

/// Whether the last fetch failed.
struct Failing {
    at: Instant,
    reason: String,
    said: Instant,
}

impl Fetches {
    pub(super) fn new(issuer: &str, source: &JwksSource, dead: Duration) -> Self {
        Fetches {
            issuer: issuer.to_owned(),
            source: source.to_string(),
            dead,
            start: Instant::now(),
            failed: AtomicU64::new(0),
            failing: Mutex::new(None),
        }
    }

    /// Failed fetches.
    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    pub(super) fn since_start(&self) -> Duration {
        self.start.elapsed()
    }

    /// Whether the last fetch failed, within the last `time`.
    pub(super) fn failed_within(&self, time: Duration) -> bool {
        let failing = self.failing();
        failing.as_ref().is_some_and(|it| it.at.elapsed() < time)
    }

    /// Why the last fetch failed, if it did.
    pub(super) fn reason(&self) -> Option<String> {
        self.failing().as_ref().map(|it| it.reason.clone())
    }

    /// A fetch succeeded with `keys` keys; `is_new` if the set differs from the one before.
    pub(super) fn succeeded(&self, keys: usize, is_new: bool) {
        let failing = self.failing().take();
        if failing.is_none() && !is_new {
            return;
        }
        let (issuer, source) = (&self.issuer, &self.source);
        match keys {
            0 => tracing::warn!(
                issuer,
                source,
                "an issuer's key set has no usable key: all its tokens are refused; \
                 usable are signature keys: RSA of 2048 to 8192 bits, P-256, P-384, P-521, Ed25519"
            ),
            keys => tracing::info!(issuer, source, keys, "fetched the keys of an issuer"),
        }
    }

    /// A fetch failed for `reason`. `advice` says what to check, and `age` is that of the current
    /// set.
    pub(super) fn has_failed(&self, reason: &str, advice: &str, age: Option<Duration>) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let reason: String = reason.chars().take(SHOWN).collect();
        let at = Instant::now();
        let mut failing = self.failing();
        if let Some(failing) = &mut *failing {
            failing.at = at;
            if failing.reason == reason && failing.said.elapsed() < SAY_AGAIN {
                return;
            }
        }
        *failing = Some(Failing {
            at,
            reason: reason.clone(),
            said: at,
        });
        drop(failing);
        let (issuer, source) = (&self.issuer, &self.source);
        match age.map(|age| self.dead.saturating_sub(age).as_secs()) {
            None | Some(0) => tracing::warn!(
                issuer,
                source,
                reason,
                "the keys of an issuer are unavailable: until then its tokens get 503 keys-unavailable; {advice}"
            ),
            Some(left_s) => tracing::warn!(
                issuer,
                source,
                reason,
                left_s,
                "cannot refresh the keys of an issuer: the last good ones stay in use for at most left_s seconds; {advice}"
            ),
        }
    }

    fn failing(&self) -> MutexGuard<'_, Option<Failing>> {
        self.failing.lock()
    }
}
