//! The canary analysis under simulated traffic, with fixed seeds: a small part of what `cargo bench
//! --bench canary` does.

use super::analysis::{self, Analysis, GROUPS, Sample, Side};
use scenarios::{Callers, Drift, Ends, Rates, Scenario, good};
use std::time::{Duration, Instant};

#[path = "../../../../benches/canary/scenarios.rs"]
#[allow(dead_code)]
mod scenarios;
#[path = "../../../../benches/canary/traffic.rs"]
mod traffic;

const FAST: Duration = Duration::from_millis(2);

fn rates(failing: f64, slow: f64) -> Rates {
    Rates { failing, slow }
}

/// At a tenth of the requests, of 2,000 callers.
fn beside(live: Rates, candidate: Rates) -> Scenario {
    Scenario {
        name: String::new(),
        shares: vec![1000],
        callers: Callers::Equal(2000),
        live,
        candidate,
        drift: Drift::None,
        ends: Ends::AtOnce,
    }
}

#[test]
fn candidates_as_good_as_the_live_release_are_never_ended() {
    for scenario in good() {
        for seed in 1..=300 {
            let ended = traffic::run(&scenario, seed, 1500);
            assert_eq!(ended, None, "{}, seed {seed}", scenario.name);
        }
    }
}

/// Where fewer answers are slow than one in a hundred, and for long.
#[test]
fn long_canary_of_the_same_component_is_not_ended() {
    for (seed, slow) in (1..).zip([0.0, 0.0005, 0.002, 0.02]) {
        let same = beside(rates(slow, slow), rates(slow, slow));
        assert_eq!(traffic::run(&same, seed, 60_000), None, "{slow}");
    }
}

#[test]
fn worse_candidates_are_ended_soon_with_both_figures() {
    let live = rates(0.001, 0.001);
    for (candidate, most, why) in [
        (rates(1.0, 0.0), 128, "it failed at requests of"),
        (rates(0.2, 0.0), 2048, "it failed at requests of"),
        (rates(0.001, 0.2), 4096, "it took more than"),
    ] {
        for seed in 1..=20 {
            let (after, said) = traffic::run(&beside(live, candidate), seed, 10_000).unwrap();
            assert!(after <= most, "{after}: {said}");
            assert!(
                said.starts_with(why) && said.contains("the live release"),
                "{said}"
            );
        }
    }
}

#[test]
fn always_failing_candidate_is_ended_even_without_live_traffic() {
    let mut alone = beside(rates(0.0, 0.0), rates(1.0, 0.0));
    alone.shares = vec![10_000];
    for callers in [1, 3, 2000] {
        alone.callers = Callers::Equal(callers);
        let (after, said) = traffic::run(&alone, 5, 1000).unwrap();
        assert!(after < 120, "{after}");
        assert!(said.starts_with("it failed at all of its"), "{said}");
    }
}

#[test]
fn equally_failing_live_release_excuses_the_candidate() {
    let broken = beside(rates(1.0, 0.5), rates(1.0, 0.5));
    assert_eq!(traffic::run(&broken, 3, 5000), None);
}

/// A host that hangs is left by its clients, and never fails for them.
#[test]
fn candidate_that_clients_give_up_on_is_slow() {
    let analysis = Analysis::new(5000, 1);
    let (begun, mut ended) = (Instant::now(), None);
    for i in 0..4000u32 {
        let now = begun + FAST * i;
        let entry = analysis.begin(i.wrapping_mul(2_654_435_761) % GROUPS, now);
        let outcome = match entry.side {
            Side::Live => Sample::Answered {
                failed: false,
                took: FAST,
            },
            Side::Candidate => Sample::Left { after: FAST * 1000 },
        };
        ended = ended.or(analysis.end(entry, outcome, now));
    }
    assert!(ended.unwrap().starts_with("it took more than"));
    // Those who leave at once say nothing.
    let analysis = Analysis::new(5000, 1);
    for i in 0..4000u32 {
        let entry = analysis.begin(i.wrapping_mul(2_654_435_761) % GROUPS, begun);
        let outcome = match entry.side {
            Side::Live => Sample::Answered {
                failed: false,
                took: FAST,
            },
            Side::Candidate => Sample::Left { after: FAST / 2 },
        };
        assert_eq!(analysis.end(entry, outcome, begun), None);
    }
}

#[test]
fn larger_share_moves_groups_to_the_candidate_and_none_back() {
    let analysis = Analysis::new(1000, 1);
    let now = Instant::now();
    let on_candidate = || {
        let side = |group: &u32| {
            let entry = analysis.begin(*group, now);
            let side = entry.side;
            analysis.end(entry, Sample::Unclear, now);
            side == Side::Candidate
        };
        (0..GROUPS).filter(side).collect::<Vec<_>>()
    };
    let before = on_candidate();
    analysis.set_share(2500);
    let after = on_candidate();
    assert_eq!((before.len(), after.len()), (4000, 10_000));
    assert!(before.iter().all(|group| after.contains(group)));
    assert_eq!(analysis.seen().share, 2500);
}

#[test]
fn requests_in_flight_at_a_share_change_are_not_compared() {
    let analysis = Analysis::new(1000, 1);
    let now = Instant::now();
    let under_way: Vec<_> = (0..64)
        .map(|group| analysis.begin(group * 7, now))
        .collect();
    analysis.set_share(9000);
    for entry in under_way {
        let failed = entry.side == Side::Candidate;
        assert_eq!(
            analysis.end(entry, Sample::Answered { failed, took: FAST }, now),
            None
        );
    }
    let seen = analysis.seen();
    assert_eq!(seen.live.requests + seen.candidate.requests, 64);
}
