//! Whether a connection has requests at work. hyper ends an idle HTTP/1 connection by itself; for HTTP/2 it has no such
//! time, and a client that answers pings would keep its place for ever.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// While requests are at work, the least between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The requests of one connection.
#[derive(Clone)]
pub struct Activity(Arc<Mutex<State>>);

struct State {
    at_work: usize,
    /// When the last one ended, or the connection began.
    since: Instant,
}

/// One request at work, to the last byte of its answer.
pub struct AtWork(Activity);

impl Activity {
    pub fn new() -> Self {
        Activity(Arc::new(Mutex::new(State {
            at_work: 0,
            since: Instant::now(),
        })))
    }

    /// A request begins.
    pub fn begin(&self) -> AtWork {
        self.change(|state| state.at_work += 1);
        AtWork(self.clone())
    }

    /// Resolves when there was no request for so long.
    pub async fn idle_for(&self, longest: Duration) {
        while let Some(left) = self.left(longest) {
            tokio::time::sleep(left).await;
        }
    }

    /// Resolves after so long, as soon as there is no request.
    pub async fn idle_after(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
        self.idle_for(Duration::ZERO).await;
    }

    /// How long to wait until it may have been idle for `longest`; nothing when it has.
    fn left(&self, longest: Duration) -> Option<Duration> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.at_work > 0 {
            return Some(longest.max(LOOK_EVERY));
        }
        let left = longest.saturating_sub(state.since.elapsed());
        (!left.is_zero()).then_some(left)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.change(|state| {
            state.at_work -= 1;
            state.since = Instant::now();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_with_a_request_is_not_idle_however_long_it_takes() {
        let (activity, longest) = (Activity::new(), Duration::from_millis(20));
        let begun = Instant::now();
        let at_work = activity.begin();
        let idle = activity.idle_for(longest);
        tokio::pin!(idle);
        assert!(tokio::time::timeout(longest * 4, &mut idle).await.is_err());
        drop(at_work);
        idle.await;
        assert!(begun.elapsed() >= longest * 5);
    }
}
