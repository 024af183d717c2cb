//! What a subscription delivers next: the order of its unfinished events. Nothing here waits or
//! knows the time by itself, so that it can be held to a model.
//!
//! Events of one key are offered one after the other, in the order of their sequences; one that is
//! tried again later keeps those behind it. Events without a key wait for none. Of a key that is
//! held only what was parked and is tried again is offered.
//!
//! [`parts`] is what it is made of, and [`keys`] which event of a key comes next. Here events are
//! found, taken and done with.

mod keys;
mod parts;
#[cfg(test)]
mod tests;

pub(crate) use parts::{Origin, Ref, Source, Tries};

use crate::done::Done;
use crate::limits::{MAX_AHEAD_MS, MAX_UNFINISHED};
use parts::{Item, Key, OfKey, Stand};
use std::collections::{BTreeSet, HashMap, VecDeque};

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
    /// one, or was put back. Forgets what was known of it. Gives the sequences of the events that
    /// were unfinished.
    pub(crate) fn reset(&mut self, source: usize, last: u64) -> Vec<u64> {
        let of_log = |at: &&Ref| at.source == source && at.origin == Origin::Log;
        let gone: Vec<Ref> = self.items.keys().filter(of_log).copied().collect();
        for at in &gone {
            self.finished(*at);
        }
        if let Some(source) = self.sources.get_mut(source) {
            source.done = Done::up_to(last);
            source.read = last;
            // What is in flight is of the log that is no more.
            source.log += 1;
        }
        gone.iter().map(|at| at.sequence).collect()
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
    pub(crate) fn retry_parked(&mut self, at: Ref, time_ms: u64, key: Option<u64>) {
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

    /// Takes the next event. It stays taken until one of [`Flow::finished`], [`Flow::again`] and
    /// [`Flow::put_back`].
    pub(crate) fn take(&mut self, now_ms: u64) -> Option<Ref> {
        while let Some((time, at)) = self.later.first().copied()
            && (time <= now_ms || time - now_ms > MAX_AHEAD_MS)
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

    /// Events that are offered now, counted up to `most`.
    pub(crate) fn offered(&self, most: usize) -> usize {
        let offered = |at: &&Ref| self.items.get(at).map(|item| item.stand) == Some(Stand::Ready);
        self.ready.iter().filter(offered).take(most).count()
    }

    /// Whether an event is offered now.
    pub(crate) fn is_ready(&self) -> bool {
        self.offered(1) > 0
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
}
