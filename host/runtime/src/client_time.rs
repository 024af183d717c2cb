//! The time in which a request waits for its client, while it sends the body or reads the answer.
//! None of it is the instance's.

use hms_core::stopwatch::Stopwatch;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A client that has been waited for so long may be a slow one. 1 s: most requests are over by
/// then.
const SLOW_AFTER: Duration = Duration::from_secs(1);

/// The longest that a client may leave what it was given of an answer, which is some hundred KiB.
/// 60 s, as it may pause in its own body. Over HTTP/1 its connection ends sooner where it takes
/// nothing at all; over HTTP/2 one stream can stand still in a connection that does not.
const LONGEST_TAKE: Duration = Duration::from_secs(60);

/// How long a client may be waited for in all, at less than [`LONG_BYTES_PER_S`]: as for the bodies
/// of requests, whose bounds are the gateway's.
const LONG_GRACE: Duration = Duration::from_secs(600);
const LONG_BYTES_PER_S: u64 = 32 << 10;

/// A client is not slow that moves so many bytes for each second of waiting. 32 KiB a second: what
/// every client owes in the long run.
const QUICK_BYTES_PER_S: u64 = LONG_BYTES_PER_S;

/// How it is known that a client is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slow {
    /// It was waited for for a while, and for most of the time.
    Proven,
    /// It has only begun, and is not quick.
    Suspected,
}

/// How long the client of one request was waited for, and what came of it.
pub(super) struct ClientTime {
    /// Runs while the instance waits for more of the request's body.
    asking: Stopwatch,
    /// Runs while more of the answer would be taken out, were the client there for it.
    taking: Stopwatch,
    /// Bytes of the answer that it was last given.
    given: AtomicU64,
    /// Microseconds that are left of its time to read, when it last took something.
    left_us: AtomicU64,
    /// Bytes that moved in either direction.
    bytes: AtomicU64,
}

impl ClientTime {
    pub(crate) fn new() -> Self {
        ClientTime {
            asking: Stopwatch::default(),
            taking: Stopwatch::default(),
            given: AtomicU64::new(0),
            left_us: AtomicU64::new(micros(LONG_GRACE)),
            bytes: AtomicU64::new(0),
        }
    }

    /// More of the request's body is asked for. Times are counted from when the request began.
    pub(crate) fn ask(&self, now: Duration) {
        self.asking.start(now);
    }

    /// More of it is there, or its end.
    pub(crate) fn came(&self, now: Duration) {
        self.asking.stop(now);
    }

    /// So many bytes of it were taken.
    pub(crate) fn moved(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// The client was given so many bytes of the answer, and more is to come.
    pub(crate) fn give(&self, now: Duration, bytes: u64) {
        self.given.store(bytes, Relaxed);
        self.taking.start(now);
    }

    /// It is there for more.
    pub(crate) fn take(&self, now: Duration) {
        if !self.taking.is_running() {
            return;
        }
        let bytes = self.given.swap(0, Relaxed);
        let worth = bytes.saturating_mul(1_000_000) / LONG_BYTES_PER_S;
        let left = self.left_us.load(Relaxed);
        let left = left.saturating_sub(micros(self.taking.lap(now)));
        let left = left.saturating_add(worth).min(micros(LONG_GRACE));
        self.left_us.store(left, Relaxed);
        self.taking.stop(now);
        self.moved(bytes);
    }

    /// How long it was waited for to send the request's body.
    pub(crate) fn asked(&self, now: Duration) -> Duration {
        self.asking.read(now)
    }

    /// How long it was waited for in all.
    pub(crate) fn waited(&self, now: Duration) -> Duration {
        self.asking.read(now) + self.taking.read(now)
    }

    /// Whether it is waited for just now.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.asking.is_running() || self.taking.is_running()
    }

    /// Whether it was waited for for a while, and for most of the time.
    pub(crate) fn is_slow(&self, now: Duration) -> bool {
        let waited = self.waited(now);
        waited >= SLOW_AFTER && waited >= now / 2
    }

    /// Whether it is waited for just now and slow. Where places are `short` there is no time to see
    /// how slow: one that comes back as often as it is ended would never be.
    pub(crate) fn slow(&self, now: Duration, short: impl FnOnce() -> bool) -> Option<Slow> {
        if !self.is_waited_for() {
            return None;
        }
        if self.is_slow(now) {
            return Some(Slow::Proven);
        }
        (!self.is_quick(now) && short()).then_some(Slow::Suspected)
    }

    /// Whether much came of it for the time that it was waited for.
    pub(crate) fn is_quick(&self, now: Duration) -> bool {
        self.pace(now) >= QUICK_BYTES_PER_S
    }

    /// Whether its time to read is over.
    pub(crate) fn reads_too_slowly(&self, now: Duration) -> bool {
        let left = Duration::from_micros(self.left_us.load(Relaxed));
        let lap = self.taking.lap(now);
        !lap.is_zero() && lap >= left.min(LONGEST_TAKE)
    }

    /// Bytes that moved for each second in which it was waited for. One byte more counts: of those
    /// that sent nothing yet, the one that has only begun is not the slowest.
    pub(crate) fn pace(&self, now: Duration) -> u64 {
        let waited = self.waited(now).as_millis().max(1) as u64;
        let bytes = self.bytes.load(Relaxed).saturating_add(1);
        bytes.saturating_mul(1000) / waited
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn client_waited_for_most_of_the_time_is_slow() {
        let time = ClientTime::new();
        time.ask(S);
        assert!(!time.is_slow(S + S / 2), "half a second");
        assert!(time.is_waited_for());
        time.came(3 * S);
        time.moved(2000);
        assert!(time.is_slow(4 * S) && !time.is_waited_for());
        assert!(!time.is_slow(5 * S), "the instance has had three seconds");
        assert_eq!(time.pace(5 * S), 1000);
        assert_eq!(time.asked(5 * S), 2 * S);
        time.give(5 * S, 1000);
        assert_eq!(time.waited(7 * S), 4 * S);
        assert!(time.is_slow(7 * S));
    }

    #[test]
    fn shortage_makes_every_client_suspect_unless_it_is_quick() {
        let time = ClientTime::new();
        assert_eq!(time.slow(S, || true), None, "it is not waited for");
        time.ask(S);
        assert_eq!(time.slow(S, || false), None);
        assert_eq!(time.slow(S, || true), Some(Slow::Suspected));
        assert_eq!(time.slow(3 * S, || false), Some(Slow::Proven));
        time.moved(64 << 10);
        assert_eq!(time.slow(S + S / 2, || true), None, "it is quick");
    }

    #[test]
    fn reader_that_takes_nothing_or_drips_runs_out_of_time() {
        let stands = ClientTime::new();
        stands.give(S, 1 << 20);
        assert!(!stands.reads_too_slowly(60 * S));
        assert!(stands.reads_too_slowly(61 * S));

        let pieces = |bytes| {
            let time = ClientTime::new();
            (1..3600).find(|second| {
                let now = S * *second;
                time.take(now);
                time.give(now, bytes);
                time.reads_too_slowly(now + S)
            })
        };
        assert_eq!(pieces(0), Some(600));
        assert_eq!(pieces(16 << 10), Some(1199));
        assert_eq!(pieces(32 << 10), None);
    }
}
