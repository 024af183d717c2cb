//! A request at a window: lease, place in the pool, clerk; and, while a canary runs, its part in the trial.

use super::front::Entrant;
use super::registry::Registry;
use super::release::Release;
use super::window::Window;
use crate::body::{Body, BodyError};
use crate::error::Error;
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
        let begun = Instant::now();
        let outcome = serve_on(&window, release, request).await;
        let outcome = match entrant {
            Some(entrant) => observe(entrant, outcome, begun.elapsed()),
            None => outcome,
        };
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
    clerks.serve(request, (release, place)).await
}

fn observe(
    entrant: Entrant,
    outcome: Result<Response<Body>, Error>,
    took: Duration,
) -> Result<Response<Body>, Error> {
    let failed = |failed| Observation {
        entrant,
        failed,
        took,
    };
    match outcome {
        // Too few clerks is the host's load, and says nothing of a release.
        Err(Error::ClerkLimit) => Err(Error::ClerkLimit),
        Err(error) => {
            drop(failed(true));
            Err(error)
        }
        Ok(response) => {
            let observation = failed(response.status().is_server_error());
            Ok(response.map(|inner| ObservedBody { inner, observation }.boxed_unsync()))
        }
    }
}

/// Goes into the trial when it is dropped: at the end of the answer. A client that goes away early counts for the release.
struct Observation {
    entrant: Entrant,
    failed: bool,
    took: Duration,
}

impl Drop for Observation {
    fn drop(&mut self) {
        let Entrant {
            trial,
            side,
            verdict,
        } = &self.entrant;
        if let Some(why) = trial.add(*side, self.failed, self.took) {
            let _ = verdict.try_send(why);
        }
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
        if let Poll::Ready(Some(Err(_))) = &frame {
            self.observation.failed = true;
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
