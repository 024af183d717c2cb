//! Who gets an instance: the permits of the pool, divided so that no window takes what another has
//! reserved.
//!
//! A window may use its reservation at any time, and beyond that the shared part: what nobody has
//! reserved. A request without a permit waits in its window's own queue, bounded in length and
//! time. A freed permit goes to the waiting window that has the fewest permits.
//!
//! The invariant: over all windows, the sum of max(used, reserved) is at most the pool, as soon as
//! permits granted before a change of the terms have been returned.

use crate::traffic::unavailable::WindowUnavailable;
use hms_runtime::{Limit, Short, Shortage, WindowLimits};
use parking_lot::{Mutex, MutexGuard};
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
    queue: VecDeque<Waiter>,
}

struct Waiter {
    number: u64,
    weight: u32,
    grant: oneshot::Sender<Permit>,
}

/// The result of asking for a permit.
enum Asked {
    Taken,
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
    weight: u32,
}

impl Pool {
    pub(crate) fn new(total: u32) -> Arc<Self> {
        let state = State {
            total,
            used: 0,
            committed: 0,
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
        for (id, waiter) in granted {
            let _ = waiter.grant.send(Permit {
                pool: self.clone(),
                id,
                weight: waiter.weight,
            });
        }
        result
    }
}

impl WindowQueue {
    /// A permit for an instance that takes `weight` permits of the pool.
    ///
    /// # Errors
    ///
    /// [`WindowUnavailable::Busy`] if the queue is full, or the wait took too long.
    pub(crate) async fn acquire(&self, weight: u32) -> Result<Permit, WindowUnavailable> {
        let asked = self
            .pool
            .change(|state| state.ask(self.id, weight, &self.short))?;
        let Asked::Queued {
            number,
            granted,
            wait,
        } = asked
        else {
            return Ok(Permit {
                pool: self.pool.clone(),
                id: self.id,
                weight,
            });
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
            .change(|state| state.give_back(self.id, self.weight));
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

    /// Whether its own terms allow it `weight` more permits. One instance is always allowed.
    fn may(&self, weight: u32) -> bool {
        self.used == 0 || self.used + weight <= self.terms.most.saturating_mul(weight)
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
    }

    /// Whether the pool has `weight` more permits for the account.
    fn fits(&self, account: &Account, weight: u32) -> bool {
        let after = (account.used + weight).max(account.reserved);
        // A component larger than the whole pool was refused at its deploy.
        self.used + weight <= self.total
            && self.committed - account.committed() + after <= self.total
    }

    fn is_reserved(account: &Account, weight: u32) -> bool {
        account.used + weight <= account.reserved
    }

    /// Takes the permit, or a place in the queue.
    fn ask(&mut self, id: u64, weight: u32, short: &Short) -> Result<Asked, WindowUnavailable> {
        if self.take_at_once(id, weight) {
            return Ok(Asked::Taken);
        }
        let account = self.accounts.get_mut(&id).ok_or(WindowUnavailable::Busy)?;
        match account.may(weight) {
            true => short.pool.note(),
            false => short.window.note(),
        }
        if account.queue.len() >= account.terms.queue {
            return Err(WindowUnavailable::Busy);
        }
        let number = self.next;
        let (grant, granted) = oneshot::channel();
        account.queue.push_back(Waiter {
            number,
            weight,
            grant,
        });
        self.next += 1;
        self.waiting += 1;
        let wait = account.terms.wait;
        Ok(Asked::Queued {
            number,
            granted,
            wait,
        })
    }

    fn take_at_once(&mut self, id: u64, weight: u32) -> bool {
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
        let Some(account) = self.accounts.get(&id) else {
            return false;
        };
        // The shared part goes first to those who wait for it.
        let first =
            account.queue.is_empty() && (self.waiting == 0 || Self::is_reserved(account, weight));
        if !(first && account.may(weight) && self.fits(account, weight)) {
            return false;
        }
        self.take(id, weight);
        true
    }

    fn take(&mut self, id: u64, weight: u32) {
        if let Some(account) = self.accounts.get_mut(&id) {
            self.committed -= account.committed();
            account.used += weight;
            self.committed += account.committed();
            self.used += weight;
        }
    }

    fn give_back(&mut self, id: u64, weight: u32) {
        let Some(account) = self.accounts.get_mut(&id) else {
            return;
        };
        self.committed -= account.committed();
        account.used -= weight;
        self.committed += account.committed();
        self.used -= weight;
        // Its window is gone.
        if account.terms.most == 0 && account.used == 0 {
            self.accounts.remove(&id);
        }
    }

    /// Those who wait and can be served now, with their permits taken.
    fn grant(&mut self) -> Vec<(u64, Waiter)> {
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
            self.take(id, waiter.weight);
            granted.push((id, waiter));
        }
        granted
    }

    /// The account with the fewest permits of those that wait and may have more. If there is no
    /// room for it yet, the shared part is kept for it, so that an instance of many permits gets
    /// its turn; others get only their reservations.
    fn next_served(&self) -> Option<u64> {
        let mut accounts: Vec<_> = self
            .accounts
            .iter()
            .filter_map(|(id, account)| Some((*id, account, account.queue.front()?.weight)))
            .filter(|(_, account, weight)| account.may(*weight))
            .collect();
        accounts.sort_by_key(|(id, account, _)| (account.used, *id));
        let (first, others) = accounts.split_first()?;
        let (id, account, weight) = first;
        if self.fits(account, *weight) {
            return Some(*id);
        }
        others
            .iter()
            .find(|(_, account, weight)| {
                Self::is_reserved(account, *weight) && self.fits(account, *weight)
            })
            .map(|(id, ..)| *id)
    }
}

#[cfg(test)]
mod tests;
