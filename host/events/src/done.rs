//! Which events of a log are finished with: all up to one, and some beyond it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A set of sequences, kept as ranges. It has about as many ranges as there are unfinished events
/// between finished ones, which [`crate::limits::MAX_UNFINISHED`] bounds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub(crate) struct Done {
    upto: u64,
    /// Ranges beyond `upto`: the first of each, and its last. Neither overlapping nor adjacent.
    beyond: BTreeMap<u64, u64>,
}

/// As it is on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Written {
    upto: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    beyond: Vec<(u64, u64)>,
}

impl From<Written> for Done {
    fn from(written: Written) -> Self {
        let mut done = Done::up_to(written.upto);
        for (first, last) in written.beyond {
            done.add(first, last);
        }
        done
    }
}

impl From<Done> for Written {
    fn from(done: Done) -> Self {
        Written {
            upto: done.upto,
            beyond: done.beyond.into_iter().collect(),
        }
    }
}

impl Done {
    /// All up to `last`, which is included. 0: none.
    pub(crate) fn up_to(last: u64) -> Self {
        Done {
            upto: last,
            beyond: BTreeMap::new(),
        }
    }

    /// The last before the first gap.
    pub(crate) fn upto(&self) -> u64 {
        self.upto
    }

    /// The highest.
    pub(crate) fn highest(&self) -> u64 {
        let last = self.beyond.last_key_value();
        last.map_or(self.upto, |(_, last)| *last)
    }

    pub(crate) fn contains(&self, sequence: u64) -> bool {
        sequence <= self.upto || self.range_at(sequence).is_some()
    }

    fn range_at(&self, sequence: u64) -> Option<(u64, u64)> {
        let (first, last) = self.beyond.range(..=sequence).next_back()?;
        (*last >= sequence).then_some((*first, *last))
    }

    /// The first at or after `sequence` that is not in it.
    pub(crate) fn next_gap(&self, sequence: u64) -> u64 {
        let sequence = sequence.max(self.upto.saturating_add(1));
        match self.range_at(sequence) {
            // Ranges are not adjacent.
            Some((_, last)) => last.saturating_add(1),
            None => sequence,
        }
    }

    /// How many are finished beyond the first gap up to `last`.
    pub(crate) fn count_beyond(&self, last: u64) -> u64 {
        let ranges = self.beyond.range(..=last);
        ranges
            .map(|(first, end)| (*end).min(last) - first + 1)
            .sum()
    }

    /// Adds all from `first` to `last`, both included.
    pub(crate) fn add(&mut self, first: u64, last: u64) {
        if last <= self.upto || first > last {
            return;
        }
        let (mut first, mut last) = (first.max(self.upto.saturating_add(1)), last);
        // What touches it becomes one with it.
        while let Some((begin, end)) = self.touching(first, last) {
            self.beyond.remove(&begin);
            (first, last) = (first.min(begin), last.max(end));
        }
        match first == self.upto.saturating_add(1) {
            true => self.upto = last,
            false => {
                self.beyond.insert(first, last);
            }
        }
    }

    fn touching(&self, first: u64, last: u64) -> Option<(u64, u64)> {
        let (begin, end) = self.beyond.range(..=last.saturating_add(1)).next_back()?;
        (end.saturating_add(1) >= first).then_some((*begin, *end))
    }

    /// Takes out all from `first` on.
    pub(crate) fn remove_from(&mut self, first: u64) {
        let tail = self.beyond.split_off(&first);
        drop(tail);
        if let Some((_, last)) = self.beyond.iter_mut().next_back() {
            *last = (*last).min(first.saturating_sub(1));
        }
        self.upto = self.upto.min(first.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn finished_events_beyond_a_gap_join_once_the_gap_is_closed() {
        let mut done = Done::up_to(3);
        done.add(5, 6);
        done.add(8, 8);
        assert_eq!((done.upto(), done.highest()), (3, 8));
        assert_eq!((done.next_gap(1), done.next_gap(5)), (4, 7));
        assert_eq!(done.count_beyond(8), 3);
        done.add(4, 4);
        assert_eq!((done.upto(), done.next_gap(0)), (6, 7));
        done.add(7, 7);
        assert_eq!(done, Done::up_to(8));
    }

    #[test]
    fn set_is_read_as_it_was_written() {
        let mut done = Done::up_to(3);
        done.add(5, 6);
        let text = serde_json::to_string(&done).unwrap();
        assert_eq!(text, r#"{"upto":3,"beyond":[[5,6]]}"#);
        assert_eq!(serde_json::from_str::<Done>(&text).unwrap(), done);
    }

    proptest! {
        #[test]
        fn set_is_what_a_plain_set_is(steps in prop::collection::vec((0u8..5, 1u64..40, 0u64..5), 0..60)) {
            let (mut done, mut model) = (Done::default(), BTreeSet::new());
            for (what, at, more) in steps {
                match what {
                    0 => {
                        done.remove_from(at);
                        model.retain(|sequence| *sequence < at);
                    }
                    _ => {
                        done.add(at, at + more);
                        model.extend(at..=at + more);
                    }
                }
                for sequence in 1..50 {
                    prop_assert_eq!(done.contains(sequence), model.contains(&sequence));
                    let gap = (sequence..).find(|gap| !model.contains(gap)).unwrap();
                    prop_assert_eq!(done.next_gap(sequence), gap);
                }
                prop_assert_eq!(done.highest(), model.last().copied().unwrap_or(0));
                let gaps = done.beyond.iter().zip(done.beyond.keys().skip(1));
                for ((_, last), next) in gaps {
                    prop_assert!(last + 1 < *next);
                }
            }
        }
    }
}
