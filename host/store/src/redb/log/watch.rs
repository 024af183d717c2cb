//! Where a log stands, as the last commit left it, and who is told.

use super::super::{LogObserver, LogState};
use parking_lot::Mutex;

/// Only commits of events take its locks, and those who ask.
#[derive(Default)]
pub(in super::super) struct LogWatch {
    state: Mutex<LogState>,
    /// Locked while it is told, so that it is told in order.
    observer: Mutex<Option<LogObserver>>,
}

impl LogWatch {
    pub(in super::super) fn state(&self) -> LogState {
        *self.state.lock()
    }

    /// Notes where the log stands, and tells it.
    pub(in super::super) fn moved(&self, state: LogState) {
        let observer = self.observer.lock();
        *self.state.lock() = state;
        if let Some(tell) = &*observer {
            tell(state);
        }
    }

    /// The same, unless that is known.
    pub(in super::super) fn found(&self, state: LogState) {
        if self.state() != state {
            self.moved(state);
        }
    }

    /// Tells `observer` from now on, and at once unless the log is empty.
    pub(in super::super) fn observe(&self, observer: LogObserver) {
        let mut told = self.observer.lock();
        let state = self.state();
        if state != LogState::default() {
            observer(state);
        }
        *told = Some(observer);
    }
}
