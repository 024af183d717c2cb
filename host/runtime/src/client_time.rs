//! The time that a request waits for its client, while it sends the body or reads the answer. None
//! of it is charged to the instance.

use hms_core::stopwatch::Stopwatch;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// After waiting this long for a client, it may be a slow one. 1 s: most requests are done by then.
const SLOW_AFTER: Duration = Duration::from_secs(1);

/// The longest that a client may not read what it was given of an answer, which is some hundred
/// KiB. 60 s, like a pause in its own body. Over HTTP/1, its connection ends sooner if it reads
/// nothing at all; over HTTP/2, one stream can stall in a connection that does not.
const LONGEST_TAKE: Duration = Duration::from_secs(60);

/// Total waiting time for a client below [`LONG_BYTES_PER_S`]. The same as for request bodies,
/// whose bounds are the gateway's.
const LONG_GRACE: Duration = Duration::from_secs(600);
const LONG_BYTES_PER_S: u64 = 32 << 10;

/// A client that moves so many bytes per second of waiting is not slow. 32 KiB/s: the long-run
/// minimum for every client.
const QUICK_BYTES_PER_S: u64 = LONG_BYTES_PER_S;

/// Why a client counts as slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slow {
    /// It was waited for for some time, and for most of the time.
    Proven,
    /// It has only begun, and is not fast.
    Suspected,
}

/// How long the client of one request was waited for, and what it sent and read.
pub(super) struct ClientTime {
    /// Runs while the instance waits for more of the request's body.
    asking: Stopwatch,
    /// Runs while the answer could continue if the client read it.
    taking: Stopwatch,
    /// Bytes of the answer that it was last given.
    given: AtomicU64,
    /// Microseconds left of its time to read, when it last read something.
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

    /// More of the request's body is asked for. Times count from the beginning of the request.
    pub(crate) fn ask(&self, now: Duration) {
        self.asking.start(now);
    }

    /// More of it has arrived, or its end.
    pub(crate) fn came(&self, now: Duration) {
        self.asking.stop(now);
    }

    /// So many bytes of it were read.
    pub(crate) fn moved(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// The client was given so many bytes of the answer, and more is to come.
    pub(crate) fn give(&self, now: Duration, bytes: u64) {
        self.given.store(bytes, Relaxed);
        self.taking.start(now);
    }

    /// The client asks for more.
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

    /// The time it was waited for to send the request's body.
    pub(crate) fn asked(&self, now: Duration) -> Duration {
        self.asking.read(now)
    }

    /// The total time it was waited for.
    pub(crate) fn waited(&self, now: Duration) -> Duration {
        self.asking.read(now) + self.taking.read(now)
    }

    /// Whether it is being waited for now.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.asking.is_running() || self.taking.is_running()
    }

    /// Whether it was waited for for some time, and for most of the time.
    pub(crate) fn is_slow(&self, now: Duration) -> bool {
        let waited = self.waited(now);
        waited >= SLOW_AFTER && waited >= now / 2
    }

    /// Whether it is being waited for now, and slow. If permits are `short`, there is no time to
    /// measure how slow: a client that comes back as often as it is cut would never be.
    pub(crate) fn slow(&self, now: Duration, short: impl FnOnce() -> bool) -> Option<Slow> {
        if !self.is_waited_for() {
            return None;
        }
        if self.is_slow(now) {
            return Some(Slow::Proven);
        }
        (!self.is_quick(now) && short()).then_some(Slow::Suspected)
    }

    /// Whether it moved much for the time it was waited for.
    pub(crate) fn is_quick(&self, now: Duration) -> bool {
        self.pace(now) >= QUICK_BYTES_PER_S
    }

    /// Whether its time to read is over.
    pub(crate) fn reads_too_slowly(&self, now: Duration) -> bool {
        let left = Duration::from_micros(self.left_us.load(Relaxed));
        let lap = self.taking.lap(now);
        !lap.is_zero() && lap >= left.min(LONGEST_TAKE)
    }

    /// Bytes moved per second of waiting. One byte is added: so of clients that have sent nothing
    /// yet, the one that has only begun is not the slowest.
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
