//! Points of one series, each made of two readings of the counters.

use super::text::Counts;
use serde::Serialize;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// Points that are kept. 900: 15 minutes at one a second.
const MAX_POINTS: usize = 900;

/// How long they are kept. 15 min.
const KEPT_S: f64 = 15.0 * 60.0;

/// Over how long "now" is measured. 10 s: short enough to follow, long enough not to flicker.
const NOW: Duration = Duration::from_secs(10);

/// What was measured between two readings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Point {
    /// Unix time of the second, in seconds.
    pub(crate) at: f64,
    /// Requests a second.
    pub(crate) rate: f32,
    /// Failed ones a second.
    pub(crate) failures: f32,
    /// The median, in milliseconds. None: there were no requests.
    pub(crate) p50: Option<f32>,
    /// The 99th percentile, likewise.
    pub(crate) p99: Option<f32>,
}

/// The same over the last seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Now {
    pub(crate) rate: f32,
    pub(crate) failures: f32,
    pub(crate) p50: Option<f32>,
    pub(crate) p99: Option<f32>,
}

/// One series.
#[derive(Default)]
pub(crate) struct Series {
    points: VecDeque<Point>,
    /// Readings of the last seconds, oldest first.
    recent: VecDeque<(Instant, Counts)>,
}

impl Series {
    pub(crate) fn add(&mut self, counts: &Counts, at: Instant, unix: f64) {
        if let Some((before, earlier)) = self.recent.back() {
            let Now {
                rate,
                failures,
                p50,
                p99,
            } = between(earlier, counts, at.duration_since(*before));
            self.points.push_back(Point {
                at: unix,
                rate,
                failures,
                p50,
                p99,
            });
        }
        let old = |point: &Point| unix - point.at > KEPT_S;
        while self.points.len() > MAX_POINTS || self.points.front().is_some_and(old) {
            self.points.pop_front();
        }
        self.recent.push_back((at, counts.clone()));
        // One that is as old as "now" reaches stays, as what the latest is compared with.
        let second = |recent: &VecDeque<(Instant, Counts)>| recent.get(1).map(|(at, _)| *at);
        while second(&self.recent).is_some_and(|second| at.duration_since(second) >= NOW) {
            self.recent.pop_front();
        }
    }

    pub(crate) fn after(&self, unix: f64) -> Vec<Point> {
        let points = self.points.iter().filter(|point| point.at > unix);
        points.copied().collect()
    }

    pub(crate) fn now(&self) -> Now {
        match (self.recent.front(), self.recent.back()) {
            (Some((from, earlier)), Some((to, later))) if to > from => {
                between(earlier, later, to.duration_since(*from))
            }
            _ => Now::default(),
        }
    }
}

/// What happened between two readings. A counter that fell was begun anew.
fn between(earlier: &Counts, later: &Counts, time: Duration) -> Now {
    let seconds = time.as_secs_f64().max(0.001);
    let rose = |before: f64, after: f64| {
        if after < before {
            after
        } else {
            after - before
        }
    };
    let before = |bound: f64| {
        let found = earlier.buckets.iter().find(|(other, _)| *other == bound);
        found.map_or(0.0, |(_, count)| *count)
    };
    let buckets: Vec<(f64, f64)> = later
        .buckets
        .iter()
        .map(|(bound, count)| (*bound, rose(before(*bound), *count)))
        .collect();
    Now {
        rate: (rose(earlier.requests, later.requests) / seconds) as f32,
        failures: (rose(earlier.failures, later.failures) / seconds) as f32,
        p50: quantile(&buckets, 0.5),
        p99: quantile(&buckets, 0.99),
    }
}

/// The quantile in milliseconds, evenly within its bucket, as Prometheus has it. Above the last
/// bound it is that bound.
fn quantile(buckets: &[(f64, f64)], share: f64) -> Option<f32> {
    let total = buckets.last().map(|(_, count)| *count)?;
    if total <= 0.0 {
        return None;
    }
    let rank = share * total;
    let (mut low, mut below) = (0.0, 0.0);
    for (bound, count) in buckets {
        if *count >= rank {
            if bound.is_infinite() {
                return Some((low * 1000.0) as f32);
            }
            let part = (rank - below) / (count - below).max(f64::MIN_POSITIVE);
            return Some(((low + (bound - low) * part) * 1000.0) as f32);
        }
        (low, below) = (*bound, *count);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(requests: f64, failures: f64, fast: f64) -> Counts {
        Counts {
            requests,
            failures,
            buckets: vec![(0.1, fast), (1.0, requests), (f64::INFINITY, requests)],
        }
    }

    #[test]
    fn point_has_what_happened_since_the_last_reading() {
        let (mut series, start) = (Series::default(), Instant::now());
        series.add(&counts(100.0, 10.0, 100.0), start, 1000.0);
        assert_eq!(series.after(0.0), [], "one reading says nothing");
        let second = start + Duration::from_secs(2);
        series.add(&counts(120.0, 12.0, 110.0), second, 1002.0);
        let [point] = series.after(0.0)[..] else {
            panic!("one point");
        };
        assert_eq!((point.rate, point.failures), (10.0, 1.0));
        assert_eq!(point.p50, Some(100.0));
        assert!((point.p99.unwrap() - 982.0).abs() < 1.0, "{point:?}");
        assert_eq!(series.now().rate, 10.0);
        assert_eq!(series.after(1002.0), []);
    }

    #[test]
    fn time_without_requests_has_no_latency_and_a_counter_that_fell_began_anew() {
        let (mut series, start) = (Series::default(), Instant::now());
        for (second, requests) in [(0, 100.0), (1, 100.0), (2, 5.0)] {
            let at = start + Duration::from_secs(second);
            series.add(&counts(requests, 0.0, requests), at, second as f64);
        }
        let points = series.after(-1.0);
        assert_eq!((points[0].rate, points[0].p99), (0.0, None));
        assert_eq!(points[1].rate, 5.0);
    }

    #[test]
    fn points_are_bounded_in_number_and_age() {
        let (mut series, start) = (Series::default(), Instant::now());
        for step in 0..2000 {
            let at = start + Duration::from_millis(step * 500);
            series.add(&counts(step as f64, 0.0, 0.0), at, step as f64 / 2.0);
        }
        assert_eq!(series.points.len(), MAX_POINTS);
        assert!(series.recent.len() <= 22, "{}", series.recent.len());
        series.add(
            &counts(0.0, 0.0, 0.0),
            start + Duration::from_secs(9999),
            9999.0,
        );
        assert_eq!(series.points.len(), 1);
    }
}
