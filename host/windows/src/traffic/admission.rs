//! Who gets an instance: the permits of the pool, divided so that no window takes what another has
//! reserved.
//!
//! A window may use its reservation at any time, and beyond that the shared part: what nobody has
//! reserved. A request without a permit waits in its window's own queue, bounded in length and
//! time. A freed permit goes to the waiting window that has the fewest permits, whoever waits for
//! its requests: a window that calls others often takes no more than its share.
//!
//! The first invariant: over all windows the sum of max(used, reserved) is at most the pool, as
//! soon as what was given before a change of the terms has come back.
//!
//! A request that waits for another one inside of the host, as a window does that calls a window,
//! and a middleware that calls on, keeps its permits meanwhile. Were all permits with such
//! requests, none of them would ever go on. So the pool is divided by level: the number of
//! instances that wait for a request already. Beyond what is reserved for their windows, requests
//! that may wait have at most [`Caps`] permits at their level and those above it, and each level
//! has room of its own below that. Requests that wait for nobody have no such bound, so a host
//! whose windows call none has all of its pool.
//!
//! The second invariant: for each level, the requests that may wait, at this level or above it,
//! leave room in what is shared for the heaviest request of the level below, by the first
//! invariant's sum. So the deepest that wait can always go on, once those have gone that wait for
//! nobody; no room is kept from them for a request above them. Chains deeper than
//! [`levels::LEVELS`] share the last level; what they wait for is bounded by the queue's time
//! alone. A window's own instances are divided in the same way, as far as there are enough of them.

mod levels;

pub(crate) use levels::Ask;

use crate::traffic::unavailable::WindowUnavailable;
use hms_runtime::{Limit, Short, Shortage, WindowLimits};
use levels::{Caps, Waits};
use parking_lot::{Mutex, MutexGuard};
use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// The terms of a window, in instances; the pool counts permits, of which an instance takes one or
/// more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Concurrent instances.
    pub most: u32,
    /// Instances that no other window can take.
    pub reserved: u32,
    /// Requests that wait.
    pub queue: usize,
    /// The longest wait.
    pub wait: Duration,
}

impl Terms {
    /// The terms in a window's limits.
    pub(crate) fn of(limits: &WindowLimits) -> Self {
        let count = |limit| u32::try_from(limits.get(limit)).unwrap_or(u32::MAX);
        Terms {
            most: count(Limit::Instances),
            reserved: count(Limit::ReservedInstances),
            queue: limits.size(Limit::Queue),
            wait: limits.time(Limit::QueueWaitMs),
        }
    }
}

/// The pool of all windows.
pub(crate) struct Pool {
    state: Mutex<State>,
    short: Arc<Shortage>,
}

struct State {
    total: u32,
    used: u32,
    /// Sum of max(used, reserved) over all accounts.
    committed: u32,
    /// Permits of requests that may wait, beyond what their windows have reserved.
    waits: Waits,
    /// The most of those.
    caps: Caps,
    waiting: usize,
    accounts: BTreeMap<u64, Account>,
    next: u64,
}

struct Account {
    terms: Terms,
    /// Permits that each of its instances takes, as far as known.
    weight: u32,
    /// Reserved permits, after all reservations were scaled to fit.
    reserved: u32,
    used: u32,
    /// What of that is with requests that may wait.
    waits: Waits,
    /// The deepest first, and of one level the oldest.
    queue: VecDeque<Waiter>,
}

struct Waiter {
    number: u64,
    ask: Ask,
    grant: oneshot::Sender<Permit>,
}

/// What was given to a request.
#[derive(Debug, Clone, Copy)]
struct Given {
    ask: Ask,
    /// It counts in [`State::waits`].
    shared: bool,
}

/// What came of asking for a permit.
enum Asked {
    Taken(Given),
    Queued {
        number: u64,
        granted: oneshot::Receiver<Permit>,
        wait: Duration,
    },
}

/// The account of one window, closed on drop.
pub(crate) struct WindowQueue {
    pool: Arc<Pool>,
    id: u64,
    short: Arc<Short>,
}

/// Permits for one instance, returned on drop.
pub(crate) struct Permit {
    pool: Arc<Pool>,
    id: u64,
    given: Given,
}

impl Pool {
    pub(crate) fn new(total: u32) -> Arc<Self> {
        let state = State {
            total,
            used: 0,
            committed: 0,
            waits: Waits::default(),
            caps: Caps::of(total, 1),
            waiting: 0,
            accounts: BTreeMap::new(),
            next: 0,
        };
        Arc::new(Pool {
            state: Mutex::new(state),
            short: Arc::default(),
        })
    }

    /// Opens an account for a window.
    pub(crate) fn queue(self: &Arc<Self>, terms: Terms) -> WindowQueue {
        let mut state = self.state();
        let id = state.next;
        state.next += 1;
        let account = Account {
            terms,
            weight: 1,
            reserved: 0,
            used: 0,
            waits: Waits::default(),
            queue: VecDeque::new(),
        };
        state.accounts.insert(id, account);
        state.divide();
        WindowQueue {
            pool: self.clone(),
            id,
            short: Arc::new(Short {
                pool: self.short.clone(),
                ..Short::default()
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Changes the state and hands out what that freed. A permit for somebody who has just gone is
    /// returned when it is dropped, which takes the lock: so it is dropped only after the lock is
    /// released.
    fn change<T>(self: &Arc<Self>, by: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let result = by(&mut state);
        let granted = state.grant();
        drop(state);
        for (id, waiter, given) in granted {
            let _ = waiter.grant.send(Permit {
                pool: self.clone(),
                id,
                given,
            });
        }
        result
    }
}

impl WindowQueue {
    /// A permit for the instance of a request.
    ///
    /// # Errors
    /// [`WindowUnavailable::Busy`] when the queue is full, or the wait was too long.
    pub(crate) async fn acquire(&self, ask: Ask) -> Result<Permit, WindowUnavailable> {
        let asked = self
            .pool
            .change(|state| state.ask(self.id, ask, &self.short))?;
        let (number, granted, wait) = match asked {
            Asked::Taken(given) => {
                return Ok(Permit {
                    pool: self.pool.clone(),
                    id: self.id,
                    given,
                });
            }
            Asked::Queued {
                number,
                granted,
                wait,
            } => (number, granted, wait),
        };
        let waiting = Waiting {
            queue: self,
            number,
        };
        let permit = tokio::time::timeout(wait, granted).await;
        drop(waiting);
        permit
            .ok()
            .and_then(Result::ok)
            .ok_or(WindowUnavailable::Busy)
    }

    /// Changes the terms of the window, from the next permit on.
    pub(crate) fn set_terms(&self, terms: Terms) {
        self.pool.change(|state| {
            if let Some(account) = state.accounts.get_mut(&self.id) {
                account.terms = terms;
            }
            state.divide();
        });
    }

    /// Whether requests find no permit.
    pub(crate) fn short(&self) -> &Arc<Short> {
        &self.short
    }

    /// Permits in use, and requests that wait.
    pub(crate) fn load(&self) -> (u32, usize) {
        let state = self.pool.state();
        let account = state.accounts.get(&self.id);
        account.map_or((0, 0), |account| (account.used, account.queue.len()))
    }
}

impl Drop for WindowQueue {
    fn drop(&mut self) {
        self.pool.change(|state| {
            // Its instances may outlive it; their permits count until they are returned.
            if let Some(account) = state.accounts.get_mut(&self.id) {
                account.terms.reserved = 0;
                state.waiting -= account.queue.len();
                account.queue.clear();
                if account.used == 0 {
                    state.accounts.remove(&self.id);
                } else {
                    account.terms.queue = 0;
                    account.terms.most = 0;
                }
            }
            state.divide();
        });
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.pool
            .change(|state| state.give_back(self.id, self.given));
    }
}

/// Leaves the queue on drop, if it is still in it.
struct Waiting<'a> {
    queue: &'a WindowQueue,
    number: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // Those behind one that cannot be served may be served now.
        self.queue.pool.change(|state| {
            let Some(account) = state.accounts.get_mut(&self.queue.id) else {
                return;
            };
            let before = account.queue.len();
            account.queue.retain(|waiter| waiter.number != self.number);
            state.waiting -= before - account.queue.len();
        });
    }
}

impl Account {
    fn committed(&self) -> u32 {
        self.used.max(self.reserved)
    }

    /// Whether its own terms let it have what is asked for. One instance is always let.
    fn may(&self, ask: Ask) -> bool {
        let most = self.terms.most.saturating_mul(ask.weight);
        let level = ask.counted_level();
        let waits = level.is_none_or(|level| {
            Caps::of_window(most, ask.weight).lets(&self.waits, level, ask.weight)
        });
        self.used == 0 || (self.used + ask.weight <= most && waits)
    }

    fn is_reserved(&self, weight: u32) -> bool {
        self.used + weight <= self.reserved
    }
}

impl State {
    /// Scales the reservations to fit: unchanged if they take at most half of the pool, else each
    /// in proportion.
    fn divide(&mut self) {
        let asked =
            |account: &Account| u64::from(account.terms.reserved) * u64::from(account.weight);
        let sum: u64 = self.accounts.values().map(asked).sum();
        let half = u64::from(self.total / 2);
        for account in self.accounts.values_mut() {
            let fits = if sum <= half {
                asked(account)
            } else {
                asked(account) * half / sum
            };
            account.reserved = u32::try_from(fits).unwrap_or(u32::MAX);
        }
        self.committed = self.accounts.values().map(Account::committed).sum();
        let reserved: u32 = self.accounts.values().map(|account| account.reserved).sum();
        let weights = self.accounts.values().map(|account| account.weight);
        let heaviest = weights.max().unwrap_or(1);
        self.caps = Caps::of(self.total.saturating_sub(reserved), heaviest);
    }

    /// Whether the pool has `weight` more permits for the account.
    fn fits(&self, account: &Account, weight: u32) -> bool {
        let after = (account.used + weight).max(account.reserved);
        // A component larger than the whole pool was refused at its deploy.
        self.used + weight <= self.total
            && self.committed - account.committed() + after <= self.total
    }

    /// Whether the account may have it by its own terms and by its level, whatever room there is.
    fn may(&self, account: &Account, ask: Ask) -> bool {
        let level = ask.counted_level();
        account.may(ask)
            && (account.is_reserved(ask.weight)
                || level.is_none_or(|level| self.caps.lets(&self.waits, level, ask.weight)))
    }

    /// Takes the permit, or a permit in the queue.
    fn ask(&mut self, id: u64, ask: Ask, short: &Short) -> Result<Asked, WindowUnavailable> {
        if let Some(given) = self.take_at_once(id, ask) {
            return Ok(Asked::Taken(given));
        }
        let account = self.accounts.get(&id).ok_or(WindowUnavailable::Busy)?;
        match self.may(account, ask) {
            true => short.pool.note(),
            false => short.window.note(),
        }
        let account = self.accounts.get_mut(&id).ok_or(WindowUnavailable::Busy)?;
        // Of those above it none is in the way of one that others wait for.
        let ahead = account
            .queue
            .partition_point(|waiter| waiter.ask.level >= ask.level);
        if ahead >= account.terms.queue {
            return Err(WindowUnavailable::Busy);
        }
        let number = self.next;
        let (grant, granted) = oneshot::channel();
        let waiter = Waiter { number, ask, grant };
        account.queue.insert(ahead, waiter);
        self.next += 1;
        self.waiting += 1;
        let wait = account.terms.wait;
        Ok(Asked::Queued {
            number,
            granted,
            wait,
        })
    }

    fn take_at_once(&mut self, id: u64, ask: Ask) -> Option<Given> {
        let weight = ask.weight;
        if self
            .accounts
            .get(&id)
            .is_some_and(|account| account.weight != weight)
        {
            if let Some(account) = self.accounts.get_mut(&id) {
                account.weight = weight;
            }
            self.divide();
        }
        let account = self.accounts.get(&id)?;
        // What is shared goes to those first who wait for it.
        let first = account.queue.is_empty() && (self.waiting == 0 || account.is_reserved(weight));
        if !(first && self.may(account, ask) && self.fits(account, weight)) {
            return None;
        }
        Some(self.take(id, ask))
    }

    fn take(&mut self, id: u64, ask: Ask) -> Given {
        let mut given = Given { ask, shared: false };
        if let Some(account) = self.accounts.get_mut(&id) {
            self.committed -= account.committed();
            if let Some(level) = ask.counted_level() {
                account.waits.add(level, ask.weight);
                given.shared = !account.is_reserved(ask.weight);
                if given.shared {
                    self.waits.add(level, ask.weight);
                }
            }
            account.used += ask.weight;
            self.committed += account.committed();
            self.used += ask.weight;
        }
        given
    }

    fn give_back(&mut self, id: u64, Given { ask, shared }: Given) {
        let level = ask.counted_level();
        if let Some(level) = level.filter(|_| shared) {
            self.waits.take(level, ask.weight);
        }
        let Some(account) = self.accounts.get_mut(&id) else {
            return;
        };
        if let Some(level) = level {
            account.waits.take(level, ask.weight);
        }
        self.committed -= account.committed();
        account.used -= ask.weight;
        self.committed += account.committed();
        self.used -= ask.weight;
        // Its window is gone.
        if account.terms.most == 0 && account.used == 0 {
            self.accounts.remove(&id);
        }
    }

    /// Those who wait and can be served now, with their permits taken.
    fn grant(&mut self) -> Vec<(u64, Waiter, Given)> {
        let mut granted = Vec::new();
        while self.waiting > 0 {
            let Some(id) = self.next_served() else {
                break;
            };
            let Some(waiter) = self
                .accounts
                .get_mut(&id)
                .and_then(|account| account.queue.pop_front())
            else {
                break;
            };
            self.waiting -= 1;
            let given = self.take(id, waiter.ask);
            granted.push((id, waiter, given));
        }
        granted
    }

    /// The account with the fewest permits of those that wait and may have more, and of those the
    /// one whose first is the deepest. Where there is not yet room for it, what is shared is kept
    /// for it, so that an instance of many permits gets its turn. Others get only what they have
    /// reserved, or what a deeper request needs: the permits that are waited for may be with those
    /// that wait for it.
    fn next_served(&self) -> Option<u64> {
        let mut accounts: Vec<_> = self
            .accounts
            .iter()
            .filter_map(|(id, account)| Some((*id, account, account.queue.front()?.ask)))
            .filter(|(_, account, ask)| self.may(account, *ask))
            .collect();
        accounts.sort_by_key(|(id, account, ask)| (account.used, Reverse(ask.level), *id));
        let (first, others) = accounts.split_first()?;
        let (id, account, Ask { weight, level, .. }) = first;
        if self.fits(account, *weight) {
            return Some(*id);
        }
        others
            .iter()
            .find(|(_, account, ask)| {
                (account.is_reserved(ask.weight) || ask.level > *level)
                    && self.fits(account, ask.weight)
            })
            .map(|(id, ..)| *id)
    }
}

#[cfg(test)]
mod tests;
