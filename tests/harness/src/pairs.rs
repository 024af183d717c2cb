//! Two things measured in turn, A B A B …, so that both see the same machine.

use crate::wrk::Figure;

/// The figures of both, in the order in which they were taken.
#[derive(Default)]
pub struct Pairs {
    pub ours: Vec<Figure>,
    pub theirs: Vec<Figure>,
}

impl Pairs {
    /// Takes `count` figures of each.
    pub fn take(
        count: usize,
        mut ours: impl FnMut() -> anyhow::Result<Figure>,
        mut theirs: impl FnMut() -> anyhow::Result<Figure>,
    ) -> anyhow::Result<Pairs> {
        let mut pairs = Pairs::default();
        for _ in 0..count {
            pairs.ours.push(ours()?);
            pairs.theirs.push(theirs()?);
        }
        Ok(pairs)
    }

    /// The median over the pairs of ours against theirs.
    pub fn ratio(&self, of: impl Fn(&Figure) -> f64) -> f64 {
        let both = self.ours.iter().zip(&self.theirs);
        median(both.map(|(ours, theirs)| of(ours) / of(theirs)))
    }
}

/// The median of one figure.
pub fn middle(figures: &[Figure], of: impl Fn(&Figure) -> f64) -> f64 {
    median(figures.iter().map(of))
}

pub fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    match numbers.len() {
        0 => f64::NAN,
        length => (numbers[(length - 1) / 2] + numbers[length / 2]) / 2.0,
    }
}
