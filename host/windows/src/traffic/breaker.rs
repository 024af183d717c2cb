//! Closes a window for a time if its instances keep failing, so that it does not waste the machine.
//!
//! A number of consecutive failures trips the breaker. Requests are then refused at once, for a
//! time that doubles with each trip up to a minute. After it, one request is let through: if it is
//! served, the window is open again; if it fails, the next time begins.

use hms_core::error::{Fault, RequestError};
use hms_runtime::InFlight;
use parking_lot::{Mutex, MutexGuard};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// The first and the longest time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long the one request that is let through is waited for before another is. 5 s: it may be in
/// the queue, or its instance may be slow. If it waits for its client, another is let through at
/// once.
const TRY_TIME: Duration = Duration::from_secs(5);

/// The result of one request, as far as it depends on the release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestOutcome {
    Served,
    /// The instance failed, with this code.
    Failed(&'static str),
    /// Not the fault of the release.
    Unclear,
}

impl RequestOutcome {
    /// What `error` says about the instance.
    pub(crate) fn of(error: &RequestError) -> Self {
        match error.fault() {
            Fault::Window => RequestOutcome::Failed(error.code()),
            Fault::Client | Fault::Upstream | Fault::Host => RequestOutcome::Unclear,
        }
    }
}

/// How a request passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    Usual,
    /// It decides, and identifies itself by [`Breaker::tried_by`].
    Try,
}

/// A request that decides.
pub(crate) trait Tries: Send + Sync {
    /// Whether it is waiting for its client.
    fn waits_for_client(&self) -> bool;
}

impl Tries for InFlight {
    fn waits_for_client(&self) -> bool {
        self.is_client_waited_for()
    }
}

/// The breaker of one release.
pub(crate) struct Breaker(Mutex<State>);

struct State {
    /// Failures since the last request that was served.
    in_a_row: u64,
    pause: Duration,
    mode: Mode,
    /// The deciding request while the state is `Trying`, once it has an instance.
    tries: Option<Weak<dyn Tries>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Closed,
    Tripped {
        until: Instant,
    },
    /// One request decides. Another may follow after this time, or once that one waits for its
    /// client.
    Trying {
        again: Instant,
    },
}

/// The state of a breaker, after so many consecutive failures. In the usual words of circuit
/// breakers, whose "open" is not that of the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BreakerState {
    /// Requests pass.
    Closed,
    /// Requests are refused, for a time.
    Tripped { failures: u64 },
    /// That time is over: the next request, or one in flight, decides.
    HalfOpen { failures: u64 },
}

/// It has just tripped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trip {
    pub why: String,
    pub pause: Duration,
}

impl Breaker {
    pub(crate) fn new() -> Self {
        Breaker(Mutex::new(State {
            in_a_row: 0,
            pause: Duration::ZERO,
            mode: Mode::Closed,
            tries: None,
        }))
    }

    /// Whether a request may pass at `now`; each that does must report its [`Breaker::outcome`].
    ///
    /// # Errors
    ///
    /// How long requests will be refused.
    pub(crate) fn admit(&self, now: Instant) -> Result<Pass, Duration> {
        // Dropped after the lock is released: it may be the last holder of the request.
        let tries: Option<Arc<dyn Tries>>;
        let mut state = self.state();
        match state.mode {
            Mode::Closed => return Ok(Pass::Usual),
            Mode::Tripped { until } if until > now => return Err(until - now),
            Mode::Trying { again } if again > now => {
                tries = state.tries.as_ref().and_then(Weak::upgrade);
                let waits = tries.as_ref().is_some_and(|tries| tries.waits_for_client());
                if !waits {
                    return Err(FIRST_PAUSE);
                }
            }
            Mode::Tripped { .. } | Mode::Trying { .. } => {}
        }
        let again = now + TRY_TIME;
        state.mode = Mode::Trying { again };
        state.tries = None;
        Ok(Pass::Try)
    }

    /// Identifies the request that decides.
    pub(crate) fn tried_by(&self, request: &Arc<impl Tries + 'static>) {
        let request: Arc<dyn Tries> = request.clone();
        self.state().tries = Some(Arc::downgrade(&request));
    }

    /// Records the result of a request. `most` consecutive failures trip the breaker; 0: never.
    pub(crate) fn outcome(&self, outcome: RequestOutcome, most: u64, now: Instant) -> Option<Trip> {
        let mut state = self.state();
        match (outcome, state.mode) {
            // It began before the trip, so it says nothing new.
            (_, Mode::Tripped { .. }) => None,
            (RequestOutcome::Served, _) => {
                *state = State {
                    in_a_row: 0,
                    pause: Duration::ZERO,
                    mode: Mode::Closed,
                    tries: None,
                };
                None
            }
            (RequestOutcome::Unclear, Mode::Trying { .. }) => {
                state.mode = Mode::Tripped { until: now };
                None
            }
            (RequestOutcome::Unclear, Mode::Closed) => None,
            (RequestOutcome::Failed(code), mode) => {
                state.in_a_row += 1;
                if most == 0 || (mode == Mode::Closed && state.in_a_row < most) {
                    if most == 0 {
                        state.mode = Mode::Closed;
                    }
                    return None;
                }
                state.pause = (state.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                state.mode = Mode::Tripped {
                    until: now + state.pause,
                };
                Some(Trip {
                    why: format!(
                        "{} requests in a row failed, the last with {code}",
                        state.in_a_row
                    ),
                    pause: state.pause,
                })
            }
        }
    }

    /// The state for operators at `now`.
    pub(crate) fn shown(&self, now: Instant) -> BreakerState {
        let state = self.state();
        let failures = state.in_a_row;
        match state.mode {
            Mode::Closed => BreakerState::Closed,
            Mode::Tripped { until } if until > now => BreakerState::Tripped { failures },
            Mode::Tripped { .. } | Mode::Trying { .. } => BreakerState::HalfOpen { failures },
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hms_core::error::TABLE;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    const FAILED: RequestOutcome = RequestOutcome::Failed("instance-trapped");

    /// Traps, limits and what is no answer, as docs/limits.md says. Whoever adds a failure decides.
    #[test]
    fn release_is_blamed_for_its_own_failures_only() {
        let own = [
            "instance-start",
            "instance-trapped",
            "unknown-import-called",
            "memory-limit",
            "cpu-time",
            "wall-time",
            "host-calls",
            "host-call-too-large",
            "handle-limit",
            "response-too-large",
            "response-headers-too-large",
            "response-invalid",
            "no-response",
            // Said before the breaker, or a canary, has heard of the request.
            "window-tripped",
        ];
        let mut found = Vec::new();
        for row in TABLE {
            match RequestOutcome::of(&RequestError::new(row.problem, "a sentence")) {
                RequestOutcome::Failed(code) => found.push(code),
                RequestOutcome::Unclear => {}
                RequestOutcome::Served => panic!("{row:?}"),
            }
        }
        found.sort_unstable();
        let mut own = own;
        own.sort_unstable();
        assert_eq!(found, own);
    }

    fn tripped(now: Instant) -> Breaker {
        let breaker = Breaker::new();
        for _ in 0..2 {
            assert_eq!(breaker.admit(now), Ok(Pass::Usual));
            assert_eq!(breaker.outcome(FAILED, 3, now), None);
        }
        let trip = breaker.outcome(FAILED, 3, now).unwrap();
        assert!(
            trip.why.starts_with("3 requests in a row failed"),
            "{}",
            trip.why
        );
        breaker
    }

    #[test]
    fn consecutive_failures_trip_the_breaker_and_a_success_resets_the_count() {
        let now = Instant::now();
        let breaker = Breaker::new();
        for _ in 0..10 {
            assert_eq!(breaker.outcome(FAILED, 3, now), None);
            assert_eq!(breaker.outcome(FAILED, 3, now), None);
            assert_eq!(breaker.outcome(RequestOutcome::Served, 3, now), None);
        }
        assert_eq!(tripped(now).admit(now), Err(FIRST_PAUSE));
    }

    #[test]
    fn single_request_after_the_pause_decides() {
        let now = Instant::now();
        let breaker = tripped(now);
        let later = now + FIRST_PAUSE;
        assert_eq!(breaker.admit(later), Ok(Pass::Try));
        assert!(breaker.admit(later).is_err(), "a second beside it");
        let trip = breaker.outcome(FAILED, 3, later).unwrap();
        assert_eq!(trip.pause, FIRST_PAUSE * 2);
        assert!(breaker.admit(later + FIRST_PAUSE).is_err());
        let later = later + FIRST_PAUSE * 2;
        assert_eq!(breaker.admit(later), Ok(Pass::Try));
        assert_eq!(breaker.outcome(RequestOutcome::Served, 3, later), None);
        assert_eq!(breaker.shown(later), BreakerState::Closed);
    }

    #[test]
    fn tripped_state_is_shown_only_while_the_pause_lasts() {
        let now = Instant::now();
        let breaker = Breaker::new();
        assert_eq!(breaker.shown(now), BreakerState::Closed);
        let breaker = tripped(now);
        let failures = 3;
        let last = now + FIRST_PAUSE - Duration::from_nanos(1);
        assert_eq!(breaker.shown(last), BreakerState::Tripped { failures });
        let half_open = BreakerState::HalfOpen { failures };
        let later = now + FIRST_PAUSE;
        for hours in [0, 1, 100] {
            let at = later + Duration::from_secs(hours * 3600);
            assert_eq!(breaker.shown(at), half_open);
        }
        assert_eq!(breaker.admit(later), Ok(Pass::Try));
        assert_eq!(breaker.shown(later), half_open, "one is on its way");
        breaker.outcome(FAILED, 3, later).unwrap();
        let failures = 4;
        assert_eq!(breaker.shown(later), BreakerState::Tripped { failures });
    }

    #[test]
    fn inconclusive_request_lets_the_next_decide() {
        let now = Instant::now();
        let breaker = tripped(now);
        let later = now + FIRST_PAUSE;
        assert_eq!(breaker.admit(later), Ok(Pass::Try));
        assert_eq!(breaker.outcome(RequestOutcome::Unclear, 3, later), None);
        assert_eq!(breaker.admit(later), Ok(Pass::Try));
    }

    struct Upload(AtomicBool);

    impl Tries for Upload {
        fn waits_for_client(&self) -> bool {
            self.0.load(Relaxed)
        }
    }

    #[test]
    fn request_waiting_for_its_client_blocks_no_other() {
        let now = Instant::now();
        let breaker = tripped(now);
        let later = now + FIRST_PAUSE;
        assert_eq!(breaker.admit(later), Ok(Pass::Try));
        let upload = Arc::new(Upload(AtomicBool::new(false)));
        breaker.tried_by(&upload);
        assert_eq!(breaker.admit(later), Err(FIRST_PAUSE), "it is at work");
        upload.0.store(true, Relaxed);
        assert_eq!(breaker.admit(later), Ok(Pass::Try));
        assert_eq!(breaker.admit(later), Err(FIRST_PAUSE), "the next is");
        breaker.tried_by(&upload);
        drop(upload);
        assert_eq!(breaker.admit(later), Err(FIRST_PAUSE), "it says so itself");
        assert_eq!(breaker.outcome(RequestOutcome::Served, 3, later), None);
        assert_eq!(breaker.admit(later), Ok(Pass::Usual));
    }

    #[test]
    fn undecided_request_blocks_others_for_a_bounded_time() {
        let now = Instant::now();
        let breaker = tripped(now);
        let later = now + FIRST_PAUSE;
        assert_eq!(breaker.admit(later), Ok(Pass::Try));
        assert!(breaker.admit(later + TRY_TIME / 2).is_err());
        assert_eq!(breaker.admit(later + TRY_TIME), Ok(Pass::Try));
        assert!(breaker.admit(later + TRY_TIME).is_err());
        assert_eq!(
            breaker.outcome(RequestOutcome::Served, 3, later + TRY_TIME),
            None
        );
        assert_eq!(breaker.shown(later + TRY_TIME), BreakerState::Closed);
    }

    #[test]
    fn pause_grows_to_at_most_a_minute() {
        let mut now = Instant::now();
        let breaker = tripped(now);
        for _ in 0..20 {
            now += LONGEST_PAUSE;
            assert_eq!(breaker.admit(now), Ok(Pass::Try));
            breaker.outcome(FAILED, 3, now).unwrap();
        }
        assert_eq!(breaker.admit(now), Err(LONGEST_PAUSE));
    }

    proptest! {
        #[test]
        fn breaker_closes_once_a_request_is_served_whatever_came_before(
            outcomes in proptest::collection::vec(
                prop_oneof![Just(FAILED), Just(RequestOutcome::Served), Just(RequestOutcome::Unclear)], 0..60),
            most in 0..5u64,
        ) {
            let mut now = Instant::now();
            let breaker = Breaker::new();
            for outcome in outcomes {
                if breaker.admit(now).is_ok() {
                    breaker.outcome(outcome, most, now);
                }
                now += Duration::from_millis(700);
            }
            if most == 0 {
                prop_assert_eq!(breaker.shown(now), BreakerState::Closed);
            }
            now += LONGEST_PAUSE;
            prop_assert!(breaker.admit(now).is_ok());
            breaker.outcome(RequestOutcome::Served, most, now);
            prop_assert_eq!(breaker.shown(now), BreakerState::Closed);
        }
    }
}
