//! A window's placement: whether its instances start on the lanes (`hms_net::lanes`), which they
//! share with the requests of all windows, or in the slow pool (`slow_pool.rs`).
//!
//! On a lane, ready tasks run one after the other. With sixteen instances that compute for 3 ms
//! each, a neighbour's request would wait for all of them at each of its steps. A window therefore
//! earns its lanes with short requests: each answer earns half a millisecond, and the time that its
//! guests compute is subtracted. That time is sampled, because reading the clock after every host
//! call would cost more than it saves: guest code that runs at the end of an epoch is charged for
//! one epoch. Short requests are seldom charged, and on average by the time they take.

use super::meter::EPOCH_TICK;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// What an answer earns, in microseconds: the guest time that a window may take per request on
/// average. 500 µs; a hello in Rust takes some 10.
const EARNED: i64 = 500;

/// The most credit or debt, in microseconds. 8 ms: 16 answers bring a new window onto the lanes,
/// and a few requests of some milliseconds take it off.
const MOST: i64 = 8_000;

/// Epochs for which a window stays off the lanes after an instance took long or could not be
/// interrupted. 10 s: in the slow pool a request costs a little more, on the lanes it can delay all
/// others.
const OFF_FOR: u64 = 10_000;

/// The placement of one window.
pub(super) struct Placement {
    /// Microseconds; on the lanes from 0 on.
    credit: AtomicI64,
    /// The epoch until which it stays off the lanes, whatever it earns.
    off_until: AtomicU64,
}

impl Default for Placement {
    /// The placement of a window about which nothing is known.
    fn default() -> Self {
        Placement {
            credit: AtomicI64::new(-MOST),
            off_until: AtomicU64::default(),
        }
    }
}

impl Placement {
    /// One of its instances has answered.
    pub(crate) fn answered(&self) {
        self.add(EARNED);
    }

    /// Its guest code was running when so many epochs ended.
    pub(crate) fn computed(&self, epochs: u64) {
        let epoch = i64::try_from(EPOCH_TICK.as_micros()).unwrap_or(MOST);
        let epochs = i64::try_from(epochs).unwrap_or(MOST);
        self.add(epochs.saturating_mul(-epoch));
    }

    /// One instance took long for one request, or could not be interrupted.
    pub(crate) fn took_long(&self, now: u64) {
        self.off_until.store(now + OFF_FOR, Relaxed);
        self.credit.store(-MOST, Relaxed);
    }

    /// Whether its instances belong on the lanes now.
    pub(crate) fn fits_lanes(&self, now: u64) -> bool {
        self.credit.load(Relaxed) >= 0 && now >= self.off_until.load(Relaxed)
    }

    fn add(&self, earned: i64) {
        let before = self.credit.load(Relaxed);
        let after = before.saturating_add(earned).clamp(-MOST, MOST);
        // Most windows have all the credit they can have, and lanes need not tell each other. If
        // two updates coincide, losing one does no harm.
        if after != before {
            self.credit.store(after, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Requests that compute for so many microseconds each, after waits as given: as they are met
    /// at the ends of epochs.
    fn asked(placement: &Placement, takes: u64, waits: &[u64]) -> Vec<bool> {
        let mut time = 0;
        let fits = waits.iter().map(|wait| {
            let begun = time + wait;
            time = begun + takes;
            placement.computed(time / 1000 - begun / 1000);
            placement.answered();
            placement.fits_lanes(0)
        });
        fits.collect()
    }

    proptest! {
        #[test]
        fn short_requests_keep_a_window_on_the_lanes_at_any_rate(
            takes in 0u64..200,
            waits in prop::collection::vec(0u64..5000, 500),
        ) {
            let placement = Placement::default();
            let fits = asked(&placement, takes, &waits);
            // Some are met while the window is new.
            prop_assert!(fits[100..].iter().all(|fits| *fits), "{fits:?}");
        }

        #[test]
        fn requests_of_several_milliseconds_keep_a_window_off_the_lanes(
            takes in 1500u64..5000,
            waits in prop::collection::vec(0u64..5000, 100),
        ) {
            let new = Placement::default();
            prop_assert!(!asked(&new, takes, &waits).contains(&true));
            let known = Placement::default();
            (0..1000).for_each(|_| known.answered());
            prop_assert!(known.fits_lanes(0));
            let fits = asked(&known, takes, &waits);
            prop_assert!(!fits[20..].contains(&true), "{fits:?}");
        }
    }

    #[test]
    fn new_window_moves_to_the_lanes_after_sixteen_answers() {
        let placement = Placement::default();
        (0..15).for_each(|_| placement.answered());
        assert!(!placement.fits_lanes(0));
        placement.answered();
        assert!(placement.fits_lanes(0));
    }

    #[test]
    fn long_request_keeps_a_window_off_the_lanes_for_at_least_ten_seconds() {
        let placement = Placement::default();
        let answer = || (0..16).for_each(|_| placement.answered());
        answer();
        placement.took_long(5);
        assert!(!placement.fits_lanes(5 + OFF_FOR));
        answer();
        assert!(!placement.fits_lanes(4 + OFF_FOR));
        assert!(placement.fits_lanes(5 + OFF_FOR));
    }
}
