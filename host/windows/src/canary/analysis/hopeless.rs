//! Finds a candidate that has never served a request, even with too few callers to compare them
//! with those of the live release.
//!
//! While the candidate has failed at everything, each of its requests is assigned by a coin toss to
//! one of the two releases. So half of them are served after all, if the live release works, and
//! callers, however few, are compared with themselves. A caller whose own requests are bad fails on
//! both sides. If both releases are equally good, each failure is equally likely on either side, so
//! a run of n failures of only the candidate has the probability 2^-n.

use super::Side;

/// Failures after which the coin is tossed. 20: with a usual number of callers, the comparison has
/// ended such a candidate by then, and a caller stays on one side.
const AFTER: u64 = 20;

/// The length of the run that ends it; one more for each run that a failure of the live release
/// broke. All together have the probability 2^-18, 4 in a million.
const RUN: u32 = 19;

#[derive(Debug)]
pub(super) struct Hopeless {
    served: bool,
    failures: u64,
    run: u32,
    broken_runs: u32,
    /// The state of the random sequence.
    draws: u64,
}

impl Hopeless {
    /// `seed` is secret, so that nobody can predict the draws.
    pub(super) fn new(seed: u64) -> Self {
        Hopeless {
            served: false,
            failures: 0,
            run: 0,
            broken_runs: 0,
            draws: seed,
        }
    }

    /// The release that gets a request of the candidate's, if it is drawn.
    pub(super) fn draw(&mut self) -> Option<Side> {
        if self.served || self.failures < AFTER {
            return None;
        }
        self.draws = self.draws.wrapping_add(0x9E37_79B9_7F4A_7C15);
        match mixed(self.draws) >> 63 {
            0 => Some(Side::Live),
            _ => Some(Side::Candidate),
        }
    }

    /// Records an answer, in the order of the requests. `drawn`: the side was drawn for it.
    pub(super) fn add(&mut self, side: Side, failed: bool, drawn: bool) {
        match (side, failed) {
            (Side::Candidate, false) => self.served = true,
            (Side::Candidate, true) => {
                self.failures += 1;
                self.run += u32::from(drawn);
            }
            (Side::Live, true) if drawn => {
                self.run = 0;
                self.broken_runs += 1;
            }
            (Side::Live, _) => {}
        }
    }

    /// Why it must be ended, if so.
    pub(super) fn verdict(&self) -> Option<String> {
        (!self.served && self.run >= RUN.saturating_add(self.broken_runs)).then(|| {
            format!(
                "it failed at all of its {} requests; the live release's last comparable requests \
                 did not fail",
                self.failures
            )
        })
    }
}

/// SplitMix64 (Steele, Lea, Flood, *Fast splittable pseudorandom number generators*, 2014).
fn mixed(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests until it is ended, where each side fails with its answer to `fails`.
    fn ended(seed: u64, mut fails: impl FnMut(Side) -> bool) -> Option<u64> {
        let mut hopeless = Hopeless::new(seed);
        (1..10_000).find(|_| {
            let drawn = hopeless.draw();
            let side = drawn.unwrap_or(Side::Candidate);
            hopeless.add(side, fails(side), drawn.is_some());
            hopeless.verdict().is_some()
        })
    }

    #[test]
    fn candidate_that_serves_nobody_is_ended_even_with_a_single_caller() {
        for seed in 1..100 {
            let after = ended(seed, |side| side == Side::Candidate).unwrap();
            assert!((AFTER + 19..130).contains(&after), "{after}");
        }
    }

    #[test]
    fn caller_failing_on_both_sides_or_one_success_ends_nothing() {
        for seed in 1..2000 {
            assert_eq!(ended(seed, |_| true), None);
            let mut left = 30;
            let hope = ended(seed, |side| {
                left -= i32::from(side == Side::Candidate);
                side == Side::Candidate && left > 0
            });
            assert_eq!(hope, None);
        }
    }

    #[test]
    fn each_side_is_drawn_about_half_the_time() {
        let mut hopeless = Hopeless::new(7);
        assert_eq!(hopeless.draw(), None);
        (0..AFTER).for_each(|_| hopeless.add(Side::Candidate, true, false));
        let live = (0..10_000)
            .filter(|_| hopeless.draw() == Some(Side::Live))
            .count();
        assert!((4800..5200).contains(&live), "{live}");
    }
}
