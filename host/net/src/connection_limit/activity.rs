//! What a connection has to do. hyper ends an idle HTTP/1 connection by itself; for HTTP/2 it has
//! no such time, and a client that answers pings would keep its place for ever. Where places are
//! short, a connection without requests is the one that goes.

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// While requests are at work, the least between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The requests of one connection.
#[derive(Clone)]
pub struct Activity(Arc<Mutex<State>>);

struct State {
    /// Requests that nothing may end but their own time.
    at_work: usize,
    /// Requests of which nobody knows yet whether they are anybody's.
    unproven: usize,
    /// Those of all these whose answer is made, and kept for a client that has not taken it yet.
    kept: usize,
    /// The last request is or was somebody's.
    proven: bool,
    /// When the last one ended, or the connection began. Unproven ones do not count: who asks
    /// without an end would be young for ever.
    since: Instant,
    /// The connection ends; a request that comes now has come too late.
    ended: bool,
}

/// One request at work, or output that waits for the client.
pub struct AtWork {
    activity: Activity,
    proven: bool,
    kept: bool,
}

/// How well a connection can be done without. The least goes first: one without requests, and of
/// those the one idle longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    unproven: bool,
    pub since: Instant,
}

impl Default for Activity {
    fn default() -> Self {
        Self::new()
    }
}

impl Activity {
    /// Of a connection that begins now, without a request.
    pub fn new() -> Self {
        Activity(Arc::new(Mutex::new(State {
            at_work: 0,
            unproven: 0,
            kept: 0,
            proven: false,
            since: Instant::now(),
            ended: false,
        })))
    }

    /// A request begins. None where the connection has been given up meanwhile.
    pub fn begin(&self) -> Option<AtWork> {
        let mut state = self.state();
        state.at_work += usize::from(!state.ended);
        state.proven = true;
        (!state.ended).then(|| AtWork {
            activity: self.clone(),
            proven: true,
            kept: false,
        })
    }

    /// The same for a request that gives no claim to the connection until [`AtWork::prove`].
    pub fn begin_unproven(&self) -> Option<AtWork> {
        let mut state = self.state();
        state.unproven += usize::from(!state.ended);
        state.proven = false;
        (!state.ended).then(|| AtWork {
            activity: self.clone(),
            proven: false,
            kept: false,
        })
    }

    /// Output waits for the client. A request ends when its answer has been handed over; until the
    /// socket has taken the last byte, the connection has the claim that its last request had. Also
    /// where the connection has been given up: what was answered before that is still sent.
    pub fn unsent(&self) -> AtWork {
        let mut state = self.state();
        let proven = state.proven;
        match proven {
            true => state.at_work += 1,
            false => state.unproven += 1,
        }
        AtWork {
            activity: self.clone(),
            proven,
            kept: false,
        }
    }

    /// What the connection has to say for itself; none where it has a request at work and cannot be
    /// done without.
    pub fn claim(&self) -> Option<Claim> {
        let state = self.state();
        (state.at_work == 0).then_some(Claim {
            unproven: state.unproven > 0,
            since: state.since,
        })
    }

    /// Gives the connection up, unless a request is at work: none will begin any more. Whether it
    /// is so.
    pub fn end(&self) -> bool {
        let mut state = self.state();
        state.ended = state.at_work == 0;
        state.ended
    }

    /// Resolves when there was no request for so long; or no more than answers that are kept for
    /// the client, of which it has taken none for `untaken`, or for `longest` where that is more.
    pub async fn idle_for(&self, longest: Duration, untaken: Duration) {
        while let Some(left) = self.left(longest, untaken) {
            tokio::time::sleep(left).await;
        }
    }

    /// Resolves when there was no request for so long, what was before this call not counted.
    pub async fn idle_from_now(&self, longest: Duration, untaken: Duration) {
        tokio::time::sleep(longest).await;
        self.idle_for(longest, untaken).await;
    }

    /// Resolves after so long, as soon as there is no request.
    pub async fn idle_after(&self, pause: Duration, untaken: Duration) {
        tokio::time::sleep(pause).await;
        self.idle_for(Duration::ZERO, untaken).await;
    }

    /// How long to wait until it may have been idle for `longest`; nothing when it has.
    fn left(&self, longest: Duration, untaken: Duration) -> Option<Duration> {
        let state = self.state();
        let look = longest.max(LOOK_EVERY);
        if state.at_work + state.unproven > state.kept {
            return Some(look);
        }
        let longest = match state.kept {
            0 => longest,
            _ => longest.max(untaken),
        };
        let left = longest.saturating_sub(state.since.elapsed());
        (!left.is_zero()).then_some(left.min(look))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

impl AtWork {
    /// A piece of its answer that is kept for the client. It is at work as a request is, but not
    /// for ever: see [`Activity::idle_for`].
    pub fn kept(&self) -> AtWork {
        let mut state = self.activity.state();
        state.kept += 1;
        match self.proven {
            true => state.at_work += 1,
            false => state.unproven += 1,
        }
        AtWork {
            activity: self.activity.clone(),
            proven: self.proven,
            kept: true,
        }
    }

    /// The request is somebody's, and its connection is not given up for another from here on.
    /// Whether that is in time.
    pub fn prove(&mut self) -> bool {
        let mut state = self.activity.state();
        if !self.proven && !state.ended {
            state.unproven -= 1;
            state.at_work += 1;
            state.proven = true;
            self.proven = true;
        }
        self.proven
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let mut state = self.activity.state();
        if self.kept {
            state.kept -= 1;
            state.since = Instant::now();
        }
        if self.proven {
            state.at_work -= 1;
            state.since = Instant::now();
        } else {
            state.unproven -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn connection_with_a_request_in_flight_is_never_idle() {
        let (activity, longest) = (Activity::new(), Duration::from_millis(20));
        let begun = Instant::now();
        let at_work = activity.begin();
        let idle = activity.idle_for(longest, longest);
        tokio::pin!(idle);
        assert!(tokio::time::timeout(longest * 4, &mut idle).await.is_err());
        drop(at_work);
        idle.await;
        assert!(begun.elapsed() >= longest * 5);
    }

    #[tokio::test(start_paused = true)]
    async fn unread_answer_keeps_a_connection_for_a_limited_time() {
        let (activity, untaken) = (Activity::new(), Duration::from_millis(100));
        let request = activity.begin().unwrap();
        let (first, _last) = (request.kept(), request.kept());
        let idle = activity.idle_for(Duration::from_millis(1), untaken);
        tokio::pin!(idle);
        let early = tokio::time::timeout(untaken * 3, &mut idle).await;
        assert!(early.is_err(), "a request is at work");
        drop((request, first));
        let begun = Instant::now();
        idle.await;
        assert!(begun.elapsed() >= untaken.mul_f32(0.9));
        assert!(activity.claim().is_none());
    }

    #[test]
    fn connection_with_a_proven_request_cannot_be_evicted() {
        let activity = Activity::new();
        let at_work = activity.begin();
        assert!(activity.claim().is_none() && !activity.end());
        drop(at_work);
        let idle = activity.claim().unwrap();

        let mut unproven = activity.begin_unproven().unwrap();
        assert!(activity.claim().unwrap() > idle);
        assert!(unproven.prove());
        assert!(activity.claim().is_none() && !activity.end());
        drop(unproven);

        let mut late = activity.begin_unproven().unwrap();
        assert!(activity.end(), "an unproven request holds nothing");
        assert!(!late.prove());
        assert!(activity.begin().is_none() && activity.begin_unproven().is_none());
    }

    #[test]
    fn unsent_output_is_protected_like_the_request_it_answers() {
        let activity = Activity::new();
        drop(activity.begin_unproven());
        let unsent = activity.unsent();
        assert!(activity.claim().is_some(), "nobody's answer holds nothing");
        drop(unsent);

        drop(activity.begin());
        let unsent = activity.unsent();
        assert!(activity.claim().is_none() && !activity.end());
        drop(unsent);
        assert!(activity.end());

        let begun_before = activity.unsent();
        assert!(activity.claim().is_none(), "its sender waits for it");
        drop(begun_before);
        assert!(activity.claim().is_some());
    }
}
