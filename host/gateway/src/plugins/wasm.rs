//! `wasm`: a window as a step in the chain, as `wasi:http/middleware@0.3` defines it: it sees the
//! request, and forwards or answers it. Sandboxed, limited and swapped live like any window.
//!
//! What it forwards is checked and stamped like a client's request: it may change path, fields and
//! body, but not the caller.

use super::auth::strip_keys;
use super::plugin::Around;
use super::{Exchange, Plugin, Rest, Setup};
use crate::request::headers;
use crate::request::rejection::Rejection;
use crate::routes::manifest::is_window_name;
use crate::upstream::{Answer, address_window};
use futures_util::future::BoxFuture;
use hms_core::body::{self, Body};
use hms_core::call::WindowCall;
use hms_core::error::RequestError;
use hms_core::next::Next;
use hms_core::path::{Oddities, read_path};
use hms_core::stream_idle::StreamIdle;
use hms_core::trace::SpanKind;
use hms_manifest::{Field, Kind, Map};
use http::uri::PathAndQuery;
use http::{Request, Response};
use std::sync::Arc;
use std::time::Instant;

/// The middlewares of one route.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Names of windows, in the order in which they run.
    pub windows: Vec<String>,
}

impl Plugin for Rule {
    const NAME: &'static str = "wasm";
    const DOC: &'static str = "A window as middleware (wasi:http/middleware): it sees the request, and forwards or answers it.";
    const FIELDS: &'static [Field] = &[Field {
        name: "window",
        kind: Kind::Text("audit"),
        doc: "The window to call. The plugin may be listed more than once; the windows run in the order of the list.",
    }];
    const REQUIRED: &'static [&'static str] = &["window"];
    const REPEATS: bool = true;

    type Shared = ();
    type Notes = ();

    fn shared(_: &Setup<'_>) {}

    fn read(map: &Map<'_>) -> Option<Rule> {
        map.require("window")?;
        let window = map.parsed("window", |name| {
            if is_window_name(name) {
                return Ok(name.to_string());
            }
            Err(format!(
                "'{name}' is not a window's name: use at most 55 lower-case letters, digits and \
                 inner hyphens"
            ))
        });
        window.map(|window| Rule {
            windows: vec![window],
        })
    }

    fn add(&mut self, further: Self) {
        self.windows.extend(further.windows);
    }
}

impl Around for Rule {
    fn concerns(exchange: &Exchange) -> bool {
        let rules = exchange.rules(false);
        rules.is_some_and(|rules| !rules.middlewares().is_empty())
    }

    async fn around<R: Rest>(
        exchange: Arc<Exchange>,
        request: Request<Body>,
    ) -> Result<Answer, RequestError> {
        exchange.visit::<R>(0, request).await
    }
}

impl Exchange {
    /// Calls the middleware at `index`, or the rest of the chain if there is none.
    async fn visit<R: Rest>(
        self: Arc<Self>,
        index: usize,
        mut request: Request<Body>,
    ) -> Result<Answer, RequestError> {
        let rules = &self.matched()?.rules;
        let Some(window) = rules.middlewares().get(index) else {
            return R::run(self, request).await;
        };
        if !rules.window_gets_credentials() {
            headers::drop_credentials(request.headers_mut());
        }
        address_window(&mut request, &self.target, window)?;
        let exchange = self.clone();
        let rest = Next::new(move |request| exchange.clone().rest::<R>(index, request));
        let span = self.spans.begin(SpanKind::Middleware);
        span.about(|| window.as_str().into());
        let call = WindowCall {
            request,
            next: Some(rest),
            stream_idle: self.bounds.stream_idle.map(StreamIdle),
            begin_by: self.bounds.response.map(|limit| Instant::now() + limit),
            waiting: index,
            from: None,
            spans: span.spans().clone(),
        };
        let answer = self.upstreams.window(window, call).await;
        span.note(&answer.outcome);
        Ok(answer)
    }

    /// The rest of the chain, from the middleware at `index`. Always answers.
    fn rest<R: Rest>(
        self: Arc<Self>,
        index: usize,
        request: Request<Body>,
    ) -> BoxFuture<'static, Response<Body>> {
        Box::pin(async move {
            let tried = self.outcome.begin();
            let answered = match self.pass_on::<R>(index, request).await {
                Ok(answer) => answer.outcome,
                Err(error) => Err(error),
            };
            tried.note(&answered);
            answered.unwrap_or_else(|error| {
                let request_id = &self.trace.request_id;
                // The middleware may make any answer of it, so the cause is logged here.
                if let Some(cause) = error.cause() {
                    let (error, cause) = (error.code(), cause);
                    tracing::warn!(%request_id, error, cause, "a request forwarded by a middleware failed");
                }
                error.response(Some(request_id))
            })
        })
    }

    async fn pass_on<R: Rest>(
        self: &Arc<Self>,
        index: usize,
        request: Request<Body>,
    ) -> Result<Answer, RequestError> {
        // A middleware takes time, during which a key may be revoked and a token expire.
        self.plugins.admits_still(&self.admission).await?;
        let route = self.matched()?;
        let (mut parts, body) = request.into_parts();
        parts.uri = checked(parts.uri.path_and_query(), route.paths)?.into();
        headers::clean_request(&mut parts.headers);
        strip_keys(&mut parts.headers);
        self.stamp(&mut parts.headers)?;
        // A middleware that saw the credentials may forward them. A window among the targets does
        // not get them.
        let rules = &route.rules;
        let is_last = index + 1 == rules.middlewares().len();
        if is_last && !rules.window_gets_credentials() && route.upstream.has_services() {
            headers::give_back(&mut parts.headers, &self.credentials);
        }
        let body = body::with_trailers(body, headers::clean_trailers);
        let request = Request::from_parts(parts, body);
        self.clone().visit::<R>(index + 1, request).await
    }
}

/// The path that a middleware requests, under the route's rules for clients.
fn checked(given: Option<&PathAndQuery>, allowed: Oddities) -> Result<PathAndQuery, RequestError> {
    let given =
        given.ok_or_else(|| Rejection::BadRequest("the middleware asked for no path".into()))?;
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
