//! What a subscription delivers next: the order of its unfinished events. Nothing here waits or
//! knows the time by itself, so that it can be held to a model.
//!
//! Events of one key are offered one after the other, in the order of their sequences; one that is
//! tried again later keeps those behind it. Events without a key wait for none. Of a key that is
//! held only what was parked and is tried again is offered.

use crate::done::Done;
use crate::limits::MAX_UNFINISHED;
use std::collections::{BTreeSet, HashMap, VecDeque};

/// An event of a subscription, by the number of its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ref {
    pub source: usize,
    /// Which log of the source: another one after each [`Flow::reset`]. 0 for parked events.
    log: u32,
    pub sequence: u64,
    pub origin: Origin,
}

impl Ref {
    /// A parked event.
    pub(crate) fn parked(source: usize, sequence: u64) -> Self {
        Ref {
            source,
            log: 0,
            sequence,
            origin: Origin::Parked,
        }
    }
}

/// Where its payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Origin {
    /// It was parked, and is tried again from what was kept of it.
    Parked,
    /// The log of its source.
    Log,
}

/// The hash of a key of one source. Two keys with the same hash would only wait for each other.
type Key = (usize, u64);

/// What was tried so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Tries {
    /// Attempts that have failed.
    pub count: u32,
    /// When the first of them was made, in milliseconds since the epoch.
    pub first_ms: u64,
    /// Not tried again before.
    pub next_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// Behind another of its key.
    Waiting,
    /// In the list of those that are offered.
    Ready,
    /// Offered from that time on.
    Later(u64),
    /// It was taken.
    Busy,
}

#[derive(Debug)]
struct Item {
    key: Option<Key>,
    tries: Tries,
    stand: Stand,
    /// When it was emitted.
    time_ms: u64,
}

#[derive(Debug, Default)]
struct OfKey {
    refs: BTreeSet<Ref>,
    /// The one that is offered or taken.
    front: Option<Ref>,
}

/// One log.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub done: Done,
    /// All up to this have been looked at.
    pub read: u64,
    unfinished: usize,
    /// How often it was another log.
    pub log: u32,
}

impl Source {
    /// How many up to `last` are not finished.
    pub(crate) fn left(&self, last: u64) -> u64 {
        let beyond = last.saturating_sub(self.done.upto());
        beyond.saturating_sub(self.done.count_beyond(last))
    }
}

/// The order of one subscription.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    pub sources: Vec<Source>,
    items: HashMap<Ref, Item>,
    keys: HashMap<Key, OfKey>,
    /// Keys that are held, and the parked events by which.
    held: HashMap<Key, BTreeSet<u64>>,
    /// Oldest offer first. May name what is offered no more.
    ready: VecDeque<Ref>,
    later: BTreeSet<(u64, Ref)>,
    busy: usize,
}

impl Flow {
    /// Adds a source; those up to `done` are finished. Gives its number.
    pub(crate) fn add_source(&mut self, done: Done) -> usize {
        let read = done.upto();
        self.sources.push(Source {
            done,
            read,
            unfinished: 0,
            log: 1,
        });
        self.sources.len() - 1
    }

    /// How many more unfinished events of `source` may be found.
    pub(crate) fn room(&self, source: usize) -> usize {
        let source = self.sources.get(source);
        source.map_or(0, |source| MAX_UNFINISHED.saturating_sub(source.unfinished))
    }

    /// Taken and not finished.
    pub(crate) fn busy(&self) -> usize {
        self.busy
    }

    /// Unfinished events that it knows of.
    #[cfg(test)]
    pub(crate) fn unfinished(&self) -> usize {
        self.items.len()
    }

    /// When the oldest of them was emitted.
    pub(crate) fn oldest_ms(&self) -> Option<u64> {
        self.items.values().map(|item| item.time_ms).min()
    }

    /// The log of `source` ends at `last`, which is less than what was seen of it: it is another
    /// one, or was put back. Forgets what was known of it.
    pub(crate) fn reset(&mut self, source: usize, last: u64) {
        let of_log = |at: &&Ref| at.source == source && at.origin == Origin::Log;
        let gone: Vec<Ref> = self.items.keys().filter(of_log).copied().collect();
        for at in gone {
            self.finished(at);
        }
        if let Some(source) = self.sources.get_mut(source) {
            source.done = Done::up_to(last);
            source.read = last;
            // What is in flight is of the log that is no more.
            source.log += 1;
        }
    }

    /// Keys whose first event waits to be tried again, or that are held.
    pub(crate) fn blocked_keys(&self) -> usize {
        let waits = |of_key: &&OfKey| {
            let front = of_key.front.and_then(|front| self.items.get(&front));
            front.is_some_and(|item| matches!(item.stand, Stand::Later(_)))
        };
        self.keys.values().filter(waits).count() + self.held.len()
    }

    /// The events from `first` to `last` are of no interest.
    pub(crate) fn passed(&mut self, source: usize, first: u64, last: u64) {
        if let Some(source) = self.sources.get_mut(source) {
            source.done.add(first, last);
            source.read = source.read.max(last);
        }
    }

    /// The event at `sequence` is to be delivered, unless it was already.
    pub(crate) fn found(
        &mut self,
        source: usize,
        sequence: u64,
        time_ms: u64,
        key: Option<u64>,
        tries: Tries,
    ) {
        let Some(of) = self.sources.get_mut(source) else {
            return;
        };
        of.read = of.read.max(sequence);
        let at = Ref {
            source,
            log: of.log,
            sequence,
            origin: Origin::Log,
        };
        if of.done.contains(sequence) || self.items.contains_key(&at) {
            return;
        }
        of.unfinished += 1;
        self.add(at, time_ms, key, tries);
    }

    /// A parked event is to be tried again, from the first attempt on.
    pub(crate) fn retry_parked(
        &mut self,
        source: usize,
        sequence: u64,
        time_ms: u64,
        key: Option<u64>,
    ) {
        let at = Ref::parked(source, sequence);
        if !self.items.contains_key(&at) {
            self.add(at, time_ms, key, Tries::default());
        }
    }

    fn add(&mut self, at: Ref, time_ms: u64, key: Option<u64>, tries: Tries) {
        let key = key.map(|key| (at.source, key));
        let stand = Stand::Waiting;
        let item = Item {
            key,
            tries,
            stand,
            time_ms,
        };
        self.items.insert(at, item);
        match key {
            Some(key) => {
                self.keys.entry(key).or_default().refs.insert(at);
                self.settle(key);
            }
            None => self.offer(at),
        }
    }

    /// Offers an event that is the first of its key.
    fn offer(&mut self, at: Ref) {
        let Some(item) = self.items.get_mut(&at) else {
            return;
        };
        match item.tries.next_ms {
            0 => {
                item.stand = Stand::Ready;
                self.ready.push_back(at);
            }
            time => {
                item.stand = Stand::Later(time);
                self.later.insert((time, at));
            }
        }
    }

    /// Offers the right one of a key.
    fn settle(&mut self, key: Key) {
        let held = self.held.contains_key(&key);
        let Some(of_key) = self.keys.get_mut(&key) else {
            return;
        };
        let mut may = of_key.refs.iter();
        let next = may.find(|at| !held || at.origin == Origin::Parked).copied();
        let front = of_key.front;
        if front == next {
            if of_key.refs.is_empty() {
                self.keys.remove(&key);
            }
            return;
        }
        if let Some(item) = front.and_then(|front| self.items.get_mut(&front)) {
            match item.stand {
                Stand::Busy => return,
                Stand::Later(time) => {
                    if let Some(front) = front {
                        self.later.remove(&(time, front));
                    }
                }
                Stand::Ready | Stand::Waiting => {}
            }
            item.stand = Stand::Waiting;
        }
        of_key.front = next;
        if of_key.refs.is_empty() {
            self.keys.remove(&key);
        }
        if let Some(next) = next {
            self.offer(next);
        }
    }

    /// Takes the next event. It stays taken until one of [`Flow::finished`], [`Flow::again`] and
    /// [`Flow::put_back`].
    pub(crate) fn take(&mut self, now_ms: u64) -> Option<Ref> {
        while let Some((time, at)) = self.later.first().copied()
            && time <= now_ms
        {
            self.later.remove(&(time, at));
            if let Some(item) = self.items.get_mut(&at) {
                item.stand = Stand::Ready;
                self.ready.push_back(at);
            }
        }
        while let Some(at) = self.ready.pop_front() {
            if let Some(item) = self.items.get_mut(&at)
                && item.stand == Stand::Ready
            {
                item.stand = Stand::Busy;
                self.busy += 1;
                return Some(at);
            }
        }
        None
    }

    /// When the next event is offered that waits for its time.
    pub(crate) fn next_time(&self) -> Option<u64> {
        self.later.first().map(|(time, _)| *time)
    }

    /// Whether an event is offered now.
    pub(crate) fn is_ready(&self) -> bool {
        let offered = |at: &Ref| self.items.get(at).map(|item| item.stand) == Some(Stand::Ready);
        self.ready.iter().any(offered)
    }

    /// Whether the event is taken.
    pub(crate) fn is_busy(&self, at: Ref) -> bool {
        self.items.get(&at).map(|item| item.stand) == Some(Stand::Busy)
    }

    /// What was tried of an event so far.
    pub(crate) fn tries(&self, at: Ref) -> Tries {
        self.items
            .get(&at)
            .map(|item| item.tries)
            .unwrap_or_default()
    }

    /// It was taken, and is done with: delivered, parked, or gone.
    pub(crate) fn finished(&mut self, at: Ref) {
        let Some(item) = self.items.remove(&at) else {
            return;
        };
        if item.stand == Stand::Busy {
            self.busy -= 1;
        }
        if let Stand::Later(time) = item.stand {
            self.later.remove(&(time, at));
        }
        if let (Origin::Log, Some(source)) = (at.origin, self.sources.get_mut(at.source)) {
            source.done.add(at.sequence, at.sequence);
            source.unfinished = source.unfinished.saturating_sub(1);
        }
        if let Some(key) = item.key {
            if let Some(of_key) = self.keys.get_mut(&key) {
                of_key.refs.remove(&at);
                of_key.front = of_key.front.filter(|front| *front != at);
            }
            self.settle(key);
        }
    }

    /// It was taken, and is tried again as `tries` says.
    pub(crate) fn again(&mut self, at: Ref, tries: Tries) {
        self.back(at, Some(tries));
    }

    /// It was taken, and not tried.
    pub(crate) fn put_back(&mut self, at: Ref) {
        self.back(at, None);
    }

    fn back(&mut self, at: Ref, tries: Option<Tries>) {
        let Some(item) = self.items.get_mut(&at) else {
            return;
        };
        if item.stand != Stand::Busy {
            return;
        }
        self.busy -= 1;
        item.stand = Stand::Waiting;
        match tries {
            Some(tries) => item.tries = tries,
            // It was due.
            None => item.tries.next_ms = 0,
        }
        match item.key {
            Some(key) => {
                if let Some(of_key) = self.keys.get_mut(&key) {
                    of_key.front = None;
                }
                self.settle(key);
            }
            None => self.offer(at),
        }
    }

    /// A parked event holds its key.
    pub(crate) fn hold(&mut self, source: usize, sequence: u64, key: u64) {
        let key = (source, key);
        self.held.entry(key).or_default().insert(sequence);
        self.settle(key);
    }

    /// It does so no more.
    pub(crate) fn release(&mut self, source: usize, sequence: u64, key: u64) {
        let key = (source, key);
        if let Some(by) = self.held.get_mut(&key) {
            by.remove(&sequence);
            if by.is_empty() {
                self.held.remove(&key);
            }
        }
        self.settle(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn log(sequence: u64) -> Ref {
        Ref {
            source: 0,
            log: 1,
            sequence,
            origin: Origin::Log,
        }
    }

    fn flow(keys: &[Option<u64>]) -> Flow {
        let mut flow = Flow::default();
        flow.add_source(Done::default());
        for (sequence, key) in (1..).zip(keys) {
            flow.found(0, sequence, sequence, *key, Tries::default());
        }
        flow
    }

    fn later(next_ms: u64) -> Tries {
        Tries {
            count: 1,
            first_ms: 1,
            next_ms,
        }
    }

    #[test]
    fn event_that_fails_keeps_its_key_and_lets_others_flow() {
        let mut flow = flow(&[Some(1), Some(1), Some(2), None]);
        let taken: Vec<_> = std::iter::from_fn(|| flow.take(0)).collect();
        assert_eq!(taken, [log(1), log(3), log(4)]);
        flow.again(log(1), later(50));
        flow.finished(log(3));
        flow.finished(log(4));
        assert_eq!((flow.take(49), flow.next_time()), (None, Some(50)));
        assert_eq!(flow.sources[0].done.upto(), 0);
        assert_eq!(flow.take(50), Some(log(1)));
        flow.finished(log(1));
        assert_eq!(flow.take(50), Some(log(2)));
        flow.finished(log(2));
        assert_eq!(flow.sources[0].done, Done::up_to(4));
        assert!(flow.keys.is_empty() && flow.later.is_empty());
    }

    #[test]
    fn held_key_goes_on_only_with_what_was_parked() {
        let mut flow = flow(&[Some(1), Some(1)]);
        assert_eq!(flow.take(0), Some(log(1)));
        flow.hold(0, 1, 1);
        flow.finished(log(1));
        assert_eq!(flow.take(0), None);
        flow.retry_parked(0, 1, 1, Some(1));
        let parked = Ref::parked(0, 1);
        assert_eq!(flow.take(0), Some(parked));
        flow.finished(parked);
        assert_eq!(flow.take(0), None);
        flow.release(0, 1, 1);
        assert_eq!(flow.take(0), Some(log(2)));
    }

    #[test]
    fn parked_event_that_is_tried_again_comes_before_later_ones_of_its_key() {
        let mut flow = flow(&[Some(1)]);
        flow.passed(0, 2, 4);
        flow.found(0, 5, 5, Some(1), later(90));
        assert_eq!(flow.take(0), Some(log(1)));
        flow.retry_parked(0, 3, 3, Some(1));
        assert_eq!(flow.take(0), None);
        flow.finished(log(1));
        let parked = flow.take(0).unwrap();
        assert_eq!((parked.sequence, parked.origin), (3, Origin::Parked));
        flow.finished(parked);
        assert_eq!((flow.take(0), flow.take(90)), (None, Some(log(5))));
    }

    #[test]
    fn unfinished_events_are_bounded_and_room_comes_back() {
        let mut flow = flow(&[None; MAX_UNFINISHED]);
        assert_eq!(flow.room(0), 0);
        let first = flow.take(0).unwrap();
        let second = flow.take(0).unwrap();
        flow.finished(second);
        assert_eq!((flow.room(0), flow.sources[0].done.upto()), (1, 0));
        flow.finished(first);
        assert_eq!((flow.room(0), flow.sources[0].done.upto()), (2, 2));
    }

    proptest! {
        /// Against what must hold: one of a key at once, in order, each finished once, none lost.
        #[test]
        fn events_of_a_key_are_taken_in_order_and_all_of_them(
            keys in prop::collection::vec(prop::option::of(0u64..4), 1..40),
            steps in prop::collection::vec((0u8..5, 0usize..8), 0..400),
        ) {
            let mut flow = flow(&keys);
            let (mut busy, mut done) = (Vec::<Ref>::new(), Vec::<u64>::new());
            let mut now = 1;
            let key = |at: &Ref| keys[at.sequence as usize - 1];
            let mut step = |flow: &mut Flow, what: u8, which: usize, done: &mut Vec<u64>| {
                now += 1;
                match what {
                    0 | 1 => if let Some(at) = flow.take(now) {
                        if let Some(key) = key(&at) {
                            prop_assert!(busy.iter().all(|other| keys[other.sequence as usize - 1] != Some(key)));
                            let before = (1..at.sequence).filter(|s| keys[*s as usize - 1] == Some(key));
                            for sequence in before {
                                prop_assert!(done.contains(&sequence), "{sequence} is passed by {at:?}");
                            }
                        }
                        busy.push(at);
                    }
                    _ if busy.is_empty() => {}
                    what => {
                        let at = busy.remove(which % busy.len());
                        match what {
                            2 => flow.again(at, later(now + which as u64)),
                            3 => flow.put_back(at),
                            _ => {
                                prop_assert!(!done.contains(&at.sequence));
                                done.push(at.sequence);
                                flow.finished(at);
                            }
                        }
                    }
                }
                Ok(())
            };
            for (what, which) in steps {
                step(&mut flow, what, which, &mut done)?;
            }
            for _ in 0..keys.len() * 20 {
                step(&mut flow, 0, 0, &mut done)?;
                step(&mut flow, 4, 0, &mut done)?;
            }
            prop_assert_eq!(done.len(), keys.len());
            prop_assert_eq!(&flow.sources[0].done, &Done::up_to(keys.len() as u64));
            prop_assert_eq!((flow.busy(), flow.unfinished()), (0, 0));
        }
    }
}
