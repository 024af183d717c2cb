//! Whether a canary's candidate is clearly worse than the live release, decided from what both answered.
//!
//! Failures are compared by Fisher's exact test (R. A. Fisher, 1922), which holds at any number of requests: with
//! few, nothing is clear, and the trial goes on. Slowness is compared by the share of the candidate's
//! answers that took more than twice the live release's 99th percentile: of a release as fast, at most one in a
//! hundred would, and how many more is too many the binomial distribution says. Both are looked at again and again while
//! the trial runs, so the level is strict.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How improbable it must be that a candidate which is no worse looks this bad. One in ten thousand, because the question
/// is asked after each of its answers.
const LEVEL: f64 = 1e-4;

/// Failures, or slow answers, below which nothing is decided.
const FEWEST: u64 = 5;

/// A candidate that has failed at this many requests and at nothing else is ended, whatever the live release does: it
/// may have had no requests to compare with.
const HOPELESS: u64 = 10;

/// Answers of the live release below which its 99th percentile is not known.
const KNOWN_P99: u64 = 100;

/// How much slower than the live release's 99th percentile counts as slow.
const SLOW_FACTOR: f64 = 2.0;

/// Of which release an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Live,
    Candidate,
}

/// The answers of both releases since the trial began.
#[derive(Default)]
pub(super) struct Trial(Mutex<Sides>);

#[derive(Default)]
struct Sides {
    live: Answers,
    candidate: Answers,
}

/// The answers of one release.
#[derive(Debug, Clone, Default)]
pub(super) struct Answers {
    pub requests: u64,
    pub failures: u64,
    times: Histogram,
}

impl Answers {
    /// The time within which 99 of 100 heads came.
    pub(super) fn p99(&self) -> Option<Duration> {
        self.times.p99()
    }
}

impl Trial {
    /// Adds an answer. `took` is the time to its head. Gives the reason where the candidate is now clearly worse.
    pub(super) fn add(&self, side: Side, failed: bool, took: Duration) -> Option<String> {
        let mut sides = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let answers = match side {
            Side::Live => &mut sides.live,
            Side::Candidate => &mut sides.candidate,
        };
        answers.requests += 1;
        answers.failures += u64::from(failed);
        answers.times.add(took);
        match side {
            Side::Live => None,
            Side::Candidate => verdict(&sides),
        }
    }

    /// What was seen of live release and candidate.
    pub(super) fn seen(&self) -> (Answers, Answers) {
        let sides = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (sides.live.clone(), sides.candidate.clone())
    }
}

fn verdict(sides: &Sides) -> Option<String> {
    let (live, candidate) = (&sides.live, &sides.candidate);
    let said = |side: &Answers| format!("{} of {} requests", side.failures, side.requests);
    if candidate.failures >= HOPELESS && candidate.failures == candidate.requests {
        return Some(format!(
            "it failed at all of its {} requests",
            candidate.requests
        ));
    }
    if candidate.failures >= FEWEST && fisher(live, candidate) < LEVEL {
        return Some(format!(
            "it failed at {}, the live release at {}",
            said(candidate),
            said(live)
        ));
    }
    if live.requests < KNOWN_P99 {
        return None;
    }
    let p99 = live.p99()?;
    let bound = p99.mul_f64(SLOW_FACTOR);
    let slow = candidate.times.above(bound);
    if slow >= FEWEST && binomial_tail(candidate.requests, slow, 0.01) < LEVEL {
        return Some(format!(
            "{slow} of its {} answers took more than {:.0} ms, twice the live release's 99th percentile",
            candidate.requests,
            bound.as_secs_f64() * 1000.0
        ));
    }
    None
}

/// The probability that of all failures this many or more fall to the candidate, were they dealt out at random.
fn fisher(live: &Answers, candidate: &Answers) -> f64 {
    let total = live.requests + candidate.requests;
    let failures = live.failures + candidate.failures;
    let most = failures.min(candidate.requests);
    let all = ln_choose(total, failures);
    let exactly = |k: u64| {
        if failures - k > live.requests {
            return 0.0;
        }
        (ln_choose(candidate.requests, k) + ln_choose(live.requests, failures - k) - all).exp()
    };
    (candidate.failures..=most).map(exactly).sum()
}

/// The probability of `k` or more of `n` where each has probability `p`.
fn binomial_tail(n: u64, k: u64, p: f64) -> f64 {
    (k..=n)
        .map(|i| (ln_choose(n, i) + i as f64 * p.ln() + (n - i) as f64 * (1.0 - p).ln()).exp())
        // Past its peak the terms only fall; what follows a negligible one is negligible.
        .scan(false, |negligible, term| {
            let stop = *negligible;
            *negligible = term < LEVEL * 1e-6 && term > 0.0;
            (!stop).then_some(term)
        })
        .sum()
}

fn ln_choose(n: u64, k: u64) -> f64 {
    ln_factorial(n) - ln_factorial(k) - ln_factorial(n.saturating_sub(k))
}

/// Exact for small numbers, by Stirling's series beyond.
fn ln_factorial(n: u64) -> f64 {
    if n < 20 {
        return (2..=n).map(|i| (i as f64).ln()).sum();
    }
    let x = n as f64;
    x * x.ln() - x + 0.5 * (std::f64::consts::TAU * x).ln() + 1.0 / (12.0 * x)
        - 1.0 / (360.0 * x.powi(3))
}

/// Times in buckets that each are a twentieth wider than the one before, from 10 µs to about two minutes.
#[derive(Debug, Clone)]
struct Histogram {
    buckets: Vec<u64>,
    count: u64,
}

const FIRST_BUCKET_S: f64 = 10e-6;
const BUCKET_GROWTH: f64 = 1.05;
const BUCKETS: usize = 335;

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            buckets: vec![0; BUCKETS],
            count: 0,
        }
    }
}

impl Histogram {
    fn bucket(took: Duration) -> usize {
        let ratio = (took.as_secs_f64() / FIRST_BUCKET_S).max(1.0);
        ((ratio.ln() / BUCKET_GROWTH.ln()) as usize).min(BUCKETS - 1)
    }

    fn upper(bucket: usize) -> Duration {
        Duration::from_secs_f64(FIRST_BUCKET_S * BUCKET_GROWTH.powi(bucket as i32 + 1))
    }

    fn add(&mut self, took: Duration) {
        if let Some(count) = self.buckets.get_mut(Self::bucket(took)) {
            *count += 1;
            self.count += 1;
        }
    }

    fn p99(&self) -> Option<Duration> {
        let wanted = (self.count * 99).div_ceil(100).max(1);
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        Some(Self::upper(bucket))
    }

    /// How many took longer. In doubt fewer: a bucket counts only when all of it is above.
    fn above(&self, bound: Duration) -> u64 {
        self.buckets.iter().skip(Self::bucket(bound) + 1).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FAST: Duration = Duration::from_millis(2);

    fn run(answers: impl IntoIterator<Item = (Side, bool, Duration)>) -> Option<(usize, String)> {
        let trial = Trial::default();
        let mut answers = answers.into_iter().enumerate();
        answers
            .find_map(|(i, (side, failed, took))| trial.add(side, failed, took).map(|why| (i, why)))
    }

    /// A generator of which the sequence is known, so that the tests are the same each time.
    fn dice(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1u64 << 53) as f64
        }
    }

    /// A tenth of the requests go to the candidate; each side fails and is slow with its probability.
    fn traffic(
        seed: u64,
        requests: usize,
        live: (f64, f64),
        candidate: (f64, f64),
    ) -> Vec<(Side, bool, Duration)> {
        let mut dice = dice(seed);
        (0..requests)
            .map(|_| {
                let side = if dice() < 0.1 {
                    Side::Candidate
                } else {
                    Side::Live
                };
                let (failing, slow) = if side == Side::Live { live } else { candidate };
                let took = if dice() < slow {
                    FAST * 10
                } else {
                    FAST.mul_f64(0.5 + dice())
                };
                (side, dice() < failing, took)
            })
            .collect()
    }

    #[test]
    fn fisher_agrees_with_the_lady_tasting_tea() {
        let side = |requests, failures| Answers {
            requests,
            failures,
            ..Answers::default()
        };
        assert!((fisher(&side(4, 0), &side(4, 4)) - 1.0 / 70.0).abs() < 1e-9);
        assert!((fisher(&side(4, 1), &side(4, 3)) - 17.0 / 70.0).abs() < 1e-9);
        assert!((fisher(&side(90, 0), &side(10, 0)) - 1.0).abs() < 1e-9);
        assert!((binomial_tail(10, 8, 0.5) - 56.0 / 1024.0).abs() < 1e-9);
        assert!((ln_factorial(25) - (2..=25).map(|i| f64::from(i).ln()).sum::<f64>()).abs() < 1e-9);
    }

    #[test]
    fn a_candidate_that_fails_at_everything_is_ended_after_few_requests() {
        let alone = std::iter::repeat_n((Side::Candidate, true, FAST), 100);
        let (after, why) = run(alone).unwrap();
        assert_eq!(
            (after, why.as_str()),
            (9, "it failed at all of its 10 requests")
        );
        let beside = std::iter::repeat_n((Side::Live, false, FAST), 50)
            .chain(std::iter::repeat_n((Side::Candidate, true, FAST), 100));
        assert_eq!(run(beside).unwrap().0, 54);
    }

    #[test]
    fn a_candidate_that_fails_at_a_fifth_is_ended_and_the_reason_has_both_figures() {
        for seed in 1..30 {
            let (after, why) = run(traffic(seed, 5000, (0.001, 0.0), (0.2, 0.0))).unwrap();
            assert!(after < 3000, "{after}");
            assert!(
                why.contains("it failed at") && why.contains("the live release at"),
                "{why}"
            );
        }
    }

    #[test]
    fn a_candidate_that_is_slow_at_every_tenth_is_ended() {
        for seed in 1..30 {
            let (_, why) = run(traffic(seed, 10_000, (0.0, 0.001), (0.0, 0.1))).unwrap();
            assert!(why.contains("99th percentile"), "{why}");
        }
    }

    #[test]
    fn a_candidate_as_good_as_the_live_release_is_left_alone() {
        let ended = (1..=300)
            .filter(|seed| run(traffic(*seed, 4000, (0.02, 0.005), (0.02, 0.005))).is_some());
        let ended = ended.count();
        assert!(ended <= 3, "{ended} of 300 good candidates were ended");
    }

    #[test]
    fn live_releases_that_fail_as_much_excuse_the_candidate() {
        assert_eq!(run(traffic(7, 4000, (0.5, 0.0), (0.5, 0.0))), None);
    }

    proptest! {
        #[test]
        fn a_percentile_is_never_below_what_was_added(micros in proptest::collection::vec(10u64..100_000_000, 1..200)) {
            let mut histogram = Histogram::default();
            for us in &micros {
                histogram.add(Duration::from_micros(*us));
            }
            let mut sorted = micros.clone();
            sorted.sort_unstable();
            let exact = sorted[(micros.len() * 99).div_ceil(100) - 1];
            let p99 = histogram.p99().unwrap();
            prop_assert!(p99 >= Duration::from_micros(exact));
            prop_assert!(p99 <= Duration::from_micros(exact).mul_f64(1.06));
            prop_assert_eq!(histogram.above(p99.mul_f64(1.06)), micros.iter().filter(|us| Histogram::bucket(Duration::from_micros(**us)) > Histogram::bucket(p99.mul_f64(1.06))).count() as u64);
        }
    }
}
