//! Compares the callers of the two releases, in rounds of many sizes.
//!
//! The requests, in the order in which they began, are divided into rounds of 64, of 128, and so on
//! up to 131,072. A small round soon shows a very bad release, a large one a slightly worse one. At
//! the end of a round, Fisher's exact test says how probable it is that so many of the bad callers
//! are on the candidate's side.
//!
//! The test does not count requests but groups of callers (see [`GROUPS`]), each once per round:
//! one caller adds one to one side, however many requests he sends and however many fail. So the
//! test is exact whatever callers do and however that changes over time. The side of a group was
//! drawn at random, and its callers would have been as bad on an equally good release.
//!
//! Each test is one comparison with a fixed number, and the levels of all possible tests sum to
//! [`LEVEL`] (a union bound: W. Feller, *An Introduction to Probability Theory*, 3rd edition, 1968,
//! IV.1). This bounds the error of the whole analysis, however long it runs and however the tests
//! depend on each other.

use super::Side;
use super::fisher::Table;

/// Steps of a share: hundredths of a percent.
pub(crate) const STEPS: u32 = 10_000;

/// Groups of callers, equally many for each step of a share, so that a whole group is on one side.
/// 40,000: of a thousand callers about 25 share a group with another; at 12 bytes each, the groups
/// take half a megabyte while a canary runs.
pub(crate) const GROUPS: u32 = 4 * STEPS;

/// The first groups, a quarter of each side. Their answers define what is slow, and are not judged
/// by it. Otherwise the callers who set the bound would be judged by it, and a slow caller would
/// count against one side while raising the bound for the other.
const MEASURING: u32 = STEPS;

/// The probability of ending a candidate that is no worse, for each of the two comparisons. With
/// the test for hopeless candidates it is one in 40,000 in all: so low that ten thousand simulated
/// runs should show none.
const LEVEL: f64 = 1e-5;

/// Requests in the smallest round. With a share of a tenth, about six of them go to the candidate.
const SMALLEST: u32 = 64;

/// Sizes of rounds, each twice the one before.
const SIZES: usize = 12;

/// The number of the first of the smallest rounds. Rounds of all sizes begin with it; 0 is before
/// all.
const FIRST: u32 = 1 << (SIZES - 1);

/// In what the candidate is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Failures,
    SlowAnswers,
}

/// A significant test against the candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Worse {
    pub by: By,
    pub table: Table,
    /// Requests in the round.
    pub requests: u32,
}

pub(super) struct Rounds {
    marks: Box<[Mark]>,
    /// The current smallest round, and its requests so far.
    number: u32,
    filled: u32,
    sizes: [Size; SIZES],
}

/// The last smallest rounds in which a group had a request, a failure, a slow answer; 0 for none.
#[derive(Clone, Copy, Default)]
struct Mark {
    seen: u32,
    failed: u32,
    slow: u32,
}

/// The current round of one size.
#[derive(Clone, Copy, Default)]
struct Size {
    /// The smallest round with which it began.
    begun: u32,
    /// Completed rounds of this size.
    ended: u64,
    failures: Table,
    slow: Table,
    /// Whether the bound for slow was known when it began.
    slow_known: bool,
}

/// The request as its group sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    pub number: u32,
    pub side: Side,
}

impl Group {
    /// Whether its answers define what is slow.
    pub(super) fn measures(self) -> bool {
        self.number < MEASURING
    }
}

impl Default for Rounds {
    fn default() -> Self {
        let mut rounds = Rounds {
            marks: vec![Mark::default(); GROUPS as usize].into_boxed_slice(),
            number: FIRST,
            filled: 0,
            sizes: [Size::default(); SIZES],
        };
        rounds.begin_all();
        rounds
    }
}

impl Rounds {
    /// Adds a request. Returns whether it is the first of its group in the smallest round, and the
    /// significant tests of the rounds that end with it. `slow` is None until the bound for slow is
    /// known.
    pub(super) fn add(
        &mut self,
        group: Group,
        failed: bool,
        slow: Option<bool>,
    ) -> (bool, Option<Worse>) {
        let Some(mark) = self.marks.get_mut(group.number as usize) else {
            return (false, None);
        };
        let first = mark.seen < self.number;
        let is_slow = slow == Some(true) && !group.measures();
        for size in &mut self.sizes {
            let seen = mark.seen < size.begun;
            let failed = failed && mark.failed < size.begun;
            let is_slow = is_slow && mark.slow < size.begun;
            if !(seen || failed || is_slow) {
                // Then it is not the first in any larger round.
                break;
            }
            size.failures.count(group.side, seen, failed);
            if !group.measures() {
                size.slow.count(group.side, seen, is_slow);
            }
        }
        mark.seen = self.number;
        if failed {
            mark.failed = self.number;
        }
        if is_slow {
            mark.slow = self.number;
        }
        self.filled += 1;
        if self.filled < SMALLEST {
            return (first, None);
        }
        (first, self.end(slow.is_some()))
    }

    /// Ends a smallest round, and the larger ones that end with it.
    fn end(&mut self, slow_known: bool) -> Option<Worse> {
        self.filled = 0;
        let Some(next) = self.number.checked_add(1) else {
            self.start_anew();
            return None;
        };
        self.number = next;
        let mut worse = None;
        for (i, size) in self.sizes.iter_mut().enumerate() {
            if !next.is_multiple_of(1 << i) {
                break;
            }
            size.ended += 1;
            let found = size.verdict(SMALLEST << i);
            worse = worse.or(found);
            size.begin(next, slow_known);
        }
        worse
    }

    /// Abandons the current rounds and begins new ones, for another share of the requests.
    pub(super) fn start_anew(&mut self) {
        match (self.number | (FIRST - 1)).checked_add(1) {
            Some(next) => self.number = next,
            None => {
                self.marks.fill(Mark::default());
                self.number = FIRST;
            }
        }
        self.filled = 0;
        self.begin_all();
    }

    fn begin_all(&mut self) {
        for size in &mut self.sizes {
            size.begin(self.number, false);
        }
    }
}

impl Size {
    fn begin(&mut self, number: u32, slow_known: bool) {
        *self = Size {
            begun: number,
            ended: self.ended,
            slow_known,
            ..Size::default()
        };
    }

    fn verdict(&self, requests: u32) -> Option<Worse> {
        // 1/2 + 1/6 + 1/12 + ... = 1.
        let nth = self.ended as f64;
        let level = LEVEL / SIZES as f64 / (nth * (nth + 1.0));
        let failures = (By::Failures, self.failures);
        let slow = self.slow_known.then_some((By::SlowAnswers, self.slow));
        [Some(failures), slow]
            .into_iter()
            .flatten()
            .find(|(_, table)| table.candidate_bad > 0 && table.p_value() <= level)
            .map(|(by, table)| Worse {
                by,
                table,
                requests,
            })
    }
}

impl Table {
    fn count(&mut self, side: Side, unit: bool, bad: bool) {
        let (units, bads) = match side {
            Side::Live => (&mut self.live, &mut self.live_bad),
            Side::Candidate => (&mut self.candidate, &mut self.candidate_bad),
        };
        *units += u32::from(unit);
        *bads += u32::from(bad);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(number: u32, side: Side) -> Group {
        Group { number, side }
    }

    #[test]
    fn each_caller_counts_once_on_one_side_per_round() {
        let mut rounds = Rounds::default();
        let (caller, others) = (group(20_000, Side::Candidate), 20_001..20_050);
        for i in 0..63 {
            let (first, _) = rounds.add(caller, true, Some(true));
            assert_eq!(first, i == 0);
        }
        let one = Table {
            candidate: 1,
            candidate_bad: 1,
            ..Table::default()
        };
        assert!(
            rounds
                .sizes
                .iter()
                .all(|size| size.failures == one && size.slow == one)
        );
        for other in others.cycle().take(200_000) {
            let (_, worse) = rounds.add(group(other, Side::Live), false, Some(false));
            assert_eq!(worse, None);
            let (_, worse) = rounds.add(caller, true, Some(true));
            assert_eq!(worse, None);
        }
    }

    #[test]
    fn rounds_end_at_their_sizes_and_a_restart_keeps_their_counts() {
        let mut rounds = Rounds::default();
        let mut ended = |requests: u32| {
            for i in 0..requests {
                rounds.add(group(i % 50, Side::Live), false, None);
            }
            rounds.sizes.map(|size| size.ended)
        };
        assert_eq!(ended(64)[..3], [1, 0, 0]);
        assert_eq!(ended(64)[..3], [2, 1, 0]);
        assert_eq!(ended(128)[..4], [4, 2, 1, 0]);
        assert_eq!(ended(SMALLEST * FIRST - 256)[SIZES - 1], 1);
        let before = ended(96);
        rounds.start_anew();
        assert_eq!(rounds.filled, 0);
        assert!(rounds.number.is_multiple_of(FIRST));
        rounds.number = u32::MAX;
        for i in 0..64 {
            rounds.add(group(i, Side::Live), true, None);
        }
        assert_eq!((rounds.number, rounds.marks[0].failed), (FIRST, 0));
        assert_eq!(rounds.sizes.map(|size| size.ended), before);
    }

    #[test]
    fn caller_that_sets_the_slow_threshold_is_not_compared_by_it() {
        let mut rounds = Rounds::default();
        rounds.add(group(MEASURING - 1, Side::Candidate), false, Some(true));
        rounds.add(group(MEASURING, Side::Candidate), false, Some(true));
        assert_eq!(
            (
                rounds.sizes[0].slow.candidate,
                rounds.sizes[0].slow.candidate_bad
            ),
            (1, 1)
        );
        assert_eq!(rounds.sizes[0].failures.candidate, 2);
    }

    #[test]
    fn all_levels_sum_up_to_the_level() {
        let sum: f64 = (1..1_000_000)
            .map(|n| 1.0 / (f64::from(n) * f64::from(n + 1)))
            .sum();
        assert!(sum <= 1.0 && sum > 0.99999);
    }
}
