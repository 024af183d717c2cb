//! The gateway: the one door to the windows.
//!
//! The life of a request, in order: `listen` and `connection` accept it -> `target` and `headers`
//! make it clean, once -> the route table (`routes`, made from `manifest`s) matches -> `plugins`
//! say who asks and whether they may -> `forward` takes it to its `upstream`, a window or a service,
//! through the route's middlewares -> the answer goes out through `headers`, and `access` writes
//! its line when the last byte is out. Whatever fails on the way becomes an answer in
//! [`Gateway::answer`] and nowhere else.

mod access;
mod client;
mod config;
mod connection;
mod early;
mod fields;
mod forward;
mod forwarded;
mod headers;
mod listen;
mod location;
pub mod manifest;
mod metrics;
mod origin;
mod outgoing;
mod piece;
pub mod plugins;
mod proxy;
mod rejection;
mod request_body;
pub mod routes;
mod screen;
mod sniff;
mod strict;
pub mod target;
mod tls;
mod trace;
mod untaken;
mod upload;
mod upstream;

pub use config::{GatewayConfig, Limits};
pub use listen::{Listeners, bind, parse_address};
pub use metrics::GatewayMetrics;
pub use plugins::network;
pub use tls::Certificate;
pub use upstream::{Answer, Windows};

use crate::body::Body;
use crate::connection_limit::AtWork;
use crate::error::{Problem, RequestError};
use crate::linger::Inbound;
use crate::reload::ReadAgain;
use crate::store::{Scratch, Snapshot};
use access::{Record, RecordedBody};
use client::HttpClient;
use early::EarlyBodies;
use forward::{Forward, ForwardOutcome};
use futures_util::FutureExt;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, Version, header};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use manifest::{Route, fold};
use origin::Origin;
use plugins::auth::ApiKeys;
use plugins::idempotency::IdempotentRequest;
use plugins::{Admission, PluginState, Plugins};
use rejection::Rejection;
use request_body::{RequestBody, TrailerBounds};
use routes::{EditError, LOOK_TIME, RouteMatch, RouteSet, RouteStatus, Saved, Table};
use screen::Screen;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use strict::{Kind, Violation};
use target::{Oddities, Target};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use trace::Trace;
use upload::Upload;
use upstream::{Opened, Room, Times, UpgradeRequest, Upstreams, name_upgrade};

/// The gateway, assembled.
pub struct Gateway {
    config: GatewayConfig,
    metrics: GatewayMetrics,
    routes: Arc<RouteSet>,
    plugins: Arc<Plugins>,
    upstreams: Arc<Upstreams>,
    early: EarlyBodies,
}

impl Gateway {
    /// Reads the routes and puts the parts together. Bad manifests do not keep it from starting:
    /// see [`Gateway::routes`].
    pub fn new(config: GatewayConfig, windows: Arc<dyn Windows>) -> Arc<Self> {
        let metrics = GatewayMetrics::new();
        let kept = config.kept_routes.clone();
        let most = config.limits.max_routes;
        let routes = RouteSet::load(&config.routes, kept, most, metrics.clone());
        let routes = Arc::new(routes);
        let plugins = Arc::new(Plugins::new(&config, &metrics));
        let limits = &config.limits;
        let client = HttpClient::counting(
            limits.connect_timeout,
            Screen::public_and(&config.upstream_allow),
            metrics.http2_connections(),
        );
        let room = Room::new(
            limits.max_at_services,
            limits.max_at_services_per_address,
            metrics.services_full(),
        );
        let times = Times {
            head: limits.upstream_timeout,
            idle: limits.stream_idle,
        };
        let upstreams = Arc::new(Upstreams::new(windows, client, times, room));
        let early = EarlyBodies::new(limits, metrics.share_hits());
        Arc::new(Gateway {
            early,
            config,
            metrics,
            routes,
            plugins,
            upstreams,
        })
    }

    /// Watches the routes and serves on `listeners` until `shutdown` is cancelled; then it takes no
    /// more, and waits for the requests in flight, at most [`Limits::drain_timeout`]. Returns how
    /// many connections were cut.
    pub async fn serve(
        self: Arc<Self>,
        listeners: Vec<TcpListener>,
        shutdown: CancellationToken,
    ) -> usize {
        self.routes.watch();
        self.plugins.keep_keys(&shutdown);
        if let Some(certificate) = &self.config.certificate {
            certificate.watch(self.metrics.certificate_refused());
        }
        let drain_timeout = self.config.limits.drain_timeout;
        let idempotency = self.plugins.idempotency.clone();
        let deadline = async {
            shutdown.cancelled().await;
            tokio::time::Instant::now() + drain_timeout
        };
        let serving = connection::serve(self, listeners, shutdown.clone());
        let (cut, deadline) = futures_util::future::join(serving, deadline).await;
        idempotency.finish(deadline).await;
        cut
    }

    /// Every manifest, and what became of it.
    pub fn routes(&self) -> Vec<RouteStatus> {
        self.routes.status()
    }

    /// Why the routes folder itself could not be read the last time, if it could not.
    pub fn routes_fault(&self) -> Option<String> {
        self.routes.folder_fault()
    }

    /// Whether the routes folder was read at least once since the start.
    pub fn routes_were_read(&self) -> bool {
        self.routes.was_read()
    }

    /// The route `name`, and its manifest's text.
    pub fn route(&self, name: &str) -> Option<(RouteStatus, String)> {
        self.routes.get(name)
    }

    /// Checks `text` and makes it the manifest of the route `name`; live when this returns. Whether
    /// it is new.
    pub async fn put_route(
        &self,
        name: String,
        text: String,
    ) -> Result<(RouteStatus, bool), EditError> {
        self.edit(move |routes| routes.put(&name, &text)).await
    }

    /// Removes the route `name` and its file. Gives why the file is still there, where it is.
    pub async fn remove_route(&self, name: String) -> Result<Option<String>, EditError> {
        self.edit(move |routes| routes.remove(&name)).await
    }

    /// What a backup takes of each manifest, by file, and how many more there are. As the last look
    /// at the folder found it, so that a disk that hangs holds no backup.
    pub fn saved_routes(&self) -> (BTreeMap<String, Saved>, usize) {
        self.routes.saved()
    }

    /// A copy of the ledger of idempotency keys; None where there is none yet. Blocks, on a thread
    /// of `runtime` that may.
    ///
    /// # Errors
    /// Why it was not made, as a sentence.
    pub fn snapshot_ledger(
        &self,
        runtime: &Handle,
        scratch: &mut Scratch<'_>,
    ) -> Result<Option<Snapshot>, String> {
        self.plugins.idempotency.snapshot(runtime, scratch)
    }

    async fn edit<T: Send + 'static>(
        &self,
        edit: impl FnOnce(&RouteSet) -> Result<T, EditError> + Send + 'static,
    ) -> Result<T, EditError> {
        let routes = self.routes.clone();
        let path = routes.dir().to_path_buf();
        let edit = tokio::task::spawn_blocking(move || edit(&routes));
        // It may wait for a look first.
        let Ok(edited) = tokio::time::timeout(2 * LOOK_TIME, edit).await else {
            return Err(EditError::Unanswered);
        };
        edited.unwrap_or_else(|error| {
            let error = std::io::Error::other(error);
            Err(EditError::Io { path, error })
        })
    }

    /// Reads again now what is read from files and fetched: routes, certificate, keys of issuers.
    /// Gives what became of each; what cannot be read stays as it was.
    pub async fn read_again(&self) -> Vec<ReadAgain> {
        let routes = self.routes.clone();
        let routes = crate::reload::blocking("routes", move || {
            routes.reload_as_it_is();
            routes.outcome()
        });
        let certificate = async {
            let certificate = self.config.certificate.clone()?;
            let refused = self.metrics.certificate_refused();
            let outcome =
                crate::reload::blocking("certificate", move || certificate.read_again(&refused));
            Some(outcome.await)
        };
        let keys = self.plugins.read_keys_again();
        let (routes, certificate, keys) = futures_util::join!(routes, certificate, keys);
        let keys = keys.into_iter().map(|(issuer, outcome)| ReadAgain {
            what: format!("keys of {issuer}"),
            outcome: outcome.map(|()| "fetched".into()),
        });
        [routes]
            .into_iter()
            .chain(certificate)
            .chain(keys)
            .collect()
    }

    /// The keys of machine callers.
    pub fn api_keys(&self) -> &Arc<ApiKeys> {
        &self.config.auth.api_keys
    }

    pub fn metrics(&self) -> &GatewayMetrics {
        &self.metrics
    }

    /// Notes in the metrics how old the keys are that tokens are checked with.
    pub fn measure_keys(&self) {
        self.plugins.measure_keys(&self.metrics);
    }

    /// Answers one request, whatever happens. `connection` is the other end of its connection.
    async fn answer(
        &self,
        request: Request<Inbound>,
        connection: Origin,
        at_work: AtWork,
    ) -> Response<RecordedBody> {
        let trace = Trace::read(request.headers());
        let mut record = Record::new(
            self.metrics.clone(),
            request.method().clone(),
            request.uri().path().to_string(),
            trace.request_id.clone(),
        );
        record.at_work = Some(at_work);
        record.kept = request.version() == Version::HTTP_2;
        let mut state = PluginState::default();
        let passage = self.route_request(request, connection, &trace, &mut record, &mut state);
        let outcome = AssertUnwindSafe(passage)
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Err(RequestError::internal("a panic in the gateway")));
        let mut response = match outcome.and_then(outgoing::checked(&record.method)) {
            Ok(response) => {
                record.answered(response.status().as_u16(), None);
                response
            }
            Err(error) => {
                record.failed(&error);
                if error.is(Problem::Internal)
                    && let Some(reason) = error.cause()
                {
                    let request_id = &trace.request_id;
                    tracing::error!(%request_id, %reason, "a request failed inside of the host");
                }
                error.response(Some(&trace.request_id))
            }
        };
        headers::clean_response(response.headers_mut(), &trace.request_id);
        self.plugins.leave(&state, response.headers_mut());
        if response.extensions().get::<Opened>().is_some() {
            name_upgrade(response.headers_mut());
        }
        let response = self.plugins.compress(&state, response);
        let (response, length) = outgoing::framed(&record.method, response);
        response.map(|body| RecordedBody::new(body, record, length))
    }

    /// Answers a request whose head was refused before it was one.
    fn refuse(&self, violation: Violation, connection: Origin) -> Response<RecordedBody> {
        let limits = &self.config.limits;
        let error = RequestError::from(match violation.kind {
            Kind::Syntax(reason) => Rejection::BadRequest(reason.into()),
            Kind::TooManyFields => Rejection::TooManyHeaders {
                limit: limits.max_headers,
            },
            Kind::TooLarge => Rejection::HeadersTooLarge {
                limit: u64::from(limits.max_header_bytes),
            },
            Kind::TooSlow => Rejection::HeadTooSlow {
                limit: limits.header_timeout,
            },
            Kind::Expectation => Rejection::ExpectationFailed,
        });
        let trace = Trace::read(&HeaderMap::new());
        let (metrics, id) = (self.metrics.clone(), trace.request_id.clone());
        let mut record = Record::new(metrics, violation.method, "-".into(), id);
        record.client = Some(connection.client);
        let mut response = error.response(Some(&trace.request_id));
        headers::clean_response(response.headers_mut(), &trace.request_id);
        record.failed(&error);
        let (response, length) = outgoing::framed(&record.method, response);
        response.map(|body| RecordedBody::new(body, record, length))
    }

    /// The way of a request, from its head to the head of its answer.
    async fn route_request(
        &self,
        request: Request<Inbound>,
        connection: Origin,
        trace: &Trace,
        record: &mut Record,
        state: &mut PluginState,
    ) -> Result<Response<Body>, RequestError> {
        let limits = &self.config.limits;
        let (mut parts, body) = request.into_parts();
        let upgrade = body
            .is_end_stream()
            .then(|| UpgradeRequest::read(&mut parts))
            .flatten();
        record.client = Some(connection.client);
        let table = self.routes.table();
        let target = Target::read(&parts, limits.max_target_bytes);
        let trusted = &self.config.trusted_proxies;
        let origin = headers::check(&parts, limits.max_headers).and_then(|()| {
            let origin = connection.of(&parts.headers, trusted)?;
            Ok((origin, connection.asked(&parts.headers, trusted)?))
        });
        let ((origin, asked), target) = match (origin, target) {
            (Ok(origin), Ok(target)) => (origin, target),
            (origin, target) => {
                // What is refused before its route is known is refused to the pages of that too.
                if let Ok(target) = &target {
                    let found = find(&table, target, &parts);
                    let route = found.map_or_else(|missed| missed.beside, Some);
                    state.refused(route, &parts.headers);
                }
                return Err(origin
                    .err()
                    .or(target.err())
                    .unwrap_or(Rejection::NoRoute)
                    .into());
            }
        };
        let trailers = headers::takes_trailers(&parts.headers);
        record.client = Some(origin.client);
        record.path = target.path().to_string();
        let asks = parts.headers.contains_key(header::EXPECT);
        headers::clean_request(&mut parts.headers);

        let route = match find(&table, &target, &parts) {
            Ok(route) => route,
            Err(missed) => {
                state.refused(missed.beside, &parts.headers);
                return Err(missed.error.into());
            }
        };
        record.route = Some(route.name.clone());
        record.upstream = Some(route.upstream.label());

        // Before the keys are taken away.
        let asked_again = upgrade.is_some() || !route.rules.middlewares().is_empty();
        let admission = match asked_again {
            true => Admission::of(route, &parts.headers),
            false => Admission::default(),
        };
        let entered = self
            .plugins
            .enter(route, &mut parts, origin.client, state)
            .await;
        record.user = state.caller.as_ref().map(|caller| caller.user.clone());
        if let Some(answer) = entered? {
            return Ok(answer);
        }

        let rules = &route.rules;
        let user = state.caller.as_ref().map(plugins::identity);
        let idempotent = IdempotentRequest::read(route, &target, &parts, user, origin.client)?;
        let max_body_bytes = [
            rules.max_body_bytes(),
            idempotent.as_ref().map(IdempotentRequest::max_body),
        ]
        .into_iter()
        .flatten()
        .fold(limits.max_body_bytes, u64::min);
        if body.size_hint().lower() > max_body_bytes {
            let limit = max_body_bytes;
            return Err(Rejection::BodyTooLarge { limit }.into());
        }
        let upload = Upload::default();
        let body = RequestBody::new(
            body,
            max_body_bytes,
            rules.body_pace(limits.body_pace),
            TrailerBounds {
                fields: limits.max_headers,
                bytes: limits.max_header_bytes as usize,
            },
            upload.clone(),
        );
        // A request with a key is read whole in any case, for the key's own sake; where the client
        // asks whether its body is wanted, the upstream decides; and a call of gRPC may be a
        // conversation.
        let body = match idempotent.is_none() && !asks && !trailers {
            true => self.early.read(body).await?,
            false => body.boxed_unsync(),
        };
        if let Some(mut upgrade) = upgrade {
            upgrade.admitted(admission.clone());
            parts.extensions.insert(upgrade);
        }
        let forward = Arc::new(Forward {
            upstreams: self.upstreams.clone(),
            plugins: self.plugins.clone(),
            admission,
            holder: origin.holder(&self.config.trusted_proxies),
            route: route.clone(),
            target,
            origin,
            asked,
            trailers,
            trace: trace.clone(),
            caller: state.caller.clone(),
            credentials: headers::credentials(&parts.headers),
            upload: upload.clone(),
            outcome: ForwardOutcome::default(),
        });
        let request = Request::from_parts(parts, body);
        let answer = match idempotent {
            None => forward.go_in_time(request).await?,
            Some(idempotent) => {
                let outcome = self
                    .plugins
                    .idempotency
                    .forward(idempotent, forward, request)
                    .await;
                outcome.unwrap_or_else(|error| Err(error).into())
            }
        };
        record.release = answer.release;
        record.tries = (answer.tries > 1).then_some(answer.tries);
        if let Some(endpoint) = answer.endpoint {
            record.upstream = Some(endpoint);
        }
        // The upstream fails in its own way when its request breaks off, or says so itself; the
        // client needs the cause.
        match upload.why() {
            Some(why) => Err(why.clone()),
            None => answer.outcome,
        }
    }
}

/// No route takes the request.
#[derive(Debug)]
struct Missed<'a> {
    error: Rejection,
    /// The route of the path by whose `cors` pages may read that.
    beside: Option<&'a Arc<Route>>,
}

/// The route of the request, which takes its path as it is. A path that a service may read in
/// another way is refused where that leads to another route: its plugins would be passed by.
///
/// Where the other reading leads to no route there are none to pass by.
fn find<'a>(
    table: &'a Table,
    target: &Target,
    parts: &Parts,
) -> Result<&'a Arc<Route>, Missed<'a>> {
    let found = find_by(table, target, parts, target.path());
    let (allowed, beside) = match &found {
        Ok(route) => (route.paths, Some(*route)),
        Err(missed) => (Oddities::default(), missed.beside),
    };
    let refused = |error| Missed { error, beside };
    target.admit(allowed).map_err(refused)?;
    let route = found?;
    for reading in target.other_readings() {
        match find_by(table, target, parts, &reading) {
            Err(missed) if matches!(missed.error, Rejection::NoRoute) => {}
            Ok(other) if Arc::ptr_eq(other, route) => {}
            _ => {
                return Err(refused(Rejection::BadRequest(
                    "read in another way, with its encoded slashes or empty segments, the path leads to \
                     another route"
                        .into(),
                )));
            }
        }
    }
    Ok(route)
}

/// The most specific route for `path`; for a preflight that of the method that it asks about.
fn find_by<'a>(
    table: &'a Table,
    target: &Target,
    parts: &Parts,
    path: &str,
) -> Result<&'a Arc<Route>, Missed<'a>> {
    let host = target.authority().map(|authority| fold(authority.host()));
    let find = |method: &Method| table.find(host.as_deref(), method, path);
    if let Some(wanted) = plugins::preflight_for(&parts.method, &parts.headers)
        && let RouteMatch::Route(route) = find(&wanted)
        && route.rules.answers_preflights()
    {
        return Ok(route);
    }
    match find(&parts.method) {
        RouteMatch::Route(route) => Ok(route),
        RouteMatch::OtherMethods(routes) => {
            let methods = routes.iter().flat_map(|route| &route.methods);
            let mut names: Vec<&str> = methods.map(Method::as_str).collect();
            names.sort_unstable();
            names.dedup();
            let allow = names.join(", ");
            let beside = routes
                .into_iter()
                .find(|route| route.rules.answers_preflights());
            Err(Missed {
                error: Rejection::MethodNotTaken { allow },
                beside,
            })
        }
        RouteMatch::Nothing => Err(Missed {
            error: Rejection::NoRoute,
            beside: None,
        }),
    }
}

#[cfg(test)]
mod tests;
