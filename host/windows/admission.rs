//! Who gets a clerk: the places of the pool, divided so that no window takes what another has
//! reserved.
//!
//! A window may use what it has reserved at any time, and beyond that what is shared: all that
//! nobody reserved. Who finds no place stands in its window's own queue, bounded in length and
//! time. What becomes free goes to the window that has the fewest places of those that wait.
//!
//! The invariant: over all windows the sum of max(used, reserved) is at most the pool, as soon as
//! what was given before a change of the terms has come back.

use crate::error::Error;
use crate::runtime::{Limit, Short, Shortage, WindowLimits};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// What a window is given, in clerks; the pool counts places, of which a clerk takes one or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    /// At work at once.
    pub most: u32,
    /// That no other window can take.
    pub reserved: u32,
    /// Requests that wait.
    pub queue: usize,
    /// The longest wait.
    pub wait: Duration,
}

impl Terms {
    /// What a window's limits say.
    pub fn of(limits: &WindowLimits) -> Self {
        let count = |limit| u32::try_from(limits.get(limit)).unwrap_or(u32::MAX);
        Terms {
            most: count(Limit::Clerks),
            reserved: count(Limit::ReservedClerks),
            queue: limits.size(Limit::Queue),
            wait: limits.time(Limit::QueueWaitMs),
        }
    }
}

/// The pool of all windows.
pub(super) struct Pool {
    state: Mutex<State>,
    short: Arc<Shortage>,
}

struct State {
    total: u32,
    used: u32,
    /// Sum of max(used, reserved) over all lines.
    committed: u32,
    waiting: usize,
    lines: BTreeMap<u64, Line>,
    next: u64,
}

struct Line {
    terms: Terms,
    /// Places that its clerks take each, as far as it is known.
    weight: u32,
    /// Places, after all that is asked for was made to fit.
    reserved: u32,
    used: u32,
    queue: VecDeque<Waiter>,
}

struct Waiter {
    ticket: u64,
    weight: u32,
    grant: oneshot::Sender<Place>,
}

/// What came of asking for a place.
enum Asked {
    Taken,
    Queued {
        ticket: u64,
        granted: oneshot::Receiver<Place>,
        wait: Duration,
    },
}

/// The line of one window. Ends with it.
pub(super) struct Desk {
    pool: Arc<Pool>,
    id: u64,
    short: Arc<Short>,
}

/// Places for one clerk; given back when it is dropped.
pub(super) struct Place {
    pool: Arc<Pool>,
    id: u64,
    weight: u32,
}

impl Pool {
    pub fn new(total: u32) -> Arc<Self> {
        let state = State {
            total,
            used: 0,
            committed: 0,
            waiting: 0,
            lines: BTreeMap::new(),
            next: 0,
        };
        Arc::new(Pool {
            state: Mutex::new(state),
            short: Arc::default(),
        })
    }

    /// A line for a window.
    pub fn desk(self: &Arc<Self>, terms: Terms) -> Desk {
        let mut state = self.state();
        let id = state.next;
        state.next += 1;
        let line = Line {
            terms,
            weight: 1,
            reserved: 0,
            used: 0,
            queue: VecDeque::new(),
        };
        state.lines.insert(id, line);
        state.divide();
        Desk {
            pool: self.clone(),
            id,
            short: Arc::new(Short {
                pool: self.short.clone(),
                ..Short::default()
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and hands out what that made free. What is handed to somebody who has just
    /// gone comes back by the drop of its place, which takes the lock: so only after it was let go.
    fn change<T>(self: &Arc<Self>, by: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let result = by(&mut state);
        let granted = state.grant();
        drop(state);
        for (id, waiter) in granted {
            let _ = waiter.grant.send(Place {
                pool: self.clone(),
                id,
                weight: waiter.weight,
            });
        }
        result
    }
}

impl Desk {
    /// A place for a clerk that takes `weight` places of the pool.
    ///
    /// # Errors
    /// [`Error::ClerkLimit`] when the queue is full, or the wait was too long.
    pub async fn place(&self, weight: u32) -> Result<Place, Error> {
        let asked = self
            .pool
            .change(|state| state.ask(self.id, weight, &self.short))?;
        let Asked::Queued {
            ticket,
            granted,
            wait,
        } = asked
        else {
            return Ok(Place {
                pool: self.pool.clone(),
                id: self.id,
                weight,
            });
        };
        let waiting = Waiting { desk: self, ticket };
        let place = tokio::time::timeout(wait, granted).await;
        drop(waiting);
        place.ok().and_then(Result::ok).ok_or(Error::ClerkLimit)
    }

    /// Gives the window other terms, from the next place on.
    pub fn set_terms(&self, terms: Terms) {
        self.pool.change(|state| {
            if let Some(line) = state.lines.get_mut(&self.id) {
                line.terms = terms;
            }
            state.divide();
        });
    }

    /// Whether requests find no place.
    pub fn short(&self) -> &Arc<Short> {
        &self.short
    }

    /// Places in use, and requests that wait.
    pub fn load(&self) -> (u32, usize) {
        let state = self.pool.state();
        let line = state.lines.get(&self.id);
        line.map_or((0, 0), |line| (line.used, line.queue.len()))
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.pool.change(|state| {
            // Its clerks may outlive it; their places count until they are back.
            if let Some(line) = state.lines.get_mut(&self.id) {
                line.terms.reserved = 0;
                state.waiting -= line.queue.len();
                line.queue.clear();
                if line.used == 0 {
                    state.lines.remove(&self.id);
                } else {
                    line.terms.queue = 0;
                    line.terms.most = 0;
                }
            }
            state.divide();
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pool
            .change(|state| state.give_back(self.id, self.weight));
    }
}

/// Leaves the queue when it is dropped, if it still stands there.
struct Waiting<'a> {
    desk: &'a Desk,
    ticket: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // Whoever stood behind one that cannot be served may be served now.
        self.desk.pool.change(|state| {
            let Some(line) = state.lines.get_mut(&self.desk.id) else {
                return;
            };
            let before = line.queue.len();
            line.queue.retain(|waiter| waiter.ticket != self.ticket);
            state.waiting -= before - line.queue.len();
        });
    }
}

impl Line {
    fn committed(&self) -> u32 {
        self.used.max(self.reserved)
    }

    /// Whether its own terms let it have `weight` places more. One clerk is always let.
    fn may(&self, weight: u32) -> bool {
        self.used == 0 || self.used + weight <= self.terms.most.saturating_mul(weight)
    }
}

impl State {
    /// Makes what is reserved fit: all of it where it is at most half of the pool, else each in
    /// proportion.
    fn divide(&mut self) {
        let asked = |line: &Line| u64::from(line.terms.reserved) * u64::from(line.weight);
        let sum: u64 = self.lines.values().map(asked).sum();
        let half = u64::from(self.total / 2);
        for line in self.lines.values_mut() {
            let fits = if sum <= half {
                asked(line)
            } else {
                asked(line) * half / sum
            };
            line.reserved = u32::try_from(fits).unwrap_or(u32::MAX);
        }
        self.committed = self.lines.values().map(Line::committed).sum();
    }

    /// Whether the pool has `weight` places more for the line.
    fn fits(&self, line: &Line, weight: u32) -> bool {
        let after = (line.used + weight).max(line.reserved);
        // A component larger than the whole pool was refused when it was deployed.
        self.used + weight <= self.total && self.committed - line.committed() + after <= self.total
    }

    fn is_reserved(line: &Line, weight: u32) -> bool {
        line.used + weight <= line.reserved
    }

    /// Takes the place, or a place in the queue.
    fn ask(&mut self, id: u64, weight: u32, short: &Short) -> Result<Asked, Error> {
        if self.take_at_once(id, weight) {
            return Ok(Asked::Taken);
        }
        let line = self.lines.get_mut(&id).ok_or(Error::ClerkLimit)?;
        match line.may(weight) {
            true => short.pool.note(),
            false => short.window.note(),
        }
        if line.queue.len() >= line.terms.queue {
            return Err(Error::ClerkLimit);
        }
        let ticket = self.next;
        let (grant, granted) = oneshot::channel();
        line.queue.push_back(Waiter {
            ticket,
            weight,
            grant,
        });
        self.next += 1;
        self.waiting += 1;
        let wait = line.terms.wait;
        Ok(Asked::Queued {
            ticket,
            granted,
            wait,
        })
    }

    fn take_at_once(&mut self, id: u64, weight: u32) -> bool {
        if self
            .lines
            .get(&id)
            .is_some_and(|line| line.weight != weight)
        {
            if let Some(line) = self.lines.get_mut(&id) {
                line.weight = weight;
            }
            self.divide();
        }
        let Some(line) = self.lines.get(&id) else {
            return false;
        };
        // What is shared goes to those first who wait for it.
        let first = line.queue.is_empty() && (self.waiting == 0 || Self::is_reserved(line, weight));
        if !(first && line.may(weight) && self.fits(line, weight)) {
            return false;
        }
        self.take(id, weight);
        true
    }

    fn take(&mut self, id: u64, weight: u32) {
        if let Some(line) = self.lines.get_mut(&id) {
            self.committed -= line.committed();
            line.used += weight;
            self.committed += line.committed();
            self.used += weight;
        }
    }

    fn give_back(&mut self, id: u64, weight: u32) {
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        self.committed -= line.committed();
        line.used -= weight;
        self.committed += line.committed();
        self.used -= weight;
        // Its window is gone.
        if line.terms.most == 0 && line.used == 0 {
            self.lines.remove(&id);
        }
    }

    /// Those who wait and can be served now, with their places taken.
    fn grant(&mut self) -> Vec<(u64, Waiter)> {
        let mut granted = Vec::new();
        while self.waiting > 0 {
            let Some(id) = self.next_served() else {
                break;
            };
            let Some(waiter) = self
                .lines
                .get_mut(&id)
                .and_then(|line| line.queue.pop_front())
            else {
                break;
            };
            self.waiting -= 1;
            self.take(id, waiter.weight);
            granted.push((id, waiter));
        }
        granted
    }

    /// The line that has the fewest places of those that wait and may have more. Where there is not
    /// yet room for it, what is shared is kept for it, so that a clerk of many places gets its
    /// turn; others get only what they have reserved.
    fn next_served(&self) -> Option<u64> {
        let mut lines: Vec<_> = self
            .lines
            .iter()
            .filter_map(|(id, line)| Some((*id, line, line.queue.front()?.weight)))
            .filter(|(_, line, weight)| line.may(*weight))
            .collect();
        lines.sort_by_key(|(id, line, _)| (line.used, *id));
        let (first, others) = lines.split_first()?;
        let (id, line, weight) = first;
        if self.fits(line, *weight) {
            return Some(*id);
        }
        others
            .iter()
            .find(|(_, line, weight)| Self::is_reserved(line, *weight) && self.fits(line, *weight))
            .map(|(id, ..)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use proptest::prelude::*;

    fn terms(most: u32, reserved: u32) -> Terms {
        Terms {
            most,
            reserved,
            queue: 4,
            wait: Duration::from_secs(60),
        }
    }

    /// A place that is there at once.
    fn now(desk: &Desk, weight: u32) -> Option<Place> {
        desk.place(weight).now_or_never()?.ok()
    }

    #[tokio::test]
    async fn what_is_reserved_is_there_however_much_the_others_take() {
        let pool = Pool::new(16);
        let (greedy, modest) = (pool.desk(terms(100, 0)), pool.desk(terms(100, 3)));
        let taken: Vec<_> = std::iter::from_fn(|| now(&greedy, 1)).collect();
        assert_eq!(taken.len(), 13);
        let own: Vec<_> = std::iter::from_fn(|| now(&modest, 1)).collect();
        assert_eq!(own.len(), 3);
    }

    #[tokio::test]
    async fn reservations_that_do_not_fit_half_of_the_pool_are_made_to() {
        let pool = Pool::new(8);
        let desks: Vec<_> = (0..4).map(|_| pool.desk(terms(100, 4))).collect();
        let first: Vec<_> = std::iter::from_fn(|| now(&desks[0], 1)).collect();
        // One is reserved for each of the other three.
        assert_eq!(first.len(), 5);
    }

    #[tokio::test]
    async fn a_window_has_no_more_at_work_than_its_most_and_its_queue_is_bounded() {
        let pool = Pool::new(16);
        let desk = pool.desk(terms(2, 0));
        let _places = (now(&desk, 1).unwrap(), now(&desk, 1).unwrap());
        let mut waiting: Vec<_> = (0..4).map(|_| Box::pin(desk.place(1))).collect();
        for one in &mut waiting {
            assert!(one.as_mut().now_or_never().is_none());
        }
        assert_eq!(desk.load(), (2, 4));
        assert!(matches!(
            desk.place(1).now_or_never(),
            Some(Err(Error::ClerkLimit))
        ));
        drop(waiting);
        assert_eq!(desk.load(), (2, 0));
    }

    #[tokio::test]
    async fn what_becomes_free_goes_to_the_window_that_has_least() {
        let pool = Pool::new(4);
        let (greedy, late) = (pool.desk(terms(9, 0)), pool.desk(terms(9, 0)));
        let mut places: Vec<_> = std::iter::from_fn(|| now(&greedy, 1)).collect();
        let mut more = Box::pin(greedy.place(1));
        assert!(more.as_mut().now_or_never().is_none());
        let mut first = Box::pin(late.place(1));
        assert!(first.as_mut().now_or_never().is_none());
        places.pop();
        let _first = first.await.unwrap();
        assert!(more.as_mut().now_or_never().is_none());
        places.pop();
        let _more = more.await.unwrap();
    }

    #[tokio::test]
    async fn a_clerk_of_many_places_is_not_passed_over_for_ever() {
        let pool = Pool::new(4);
        let (small, large) = (pool.desk(terms(9, 0)), pool.desk(terms(9, 0)));
        let mut places: Vec<_> = std::iter::from_fn(|| now(&small, 1)).collect();
        let mut waiting = Box::pin(large.place(3));
        assert!(waiting.as_mut().now_or_never().is_none());
        for _ in 0..3 {
            places.pop();
            assert!(
                now(&small, 1).is_none(),
                "it takes what the large one waits for"
            );
        }
        let _place = waiting.await.unwrap();
    }

    #[tokio::test]
    async fn who_waits_too_long_is_told_and_leaves_the_queue() {
        let pool = Pool::new(1);
        let hurried = Terms {
            wait: Duration::from_millis(10),
            ..terms(1, 0)
        };
        let desk = pool.desk(hurried);
        let _place = now(&desk, 1).unwrap();
        assert!(matches!(desk.place(1).await, Err(Error::ClerkLimit)));
        assert_eq!(desk.load(), (1, 0));
    }

    #[tokio::test]
    async fn a_window_that_goes_gives_back_what_it_had_when_its_clerks_are_gone() {
        let pool = Pool::new(2);
        let (gone, other) = (pool.desk(terms(2, 0)), pool.desk(terms(2, 0)));
        let places = (now(&gone, 1).unwrap(), now(&gone, 1).unwrap());
        drop(gone);
        assert!(now(&other, 1).is_none());
        drop(places);
        assert!(now(&other, 1).is_some());
    }

    #[derive(Debug, Clone)]
    enum Act {
        Ask {
            window: usize,
            weight: u32,
        },
        Leave(usize),
        Terms {
            window: usize,
            most: u32,
            reserved: u32,
        },
    }

    fn acts() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => (0..3usize, 1..4u32).prop_map(|(window, weight)| Act::Ask { window, weight }),
            4 => (0..20usize).prop_map(Act::Leave),
            1 => (0..3usize, 1..9u32, 0..4u32)
                .prop_map(|(window, most, reserved)| Act::Terms { window, most, reserved }),
        ]
    }

    proptest! {
        #[test]
        fn the_books_are_always_right(acts in proptest::collection::vec(acts(), 1..80)) {
            const TOTAL: u32 = 10;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let _entered = runtime.enter();
            let pool = Pool::new(TOTAL);
            let desks: Vec<_> = (0..3).map(|_| pool.desk(terms(8, 1))).collect();
            let mut holders = Vec::new();
            let mut held: Vec<Place> = Vec::new();
            for act in acts {
                match act {
                    Act::Ask { window, weight } => holders.push(Box::pin(desks[window].place(weight))),
                    Act::Leave(index) if index % 2 == 0 && !held.is_empty() => {
                        held.swap_remove(index % held.len());
                    }
                    Act::Leave(index) if !holders.is_empty() => {
                        drop(holders.swap_remove(index % holders.len()));
                    }
                    Act::Leave(_) => {}
                    Act::Terms { window, most, reserved } => desks[window].set_terms(terms(most, reserved)),
                }
                // One that asks may set off a grant to another that was looked at before it.
                for _ in 0..2 {
                    let mut still = Vec::new();
                    for mut holder in holders {
                        match holder.as_mut().now_or_never() {
                            Some(Ok(place)) => held.push(place),
                            Some(Err(_)) => {}
                            None => still.push(holder),
                        }
                    }
                    holders = still;
                }
                let state = pool.state();
                let used: u32 = held.iter().map(|place| place.weight).sum();
                prop_assert_eq!(state.used, used);
                prop_assert!(used <= TOTAL);
                prop_assert_eq!(state.committed, state.lines.values().map(Line::committed).sum::<u32>());
                prop_assert_eq!(state.waiting, holders.len());
                prop_assert!(state.next_served().is_none(), "somebody waits for what is free");
            }
            drop((holders, held));
            prop_assert_eq!(pool.state().used, 0);
        }
    }
}
