//! A stopwatch: for the time in which a request waits for its client, when nobody else is late.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A stopwatch that several threads may read while one stops it.
#[derive(Default)]
pub struct Stopwatch {
    /// Microseconds before it was last started.
    before_us: AtomicU64,
    /// When it was started, plus one; 0 while it stands.
    since_us: AtomicU64,
}

impl Stopwatch {
    /// Starts it, unless it runs. `now` is counted from when the request began, as everywhere here.
    pub fn start(&self, now: Duration) {
        let started = micros(now) + 1;
        let _ = self.since_us.compare_exchange(0, started, Relaxed, Relaxed);
    }

    /// Stops it, where it runs.
    pub fn stop(&self, now: Duration) {
        let since = self.since_us.swap(0, Relaxed);
        if since > 0 {
            let ran = (micros(now) + 1).saturating_sub(since);
            self.before_us.fetch_add(ran, Relaxed);
        }
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.since_us.load(Relaxed) > 0
    }

    /// How long it has run until `now` since it was last started; nothing while it stands.
    pub fn lap(&self, now: Duration) -> Duration {
        let ran = match self.since_us.load(Relaxed) {
            0 => 0,
            since => (micros(now) + 1).saturating_sub(since),
        };
        Duration::from_micros(ran)
    }

    /// How long it ran in all until `now`.
    pub fn read(&self, now: Duration) -> Duration {
        Duration::from_micros(self.before_us.load(Relaxed)) + self.lap(now)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn stopwatch_counts_only_while_it_runs() {
        let watch = Stopwatch::default();
        watch.stop(MS);
        assert_eq!(watch.read(5 * MS), Duration::ZERO);
        watch.start(5 * MS);
        assert!(watch.is_running());
        assert_eq!(watch.read(7 * MS), 2 * MS);
        watch.stop(8 * MS);
        assert_eq!(
            (watch.is_running(), watch.lap(9 * MS)),
            (false, Duration::ZERO)
        );
        watch.stop(9 * MS);
        assert_eq!(watch.read(20 * MS), 3 * MS);
        watch.start(20 * MS);
        watch.start(21 * MS);
        assert_eq!(watch.lap(22 * MS), 2 * MS);
        watch.stop(22 * MS);
        assert_eq!(watch.read(30 * MS), 5 * MS);
    }
}
