//! Counters in too little space, with clients that bring values of their own making.

use super::super::shares::VALUES_SHARE;
use super::*;
use crate::Limits;
use proptest::prelude::*;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn rule(limit: u64, period_s: u64) -> Rule {
    Rule {
        limit,
        period: Duration::from_secs(period_s),
        ..Rule::default()
    }
}

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn by(user: &str) -> Who {
    Who::Holder(Holder::User(user.into()))
}

fn value(number: u32) -> Who {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    Who::Value(bytes)
}

fn address(last: u8) -> Holder {
    Holder::Address([203, 0, 113, last].into())
}

impl Limiter {
    fn admits(&self, rule: &Rule, route: &Arc<str>, who: Who, at: Duration) -> bool {
        self.admits_from(rule, route, who, &address(0), at)
    }

    fn admits_from(
        &self,
        rule: &Rule,
        route: &Arc<str>,
        who: Who,
        holder: &Holder,
        at: Duration,
    ) -> bool {
        let verdict = self.admit_at(rule, route, who, || holder.clone(), at);
        verdict.reading.admitted
    }

    fn kept(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }
}

#[test]
fn burst_and_limit_hold_side_by_side() {
    let limiter = Limiter::new(1000);
    let route = Arc::from("a");
    let rule = Rule {
        burst: Some(2),
        ..rule(4, 40)
    };
    let admitted = |at| {
        let holder = || address(0);
        limiter
            .admit_at(&rule, &route, by("alice"), holder, at)
            .reading
    };
    assert!(admitted(secs(0)).admitted && admitted(secs(0)).admitted);
    let refused = admitted(secs(0));
    assert_eq!((refused.admitted, refused.reset), (false, secs(10)));
    assert!(admitted(secs(10)).admitted && admitted(secs(20)).admitted);
    let refused = admitted(secs(30));
    assert_eq!((refused.admitted, refused.reset), (false, secs(10)));
    assert!(admitted(secs(40)).admitted);
}

#[test]
fn users_and_routes_are_counted_separately() {
    let limiter = Limiter::new(1000);
    let (a, b) = (Arc::from("a"), Arc::from("b"));
    let admit = |route, user: Option<&str>| {
        let who = Who::Holder(Holder::of(user, HERE));
        limiter.admits(&rule(1, 60), route, who, secs(1))
    };
    assert!(admit(&a, Some("alice")) && !admit(&a, Some("alice")));
    assert!(admit(&a, Some("bob")) && admit(&b, Some("alice")));
    assert!(admit(&a, None) && !admit(&a, None));
}

#[test]
fn counters_survive_an_edit_of_the_rule() {
    let limiter = Limiter::new(1000);
    let route = Arc::from("a");
    for _ in 0..3 {
        assert!(limiter.admits(&rule(3, 60), &route, by("alice"), secs(1)));
    }
    // The edited manifest makes a new route of the same name.
    let route = Arc::from("a");
    let holder = || address(0);
    let verdict = limiter.admit_at(&rule(4, 60), &route, by("alice"), holder, secs(2));
    assert_eq!(
        (verdict.reading.admitted, verdict.reading.remaining),
        (true, 0)
    );
    assert!(!limiter.admits(&rule(4, 60), &route, by("alice"), secs(3)));
}

#[test]
fn flood_of_strangers_neither_grows_memory_nor_frees_a_limited_caller() {
    const MAX: usize = 32;
    let limiter = Limiter::new(MAX);
    let route = Arc::from("a");
    let admit = |user: &str, at| limiter.admits(&rule(1, 60), &route, by(user), at);
    assert!(admit("hot", secs(0)));
    let admitted = (0..10_000)
        .filter(|i| admit(&format!("user-{i}"), secs(1)))
        .count();
    assert!(admitted <= MAX, "own places and one shared log: {admitted}");
    assert!(limiter.kept() <= MAX);
    assert!(!admit("hot", secs(59)));
    assert!(admit("hot", secs(60)));
    let admitted = (0..100)
        .filter(|i| admit(&format!("late-{i}"), secs(200)))
        .count();
    assert!(
        admitted >= MAX / 2,
        "space is found again when the periods have passed: {admitted}"
    );
}

#[test]
fn values_invented_by_one_address_cost_others_no_counter() {
    const MAX: usize = 3200;
    let limiter = Limiter::new(MAX);
    let (invented, other) = (Arc::from("by-tenant"), Arc::from("by-address"));
    let tenants = rule(10, 3600);
    let mallory = address(255);
    let admitted = (0..2 * MAX as u32)
        .filter(|i| limiter.admits_from(&tenants, &invented, value(*i), &mallory, secs(1)))
        .count();
    let share = MAX / VALUES_SHARE;
    assert_eq!(admitted, share + 10, "its share, and all others together");
    // What it had counters for it has; what came after counts together, and is used up.
    assert!(limiter.admits_from(&tenants, &invented, value(0), &mallory, secs(2)));
    assert!(!limiter.admits_from(&tenants, &invented, value(share as u32), &mallory, secs(2)));
    // Its share is one over all routes: it gets no second one elsewhere.
    let elsewhere = Arc::from("also-by-tenant");
    let admitted = (0..100)
        .filter(|i| limiter.admits_from(&tenants, &elsewhere, value(*i), &mallory, secs(2)))
        .count();
    assert_eq!(admitted, 10);
    // Newcomers are counted apart, on the same route and on others.
    for i in 0..200 {
        let newcomer = address(i);
        let who = value(1_000_000 + u32::from(i));
        assert!(limiter.admits_from(&rule(1, 3600), &invented, who, &newcomer, secs(3)));
        let who = Who::Holder(newcomer);
        assert!(limiter.admits(&rule(1, 60), &other, who, secs(3)));
    }
    // When its values have stopped to count it brings others.
    let later = (0..10 * share as u32)
        .filter(|i| limiter.admits_from(&tenants, &invented, value(*i), &mallory, secs(4000)))
        .count();
    assert!(later > share, "{later}");
}

#[test]
fn expired_counters_use_up_no_share() {
    const MAX: usize = 3200;
    let limiter = Limiter::new(MAX);
    let route = Arc::from("by-tenant");
    let tenants = rule(5, 1);
    let service = address(7);
    let share = (MAX / VALUES_SHARE) as u32;
    for tenant in 0..share {
        assert!(limiter.admits_from(&tenants, &route, value(tenant), &service, secs(1)));
    }
    // All of them have ended, and nobody has asked for room since. Each newcomer has the limit for
    // itself.
    for newcomer in share..share + 20 {
        for _ in 0..5 {
            assert!(limiter.admits_from(&tenants, &route, value(newcomer), &service, secs(9)));
        }
    }
    assert_eq!(limiter.shares.lock().together(), (0, 0));
}

#[test]
fn flooded_route_leaves_counters_to_the_others() {
    const MAX: usize = 640;
    let limiter = Limiter::new(MAX);
    let flood = |route: &str| {
        let route = Arc::from(route);
        for i in 0..2 * MAX {
            limiter.admits(&rule(1, 60), &route, by(&format!("user-{i}")), secs(1));
        }
    };
    flood("a");
    assert_eq!(limiter.shares.lock().held("a"), (MAX / 2, MAX / 2));
    flood("b");
    assert_eq!(limiter.shares.lock().held("b").1, MAX / 4);
    let quiet = Arc::from("quiet");
    for i in 0..MAX / 10 {
        let who = by(&format!("citizen-{i}"));
        assert!(limiter.admits(&rule(1, 60), &quiet, who, secs(1)));
    }
}

#[test]
fn value_in_the_shared_counter_gets_no_second_counter() {
    let limiter = Limiter::new(64);
    let route = Arc::from("a");
    let rule = rule(3, 60);
    let (mallory, acme) = (address(66), address(1));
    // Its share of two is used up, so the third value counts together with all further ones.
    for i in 0..3 {
        assert!(limiter.admits_from(&rule, &route, value(i), &mallory, secs(0)));
    }
    assert_eq!(limiter.shares.lock().together(), (1, 1));
    let admitted = (0..10)
        .filter(|_| limiter.admits_from(&rule, &route, value(2), &acme, secs(1)))
        .count();
    assert_eq!(admitted, 2, "three in all, whoever brought it");
    // It has a counter of its own as soon as nothing counts of what it was admitted to.
    let admitted = (0..10)
        .filter(|_| limiter.admits_from(&rule, &route, value(2), &acme, secs(61)))
        .count();
    assert_eq!(admitted, 3);
    assert_eq!(limiter.shares.lock().together().1, 0);
}

#[test]
fn operators_page_lists_the_shares_of_the_counters() {
    let page = include_str!("../../../../../docs/limits.md");
    let max = Limits::default().max_rate_keys;
    for (what, number) in [
        ("| counters of `rate-limit`", max),
        ("| of these, values of header fields", max / VALUES_SHARE),
    ] {
        let row = page.lines().find(|line| line.starts_with(what)).unwrap();
        let number = format!("| {},{:03} |", number / 1000, number % 1000);
        assert!(row.contains(&number), "{row} lacks {number}");
    }
}

/// A request: which route, from which address, of whom (a value, a user or an address), and how
/// long after the one before.
type Call = (usize, u8, u32, u64);

proptest! {
    /// Several routes, of which one counts by values that the clients choose, in too little space.
    #[test]
    fn short_memory_never_admits_anyone_too_often(
        max in 1_usize..80,
        calls in prop::collection::vec((0_usize..3, 0_u8..4, 0_u32..30, prop_oneof![3 => 0_u64..100, 1 => 0_u64..1500]), 1..600),
    ) {
        let limiter = Limiter::new(max);
        let routes: [Arc<str>; 3] = ["values", "users", "addresses"].map(Arc::from);
        let rule = rule(3, 5);
        let mut log: HashMap<Key, Vec<u64>> = HashMap::new();
        let mut now = 0;
        for call in calls {
            let (route, from, number, gap_ms): Call = call;
            now += gap_ms;
            let who = match route {
                0 => value(number),
                1 => by(&number.to_string()),
                _ => Who::Holder(address(from)),
            };
            let route = &routes[route];
            let at = Duration::from_millis(now);
            if limiter.admits_from(&rule, route, who.clone(), &address(from), at) {
                let past = log.entry(Key { route: route.clone(), who }).or_default();
                prop_assert!(past.iter().filter(|t| **t + 5000 > now).count() < 3);
                past.push(now);
            }
            // The books are right, and the space is what it was to be.
            let shares = limiter.shares.lock();
            let (held, _) = shares.held("");
            prop_assert!(held <= max);
            prop_assert_eq!(held, limiter.kept() + shares.together().0);
            let of_routes: usize = routes.iter().map(|route| shares.held(route).1).sum();
            prop_assert_eq!(held, of_routes);
        }
    }

    /// Whatever an address brings, one that brings little is refused only by its own limit.
    #[test]
    fn flood_from_one_address_refuses_no_other(
        values in prop::collection::vec(0_u32..5000, 1..2000),
        period_s in 1_u64..100,
    ) {
        let limiter = Limiter::new(640);
        let route: Arc<str> = Arc::from("values");
        for (i, number) in values.iter().enumerate() {
            let at = Duration::from_millis(i as u64);
            limiter.admits_from(&rule(2, period_s), &route, value(*number), &address(66), at);
        }
        let now = Duration::from_millis(values.len() as u64);
        for i in 0..20 {
            let (who, from) = (value(10_000 + u32::from(i)), address(i));
            prop_assert!(limiter.admits_from(&rule(2, period_s), &route, who, &from, now));
        }
    }
}
