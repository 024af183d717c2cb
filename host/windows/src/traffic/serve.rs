//! A request at a window: lease, permit of the pool, instance; and during a canary, its part in the
//! analysis.

use crate::canary::analysis;
use crate::release::Release;
use crate::release::fallback::Tripped;
use crate::traffic::admission::Ask;
use crate::traffic::breaker::{Breaker, Pass, RequestOutcome, Trip};
use crate::traffic::callers::{CallOutcome, Counted};
use crate::traffic::measured::ReleaseMeasures;
use crate::traffic::serving::Assignment;
use crate::traffic::unavailable::WindowUnavailable;
use crate::window::Window;
use bytes::Bytes;
use hms_core::body::{Body, BodyError, PolledFrame};
use hms_core::call::{Edition, WindowAnswer, WindowCall};
use hms_core::delegate;
use hms_core::error::RequestError;
use hms_core::trace::{SpanKind, Spans};
use hms_runtime::{InFlight, Limit, ReuseOff};
use http::Response;
use http_body_util::BodyExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Has the live release of `window`, or its candidate, serve the request of `call`. Gives what came
/// of it, and the release's number where one was leased.
pub(crate) async fn serve(
    window: Result<Arc<Window>, WindowUnavailable>,
    call: WindowCall,
) -> WindowAnswer {
    let window = match window {
        Ok(window) => window,
        Err(error) => return failed(error.into(), None),
    };
    // Before the lease, so that no grant that the request reads is of an older version.
    let grants = window.grants.load().version;
    let (release, assignment) = match window.lease(&call) {
        Ok(leased) => leased,
        Err(error) => return failed(error.into(), None),
    };
    let number = release.record.number;
    let edition = assignment.is_none().then_some(Edition {
        release: release.id,
        grants,
    });
    let now = Instant::now();
    if window.store_fault(now) {
        let error = RequestError::from(WindowUnavailable::StoreUnavailable {
            window: window.name.to_string(),
        });
        window.failures.note(&error);
        return failed(error, Some(number));
    }
    let pass = match assignment {
        None => release.breaker.admit(now),
        Some(_) => Ok(Pass::Usual),
    };
    let pass = match pass {
        Ok(pass) => pass,
        Err(retry_after) => {
            let window = window.name.to_string();
            let tripped = WindowUnavailable::Tripped {
                window,
                retry_after,
            };
            return failed(tripped.into(), Some(number));
        }
    };
    let mut observation = Observation {
        window: window.clone(),
        measures: release.measures.clone(),
        spans: call.spans.clone(),
        status: None,
        number,
        breaker: release.breaker.clone(),
        assignment,
        begun: now,
        in_flight: None,
        took: None,
        outcome: RequestOutcome::Unclear,
        failed: false,
        counts: true,
    };
    let begun = &mut observation.in_flight;
    let outcome = serve_on(&window, release, pass, call, begun).await;
    observation.answered(&outcome);
    let outcome = outcome
        .map(|response| response.map(|inner| ObservedBody { inner, observation }.boxed_unsync()));
    WindowAnswer {
        outcome,
        release: Some(number),
        edition,
    }
}

/// The same for another window, `caller`: counted by who calls whom.
pub(crate) async fn serve_window(
    window: Arc<Window>,
    caller: Arc<str>,
    call: WindowCall,
) -> WindowAnswer {
    let mut counted = Counted {
        window: window.clone(),
        caller,
        outcome: CallOutcome::GivenUp,
    };
    let answer = serve(Ok(window), call).await;
    counted.outcome = CallOutcome::of(&answer.outcome);
    answer
}

fn failed(error: RequestError, release: Option<u64>) -> WindowAnswer {
    WindowAnswer {
        outcome: Err(error),
        release,
        edition: None,
    }
}

async fn serve_on(
    window: &Window,
    release: Arc<Release>,
    pass: Pass,
    mut call: WindowCall,
    begun: &mut Option<Arc<InFlight>>,
) -> Result<Response<Body>, RequestError> {
    let calls = !window.grants.load().grants.calls.is_empty();
    let ask = Ask::of(&call, release.instances.weight(), calls);
    let since = Instant::now();
    let queued = call.spans.begin_at(SpanKind::Queue, since);
    let permit = window.queue.acquire(ask).await;
    let now = Instant::now();
    queued.end_at(now);
    let permit = queued.ended(permit);
    let log = call.spans.log().map(|log| &**log);
    window
        .measures
        .queue
        .observe(now.duration_since(since), log);
    let permit = match permit {
        Ok(permit) => permit,
        Err(busy) => {
            let error = RequestError::from(busy);
            window.failures.note(&error);
            return Err(error);
        }
    };
    let instances = release.instances.clone();
    let tried = (pass == Pass::Try).then(|| release.breaker.clone());
    let in_flight = instances.in_flight(&mut call, release, permit, ask.waits);
    if let Some(breaker) = tried {
        breaker.tried_by(&in_flight);
    }
    *begun = Some(in_flight.clone());
    instances.serve(call.request, in_flight).await
}

/// What one request says about its release: to the analysis during a canary, otherwise to the
/// breaker. Reported when it is dropped, at the end of the answer. What its client does, or fails
/// to do, says nothing about the release.
struct Observation {
    window: Arc<Window>,
    measures: Arc<ReleaseMeasures>,
    spans: Spans,
    /// Of the answer, once there is one.
    status: Option<u16>,
    number: u64,
    breaker: Arc<Breaker>,
    assignment: Option<Assignment>,
    begun: Instant,
    /// Set once it has its permit.
    in_flight: Option<Arc<InFlight>>,
    /// The time to the head, excluding waits for the client.
    took: Option<Duration>,
    outcome: RequestOutcome,
    /// In an analysis, 5xx answers are failures too.
    failed: bool,
    /// Too few instances are the host's load, too large a body is the client's: neither says
    /// anything about a release.
    counts: bool,
}

impl Observation {
    fn answered(&mut self, outcome: &Result<Response<Body>, RequestError>) {
        self.took = Some(self.took_so_far());
        match outcome {
            Ok(response) => {
                self.outcome = RequestOutcome::Served;
                self.status = Some(response.status().as_u16());
                self.failed = response.status().is_server_error();
            }
            Err(error) => self.failed_with(error),
        }
    }

    fn failed_with(&mut self, error: &RequestError) {
        self.failed = true;
        self.status = Some(error.status().as_u16());
        self.outcome = RequestOutcome::of(error);
        self.counts = self.outcome != RequestOutcome::Unclear;
    }

    fn took_so_far(&self) -> Duration {
        let waited = self
            .in_flight
            .as_ref()
            .map(|in_flight| in_flight.waited_for_body());
        let begun = self.begun.elapsed();
        begun.saturating_sub(waited.unwrap_or_default())
    }

    /// What it reports to an analysis.
    fn heard(&self, clients_fault: bool) -> analysis::Sample {
        match self.took {
            Some(took) if self.counts && !(self.failed && clients_fault) => {
                let failed = self.failed;
                analysis::Sample::Answered { failed, took }
            }
            None if self.in_flight.is_some() && !clients_fault => analysis::Sample::Left {
                after: self.took_so_far(),
            },
            _ => analysis::Sample::Unclear,
        }
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        let now = Instant::now();
        self.measure(now);
        let in_flight = self.in_flight.as_ref();
        let clients_fault = in_flight.is_some_and(|in_flight| in_flight.is_clients_fault());
        if !clients_fault {
            self.report_reuse();
        }
        if let Some(assignment) = self.assignment.take() {
            assignment.end(self.heard(clients_fault));
            return;
        }
        let outcome = match self.outcome {
            RequestOutcome::Failed(_) if clients_fault => RequestOutcome::Unclear,
            outcome => outcome,
        };
        let most = self.window.limits.load().get(Limit::FailuresInARow);
        if let Some(trip) = self.breaker.outcome(outcome, most, now) {
            self.tripped(&trip);
        }
    }
}

impl Observation {
    /// Counts it for whoever looks at the window.
    fn measure(&self, now: Instant) {
        let log = self.spans.log().map(|log| &**log);
        if let Some(status) = self.status {
            self.measures.answered(status);
            self.measures
                .duration
                .observe(now.duration_since(self.begun), log);
        }
        let started = self.in_flight.as_ref().and_then(|it| it.start_time());
        if let Some(started) = started {
            self.window.measures.start.observe(started, log);
        }
    }

    /// Reports whether instances can be reused.
    fn report_reuse(&self) {
        let trial = self
            .in_flight
            .as_ref()
            .and_then(|in_flight| in_flight.trial());
        match (self.outcome, trial) {
            (RequestOutcome::Served, Some(trial)) => trial.went_well(),
            (RequestOutcome::Failed(code), Some(trial)) => {
                if let Some(off) = trial.failed(code, Instant::now()) {
                    let window = &self.window;
                    let sentence = reuse_is_off(off);
                    tracing::warn!(window = %window.name, release = self.number, "{sentence}");
                    window.failures.count(REUSE_OFF, &sentence);
                }
            }
            _ => {}
        }
    }

    fn tripped(&self, trip: &Trip) {
        let (window, pause) = (&self.window, trip.pause.as_secs());
        window.measures.tripped();
        let sentence = format!("closed for {pause} s: {}", trip.why);
        tracing::warn!(window = %window.name, release = self.number, "{sentence}");
        window.log.line(&sentence);
        let _ = window.trips.try_send(Tripped {
            window: window.clone(),
            number: self.number,
            why: trip.why.clone(),
        });
    }
}

/// The reason under which failed trials of reuse are counted.
const REUSE_OFF: &str = "reuse-off";

/// The message about a release whose instance failed at its second request, and when reuse is tried
/// again.
pub(crate) fn reuse_is_off(off: ReuseOff) -> String {
    let again = match off.pause {
        Some(pause) => {
            let seconds = pause.as_millis().div_ceil(1000);
            let time = match seconds {
                0..120 => format!("{seconds} s"),
                _ => format!("{} min", seconds.div_ceil(60)),
            };
            format!("in {time}, or at once when it is set again")
        }
        None => "with the next requests".to_owned(),
    };
    let code = off.code;
    format!(
        "an instance that had served one request failed at the next ({code}), so each request has a \
         fresh one: --reuse is kept but not in effect. It is tried again {again}"
    )
}

struct ObservedBody {
    inner: Body,
    observation: Observation,
}

impl http_body::Body for ObservedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Err(error))) = &frame {
            match error.downcast_ref::<RequestError>() {
                Some(error) => self.observation.failed_with(error),
                None => {
                    self.observation.failed = true;
                    self.observation.outcome = RequestOutcome::Unclear;
                }
            }
        }
        frame
    }

    delegate!(inner: is_end_stream, size_hint);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reuse_off_message_says_when_it_is_tried_again() {
        let again = |pause: Option<u64>| {
            let pause = pause.map(Duration::from_millis);
            let said = reuse_is_off(ReuseOff {
                code: "instance-trapped",
                pause,
            });
            let (why, again) = said.split_once(" It is tried again ").unwrap();
            assert!(why.contains("(instance-trapped)"), "{why}");
            again.split(',').next().unwrap().to_owned()
        };
        assert_eq!(again(Some(59_001)), "in 60 s");
        assert_eq!(again(Some(119_001)), "in 2 min");
        assert_eq!(again(Some(3_600_000)), "in 60 min");
        assert_eq!(again(None), "with the next requests");
    }
}
