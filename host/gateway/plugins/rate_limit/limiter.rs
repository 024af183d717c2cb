//! The counters of all callers, in bounded space.
//!
//! A caller is forgotten only when its last admission has stopped to count. When the space is full of callers that
//! still count, strangers share one log per route, with that route's limit: nobody is admitted too often, and
//! no caller can push another one out. A stranger that gets space of its own later starts with a copy of the
//! shared log, because some of what is in it may be its own.

use super::bucket::Bucket;
use super::log::{Log, Reading};
use super::{By, Rule};
use crate::error::Error;
use http::HeaderMap;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Callers are spread over so many locks.
const SHARDS: usize = 16;

/// A full shard looks for callers to forget at most this often, so that a flood of strangers costs no
/// sweep each.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Who is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    User(Box<str>),
    /// IPv4 whole; of IPv6 the first 64 bits, because one client has at least those.
    Address(IpAddr),
    /// The first half of the SHA-256 of a field's value, which may be long.
    Value([u8; 16]),
    All,
    /// Everybody for whom there was no space.
    Strangers,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    route: Arc<str>,
    who: Who,
}

#[derive(Clone, Default)]
struct Entry {
    log: Log,
    bucket: Bucket,
    /// From then on nothing in the log counts.
    ends: Duration,
}

#[derive(Default)]
struct Shard {
    entries: HashMap<Key, Entry>,
    swept: Option<Duration>,
}

/// All counters of the gateway.
pub struct Limiter {
    epoch: Instant,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
    /// One log a route; as many as there are route names with a full shard.
    strangers: Mutex<HashMap<Key, Entry>>,
    max_per_shard: usize,
}

/// What the limiter says about one request, and what the client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub reading: Reading,
    /// How many more would be admitted at once, where there is a `burst`.
    pub burst_left: Option<u64>,
    pub rule: Rule,
}

impl Verdict {
    /// The refusal, if it is one.
    pub fn outcome(&self) -> Result<(), Error> {
        if self.reading.admitted {
            return Ok(());
        }
        Err(Error::RateLimited {
            limit: self.rule.limit,
            period_s: self.rule.period.as_secs(),
            retry_after: self.reading.reset,
        })
    }
}

impl Limiter {
    /// `max_keys` bounds the callers counted at once, over all routes.
    pub fn new(max_keys: usize) -> Self {
        Limiter {
            epoch: Instant::now(),
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
            strangers: Mutex::default(),
            max_per_shard: max_keys.div_ceil(SHARDS),
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
    ) -> Verdict {
        let who = who(&rule.key, user, headers, client);
        self.admit_at(rule, route, who, self.epoch.elapsed())
    }

    fn admit_at(&self, rule: &Rule, route: &Arc<str>, who: Who, now: Duration) -> Verdict {
        let key = Key {
            route: route.clone(),
            who,
        };
        let (reading, burst_left) = self.count(rule, key, now);
        Verdict {
            reading,
            burst_left,
            rule: rule.clone(),
        }
    }

    fn count(&self, rule: &Rule, key: Key, now: Duration) -> (Reading, Option<u64>) {
        let index = self.hasher.hash_one(&key) as usize % SHARDS;
        let Some(shard) = self.shards.get(index) else {
            // The remainder above is below SHARDS.
            let reading = Reading {
                admitted: false,
                remaining: 0,
                reset: rule.period,
            };
            return (reading, None);
        };
        let mut shard = lock(shard);
        if let Some(entry) = shard.entries.get_mut(&key) {
            return entry.admit(rule, now);
        }
        // Always taken after a shard's lock, never before.
        let mut strangers = lock(&self.strangers);
        let shared = Key {
            route: key.route.clone(),
            who: Who::Strangers,
        };
        if shard.has_space(self.max_per_shard, now) {
            let entry = match strangers.get(&shared) {
                Some(entry) if entry.ends > now => entry.clone(),
                _ => Entry::default(),
            };
            shard.entries.entry(key).or_insert(entry).admit(rule, now)
        } else {
            strangers.retain(|_, entry| entry.ends > now);
            strangers.entry(shared).or_default().admit(rule, now)
        }
    }
}

/// Who is counted for a request.
fn who(key: &By, user: Option<&str>, headers: &HeaderMap, client: IpAddr) -> Who {
    let value = match key {
        By::Route => return Who::All,
        By::Address => return Who::Address(network(client)),
        By::User => None,
        By::Header(name) => headers.get(name),
    };
    match (value, user) {
        (Some(value), _) => {
            let [low, ..] = *Sha256::digest(value.as_bytes()).as_chunks::<16>().0 else {
                return Who::All;
            };
            Who::Value(low)
        }
        (None, Some(user)) => Who::User(user.into()),
        (None, None) => Who::Address(network(client)),
    }
}

impl Entry {
    fn admit(&mut self, rule: &Rule, now: Duration) -> (Reading, Option<u64>) {
        // Under the lock, so that times do not go back for this log.
        let now = now.max(self.log.ends(Duration::ZERO));
        let wait = self.bucket.wait(rule, now);
        let reading = if wait.is_zero() {
            let reading = self.log.admit(rule.limit, rule.period, now);
            if reading.admitted {
                self.bucket.take(rule, now);
            }
            reading
        } else {
            let reading = self.log.look(rule.limit, rule.period, now);
            let reset = if reading.admitted {
                wait
            } else {
                reading.reset.max(wait)
            };
            Reading {
                admitted: false,
                reset,
                ..reading
            }
        };
        // A burst is part of the limit, so the bucket is full again before the log ends.
        self.ends = self.log.ends(rule.period);
        (reading, self.bucket.left(rule, now))
    }
}

impl Shard {
    fn has_space(&mut self, max: usize, now: Duration) -> bool {
        if self.entries.len() < max {
            return true;
        }
        if self.swept.is_none_or(|swept| now >= swept + SWEEP_EVERY) {
            self.swept = Some(now);
            self.entries.retain(|_, entry| entry.ends > now);
        }
        self.entries.len() < max
    }
}

/// A counter is whole between any two statements, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What of an address stands for one client.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let prefix = u128::from(v6) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(prefix))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HERE: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

    fn rule(limit: u64, period_s: u64) -> Rule {
        Rule {
            limit,
            period: Duration::from_secs(period_s),
            ..Rule::default()
        }
    }

    fn by(user: &str) -> Who {
        Who::User(user.into())
    }

    #[test]
    fn who_is_counted_is_what_the_rule_says() {
        let mut headers = HeaderMap::new();
        let tenant = http::HeaderName::from_static("x-tenant");
        let key = By::Header(tenant.clone());
        let of = |key: &By, headers: &HeaderMap, user| who(key, user, headers, HERE);
        let here = Who::Address(network(HERE));
        assert_eq!(of(&By::User, &headers, Some("alice")), by("alice"));
        assert_eq!(of(&By::User, &headers, None), here);
        assert_eq!(of(&By::Address, &headers, Some("alice")), here);
        assert_eq!(of(&By::Route, &headers, Some("alice")), Who::All);
        assert_eq!(of(&key, &headers, Some("alice")), by("alice"));
        headers.insert(tenant.clone(), "a".parse().unwrap());
        let a = of(&key, &headers, Some("alice"));
        assert_eq!(of(&key, &headers, Some("bob")), a);
        headers.insert(tenant, "b".parse().unwrap());
        assert_ne!(of(&key, &headers, Some("bob")), a);
    }

    #[test]
    fn a_burst_is_a_part_of_the_limit_and_the_limit_holds_beside_it() {
        let limiter = Limiter::new(1000);
        let route = Arc::from("a");
        let rule = Rule {
            burst: Some(2),
            ..rule(4, 40)
        };
        let admitted = |at| limiter.admit_at(&rule, &route, by("alice"), at).reading;
        assert!(admitted(secs(0)).admitted && admitted(secs(0)).admitted);
        let refused = admitted(secs(0));
        assert_eq!((refused.admitted, refused.reset), (false, secs(10)));
        assert!(admitted(secs(10)).admitted && admitted(secs(20)).admitted);
        let refused = admitted(secs(30));
        assert_eq!((refused.admitted, refused.reset), (false, secs(10)));
        assert!(admitted(secs(40)).admitted);
    }

    fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn users_count_apart_and_routes_count_apart() {
        let limiter = Limiter::new(1000);
        let (a, b) = (Arc::from("a"), Arc::from("b"));
        let admit = |route, user: Option<&str>| {
            let who = user.map_or(Who::Address(HERE), by);
            limiter
                .admit_at(&rule(1, 60), route, who, secs(1))
                .reading
                .admitted
        };
        assert!(admit(&a, Some("alice")) && !admit(&a, Some("alice")));
        assert!(admit(&a, Some("bob")) && admit(&b, Some("alice")));
        assert!(admit(&a, None) && !admit(&a, None));
    }

    #[test]
    fn an_ipv6_client_is_its_64_bit_network() {
        let parse = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(
            network(parse("2001:db8:0:1::1")),
            network(parse("2001:db8:0:1:ffff::2"))
        );
        assert_ne!(
            network(parse("2001:db8:0:1::1")),
            network(parse("2001:db8:0:2::1"))
        );
        assert_eq!(network(parse("::ffff:192.0.2.1")), parse("192.0.2.1"));
    }

    #[test]
    fn counters_outlive_an_edit_of_the_rule() {
        let limiter = Limiter::new(1000);
        let route = Arc::from("a");
        for _ in 0..3 {
            let verdict = limiter.admit_at(&rule(3, 60), &route, by("alice"), secs(1));
            assert!(verdict.reading.admitted);
        }
        // The edited manifest makes a new route of the same name.
        let route = Arc::from("a");
        let verdict = limiter.admit_at(&rule(4, 60), &route, by("alice"), secs(2));
        assert_eq!(
            (verdict.reading.admitted, verdict.reading.remaining),
            (true, 0)
        );
        let verdict = limiter.admit_at(&rule(4, 60), &route, by("alice"), secs(3));
        assert!(!verdict.reading.admitted);
    }

    #[test]
    fn a_flood_of_strangers_neither_grows_the_space_nor_frees_a_hot_caller() {
        let limiter = Limiter::new(SHARDS);
        let route = Arc::from("a");
        let admit = |user: &str, at| {
            limiter
                .admit_at(&rule(1, 60), &route, by(user), at)
                .reading
                .admitted
        };
        assert!(admit("hot", secs(0)));
        let admitted = (0..10_000)
            .filter(|i| admit(&format!("user-{i}"), secs(1)))
            .count();
        assert!(
            admitted <= SHARDS,
            "own places and one shared log: {admitted}"
        );
        let kept: usize = limiter
            .shards
            .iter()
            .map(|shard| lock(shard).entries.len())
            .sum();
        assert!(kept <= SHARDS);
        assert!(!admit("hot", secs(59)));
        assert!(admit("hot", secs(60)));
        assert!(
            admit("user-9999", secs(200)),
            "space is found again when the periods have passed"
        );
    }

    proptest! {
        #[test]
        fn nobody_is_admitted_too_often_even_in_too_little_space(
            calls in prop::collection::vec((0u8..40, 0u64..1500), 1..600),
        ) {
            let limiter = Limiter::new(1);
            let route = Arc::from("a");
            let rule = rule(3, 5);
            let mut log: HashMap<u8, Vec<u64>> = HashMap::new();
            let mut now = 0;
            for (user, gap_ms) in calls {
                now += gap_ms;
                let name = user.to_string();
                let at = Duration::from_millis(now);
                if limiter.admit_at(&rule, &route, by(&name), at).reading.admitted {
                    let past = log.entry(user).or_default();
                    prop_assert!(past.iter().filter(|t| **t + 5000 > now).count() < 3);
                    past.push(now);
                }
            }
        }
    }
}
