//! How the counters are shared out.
//!
//! A **route** may hold as many counters as are free. So one route alone gets half of them, two
//! flooded routes a third each, and whatever floods some routes, the others find room. A client may
//! invent the **value** of a header field, so its counter is also charged to the holder that
//! brought it: the caller, or the address without a caller. A holder may bring [`VALUES_SHARE`] of
//! all counters, over all routes.
//!
//! Requests without a counter of their own are counted together: the further values of one holder
//! on one route in one log, the newcomers of a route without room in another. Each log has the
//! route's limit, and each value is counted in one place at a time. So no caller, or value, is ever
//! admitted more often than the limit allows.

use super::entry::Entry;
use super::log::Reading;
use super::{Rule, limiter::SHARDS};
use crate::plugins::holder::Holder;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// One holder may bring a thirty-second part of all counters. Of 50,000 that is 1,562: more than a
/// service that calls for its tenants uses at once. It takes sixteen such holders to fill the half
/// that one route may have.
pub(super) const VALUES_SHARE: usize = 32;

/// The least time between sweeps of a shard, so that in a flood requests do not cause a sweep each.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// The counters held, over all shards. Locked after a shard, never before.
pub(super) struct Shares {
    max: usize,
    /// All counters, including those in `together` and the values in them.
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
    /// The earliest time at which something in the shard expires.
    first_end: Duration,
}

#[derive(Default)]
struct RouteShare {
    held: usize,
    /// The newcomers without a counter.
    strangers: Entry,
}

/// The values of one holder on one route without a counter of their own.
#[derive(Default)]
struct Together {
    entry: Entry,
    /// Those that were admitted and may still count.
    values: usize,
}

/// Where a newcomer is counted.
pub(super) enum ShareAccount {
    /// In a counter of its own, which starts with this.
    Own(Entry),
    /// Together with other values of its holder.
    Together,
    /// There is no room.
    Full(Full),
}

/// Whose share is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// That of the holder, for values that it brings.
    Holder,
    /// That of the route.
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

    /// Finds a place for a newcomer on `route`; `bringer` is who invented its value, if it is one.
    /// [`Shares::take_own`] or [`Shares::admit_together`] then takes the place.
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
            // Some admissions in the shared log may be the newcomer's own.
            let entry = strangers.map(|state| state.strangers.clone());
            return ShareAccount::Own(entry.unwrap_or_default());
        };
        let together = self.together.get(&(route.clone(), bringer.clone()));
        let values = together.map_or(0, |together| together.values);
        // Some admissions of strangers may be of this very value, and are not in its holder's log.
        // The first value also takes room for the log.
        if strangers.is_some() || values >= share || free < 2 {
            return ShareAccount::Full(Full::Holder);
        }
        ShareAccount::Together
    }

    /// Counts a newcomer's own counter.
    pub(super) fn take_own(&mut self, route: &Arc<str>, bringer: Option<&Holder>) {
        self.grow(route);
        if let Some(bringer) = bringer {
            *self.brought.entry(bringer.clone()).or_default() += 1;
        }
    }

    /// Counts one request for a value that is counted together with the holder's others, or refuses
    /// it. If it is admitted, a `new` value is added.
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

    /// Counts one request of a newcomer without room, or refuses it.
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

    /// Returns a counter, and the share of the value's holder if it was a value.
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

    /// Returns a value that was counted together with the holder's others.
    pub(super) fn give_together(&mut self, route: &Arc<str>, holder: &Holder) {
        self.shrink(route);
        let key = (route.clone(), holder.clone());
        if let Some(together) = self.together.get_mut(&key) {
            together.values = together.values.saturating_sub(1);
        }
    }

    /// Records that something in a shard expires at `end`.
    pub(super) fn ends_at(&mut self, shard: usize, end: Duration) {
        if let Some(sweep) = self.sweeps.get_mut(shard) {
            sweep.first_end = sweep.first_end.min(end);
        }
    }

    /// A shard that should be swept before a newcomer is refused, because something in it may have
    /// expired, and it was not swept recently. The sweep reports the next expiry by
    /// [`Shares::ends_at`].
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

    /// Removes the logs in which nothing counts.
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
