//! What becomes of a request behind its middlewares.

use hms_core::body::Body;
use hms_core::error::RequestError;
use http::{Response, StatusCode};
use parking_lot::{Mutex, MutexGuard};

/// What became of a request behind its middlewares, which may ask the upstream any number of times.
#[derive(Default)]
pub struct ForwardOutcome(Mutex<State>);

#[derive(Default)]
struct State {
    /// Tries that nothing has become of yet.
    at_work: usize,
    /// One may have done something.
    may_have_run: bool,
    /// What the last one that surely did nothing was answered with.
    refused: Option<StatusCode>,
}

impl ForwardOutcome {
    /// Whether the upstream surely did nothing, and an answer of `status` only says why.
    pub fn never_ran(&self, status: StatusCode) -> bool {
        let state = self.state();
        state.at_work == 0 && !state.may_have_run && state.refused == Some(status)
    }

    /// A try begins. One that is dropped before it has an answer, with the request that it was for,
    /// may have done anything.
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

/// One try, until it is known what became of it.
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
