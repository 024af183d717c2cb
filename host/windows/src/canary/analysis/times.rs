//! Times of answers, in buckets that are each a twentieth wider than the one before, from 10 µs to
//! about two minutes.

use std::time::Duration;

const FIRST_S: f64 = 10e-6;
const GROWTH: f64 = 1.05;
const BUCKETS: u16 = 335;

/// The bucket of one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bucket(u16);

impl Bucket {
    pub(super) fn of(took: Duration) -> Self {
        let ratio = (took.as_secs_f64() / FIRST_S).max(1.0);
        Bucket(((ratio.ln() / GROWTH.ln()) as u16).min(BUCKETS - 1))
    }

    /// The upper bound of the bucket.
    pub(super) fn upper(self) -> Duration {
        Duration::from_secs_f64(FIRST_S * GROWTH.powi(i32::from(self.0) + 1))
    }
}

#[derive(Debug, Clone)]
pub(super) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            buckets: vec![0; usize::from(BUCKETS)],
            count: 0,
        }
    }
}

impl Histogram {
    pub(super) fn add(&mut self, bucket: Bucket) {
        if let Some(count) = self.buckets.get_mut(usize::from(bucket.0)) {
            *count += 1;
            self.count += 1;
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The 99th percentile.
    pub(super) fn p99(&self) -> Option<Duration> {
        let wanted = (self.count * 99).div_ceil(100).max(1);
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        Some(Bucket(bucket as u16).upper())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn percentile_is_never_below_the_exact_value(micros in proptest::collection::vec(10u64..100_000_000, 1..200)) {
            let mut histogram = Histogram::default();
            for us in &micros {
                histogram.add(Bucket::of(Duration::from_micros(*us)));
            }
            let mut sorted = micros.clone();
            sorted.sort_unstable();
            let exact = sorted[(micros.len() * 99).div_ceil(100) - 1];
            let p99 = histogram.p99().unwrap();
            prop_assert!(p99 >= Duration::from_micros(exact));
            prop_assert!(p99 <= Duration::from_micros(exact).mul_f64(1.06));
        }
    }
}
