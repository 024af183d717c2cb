//! Sorts answers by the beginning of their requests.
//!
//! The order in which answers end depends on how they end. A candidate that fails at once, while
//! the live release fails after its timeout, would show its failures first and be ended for being
//! better. So each request gets a number when it begins, and its answer is passed on once all
//! before it are known, or have been waited for long enough.

use super::Side;
use super::times::Bucket;
use std::collections::VecDeque;
use std::time::Duration;

/// How long an answer is waited for. Longer than the default wall time, so that a release that
/// hangs is seen to fail. What takes longer to its last byte, such as a stream, is inconclusive.
const LONGEST: Duration = Duration::from_secs(60);

/// Requests waited for at once, at 16 bytes each. Enough for 500 a second behind one that takes the
/// longest time. Requests beyond it are not compared, and counted as skipped.
pub(super) const MOST: usize = 1 << 15;

/// The result of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// Inconclusive.
    Nothing,
    /// It was answered, or failed, with this time to its head.
    Answer { failed: bool, took: Bucket },
    /// The client left before the head, after this time.
    Left { after: Bucket },
}

/// What is known about a request when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    /// The group of its caller.
    pub group: u32,
    pub side: Side,
    /// The side was drawn for this request, and is not its group's.
    pub drawn: bool,
}

/// A result that is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Next {
    pub asked: Asked,
    pub heard: Heard,
}

struct Entry {
    asked: Asked,
    /// Milliseconds, which wrap around after 49 days: only differences matter.
    begun_ms: u32,
    heard: Option<Heard>,
}

#[derive(Default)]
pub(super) struct Order {
    /// The number of the first entry.
    first: u64,
    entries: VecDeque<Entry>,
    /// Requests that began while too many were waited for.
    pub skipped: u64,
}

impl Order {
    /// Begins a request. Returns its number, or None if it is skipped.
    pub(super) fn begin(&mut self, asked: Asked, now_ms: u32) -> Option<u64> {
        if self.entries.len() >= MOST {
            self.skipped += 1;
            return None;
        }
        self.entries.push_back(Entry {
            asked,
            begun_ms: now_ms,
            heard: None,
        });
        Some(self.first + self.entries.len() as u64 - 1)
    }

    /// Records the result of a request. Ignored if it was waited for too long.
    pub(super) fn end(&mut self, number: u64, heard: Heard) {
        let entry = number
            .checked_sub(self.first)
            .and_then(|index| self.entries.get_mut(usize::try_from(index).ok()?));
        if let Some(entry) = entry {
            entry.heard = Some(heard);
        }
    }

    /// The next result, if it is known or was waited for too long.
    pub(super) fn next(&mut self, now_ms: u32) -> Option<Next> {
        let front = self.entries.front()?;
        let waited = now_ms.wrapping_sub(front.begun_ms);
        let heard = match front.heard {
            Some(heard) => heard,
            None if u128::from(waited) >= LONGEST.as_millis() => Heard::Nothing,
            None => return None,
        };
        let next = Next {
            asked: front.asked,
            heard,
        };
        self.entries.pop_front();
        self.first += 1;
        Some(next)
    }

    /// Forgets everything that is waited for.
    pub(super) fn clear(&mut self) {
        self.first += self.entries.len() as u64;
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(group: u32) -> Asked {
        let side = Side::Live;
        Asked {
            group,
            side,
            drawn: false,
        }
    }

    fn answer(failed: bool) -> Heard {
        let took = Bucket::of(Duration::from_millis(1));
        Heard::Answer { failed, took }
    }

    fn groups(order: &mut Order, now_ms: u32) -> Vec<u32> {
        std::iter::from_fn(|| order.next(now_ms))
            .map(|next| next.asked.group)
            .collect()
    }

    #[test]
    fn answers_are_delivered_in_request_order() {
        let mut order = Order::default();
        let first = order.begin(asked(1), 0).unwrap();
        let second = order.begin(asked(2), 0).unwrap();
        order.end(second, answer(true));
        assert!(groups(&mut order, 10).is_empty());
        order.end(first, answer(false));
        assert_eq!(groups(&mut order, 20), [1, 2]);
    }

    #[test]
    fn overdue_answer_counts_as_unknown_and_holds_up_nobody() {
        let mut order = Order::default();
        let near_the_end = u32::MAX - 5;
        let hanging = order.begin(asked(1), near_the_end).unwrap();
        let second = order.begin(asked(2), near_the_end).unwrap();
        order.end(second, answer(false));
        assert!(groups(&mut order, 59_990).is_empty());
        assert_eq!(
            order.next(60_000).map(|next| next.heard),
            Some(Heard::Nothing)
        );
        assert_eq!(
            order.next(60_000).map(|next| next.heard),
            Some(answer(false))
        );
        order.end(hanging, answer(true));
        assert!(groups(&mut order, 60_000).is_empty());
    }

    #[test]
    fn waiting_answers_are_bounded_and_the_rest_counted_as_skipped() {
        let mut order = Order::default();
        for group in 0..MOST as u32 {
            assert!(order.begin(asked(group), 0).is_some());
        }
        assert_eq!(order.begin(asked(9), 0), None);
        assert_eq!(order.skipped, 1);
        assert!(order.next(60_000).is_some());
        assert!(order.begin(asked(9), 60_000).is_some());
        order.clear();
        assert!(groups(&mut order, 120_000).is_empty());
        assert!(size_of::<Entry>() <= 16);
    }
}
