//! The levels of requests that wait for each other, and how many permits each may have.

use hms_core::call::WindowCall;
use hms_core::outgoing::MAX_CALL_DEPTH;

/// Levels at which a request may wait for a further one: all but the last window of the longest
/// chain.
pub(super) const LEVELS: usize = MAX_CALL_DEPTH - 1;

/// The part of what is shared that the first level leaves to those below: a quarter. Each level
/// leaves half as much as the one above.
const LEFT_PART: u32 = 4;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ask {
    /// Permits of the pool that its instance takes.
    pub weight: u32,
    /// Instances that wait for this request already.
    pub level: usize,
    /// Whether it may wait for a further request while it keeps its permits.
    pub waits: bool,
}

impl Ask {
    /// For an instance of `weight` that serves `call`. `calls`: its window may call others.
    pub(crate) fn of(call: &WindowCall, weight: u32, calls: bool) -> Self {
        let from = call.calling_window();
        // The last window of the longest chain calls nobody, whatever it is granted.
        let may_go_on = from.is_none_or(|from| from.chain.may_go_on());
        Ask {
            weight,
            level: call.waiting,
            // A middleware calls on, and a window calls others.
            waits: call.next.is_some() || (calls && may_go_on),
        }
    }

    /// For an instance of `weight` that nobody in the host waits for, and that waits for nobody.
    pub(crate) fn plain(weight: u32) -> Self {
        Ask {
            weight,
            level: 0,
            waits: false,
        }
    }

    /// The level that it counts at, where it may wait.
    pub(super) fn counted_level(&self) -> Option<usize> {
        self.waits.then(|| self.level.min(LEVELS - 1))
    }
}

/// Permits of requests that may wait, by level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Waits([u32; LEVELS]);

impl Waits {
    pub(super) fn add(&mut self, level: usize, weight: u32) {
        if let Some(used) = self.0.get_mut(level) {
            *used += weight;
        }
    }

    pub(super) fn take(&mut self, level: usize, weight: u32) {
        if let Some(used) = self.0.get_mut(level) {
            *used -= weight;
        }
    }
}

/// The most that requests that may wait have at a level and above it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Caps([u32; LEVELS]);

impl Caps {
    /// Of `shared` permits: three quarters, and at each further level half of the rest more; and at
    /// least `heaviest` for each level below.
    pub(super) fn of(shared: u32, heaviest: u32) -> Self {
        Caps(std::array::from_fn(|level| {
            let part = (shared / LEFT_PART) >> level;
            let below = u32::try_from(LEVELS - level).unwrap_or(u32::MAX);
            shared.saturating_sub(part.max(below.saturating_mul(heaviest)))
        }))
    }

    /// Of `most` instances of one window, of `weight` each: as much is left as of the pool, with
    /// room for one at the first level at least.
    pub(super) fn of_window(most: u32, weight: u32) -> Self {
        let left = (most / LEFT_PART).max(weight);
        Caps(std::array::from_fn(|level| {
            most.saturating_sub(left >> level)
        }))
    }

    /// Whether one of `weight` more may be at `level`. It takes of the room of each level below,
    /// too. One is always let where there is none at that level or below: in a small pool there may
    /// be room for no more.
    pub(super) fn lets(&self, waits: &Waits, level: usize, weight: u32) -> bool {
        let levels = waits.0.iter().zip(self.0).enumerate();
        let mut used = 0;
        let mut below = 0;
        let mut fits = true;
        for (at, (waiting, cap)) in levels {
            used += waiting;
            if at >= level {
                below += waiting;
                fits &= used + weight <= cap;
            }
        }
        fits || below == 0
    }
}
