//! The result of the tries that middlewares make.

use hms_core::body::Body;
use hms_core::error::RequestError;
use http::{Response, StatusCode};
use parking_lot::{Mutex, MutexGuard};

/// The combined result of the tries behind the middlewares, which may call the upstream any number
/// of times.
#[derive(Default)]
pub struct ForwardOutcome(Mutex<State>);

#[derive(Default)]
struct State {
    /// Tries without a result so far.
    at_work: usize,
    /// Whether one may have had an effect.
    may_have_run: bool,
    /// The status of the last try that surely had no effect.
    refused: Option<StatusCode>,
}

impl ForwardOutcome {
    /// Whether the upstream surely did nothing, and an answer of `status` only says why.
    pub fn never_ran(&self, status: StatusCode) -> bool {
        let state = self.state();
        state.at_work == 0 && !state.may_have_run && state.refused == Some(status)
    }

    /// A try begins. If it is dropped, with its request, before it has an answer, it may have had
    /// any effect.
    pub fn begin(&self) -> Try<'_> {
        self.state().at_work += 1;
        Try {
            outcome: self,
            refused: None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

/// One try without a result yet.
pub struct Try<'a> {
    outcome: &'a ForwardOutcome,
    refused: Option<StatusCode>,
}

impl Try<'_> {
    pub fn note(mut self, answered: &Result<Response<Body>, RequestError>) {
        if let Err(error) = answered
            && error.never_ran()
        {
            self.refused = Some(error.status());
        }
    }
}

impl Drop for Try<'_> {
    fn drop(&mut self) {
        let mut state = self.outcome.state();
        state.at_work -= 1;
        match self.refused {
            Some(status) => state.refused = Some(status),
            None => state.may_have_run = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hms_core::error::Problem;

    const BUSY: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

    #[test]
    fn only_a_request_refused_at_every_try_counts_as_never_run() {
        let outcome = ForwardOutcome::default();
        assert!(!outcome.never_ran(BUSY));
        let busy = RequestError::new(Problem::InstanceLimit, "");
        outcome.begin().note(&Err(busy));
        assert!(outcome.never_ran(BUSY));
        assert!(!outcome.never_ran(StatusCode::BAD_GATEWAY));
        let at_work = outcome.begin();
        assert!(!outcome.never_ran(BUSY));
        drop(at_work);
        assert!(!outcome.never_ran(BUSY));
    }

    #[test]
    fn body_cut_while_an_instance_reads_it_does_not_count_as_never_run() {
        let too_large = StatusCode::PAYLOAD_TOO_LARGE;
        for (error, never_ran) in [(Problem::BodyTooLarge, true), (Problem::BodyOverrun, false)] {
            let error = RequestError::new(error, "");
            assert_eq!(
                (error.status(), error.code()),
                (too_large, "body-too-large")
            );
            let outcome = ForwardOutcome::default();
            outcome.begin().note(&Err(error));
            assert_eq!(outcome.never_ran(too_large), never_ran);
        }
    }
}
