//! What the order of a subscription is made of.

use crate::done::Done;
use std::collections::BTreeSet;

/// An event of a subscription, by the number of its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ref {
    pub source: usize,
    /// Parked events come before those of the log.
    pub origin: Origin,
    /// Which log of the source: another one after each `Flow::reset`. Of parked events a number
    /// that tells those apart that have the same sequence in different logs.
    pub(super) log: u32,
    pub sequence: u64,
}

impl Ref {
    /// A parked event.
    pub(crate) fn parked(source: usize, sequence: u64) -> Self {
        Ref {
            source,
            origin: Origin::Parked,
            log: 0,
            sequence,
        }
    }

    /// Another parked event of the same sequence.
    pub(crate) fn next(self) -> Self {
        Ref {
            log: self.log + 1,
            ..self
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
pub(super) type Key = (usize, u64);

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
pub(super) enum Stand {
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
pub(super) struct Item {
    pub key: Option<Key>,
    pub tries: Tries,
    pub stand: Stand,
    /// When it was emitted.
    pub time_ms: u64,
}

#[derive(Debug, Default)]
pub(super) struct OfKey {
    pub refs: BTreeSet<Ref>,
    /// The one that is offered or taken.
    pub front: Option<Ref>,
}

/// One log.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub done: Done,
    /// All up to this have been looked at.
    pub read: u64,
    pub(super) unfinished: usize,
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
