//! What is counted of the requests of a window: for each of its last releases, and for the window
//! as a whole.

use hms_core::measures::Durations;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Releases of a window that are counted apart. 8: the live one, a canary, and those that a person
/// has rolled back between. Beyond, the counts of the lowest number that
/// does not serve end.
const RELEASES: usize = 8;

/// Classes of a status: 1xx to 5xx.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The counts of one release.
#[derive(Debug)]
pub struct ReleaseMeasures {
    release: u64,
    digest: String,
    requests: [AtomicU64; CLASSES.len()],
    /// From the request at the window to the last byte of its answer.
    pub duration: Durations,
}

impl ReleaseMeasures {
    /// The number of the release.
    pub fn release(&self) -> u64 {
        self.release
    }

    /// The digest of its component.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Requests by the class of their status.
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let counts = self.requests.iter().map(|count| count.load(Relaxed));
        CLASSES.into_iter().zip(counts)
    }

    /// A request was answered with that status.
    pub(crate) fn answered(&self, status: u16) {
        let class = usize::from(status / 100).saturating_sub(1);
        if let Some(count) = self.requests.get(class) {
            count.fetch_add(1, Relaxed);
        }
    }
}

/// The counts of one window.
#[derive(Debug, Default)]
pub struct WindowMeasures {
    releases: Mutex<Vec<Arc<ReleaseMeasures>>>,
    /// Waits for a place among the window's instances.
    pub queue: Durations,
    /// From there until an instance has accepted the request.
    pub start: Durations,
    swaps: AtomicU64,
    trips: AtomicU64,
}

impl WindowMeasures {
    /// The counts of that release, which go on where it has served before.
    pub(crate) fn release(&self, release: u64, digest: &str) -> Arc<ReleaseMeasures> {
        let mut releases = self.releases.lock();
        let is_it = |it: &&Arc<ReleaseMeasures>| it.release == release && it.digest == digest;
        if let Some(known) = releases.iter().find(is_it) {
            return known.clone();
        }
        // One that was refused at the end has left its number to this one.
        releases.retain(|it| it.release != release);
        if releases.len() >= RELEASES {
            // One that serves is held by its release: others go first.
            releases.sort_by_key(|it| (Arc::strong_count(it) > 1, it.release));
            releases.remove(0);
        }
        let new = Arc::new(ReleaseMeasures {
            release,
            digest: digest.to_owned(),
            requests: Default::default(),
            duration: Durations::default(),
        });
        releases.push(new.clone());
        new
    }

    /// The releases that are counted.
    pub fn releases(&self) -> Vec<Arc<ReleaseMeasures>> {
        self.releases.lock().clone()
    }

    /// Something else serves from now on.
    pub(crate) fn swapped(&self) {
        self.swaps.fetch_add(1, Relaxed);
    }

    /// The breaker has closed the window.
    pub(crate) fn tripped(&self) {
        self.trips.fetch_add(1, Relaxed);
    }

    /// How often something else served.
    pub fn swaps(&self) -> u64 {
        self.swaps.load(Relaxed)
    }

    /// How often the breaker has closed it.
    pub fn trips(&self) -> u64 {
        self.trips.load(Relaxed)
    }
}

/// A window, for whoever shows its counts.
#[derive(Debug)]
pub struct MeasuredWindow {
    /// Its name.
    pub name: String,
    /// Its counts.
    pub measures: Arc<WindowMeasures>,
    /// What its instances have used.
    pub usage: Arc<hms_runtime::Usage>,
    /// Places of the pool that its instances take now.
    pub places: u32,
    /// Lines that were left out of its log.
    pub log_lines_left_out: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_a_release_go_on_and_those_of_old_ones_end() {
        let measures = WindowMeasures::default();
        measures.release(1, "a").answered(200);
        measures.release(1, "a").answered(503);
        measures.release(1, "a").answered(0);
        let counts: Vec<_> = measures.releases()[0].requests().collect();
        assert_eq!(
            counts[1..],
            [("2xx", 1), ("3xx", 0), ("4xx", 0), ("5xx", 1)]
        );
        for release in 2..20 {
            measures.release(release, "b");
        }
        let kept: Vec<_> = measures.releases().iter().map(|it| it.release).collect();
        assert_eq!(kept, [12, 13, 14, 15, 16, 17, 18, 19]);
    }

    #[test]
    fn counts_of_what_serves_stay_and_a_number_that_is_given_again_begins_anew() {
        let measures = WindowMeasures::default();
        let serving = measures.release(1, "a");
        for release in 2..20 {
            measures.release(release, "b");
        }
        assert!(Arc::ptr_eq(&serving, &measures.release(1, "a")));
        measures.release(20, "refused").answered(500);
        let next = measures.release(20, "another");
        assert_eq!(
            (
                next.digest.as_str(),
                next.requests().map(|it| it.1).sum::<u64>()
            ),
            ("another", 0)
        );
        assert_eq!(
            measures
                .releases()
                .iter()
                .filter(|it| it.release == 20)
                .count(),
            1
        );
    }
}
