//! Which release may answer: whoever swaps writes it down before and after.

use std::ops::RangeInclusive;
use std::sync::Mutex;

/// The releases that were swapped in, in order, by the numbers that they are marked with.
#[derive(Default)]
pub struct Ledger(Mutex<Swaps>);

#[derive(Default)]
struct Swaps {
    /// The last one may not be live yet.
    targets: Vec<u32>,
    settled: usize,
}

/// Where the ledger stood when a request was sent.
#[derive(Clone, Copy)]
pub struct Mark(usize);

impl Ledger {
    /// A swap to the release marked `number` begins.
    pub fn begins(&self, number: u32) {
        self.0.lock().unwrap().targets.push(number);
    }

    /// The host has said that the swap is done: no request from now on may meet an older release.
    pub fn done(&self) {
        let mut swaps = self.0.lock().unwrap();
        swaps.settled = swaps.targets.len() - 1;
    }

    /// To be taken before a request is sent.
    pub fn mark(&self) -> Mark {
        Mark(self.0.lock().unwrap().settled)
    }

    /// Whether the release marked `number` was live at some time between `mark` and now.
    pub fn allows(&self, mark: Mark, number: u32) -> bool {
        let swaps = self.0.lock().unwrap();
        swaps.targets[mark.0..].contains(&number)
    }

    /// First and last of the releases that were live between `mark` and now.
    pub fn allowed(&self, mark: Mark) -> RangeInclusive<u32> {
        let swaps = self.0.lock().unwrap();
        let targets = &swaps.targets[mark.0..];
        targets[0]..=targets[targets.len() - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_releases_may_answer_during_a_swap_and_only_the_new_one_after() {
        let ledger = Ledger::default();
        ledger.begins(1);
        ledger.done();
        let before = ledger.mark();
        assert!(ledger.allows(before, 1) && !ledger.allows(before, 2));
        ledger.begins(2);
        let during = ledger.mark();
        ledger.done();
        let after = ledger.mark();
        assert!(ledger.allows(before, 2));
        assert!(ledger.allows(during, 1) && ledger.allows(during, 2));
        assert!(!ledger.allows(after, 1) && ledger.allows(after, 2));
    }
}
