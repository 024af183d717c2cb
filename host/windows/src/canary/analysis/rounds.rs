//! Compares the callers of the two releases, in rounds of many sizes.
//!
//! The requests, in the order in which they began, are cut into rounds of 64, of 128, and so on up
//! to 131,072: a small round shows soon what is very bad, a large one what is a little worse. At
//! the end of a round Fisher's exact test says how probable it is that so many of the bad callers
//! were the candidate's.
//!
//! What is counted is not requests but groups of callers (see [`GROUPS`]), each once a round: one
//! caller adds one to one side, however many requests he sends and however many fail. So the test
//! is exact whatever callers do and however that changes in time: which side a group is on was
//! drawn at random, and of a release as good as the other its callers would have been as bad.
//!
//! Each test is one comparison of a number that was fixed before, and the levels of all that there
//! can ever be sum up to [`LEVEL`] (a union bound: W. Feller, *An Introduction to Probability
//! Theory*, 3rd edition, 1968, IV.1). So that bounds the error of the whole trial, however long it
//! is and however the tests depend on each other.

use super::Side;
use super::fisher::Table;

/// Steps of a share: hundredths of a percent.
pub(crate) const STEPS: u32 = 10_000;

/// Groups of callers, as many for each step of a share, so that a group is on one side wholly.
/// 40,000: of a thousand callers about 25 share theirs with another; at 12 bytes each they take half
/// a megabyte while a canary runs.
pub(crate) const GROUPS: u32 = 4 * STEPS;

/// The first groups, a quarter of each side. Their answers say what is slow, and are not compared
/// by it: or those who make the bound would be judged by it, and a slow caller would count on the
/// one side and excuse himself on the other.
const MEASURING: u32 = STEPS;

/// How improbable it must be that a candidate which is no worse is ended, for each of the two
/// comparisons. With what hopelessness adds it is one in 40,000: well below one in ten thousand, so
/// that ten thousand simulated runs can be expected to show none.
const LEVEL: f64 = 1e-5;

/// Requests in the smallest round. At a tenth of the requests about six of them are the
/// candidate's.
const SMALLEST: u32 = 64;

/// Sizes of rounds, each twice the one before.
const SIZES: usize = 12;

/// The number of the first smallest round. At such a number rounds of all sizes begin; and 0 is
/// before all.
const FIRST: u32 = 1 << (SIZES - 1);

/// By what the candidate is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Failures,
    SlowAnswers,
}

/// A test that speaks against the candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Worse {
    pub by: By,
    pub table: Table,
    /// Requests in the round.
    pub requests: u32,
}

pub(super) struct Rounds {
    marks: Box<[Mark]>,
    /// The smallest round that is running, and requests in it so far.
    number: u32,
    filled: u32,
    sizes: [Size; SIZES],
}

/// The smallest rounds in which a group last had a request, a failure, a slow answer; 0 for none
/// yet.
#[derive(Clone, Copy, Default)]
struct Mark {
    seen: u32,
    failed: u32,
    slow: u32,
}

/// The running round of one size.
#[derive(Clone, Copy, Default)]
struct Size {
    /// The smallest round with which it began.
    begun: u32,
    /// Rounds of this size that have ended.
    ended: u64,
    failures: Table,
    slow: Table,
    /// What is slow was known when it began.
    slow_known: bool,
}

/// What is told of a request's group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    pub number: u32,
    pub side: Side,
}

impl Group {
    /// Whether its answers say what is slow.
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
    /// Adds a request: says whether it is its group's first in the smallest round, and what the
    /// rounds that end with it say against the candidate. `slow` is nothing as long as it is not
    /// known what is slow.
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
                // Nor is it a first in any larger round.
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

    /// A smallest round ends, and with it others.
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

    /// Leaves the running rounds without a verdict, and begins new ones: for another share of the
    /// requests.
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
