//! The instances that wait for slow clients: how many there may be, and which one is dropped when
//! there are more.
//!
//! A slow client costs its sender nothing and occupies a slot in the pool. Instances that wait for
//! their clients may therefore be at most half of a window's instances, and half of the pool; the
//! rest is for requests that are complete. One more displaces the one with the slowest client, by
//! the bytes that moved per second of waiting.
//!
//! A client is slow if it was waited for for a while; when requests find no slot, if it is waited
//! for at all. A client that turns out to be fast after all is left alone.

use super::client_time::Slow;
use super::in_flight::InFlight;
use super::shortage::Short;
use hms_core::limits::{Limit, LiveLimits};
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};

/// The part of a window's instances, and of the pool, that may wait for clients.
const SHARE: u32 = 2;

/// The instances of all windows that wait for slow clients.
pub struct Waiters {
    /// Slots of the pool that they may have.
    most: u32,
    state: Mutex<State>,
    given_way: AtomicU64,
}

#[derive(Default)]
struct State {
    next: u64,
    used: u32,
    /// At most as many as the pool has slots.
    entries: Vec<Entry>,
}

struct Entry {
    id: u64,
    window: Arc<str>,
    weight: u32,
    slow: Slow,
    in_flight: Weak<InFlight>,
}

/// The entry of one request, until it is dropped.
pub(super) struct LaneGuard {
    waiters: Arc<Waiters>,
    id: u64,
}

impl Drop for LaneGuard {
    fn drop(&mut self) {
        self.waiters.state().remove(self.id);
    }
}

/// The share of one window.
pub(super) struct WaitShare {
    pub waiters: Arc<Waiters>,
    pub window: Arc<str>,
    /// Slots of the pool that one instance takes.
    pub weight: u32,
    pub limits: LiveLimits,
    /// Whether the window's requests find no permit.
    pub short: Arc<Short>,
}

impl WaitShare {
    /// `in_flight` waits for its client, which is slow for this reason.
    pub(crate) fn add(&self, in_flight: &Arc<InFlight>, slow: Slow) {
        let instances = self.limits.load().get(Limit::Instances);
        let most = u32::try_from(instances).unwrap_or(u32::MAX).div_ceil(SHARE);
        // Dropped after the lock is released: the last holder of a request in flight returns its
        // guard.
        let mut looked_at = Vec::new();
        let (id, gone, quick) = {
            let mut state = self.waiters.state();
            let id = state.next;
            state.next += 1;
            state.used += self.weight;
            state.entries.push(Entry {
                id,
                window: self.window.clone(),
                weight: self.weight,
                slow,
                in_flight: Arc::downgrade(in_flight),
            });
            let most = (most, self.waiters.most);
            let mut quick = Vec::new();
            if state.of(&self.window) > most.0 as usize || state.used > most.1 {
                quick = state.take_quick(&mut looked_at);
            }
            let gone = state.shrink(&self.window, most, &mut looked_at);
            (id, gone, quick)
        };
        in_flight.hold_guard(LaneGuard {
            waiters: self.waiters.clone(),
            id,
        });
        // Not under the lock: a task that is woken may call this.
        for in_flight in quick {
            in_flight.stop_waiting();
        }
        for in_flight in gone {
            self.waiters.given_way.fetch_add(1, Relaxed);
            in_flight.give_way();
        }
    }
}

impl Waiters {
    /// For a pool of so many slots.
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
        self.state.lock()
    }
}

impl State {
    fn remove(&mut self, id: u64) {
        if let Some(at) = self.entries.iter().position(|entry| entry.id == id) {
            self.used -= self.entries.swap_remove(at).weight;
        }
    }

    /// Removes those that were only suspected, and are fast.
    fn take_quick(&mut self, looked_at: &mut Vec<Arc<InFlight>>) -> Vec<Arc<InFlight>> {
        let mut quick = Vec::new();
        let suspected = |entry: &&Entry| entry.slow == Slow::Suspected;
        for entry in self.entries.iter().filter(suspected) {
            let Some(in_flight) = entry.in_flight.upgrade() else {
                continue;
            };
            match in_flight.is_client_quick() {
                true => quick.push((entry.id, in_flight)),
                false => looked_at.push(in_flight),
            }
        }
        let taken = quick.into_iter().map(|(id, in_flight)| {
            self.remove(id);
            in_flight
        });
        taken.collect()
    }

    /// Removes those that are too many: of `window`, or of the window that has the most. `most` are
    /// instances of the window, and slots of the pool. References that must be dropped later go to
    /// `looked_at`.
    fn shrink(
        &mut self,
        window: &Arc<str>,
        (most, most_places): (u32, u32),
        looked_at: &mut Vec<Arc<InFlight>>,
    ) -> Vec<Arc<InFlight>> {
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

    /// Removes the one of `window` with the slowest client; one that is over goes first.
    fn take_slowest(
        &mut self,
        window: &Arc<str>,
        looked_at: &mut Vec<Arc<InFlight>>,
    ) -> Option<Arc<InFlight>> {
        let mut slowest: Option<(Option<u64>, u64, Option<Arc<InFlight>>)> = None;
        for entry in self.entries.iter().filter(|entry| entry.window == *window) {
            let in_flight = entry.in_flight.upgrade();
            looked_at.extend(in_flight.clone());
            let pace = in_flight.as_ref().map(|in_flight| in_flight.client_pace());
            if slowest.as_ref().is_none_or(|(least, ..)| pace < *least) {
                slowest = Some((pace, entry.id, in_flight));
            }
        }
        let (_, id, in_flight) = slowest?;
        self.remove(id);
        in_flight
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::InstanceError;
    use hms_core::limits::WindowLimits;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    fn share(waiters: &Arc<Waiters>, window: &str, instances: u64) -> WaitShare {
        let limits = WindowLimits::default().at(Limit::Instances, instances);
        WaitShare {
            waiters: waiters.clone(),
            window: window.into(),
            weight: 1,
            limits: LiveLimits::new(arc_swap::ArcSwap::from_pointee(limits)),
            short: Arc::default(),
        }
    }

    /// One whose client has sent so many bytes.
    fn in_flight(bytes: u64) -> Arc<InFlight> {
        let time = Duration::from_secs(60);
        let in_flight = Arc::new(InFlight::new(Box::new(()), Box::new(()), time));
        in_flight.came(bytes);
        in_flight
    }

    fn gave_way(in_flight: &InFlight) -> bool {
        in_flight.failure().map(InstanceError::code) == Some("body-too-slow")
    }

    #[test]
    fn slowest_client_gives_way_over_the_share_of_its_window() {
        let waiters = Waiters::new(512);
        let share = share(&waiters, "w", 6);
        let requests = [100_000, 10, 90_000, 80_000].map(in_flight);
        for in_flight in &requests {
            share.add(in_flight, Slow::Proven);
        }
        let gone: Vec<bool> = requests
            .iter()
            .map(|in_flight| gave_way(in_flight))
            .collect();
        assert_eq!(gone, [false, true, false, false]);
        assert!(requests[1].is_clients_fault());
        assert_eq!(waiters.counts(), (3, 1));
        requests[0].end();
        assert_eq!(waiters.counts(), (2, 1));
        share.add(&in_flight(1), Slow::Proven);
        assert_eq!(
            waiters.counts(),
            (2, 1),
            "it is dropped, and with it its guard"
        );
    }

    #[test]
    fn largest_window_gives_way_over_the_share_of_the_pool() {
        let waiters = Waiters::new(8);
        let (greedy, modest) = (
            share(&waiters, "greedy", 100),
            share(&waiters, "modest", 100),
        );
        let many: Vec<_> = (0..4).map(|_| in_flight(1000)).collect();
        many.iter()
            .for_each(|in_flight| greedy.add(in_flight, Slow::Proven));
        let one = in_flight(1);
        modest.add(&one, Slow::Proven);
        assert!(!gave_way(&one), "it is slower, and its window has fewer");
        let gone = many.iter().filter(|in_flight| gave_way(in_flight)).count();
        assert_eq!((gone, waiters.counts()), (1, (4, 1)));
    }

    /// One whose client has sent nothing, and is waited for.
    fn waiting() -> Arc<InFlight> {
        let in_flight = in_flight(0);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(in_flight.ask(&mut cx, |_| Poll::<()>::Pending).is_pending());
        in_flight
    }

    #[tokio::test(start_paused = true)]
    async fn shortage_counts_a_client_as_slow_from_the_start() {
        let share = share(&Waiters::new(512), "w", 6);
        let mut requests = Vec::new();
        for _ in 0..4 {
            requests.push(waiting());
            // The first is the slowest.
            tokio::time::advance(Duration::from_millis(5)).await;
        }
        let counts = || {
            let needs = requests
                .iter()
                .map(|in_flight| in_flight.slow_client(&share.short));
            needs.collect::<Vec<_>>()
        };
        assert_eq!(counts(), [None; 4]);
        share.short.window.note();
        assert_eq!(counts(), [Some(Slow::Suspected); 4]);
        for in_flight in &requests {
            share.add(in_flight, Slow::Suspected);
        }
        let gone: Vec<bool> = requests
            .iter()
            .map(|in_flight| gave_way(in_flight))
            .collect();
        assert_eq!(gone, [true, false, false, false]);
    }

    #[test]
    fn client_that_proves_quick_gives_way_to_nobody() {
        let waiters = Waiters::new(512);
        let share = share(&waiters, "w", 6);
        let requests: Vec<_> = (0..3).map(|_| waiting()).collect();
        for in_flight in &requests {
            share.add(in_flight, Slow::Suspected);
            in_flight.came(10 << 20);
        }
        let late = waiting();
        share.add(&late, Slow::Suspected);
        assert!(
            !requests
                .iter()
                .chain([&late])
                .any(|in_flight| gave_way(in_flight))
        );
        assert_eq!(waiters.counts(), (1, 0));
        share.short.window.note();
        assert_eq!(requests[0].slow_client(&share.short), None);
    }
}
