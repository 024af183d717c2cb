//! The counters of all callers, in bounded space.
//!
//! A caller is forgotten only when its last admission no longer counts, so no caller can evict
//! another. [`Shares`] bounds what a flood of newcomers can take.

use super::Rule;
use super::entry::Entry;
use super::log::Reading;
use super::shares::{Full, ShareAccount, Shares};
use super::who::{Who, who};
use crate::metrics::{ShareHits, Whose};
use crate::plugins::holder::Holder;
use crate::request::rejection::Rejection;
use http::HeaderMap;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Callers are spread over so many locks.
pub(super) const SHARDS: usize = 16;

/// The name of the share in metrics.
const COUNTERS: &str = "rate-limit-counters";

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    route: Arc<str>,
    who: Who,
}

/// The state of a key.
enum LimitState {
    Own {
        entry: Entry,
        /// Who brought the header value, if the key is one.
        bringer: Option<Holder>,
    },
    /// A value that is counted together with others of `holder`. Until `ends` its admissions count.
    Together { holder: Holder, ends: Duration },
}

type Shard = HashMap<Key, LimitState>;

/// All counters of the gateway.
pub struct Limiter {
    epoch: Instant,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
    /// Locked after a shard, never before.
    shares: Mutex<Shares>,
    hits: ShareHits,
}

/// The decision about one request, and what the client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// How much of the limit is used, and until when.
    pub reading: Reading,
    /// How many more would be admitted at once, if there is a `burst`.
    pub burst_left: Option<u64>,
    /// The rule that decided.
    pub rule: Rule,
}

impl Decision {
    /// The refusal, if it is one.
    pub fn outcome(&self) -> Result<(), Rejection> {
        if self.reading.admitted {
            return Ok(());
        }
        Err(Rejection::RateLimited {
            limit: self.rule.limit,
            period_s: self.rule.period.as_secs(),
            retry_after: self.reading.reset,
        })
    }
}

impl Limiter {
    /// `max_keys` bounds the callers counted at once, over all routes.
    pub fn new(max_keys: usize) -> Self {
        Self::counting(max_keys, ShareHits::default())
    }

    /// The same, counting in `hits` how often a share of them was used up.
    pub fn counting(max_keys: usize, hits: ShareHits) -> Self {
        Limiter {
            epoch: Instant::now(),
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
            shares: Mutex::new(Shares::new(max_keys)),
            hits,
        }
    }

    /// Counts one request on `route`, or refuses it.
    pub fn admit(
        &self,
        rule: &Rule,
        route: &Arc<str>,
        user: Option<&str>,
        headers: &HeaderMap,
        client: IpAddr,
    ) -> Decision {
        let who = who(&rule.key, user, headers, client);
        let holder = || Holder::of(user, client);
        self.admit_at(rule, route, who, holder, self.epoch.elapsed())
    }

    /// `holder` is whom the request is charged to; called only for newcomers, because most callers
    /// are known.
    fn admit_at(
        &self,
        rule: &Rule,
        route: &Arc<str>,
        who: Who,
        holder: impl Fn() -> Holder,
        now: Duration,
    ) -> Decision {
        let key = Key {
            route: route.clone(),
            who,
        };
        let (reading, burst_left) = self.count(rule, key, holder, now);
        Decision {
            reading,
            burst_left,
            rule: rule.clone(),
        }
    }

    fn count(
        &self,
        rule: &Rule,
        key: Key,
        holder: impl Fn() -> Holder,
        now: Duration,
    ) -> (Reading, Option<u64>) {
        let index = self.hasher.hash_one(&key) as usize % SHARDS;
        loop {
            // The remainder above is below SHARDS.
            let Some(shard) = self.shards.get(index) else {
                return (refused(rule), None);
            };
            let mut shard = shard.lock();
            if let Some(slot) = shard.get_mut(&key)
                && let Some(counted) = self.known(slot, &key, rule, now)
            {
                return counted;
            }
            let bringer = matches!(key.who, Who::Value(_)).then(&holder);
            let mut shares = self.shares.lock();
            if let Some(LimitState::Together { holder, .. }) = shard.remove(&key) {
                shares.give_together(&key.route, &holder);
            }
            let place = shares.place(&key.route, bringer.as_ref(), now);
            if let ShareAccount::Own(mut entry) = place {
                shares.take_own(&key.route, bringer.as_ref());
                let counted = entry.admit(rule, now);
                shares.ends_at(index, entry.ends());
                drop(shares);
                shard.insert(key, LimitState::Own { entry, bringer });
                return counted;
            }
            // Expired counters use up shares until they are swept. So the sweep comes before a
            // caller is counted with others or refused, and at most once a second for each shard.
            if let Some(due) = shares.due(now) {
                drop((shares, shard));
                self.sweep(due, now);
                continue;
            }
            let full = match (place, &bringer) {
                (ShareAccount::Together, Some(holder)) => {
                    self.hits.hit(COUNTERS, Whose::Caller);
                    let (reading, left, ends) =
                        shares.admit_together(&key.route, holder, true, rule, now);
                    if reading.admitted {
                        let holder = holder.clone();
                        shares.ends_at(index, ends);
                        shard.insert(key, LimitState::Together { holder, ends });
                    }
                    return (reading, left);
                }
                (ShareAccount::Full(full), _) => full,
                _ => Full::Route,
            };
            let whose = match full {
                Full::Holder => Whose::Caller,
                Full::Route => Whose::Route,
            };
            self.hits.hit(COUNTERS, whose);
            return shares.admit_without_room(&key.route, bringer.as_ref(), full, rule, now);
        }
    }

    /// Counts for a known key. None if nothing of it counts any more: it must then be placed anew.
    fn known(
        &self,
        slot: &mut LimitState,
        key: &Key,
        rule: &Rule,
        now: Duration,
    ) -> Option<(Reading, Option<u64>)> {
        match slot {
            LimitState::Own { entry, .. } => Some(entry.admit(rule, now)),
            LimitState::Together { ends, .. } if *ends <= now => None,
            LimitState::Together { holder, ends } => {
                let mut shares = self.shares.lock();
                let (reading, left, log_ends) =
                    shares.admit_together(&key.route, holder, false, rule, now);
                if reading.admitted {
                    *ends = log_ends;
                }
                Some((reading, left))
            }
        }
    }

    /// Removes the expired counters of one shard.
    fn sweep(&self, index: usize, now: Duration) {
        let Some(shard) = self.shards.get(index) else {
            return;
        };
        let mut shard = shard.lock();
        let mut shares = self.shares.lock();
        shard.retain(|key, slot| {
            let end = match slot {
                LimitState::Own { entry, .. } => entry.ends(),
                LimitState::Together { ends, .. } => *ends,
            };
            if end > now {
                shares.ends_at(index, end);
                return true;
            }
            match slot {
                LimitState::Own { bringer, .. } => shares.give_own(&key.route, bringer.as_ref()),
                LimitState::Together { holder, .. } => shares.give_together(&key.route, holder),
            }
            false
        });
    }
}

fn refused(rule: &Rule) -> Reading {
    Reading {
        admitted: false,
        remaining: 0,
        reset: rule.period,
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
