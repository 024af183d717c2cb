//! Whose share of the counters is how large.
//!
//! A **route** may hold as many counters as are free. So one route alone gets half of them, two that are flooded a third each,
//! and whatever is done to some routes, the others find room. A **value** of a header field is what a client made up, so its
//! counter is also charged to the holder that brought it: the caller, or the address where there is none. A holder may bring
//! [`VALUES_SHARE`] of all counters, over all routes.
//!
//! What there is no counter for counts together: the further values of one holder on one route in one log, the newcomers of a
//! route without room in another. Each log is held to the route's limit, and each value is counted in one place at a time, so
//! in no period is a caller, or a value, admitted more often than the limit says.

use super::entry::Entry;
use super::log::Reading;
use super::{Rule, limiter::SHARDS};
use crate::plugins::holder::Holder;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// One holder may bring values for a thirty-second part of all counters: of 50,000 that is 1,562, more than a service that calls
/// for its tenants has at once, and sixteen such holders are needed to fill the half that one route may have.
pub(super) const VALUES_SHARE: usize = 32;

/// A shard looks for counters to forget at most this often, so that a flood costs no sweep a request.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What the holders of counters have, over all shards. Locked after a shard, never before.
pub(super) struct Shares {
    max: usize,
    /// All counters, those in `together` and values in them included.
    held: usize,
    routes: HashMap<Arc<str>, RouteShare>,
    /// Counters of values, by who brought them.
    brought: HashMap<Holder, usize>,
    together: HashMap<(Arc<str>, Holder), Together>,
    sweeps: [Sweep; SHARDS],
}

/// When one shard is to be swept.
#[derive(Clone, Copy)]
struct Sweep {
    last: Option<Duration>,
    /// Before then nothing in the shard ends.
    first_end: Duration,
}

#[derive(Default)]
struct RouteShare {
    held: usize,
    /// The newcomers for whom there was no counter.
    strangers: Entry,
}

/// The values of one holder on one route that have no counter of their own.
#[derive(Default)]
struct Together {
    entry: Entry,
    /// Those that were admitted, and may still count.
    values: usize,
}

/// Where a newcomer is counted.
pub(super) enum ShareAccount {
    /// In a counter of its own, which begins with this.
    Own(Entry),
    /// With other values of its holder.
    Together,
    /// There is no room.
    Full(Full),
}

/// Whose share is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// The holder's: of values that it brings.
    Holder,
    /// The route's.
    Route,
}

impl Shares {
    pub(super) fn new(max: usize) -> Self {
        Shares {
            max,
            held: 0,
            routes: HashMap::new(),
            brought: HashMap::new(),
            together: HashMap::new(),
            sweeps: [Sweep {
                last: None,
                first_end: Duration::MAX,
            }; SHARDS],
        }
    }

    fn values_share(&self) -> usize {
        (self.max / VALUES_SHARE).max(1)
    }

    /// Finds a place for a newcomer on `route`; `bringer` is who made its value up, if it is one. What is found is taken by
    /// [`Shares::take_own`] or [`Shares::admit_together`].
    pub(super) fn place(
        &self,
        route: &Arc<str>,
        bringer: Option<&Holder>,
        now: Duration,
    ) -> ShareAccount {
        let share = self.values_share();
        let brought = bringer.and_then(|bringer| self.brought.get(bringer));
        let over = brought.is_some_and(|brought| *brought >= share);
        let state = self.routes.get(route);
        let strangers = state.filter(|state| state.strangers.ends() > now);
        let free = self.max.saturating_sub(self.held);
        if state.map_or(0, |state| state.held) >= free {
            return ShareAccount::Full(if over { Full::Holder } else { Full::Route });
        }
        let Some(bringer) = bringer.filter(|_| over) else {
            // Some of what is in the shared log may be the newcomer's own.
            let entry = strangers.map(|state| state.strangers.clone());
            return ShareAccount::Own(entry.unwrap_or_default());
        };
        let together = self.together.get(&(route.clone(), bringer.clone()));
        let values = together.map_or(0, |together| together.values);
        // What strangers were admitted to may be of this very value, and is not in its holder's log. The first value takes
        // room for the log too.
        if strangers.is_some() || values >= share || free < 2 {
            return ShareAccount::Full(Full::Holder);
        }
        ShareAccount::Together
    }

    /// Counts a counter of its own for a newcomer.
    pub(super) fn take_own(&mut self, route: &Arc<str>, bringer: Option<&Holder>) {
        self.grow(route);
        if let Some(bringer) = bringer {
            *self.brought.entry(bringer.clone()).or_default() += 1;
        }
    }

    /// Counts one request for a value that counts together with the holder's others, or refuses it. A `new` one that is
    /// admitted is taken in.
    pub(super) fn admit_together(
        &mut self,
        route: &Arc<str>,
        holder: &Holder,
        new: bool,
        rule: &Rule,
        now: Duration,
    ) -> (Reading, Option<u64>, Duration) {
        let key = (route.clone(), holder.clone());
        if !self.together.contains_key(&key) {
            self.grow(route);
        }
        let together = self.together.entry(key).or_default();
        let (reading, left) = together.entry.admit(rule, now);
        let ends = together.entry.ends();
        if new && reading.admitted {
            together.values += 1;
            self.grow(route);
        }
        (reading, left, ends)
    }

    /// Counts one request of a newcomer for whom there is no room, or refuses it.
    pub(super) fn admit_without_room(
        &mut self,
        route: &Arc<str>,
        bringer: Option<&Holder>,
        full: Full,
        rule: &Rule,
        now: Duration,
    ) -> (Reading, Option<u64>) {
        if full == Full::Route {
            let state = self.routes.entry(route.clone()).or_default();
            return state.strangers.admit(rule, now);
        }
        // Not among the strangers: there its holder would use up what is left for others.
        let together = bringer.and_then(|holder| {
            let key = (route.clone(), holder.clone());
            self.together.get_mut(&key)
        });
        let reset = together.map_or(Duration::ZERO, |together| together.entry.reset(rule, now));
        let reading = Reading {
            admitted: false,
            remaining: 0,
            reset: reset.max(SWEEP_EVERY),
        };
        (reading, rule.burst.map(|_| 0))
    }

    /// Gives a counter back, with the value's holder if it was one's.
    pub(super) fn give_own(&mut self, route: &Arc<str>, bringer: Option<&Holder>) {
        self.shrink(route);
        if let Some(bringer) = bringer
            && let Some(brought) = self.brought.get_mut(bringer)
        {
            *brought = brought.saturating_sub(1);
            if *brought == 0 {
                self.brought.remove(bringer);
            }
        }
    }

    /// Gives a value back that counted together with the holder's others.
    pub(super) fn give_together(&mut self, route: &Arc<str>, holder: &Holder) {
        self.shrink(route);
        let key = (route.clone(), holder.clone());
        if let Some(together) = self.together.get_mut(&key) {
            together.values = together.values.saturating_sub(1);
        }
    }

    /// Notes that something in a shard ends at `end`.
    pub(super) fn ends_at(&mut self, shard: usize, end: Duration) {
        if let Some(sweep) = self.sweeps.get_mut(shard) {
            sweep.first_end = sweep.first_end.min(end);
        }
    }

    /// A shard that is to be swept before there is no room, because something in it may have ended, and it was not swept
    /// lately. The sweep says anew by [`Shares::ends_at`] what ends when.
    pub(super) fn due(&mut self, now: Duration) -> Option<usize> {
        let due = |sweep: &Sweep| {
            let lately = sweep.last.is_some_and(|last| now < last + SWEEP_EVERY);
            !lately && sweep.first_end <= now
        };
        let index = self.sweeps.iter().position(due)?;
        self.forget(now);
        let sweep = self.sweeps.get_mut(index)?;
        *sweep = Sweep {
            last: Some(now),
            first_end: Duration::MAX,
        };
        Some(index)
    }

    /// Forgets the logs in which nothing counts.
    fn forget(&mut self, now: Duration) {
        let mut ended = Vec::new();
        self.together.retain(|(route, _), together| {
            let stays = together.values > 0 || together.entry.ends() > now;
            if !stays {
                ended.push(route.clone());
            }
            stays
        });
        for route in ended {
            self.shrink(&route);
        }
        self.routes
            .retain(|_, state| state.held > 0 || state.strangers.ends() > now);
    }

    fn grow(&mut self, route: &Arc<str>) {
        self.held += 1;
        self.routes.entry(route.clone()).or_default().held += 1;
    }

    fn shrink(&mut self, route: &Arc<str>) {
        self.held = self.held.saturating_sub(1);
        if let Some(state) = self.routes.get_mut(route) {
            state.held = state.held.saturating_sub(1);
        }
    }

    /// Counters held, in all and by `route`.
    #[cfg(test)]
    pub(super) fn held(&self, route: &str) -> (usize, usize) {
        (
            self.held,
            self.routes.get(route).map_or(0, |state| state.held),
        )
    }

    #[cfg(test)]
    pub(super) fn together(&self) -> (usize, usize) {
        let values = self.together.values().map(|together| together.values);
        (self.together.len(), values.sum())
    }
}
