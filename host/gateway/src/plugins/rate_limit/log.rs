//! A sliding log of admissions in bounded space.
//!
//! The log is a queue of cells. A cell counts the admissions of a short span and is dropped a whole
//! period after its **newest** one. So the sum of the cells is never less than what was admitted in
//! the last period. A request is admitted only while that sum is below the limit: no period has
//! more than `limit` admissions.
//!
//! The error is only to the caller's disadvantage: an admission counts for up to `period / CELLS`
//! longer than it must. With a limit of at most [`CELLS`], every admission has its own cell and the
//! log is exact.

use std::collections::VecDeque;
use std::time::Duration;

/// Cells in a period. 64 keeps the error below 1.6 % of a period and a full log below 2 KiB.
pub(super) const CELLS: u32 = 64;

/// The admissions of one caller on one route. Times are relative to any fixed moment.
#[derive(Debug, Default, Clone)]
pub(super) struct Log {
    cells: VecDeque<Cell>,
    /// The sum of all cells.
    counted: u64,
}

#[derive(Debug, Clone)]
struct Cell {
    first: Duration,
    last: Duration,
    count: u64,
}

/// What a log says about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    pub admitted: bool,
    /// How many more would be admitted now.
    pub remaining: u64,
    /// Time until the oldest cell is dropped: then at least one more is admitted.
    pub reset: Duration,
}

impl Log {
    /// Admits a request at `now`, or refuses it. Refused ones are not counted. `now` must not go
    /// back.
    pub(super) fn admit(&mut self, limit: u64, period: Duration, now: Duration) -> Reading {
        let admitted = self.look(limit, period, now).admitted;
        if admitted {
            self.count(limit, period, now);
        }
        Reading {
            admitted,
            ..self.look(limit, period, now)
        }
    }

    /// The result of [`Log::admit`], without counting.
    pub(super) fn look(&mut self, limit: u64, period: Duration, now: Duration) -> Reading {
        self.forget(period, now);
        let oldest_ends = self.cells.front().map_or(now, |cell| cell.last + period);
        Reading {
            admitted: self.counted < limit,
            remaining: limit.saturating_sub(self.counted),
            reset: oldest_ends.saturating_sub(now),
        }
    }

    fn forget(&mut self, period: Duration, now: Duration) {
        while let Some(cell) = self.cells.front() {
            if cell.last + period > now {
                break;
            }
            self.counted -= cell.count;
            self.cells.pop_front();
        }
    }

    fn count(&mut self, limit: u64, period: Duration, now: Duration) {
        self.counted += 1;
        let span = if limit <= u64::from(CELLS) {
            Duration::ZERO
        } else {
            period / CELLS
        };
        match self.cells.back_mut() {
            Some(cell) if now.saturating_sub(cell.first) < span || now == cell.last => {
                cell.last = now;
                cell.count += 1;
            }
            _ => self.cells.push_back(Cell {
                first: now,
                last: now,
                count: 1,
            }),
        }
    }

    /// When the last admission stops counting under `period`.
    pub(super) fn ends(&self, period: Duration) -> Duration {
        self.cells
            .back()
            .map_or(Duration::ZERO, |cell| cell.last + period)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn bursts_around_a_period_boundary_do_not_double_the_limit() {
        let mut log = Log::default();
        let period = ms(60_000);
        let late = (0..30)
            .filter(|i| log.admit(30, period, ms(59_000 + i)).admitted)
            .count();
        let early = (0..30)
            .filter(|i| log.admit(30, period, ms(60_500 + i)).admitted)
            .count();
        assert_eq!((late, early), (30, 0));
    }

    #[test]
    fn reading_reports_what_remains_and_until_when() {
        let mut log = Log::default();
        let first = log.admit(2, ms(1000), ms(100));
        assert_eq!(
            first,
            Reading {
                admitted: true,
                remaining: 1,
                reset: ms(1000)
            }
        );
        assert_eq!(
            log.admit(2, ms(1000), ms(600)),
            Reading {
                admitted: true,
                remaining: 0,
                reset: ms(500)
            }
        );
        assert_eq!(
            log.admit(2, ms(1000), ms(700)),
            Reading {
                admitted: false,
                remaining: 0,
                reset: ms(400)
            }
        );
        assert!(
            log.admit(2, ms(1000), ms(1100)).admitted,
            "whoever waits as told is admitted"
        );
    }

    #[test]
    fn lowered_limit_holds_at_once() {
        let mut log = Log::default();
        for i in 0..10 {
            assert!(log.admit(10, ms(1000), ms(i)).admitted);
        }
        assert!(!log.admit(5, ms(1000), ms(500)).admitted);
    }

    proptest! {
        #[test]
        fn no_period_exceeds_the_limit_and_no_request_is_refused_without_cause(
            limit in 1u64..200,
            period in 64u64..2_000,
            gaps in prop::collection::vec(prop_oneof![4 => 0u64..4, 2 => 0u64..60, 1 => 0u64..2_500], 1..900),
        ) {
            let mut log = Log::default();
            let mut admitted: Vec<u64> = Vec::new();
            let mut now = 0;
            for gap in gaps {
                now += gap;
                let reading = log.admit(limit, ms(period), ms(now));
                // Half-open, as a period is: an admission counts at t until just before t + period.
                let within = |length: u64| {
                    admitted.iter().rev().take_while(|at| **at + length > now).count() as u64
                };
                if reading.admitted {
                    prop_assert!(within(period) < limit);
                    admitted.push(now);
                } else {
                    // The stated error: one cell's span.
                    let span = if limit <= u64::from(CELLS) { 0 } else { period / u64::from(CELLS) + 1 };
                    prop_assert!(within(period + span) >= limit);
                }
                prop_assert!(log.cells.len() <= CELLS as usize + 2);
            }
        }

        /// Many admissions in one cell: it must count until its newest, not its oldest, has left
        /// the period.
        #[test]
        fn crowded_log_never_exceeds_the_limit(
            limit in 65u64..150,
            period in 300u64..900,
            gaps in prop::collection::vec(0u64..4, 600..1200),
        ) {
            let mut log = Log::default();
            let mut admitted: Vec<u64> = Vec::new();
            let mut now = 0;
            for gap in gaps {
                now += gap;
                if log.admit(limit, ms(period), ms(now)).admitted {
                    let within = admitted.iter().rev().take_while(|at| **at + period > now).count();
                    prop_assert!((within as u64) < limit);
                    admitted.push(now);
                }
            }
        }

        #[test]
        fn client_that_waits_as_told_is_admitted(limit in 1u64..200, gaps in prop::collection::vec(0u64..30, 1..400)) {
            let mut log = Log::default();
            let mut now = 0;
            for gap in gaps {
                now += gap;
                let reading = log.admit(limit, ms(1000), ms(now));
                if !reading.admitted {
                    let later = log.clone().admit(limit, ms(1000), ms(now) + reading.reset);
                    prop_assert!(later.admitted);
                }
            }
        }
    }
}
