//! The way of one request from its route's plugins to its upstream: straight, or through the
//! route's middlewares (`wasm`).
//!
//! A middleware is a window that the request visits before its upstream. What it passes on is
//! checked and stamped like what a client sends: it may change path, fields and body, but not whom
//! the request is from.

use crate::body::{self, Body};
use crate::connection_limit::Holder;
use crate::error::RequestError;
use crate::gateway::headers::{self, Passage};
use crate::gateway::location;
use crate::gateway::manifest::{Destination, Route};
use crate::gateway::origin::{Asked, Origin};
use crate::gateway::plugins::auth::{self, Caller};
use crate::gateway::plugins::{Admission, Plugins};
use crate::gateway::rejection::Rejection;
use crate::gateway::target::{Oddities, Target, read_path};
use crate::gateway::trace::Trace;
use crate::gateway::upload::Upload;
use crate::gateway::upstream::{
    Answer, Sending, UpstreamError, Upstreams, address, path_and_query,
};
use crate::next::Next;
use crate::stream_idle::StreamIdle;
use futures_util::future::BoxFuture;
use http::header::HeaderMap;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, StatusCode};
use parking_lot::{Mutex, MutexGuard};
use std::pin::pin;
use std::sync::Arc;

/// What holds for a request wherever it is on its way.
pub struct Forward {
    pub upstreams: Arc<Upstreams>,
    pub plugins: Arc<Plugins>,
    /// Asked again whenever a middleware passes the request on. Empty where there is none.
    pub admission: Admission,
    /// Whose share of the requests at services it counts to.
    pub holder: Holder,
    pub route: Arc<Route>,
    pub target: Target,
    pub origin: Origin,
    pub asked: Asked,
    /// Whether the client takes trailers, as gRPC says it (`TE: trailers`).
    pub trailers: bool,
    pub trace: Trace,
    pub caller: Option<Caller>,
    /// For a service behind a middleware that does not see them. No API key of ours is among them.
    pub credentials: HeaderMap,
    /// How far the request's body has come.
    pub upload: Upload,
    pub outcome: ForwardOutcome,
}

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
    fn begin(&self) -> Try<'_> {
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

struct Try<'a> {
    outcome: &'a ForwardOutcome,
    refused: Option<StatusCode>,
}

impl Try<'_> {
    fn note(mut self, answered: &Result<Response<Body>, RequestError>) {
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

impl Forward {
    /// [`Forward::go`], for at most as long as the route's `timeout` says, not counting what waits for
    /// the client.
    pub async fn go_in_time(
        self: &Arc<Self>,
        request: Request<Body>,
    ) -> Result<Answer, RequestError> {
        let Some(limit) = self.route.rules.response_timeout() else {
            return self.go(request).await;
        };
        self.upload
            .within(limit, pin!(self.go(request)))
            .await
            .map_err(|_| UpstreamError::Timeout { limit })?
    }

    /// Sends `request`, whose headers are clean, along the whole way.
    ///
    /// # Errors
    ///
    /// When it could not even be sent; what went wrong beyond that is in the answer.
    pub async fn go(self: &Arc<Self>, mut request: Request<Body>) -> Result<Answer, RequestError> {
        self.stamp(&mut request)?;
        let path = path_and_query(&self.route, &self.target)?;
        let mut answer = match self.route.rules.middlewares() {
            [] => self.call(&path, request).await?,
            [first, ..] => self.visit(first, 1, path, request).await?,
        };
        if let Ok(response) = &mut answer.outcome {
            let headers = response.headers_mut();
            location::rewrite(headers, &self.route, &self.target, &self.asked);
        }
        Ok(answer)
    }

    async fn call(
        &self,
        path: &PathAndQuery,
        request: Request<Body>,
    ) -> Result<Answer, RequestError> {
        let sending = Sending {
            holder: self.holder,
            route: &self.route,
            target: &self.target,
            upload: &self.upload,
            path,
            trailers: self.trailers,
        };
        self.upstreams.call(&sending, request).await
    }

    /// Has the middleware `window` answer; what it passes on goes to the one at `next`, or to the
    /// upstream.
    async fn visit(
        self: &Arc<Self>,
        window: &str,
        next: usize,
        path: PathAndQuery,
        mut request: Request<Body>,
    ) -> Result<Answer, RequestError> {
        if !self.route.rules.window_gets_credentials() {
            headers::drop_credentials(request.headers_mut());
        }
        let authority = match self.target.authority() {
            Some(authority) => authority.clone(),
            None => {
                Authority::try_from(format!("hms-svc-{window}")).map_err(RequestError::internal)?
            }
        };
        address(&mut request, Scheme::HTTP, authority, path)?;
        let idle = self.route.rules.stream_idle().map(StreamIdle);
        idle.map(|idle| request.extensions_mut().insert(idle));
        let forward = self.clone();
        let rest = Next::new(move |request| forward.clone().rest(next, request));
        request.extensions_mut().insert(rest);
        Ok(self.upstreams.window(window, request).await)
    }

    /// The way from the middleware before `next` on. Always answers.
    fn rest(
        self: Arc<Self>,
        next: usize,
        request: Request<Body>,
    ) -> BoxFuture<'static, Response<Body>> {
        Box::pin(async move {
            let tried = self.outcome.begin();
            let answered = match self.pass_on(next, request).await {
                Ok(answer) => answer.outcome,
                Err(error) => Err(error),
            };
            tried.note(&answered);
            answered.unwrap_or_else(|error| {
                let request_id = &self.trace.request_id;
                // The middleware may make anything of the answer, so the cause is said here.
                if let Some(cause) = error.cause() {
                    let error = error.code();
                    tracing::warn!(%request_id, error, cause, "behind a middleware a request failed");
                }
                error.response(Some(request_id))
            })
        })
    }

    async fn pass_on(
        self: &Arc<Self>,
        next: usize,
        request: Request<Body>,
    ) -> Result<Answer, RequestError> {
        // A middleware has its own time, in which a key may be revoked and a token expire.
        self.plugins.admits_still(&self.admission).await?;
        let (mut parts, body) = request.into_parts();
        let path = checked(parts.uri.path_and_query(), self.route.paths)?;
        headers::clean_request(&mut parts.headers);
        auth::strip_keys(&mut parts.headers);
        let mut request =
            Request::from_parts(parts, body::with_trailers(body, headers::clean_trailers));
        self.stamp(&mut request)?;
        if let Some(window) = self.route.rules.middlewares().get(next) {
            return self.visit(window, next + 1, path, request).await;
        }
        // A middleware that saw them has the say. A window among the targets loses them again.
        if !self.route.rules.window_gets_credentials() && self.leads_to_a_service() {
            headers::give_back(request.headers_mut(), &self.credentials);
        }
        self.call(&path, request).await
    }

    fn leads_to_a_service(&self) -> bool {
        let mut endpoints = self.route.upstream.endpoints.iter();
        endpoints.any(|endpoint| matches!(endpoint.place, Destination::Service { .. }))
    }

    fn stamp(&self, request: &mut Request<Body>) -> Result<(), Rejection> {
        let passage = Passage {
            target: &self.target,
            origin: self.origin,
            asked: &self.asked,
            stripped: &self.route.strip,
            trace: &self.trace,
            caller: self.caller.as_ref(),
        };
        headers::stamp(request.headers_mut(), &passage)
    }
}

/// The path that a middleware asks for, by the rules for clients of the route.
fn checked(given: Option<&PathAndQuery>, allowed: Oddities) -> Result<PathAndQuery, RequestError> {
    let given = given
        .ok_or_else(|| Rejection::BadRequest("the middleware's request has no path".into()))?;
    let (mut path, odd) = read_path(given.path()).map_err(of_middleware)?;
    odd.within(allowed).map_err(of_middleware)?;
    if let Some(query) = given.query() {
        path.push('?');
        path.push_str(query);
    }
    PathAndQuery::try_from(path).map_err(RequestError::internal)
}

fn of_middleware(reason: &'static str) -> Rejection {
    Rejection::BadRequest(["the middleware's request: ", reason, "", ""].into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Problem;

    const BUSY: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

    #[test]
    fn what_was_refused_each_time_never_ran_and_what_is_at_work_or_was_cut_off_may_have() {
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
    fn a_body_that_is_cut_while_an_instance_reads_it_is_no_request_that_never_ran() {
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
