//! A request at a window: lease, place in the pool, clerk; and, while a canary runs, its part in the trial.

use super::breaker::{Breaker, Outcome, Trip};
use super::fallback::Tripped;
use super::front::Entrant;
use super::registry::Registry;
use super::release::Release;
use super::window::Window;
use crate::body::{Body, BodyError};
use crate::error::Error;
use crate::runtime::Limit;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

impl Registry {
    /// Has the live release of `window`, or its candidate, serve `request`. Gives what came of it, and the release's number
    /// where one was leased.
    pub async fn serve(
        &self,
        window: &str,
        request: Request<Body>,
    ) -> (Result<Response<Body>, Error>, Option<u64>) {
        let window = match self.windows().get(window) {
            Some(window) => window.clone(),
            None => {
                let window = window.to_owned();
                return (Err(Error::WindowNotDeployed { window }), None);
            }
        };
        let (release, entrant) = match window.lease(request.headers()) {
            Ok(leased) => leased,
            Err(error) => return (Err(error), None),
        };
        let number = release.record.number;
        if window.store_fault(Instant::now()) {
            let error = Error::StoreUnavailable {
                window: window.name.to_string(),
            };
            window.failures.note(&error);
            return (Err(error), Some(number));
        }
        if entrant.is_none()
            && let Err(retry_after) = release.breaker.admit(Instant::now())
        {
            let window = window.name.to_string();
            let tripped = Error::WindowTripped {
                window,
                retry_after,
            };
            return (Err(tripped), Some(number));
        }
        let mut observation = Observation {
            window: window.clone(),
            number,
            breaker: release.breaker.clone(),
            entrant,
            begun: Instant::now(),
            took: None,
            outcome: Outcome::Unclear,
            failed: false,
            counts: true,
        };
        let outcome = serve_on(&window, release, request).await;
        observation.answered(&outcome);
        let outcome = outcome.map(|response| {
            response.map(|inner| ObservedBody { inner, observation }.boxed_unsync())
        });
        (outcome, Some(number))
    }
}

async fn serve_on(
    window: &Window,
    release: Arc<Release>,
    request: Request<Body>,
) -> Result<Response<Body>, Error> {
    let place = match window.desk.place(release.clerks.weight()).await {
        Ok(place) => place,
        Err(error) => {
            window.failures.note(&error);
            return Err(error);
        }
    };
    let clerks = release.clerks.clone();
    clerks.serve(request, release, place).await
}

/// What one request says of its release: to the trial while a canary is running, to the breaker else. Said when it is
/// dropped, at the end of the answer. A client that goes away early counts for the release.
struct Observation {
    window: Arc<Window>,
    number: u64,
    breaker: Arc<Breaker>,
    entrant: Option<Entrant>,
    begun: Instant,
    /// The time to the head.
    took: Option<Duration>,
    outcome: Outcome,
    /// In a trial an answer of 5xx fails too.
    failed: bool,
    /// Too few clerks is the host's load, too large a body the client's: neither says anything of a release.
    counts: bool,
}

impl Observation {
    fn answered(&mut self, outcome: &Result<Response<Body>, Error>) {
        self.took = Some(self.begun.elapsed());
        match outcome {
            Ok(response) => {
                self.outcome = Outcome::Served;
                self.failed = response.status().is_server_error();
            }
            Err(error) => {
                self.outcome = Outcome::of(error);
                self.failed = true;
                self.counts = self.outcome != Outcome::Unclear;
            }
        }
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        let Some(entrant) = &self.entrant else {
            let most = self.window.limits.load().get(Limit::FailuresInARow);
            if let Some(trip) = self.breaker.outcome(self.outcome, most, Instant::now()) {
                self.tripped(&trip);
            }
            return;
        };
        // Whoever left before the head says nothing of the time it takes.
        if let Some(took) = self.took
            && self.counts
            && let Some(why) = entrant.trial.add(entrant.side, self.failed, took)
        {
            let _ = entrant.verdict.try_send(why);
        }
    }
}

impl Observation {
    fn tripped(&self, trip: &Trip) {
        let (window, pause) = (&self.window, trip.pause.as_secs());
        let sentence = format!("closed for {pause} s: {}", trip.why);
        tracing::warn!(window = %window.name, release = self.number, "{sentence}");
        window.log.line(&sentence);
        let _ = window.trips.try_send(Tripped {
            number: self.number,
            why: trip.why.clone(),
        });
    }
}

struct ObservedBody {
    inner: Body,
    observation: Observation,
}

impl http_body::Body for ObservedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Err(error))) = &frame {
            self.observation.failed = true;
            let said = error.downcast_ref().map(Outcome::of);
            self.observation.outcome = said.unwrap_or(Outcome::Unclear);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
