//! One canary analysis under simulated traffic.

use super::analysis::{Analysis, Entry, GROUPS, Sample, Side};
use super::scenarios::{Callers, Drift, Ends, Rates, Scenario};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A hundred requests a second.
const BETWEEN: Duration = Duration::from_millis(10);

/// Requests by which a failure is late.
const LATE: u32 = 1000;

const FAST: Duration = Duration::from_millis(2);
const SLOW: Duration = Duration::from_millis(250);

/// SplitMix64, so that each run can be repeated.
struct Dice(u64);

impl Dice {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u32) -> u32 {
        (((self.number() >> 32) * u64::from(bound)) >> 32) as u32
    }

    fn chance(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A caller's group, and whether he fails at everything and is slow at everything.
#[derive(Clone, Copy)]
struct Caller {
    group: u32,
    fails: bool,
    slow: bool,
}

/// After how many requests the candidate was ended, and why.
pub(super) fn run(scenario: &Scenario, seed: u64, requests: u32) -> Option<(u32, String)> {
    let mut dice = Dice(seed.wrapping_mul(0xD1B5_4A32_D192_ED03));
    let callers = callers(scenario.callers, &mut dice);
    let index = seed as usize % scenario.shares.len();
    let share = scenario.shares.get(index).copied().unwrap_or_default();
    let analysis = Analysis::new(share, dice.number());
    let mut now = Instant::now();
    let mut late: VecDeque<(u32, Entry, Sample)> = VecDeque::new();
    for i in 0..requests {
        now += BETWEEN;
        let caller = next(scenario.callers, &callers, &mut dice);
        let entry = analysis.begin(caller.group, now);
        let is_candidate = entry.side == Side::Candidate;
        let rates = now_rates(scenario, is_candidate, i);
        let failed = dice.chance() < rates.failing || caller.fails;
        let slow = dice.chance() < rates.slow || caller.slow;
        let took = if slow {
            SLOW
        } else {
            FAST.mul_f64(0.5 + dice.chance())
        };
        let outcome = Sample::Answered { failed, took };
        let waits = scenario.ends == Ends::LiveFailsLate && failed && !is_candidate;
        let mut why = None;
        match waits {
            true => late.push_back((i + LATE, entry, outcome)),
            false => why = analysis.end(entry, outcome, now),
        }
        while late.front().is_some_and(|(due, ..)| *due <= i) {
            if let Some((_, entry, outcome)) = late.pop_front() {
                why = why.or(analysis.end(entry, outcome, now));
            }
        }
        if let Some(why) = why {
            return Some((i + 1, why));
        }
    }
    None
}

fn callers(kind: Callers, dice: &mut Dice) -> Vec<Caller> {
    let count = match kind {
        Callers::Distinct => 0,
        Callers::Equal(count) => count,
        Callers::Clustered => 2000,
        Callers::Three => 3,
    };
    let caller = |i| Caller {
        group: dice.below(GROUPS),
        fails: match kind {
            Callers::Clustered => i % 20 == 0,
            Callers::Three => i == 0,
            _ => false,
        },
        slow: match kind {
            Callers::Clustered => i % 20 == 1,
            Callers::Three => i == 0,
            _ => false,
        },
    };
    (0..count).map(caller).collect()
}

fn next(kind: Callers, callers: &[Caller], dice: &mut Dice) -> Caller {
    let anybody = Caller {
        group: dice.below(GROUPS),
        fails: false,
        slow: false,
    };
    let heavy = kind == Callers::Clustered && dice.chance() < 0.5;
    let index = match heavy {
        true => 0,
        false => dice.below(callers.len() as u32) as usize,
    };
    callers.get(index).copied().unwrap_or(anybody)
}

fn now_rates(scenario: &Scenario, is_candidate: bool, i: u32) -> Rates {
    let Scenario {
        live, candidate, ..
    } = scenario;
    let rates = if is_candidate { candidate } else { live };
    match scenario.drift {
        Drift::None => *rates,
        Drift::Late(from) if i < from => *live,
        Drift::Late(_) => *rates,
        Drift::Waves => {
            let outage = i % 7919 < 200;
            let wave = 1.0 + (f64::from(i) / 3000.0).sin();
            Rates {
                failing: if outage { 0.5 } else { rates.failing * wave },
                slow: if outage { 0.5 } else { rates.slow * wave },
            }
        }
    }
}
