//! Which windows call a window, and what came of it.

use crate::window::Window;
use hms_core::error::RequestError;
use http::Response;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What came of a call, as its caller sees it: the class of the status, or that the call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallOutcome {
    /// A status below 400.
    Ok,
    /// 4xx, of the window itself.
    Refused,
    /// 5xx, of the window itself.
    Error,
    /// The host answered in its place: the window was closed, busy or failed.
    Failed,
    /// The caller did not wait for the answer.
    GivenUp,
}

impl CallOutcome {
    /// As metrics name it.
    pub const fn name(self) -> &'static str {
        match self {
            CallOutcome::Ok => "ok",
            CallOutcome::Refused => "4xx",
            CallOutcome::Error => "5xx",
            CallOutcome::Failed => "failed",
            CallOutcome::GivenUp => "given-up",
        }
    }

    pub(crate) fn of<B>(outcome: &Result<Response<B>, RequestError>) -> Self {
        match outcome {
            Err(_) => CallOutcome::Failed,
            Ok(answer) if answer.status().is_server_error() => CallOutcome::Error,
            Ok(answer) if answer.status().is_client_error() => CallOutcome::Refused,
            Ok(_) => CallOutcome::Ok,
        }
    }
}

/// Calls of other windows, by caller and outcome, since the host began. Bounded by the windows that
/// are granted calls.
#[derive(Default)]
pub(crate) struct Callers(Mutex<BTreeMap<(Arc<str>, CallOutcome), u64>>);

impl Callers {
    fn count(&self, caller: &Arc<str>, outcome: CallOutcome) {
        *self.0.lock().entry((caller.clone(), outcome)).or_default() += 1;
    }

    pub(crate) fn counts(&self) -> Vec<(Arc<str>, CallOutcome, u64)> {
        let counts = self.0.lock();
        let all = counts.iter();
        all.map(|((caller, outcome), count)| (caller.clone(), *outcome, *count))
            .collect()
    }
}

/// One call, counted when this is dropped.
pub(crate) struct Counted {
    pub(crate) window: Arc<Window>,
    pub(crate) caller: Arc<str>,
    pub(crate) outcome: CallOutcome,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.window.callers.count(&self.caller, self.outcome);
    }
}
