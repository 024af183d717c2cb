//! The clerks that wait for slow clients: how many there may be, and whose goes where there are more.
//!
//! A slow client costs itself nothing and holds a clerk's place in the pool. So those that wait for
//! their clients have at most half of a window's clerks, and half of the pool: the rest is for
//! requests that are there. One more takes the place of the one whose client is slowest, by the
//! bytes that moved for each second in which it was waited for.

use super::errand::Errand;
use super::limits::{Limit, LiveLimits};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The part of a window's clerks, and of the pool, that may wait for clients.
const SHARE: u32 = 2;

/// The clerks of all windows that wait for slow clients.
pub struct Waiters {
    /// Places of the pool that they may have.
    most: u32,
    state: Mutex<State>,
    given_way: AtomicU64,
}

#[derive(Default)]
struct State {
    next: u64,
    used: u32,
    /// At most as many as the pool has places.
    entries: Vec<Entry>,
}

struct Entry {
    id: u64,
    window: Arc<str>,
    weight: u32,
    errand: Weak<Errand>,
}

/// The share of one request, until it is dropped.
pub(super) struct Seat {
    waiters: Arc<Waiters>,
    id: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.waiters.state().remove(self.id);
    }
}

/// The share of one window.
pub(super) struct Share {
    pub waiters: Arc<Waiters>,
    pub window: Arc<str>,
    /// Places of the pool that one clerk takes.
    pub weight: u32,
    pub limits: LiveLimits,
}

impl Share {
    /// `errand` waits for its client, which is slow.
    pub fn add(&self, errand: &Arc<Errand>) {
        let clerks = self.limits.load().get(Limit::Clerks);
        let most = u32::try_from(clerks).unwrap_or(u32::MAX).div_ceil(SHARE);
        // Dropped when the lock is free again: the last hold of an errand gives back its seat.
        let mut looked_at = Vec::new();
        let (id, gone) = {
            let mut state = self.waiters.state();
            let id = state.next;
            state.next += 1;
            state.used += self.weight;
            state.entries.push(Entry {
                id,
                window: self.window.clone(),
                weight: self.weight,
                errand: Arc::downgrade(errand),
            });
            let most = (most, self.waiters.most);
            (id, state.shrink(&self.window, most, &mut looked_at))
        };
        errand.seated(Seat {
            waiters: self.waiters.clone(),
            id,
        });
        // Not under the lock: whoever is woken may look in.
        for errand in gone {
            self.waiters.given_way.fetch_add(1, Relaxed);
            errand.give_way();
        }
    }
}

impl Waiters {
    /// For a pool of so many places.
    pub(super) fn new(pool: u32) -> Arc<Self> {
        Arc::new(Waiters {
            most: pool.div_ceil(SHARE),
            state: Mutex::default(),
            given_way: AtomicU64::new(0),
        })
    }

    /// How many there are, and how many had to give way so far.
    pub fn counts(&self) -> (usize, u64) {
        let waiting = self.state().entries.len();
        (waiting, self.given_way.load(Relaxed))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remove(&mut self, id: u64) {
        if let Some(at) = self.entries.iter().position(|entry| entry.id == id) {
            self.used -= self.entries.swap_remove(at).weight;
        }
    }

    /// Takes out those that are too many: of `window`, or of the window that has most of all. `most`
    /// are clerks of the window, and places of the pool. Whoever is held to be looked at is in
    /// `looked_at`.
    fn shrink(
        &mut self,
        window: &Arc<str>,
        (most, most_places): (u32, u32),
        looked_at: &mut Vec<Arc<Errand>>,
    ) -> Vec<Arc<Errand>> {
        let mut gone = Vec::new();
        while self.of(window) > most as usize {
            gone.extend(self.take_slowest(window, looked_at));
        }
        while self.used > most_places && self.entries.len() > 1 {
            let mut windows = BTreeMap::new();
            for entry in &self.entries {
                *windows.entry(entry.window.clone()).or_insert(0) += entry.weight;
            }
            let most = windows.into_iter().max_by_key(|(_, places)| *places);
            let Some((crowded, _)) = most else {
                break;
            };
            gone.extend(self.take_slowest(&crowded, looked_at));
        }
        gone
    }

    fn of(&self, window: &Arc<str>) -> usize {
        let same = |entry: &&Entry| entry.window == *window;
        self.entries.iter().filter(same).count()
    }

    /// Takes out the one of `window` whose client is slowest; one that is over goes first.
    fn take_slowest(
        &mut self,
        window: &Arc<str>,
        looked_at: &mut Vec<Arc<Errand>>,
    ) -> Option<Arc<Errand>> {
        let mut slowest: Option<(Option<u64>, u64, Option<Arc<Errand>>)> = None;
        for entry in self.entries.iter().filter(|entry| entry.window == *window) {
            let errand = entry.errand.upgrade();
            looked_at.extend(errand.clone());
            let pace = errand.as_ref().map(|errand| errand.client_pace());
            if slowest.as_ref().is_none_or(|(least, ..)| pace < *least) {
                slowest = Some((pace, entry.id, errand));
            }
        }
        let (_, id, errand) = slowest?;
        self.remove(id);
        errand
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits::WindowLimits;
    use super::*;
    use crate::error::Error;
    use std::time::Duration;

    fn share(waiters: &Arc<Waiters>, window: &str, clerks: u64) -> Share {
        let limits = WindowLimits::default().at(Limit::Clerks, clerks);
        Share {
            waiters: waiters.clone(),
            window: window.into(),
            weight: 1,
            limits: LiveLimits::new(arc_swap::ArcSwap::from_pointee(limits)),
        }
    }

    /// One whose client has sent so many bytes.
    fn errand(bytes: u64) -> Arc<Errand> {
        let time = Duration::from_secs(60);
        let errand = Arc::new(Errand::new(Box::new(()), Box::new(()), time));
        errand.came(bytes);
        errand
    }

    fn gave_way(errand: &Errand) -> bool {
        errand.failure().map(Error::code) == Some("body-too-slow")
    }

    #[test]
    fn beyond_a_windows_share_the_slowest_client_gives_way() {
        let waiters = Waiters::new(512);
        let share = share(&waiters, "w", 6);
        let errands = [100_000, 10, 90_000, 80_000].map(errand);
        for errand in &errands {
            share.add(errand);
        }
        let gone: Vec<bool> = errands.iter().map(|errand| gave_way(errand)).collect();
        assert_eq!(gone, [false, true, false, false]);
        assert!(errands[1].is_clients_fault());
        assert_eq!(waiters.counts(), (3, 1));
        errands[0].end();
        assert_eq!(waiters.counts(), (2, 1));
        share.add(&errand(1));
        assert_eq!(
            waiters.counts(),
            (2, 1),
            "it is dropped, and with it its seat"
        );
    }

    #[test]
    fn beyond_the_share_of_the_pool_the_window_with_most_gives_way() {
        let waiters = Waiters::new(8);
        let (greedy, modest) = (
            share(&waiters, "greedy", 100),
            share(&waiters, "modest", 100),
        );
        let many: Vec<_> = (0..4).map(|_| errand(1000)).collect();
        many.iter().for_each(|errand| greedy.add(errand));
        let one = errand(1);
        modest.add(&one);
        assert!(!gave_way(&one), "it is slower, and its window has fewer");
        let gone = many.iter().filter(|errand| gave_way(errand)).count();
        assert_eq!((gone, waiters.counts()), (1, (4, 1)));
    }
}
