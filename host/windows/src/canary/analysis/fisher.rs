//! Fisher's exact test, one-sided (R. A. Fisher, *Statistical Methods for Research Workers*, 5th
//! edition, 1934).

/// Two groups of units, and how many of each are bad.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Table {
    pub live: u32,
    pub live_bad: u32,
    pub candidate: u32,
    pub candidate_bad: u32,
}

/// A term below this part of the sum so far is lost in the rounding of a double.
const NEGLIGIBLE: f64 = 1e-17;

impl Table {
    /// The probability that the candidate has at least this many of the bad units, if they were
    /// dealt out at random: the upper tail of the hypergeometric distribution.
    ///
    /// Both tails are summed away from the peak, where each term is smaller than the one before, so
    /// a negligible term ends the sum. Relative error below 1e-9.
    pub(super) fn p_value(&self) -> f64 {
        let (live, candidate) = (f64::from(self.live), f64::from(self.candidate));
        let bad = f64::from(self.live_bad) + f64::from(self.candidate_bad);
        let seen = f64::from(self.candidate_bad);
        if seen <= (bad - live).max(0.0) {
            return 1.0;
        }
        let expected = bad * candidate / (live + candidate);
        let term = |x: f64| {
            (ln_choose(candidate, x) + ln_choose(live, bad - x) - ln_choose(live + candidate, bad))
                .exp()
        };
        if seen > expected {
            let up = |x: f64| (candidate - x) * (bad - x) / ((x + 1.0) * (live - bad + x + 1.0));
            sum(term(seen), seen, 1.0, up).min(1.0)
        } else {
            let down = |x: f64| x * (live - bad + x) / ((candidate - x + 1.0) * (bad - x + 1.0));
            let below = seen - 1.0;
            (1.0 - sum(term(below), below, -1.0, down)).max(0.0)
        }
    }
}

/// The sum of `first` and the terms that follow it from `x`, each the one before times `ratio`.
fn sum(first: f64, mut x: f64, step: f64, ratio: impl Fn(f64) -> f64) -> f64 {
    let (mut term, mut sum) = (first, first);
    while term > sum * NEGLIGIBLE {
        term *= ratio(x);
        x += step;
        sum += term;
    }
    sum
}

fn ln_choose(n: f64, k: f64) -> f64 {
    ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k)
}

/// Exact for small whole numbers, by Stirling's series beyond.
fn ln_factorial(n: f64) -> f64 {
    if n < 20.0 {
        return (2..=n as u32).map(|i| f64::from(i).ln()).sum();
    }
    n * n.ln() - n + 0.5 * (std::f64::consts::TAU * n).ln() + 1.0 / (12.0 * n)
        - 1.0 / (360.0 * n.powi(3))
        + 1.0 / (1260.0 * n.powi(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(live: u32, live_bad: u32, candidate: u32, candidate_bad: u32) -> Table {
        Table {
            live,
            live_bad,
            candidate,
            candidate_bad,
        }
    }

    fn choose(n: u32, k: u32) -> u128 {
        if k > n {
            return 0;
        }
        (0..u128::from(k)).fold(1, |all, i| all * (u128::from(n) - i) / (i + 1))
    }

    /// By whole numbers.
    fn exact(t: &Table) -> f64 {
        let bad = t.live_bad + t.candidate_bad;
        let ways = |x: u32| choose(t.candidate, x) * choose(t.live, bad - x);
        let tail: u128 = (t.candidate_bad..=bad.min(t.candidate)).map(ways).sum();
        tail as f64 / choose(t.live + t.candidate, bad) as f64
    }

    #[test]
    fn p_value_agrees_with_exact_arithmetic() {
        let small = (0..=9).map(|n| (n, 1));
        let larger = [(31, 3), (40, 4), (55, 5)];
        let sizes: Vec<(u32, usize)> = small.chain(larger).collect();
        let mut compared = 0;
        for &(live, a) in &sizes {
            for &(candidate, b) in &sizes {
                for live_bad in (0..=live).step_by(a) {
                    for candidate_bad in (0..=candidate).step_by(b) {
                        let t = table(live, live_bad, candidate, candidate_bad);
                        let (ours, exact) = (t.p_value(), exact(&t));
                        let error = (ours - exact).abs();
                        assert!(error <= 1e-9 * exact.max(1e-3), "{t:?}: {ours} for {exact}");
                        assert!(
                            exact > 0.05 || error <= 1e-9 * exact,
                            "{t:?}: {ours} for {exact}"
                        );
                        compared += 1;
                    }
                }
            }
        }
        assert!(compared > 7000, "{compared}");
    }

    #[test]
    fn p_value_matches_the_lady_tasting_tea() {
        assert!((table(4, 0, 4, 4).p_value() - 1.0 / 70.0).abs() < 1e-12);
        assert!((table(4, 1, 4, 3).p_value() - 17.0 / 70.0).abs() < 1e-12);
        assert_eq!(table(90, 0, 10, 0).p_value(), 1.0);
        assert_eq!(table(0, 0, 10, 10).p_value(), 1.0);
        assert_eq!(table(10, 3, 0, 0).p_value(), 1.0);
    }

    /// Where fewer are bad than expected nothing speaks against the candidate, however many there
    /// are.
    #[test]
    fn fewer_failures_than_expected_give_a_p_value_near_one_at_any_size() {
        for size in [2000, 10_000, 100_000, 1_000_000] {
            let fewer = table(size, size / 100, size, size / 200).p_value();
            assert!(fewer > 0.95, "{size}: {fewer}");
            let even = table(size, size / 100, size, size / 100).p_value();
            assert!((0.5..0.6).contains(&even), "{size}: {even}");
            let more = table(size, size / 100, size, size / 50).p_value();
            assert!(more < 0.01, "{size}: {more}");
        }
    }

    /// The chance that a p-value is at most `level` is at most `level`.
    #[test]
    fn significance_level_holds_for_every_composition() {
        for (live, candidate) in [(8, 8), (15, 3), (3, 15), (40, 10), (30, 1)] {
            for bad in 0..=live + candidate {
                for level in [0.5, 0.05, 0.01, 1e-3, 1e-6] {
                    let all = choose(live + candidate, bad) as f64;
                    let refused: f64 = (bad.saturating_sub(live)..=bad.min(candidate))
                        .filter(|x| table(live, bad - x, candidate, *x).p_value() <= level)
                        .map(|x| (choose(candidate, x) * choose(live, bad - x)) as f64 / all)
                        .sum();
                    assert!(refused <= level * (1.0 + 1e-9), "{live} {candidate} {bad}");
                }
            }
        }
    }
}
