//! The gateway: the only entrance to the windows.
//!
//! This file is the path of a request, from top to bottom. A connection of the [`server`] calls
//! [`Gateway::answer`], which creates the request's one [`Exchange`] and has it read, matched,
//! admitted, forwarded and answered ([`Handling`]). Everything known about a request is in its
//! exchange.
//!
//! Imports point one way: `server` -> this file -> [`plugins`] -> `upstream`. All of them read
//! [`routes`], what operators want, and [`request`], what a request is. A route holds the settings
//! of its plugins; `routes` uses nothing else of them. `operate` has what operators ask of the
//! gateway itself.

// For maintainers: the documentation is built with private items.
#![allow(rustdoc::private_intra_doc_links)]

mod config;
mod find;
mod limits;
mod metrics;
mod operate;
pub mod plugins;
pub mod request;
pub mod routes;
mod server;
mod upstream;

pub use config::GatewayConfig;
pub use limits::Limits;
pub use metrics::GatewayMetrics;

use find::find;
use futures_util::FutureExt;
use hms_core::body::Body;
use hms_core::call::Windows;
use hms_core::error::{Problem, RequestError};
use hms_core::trace::{SpanKind, Spans};
use hms_net::client::{ClientSettings, HttpClient, Roots, Screen};
use hms_net::connection_limit::AtWork;
use hms_net::linger::Inbound;
use hms_net::strict::{Kind, Violation};
use http::request::Parts;
use http::{HeaderMap, Request, Response, Version, header};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use plugins::auth::strip_keys;
use plugins::{Admission, Bounds, Chain, Exchange, LastingAdmission, Plugins, Rest, Setup};
use request::access::{Record, RecordedBody};
use request::body::{RequestBody, TrailerBounds};
use request::early::EarlyBodies;
use request::origin::Origin;
use request::rejection::Rejection;
use request::target::Target;
use request::trace::Trace;
use request::{headers, outgoing};
use routes::RouteSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use upstream::{Room, Times, TunnelHandover, UpgradeRequest, Upstreams, name_upgrade};

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
    /// Reads the routes and assembles the gateway. Bad manifests do not keep it from starting: see
    /// [`Gateway::routes`].
    pub fn new(config: GatewayConfig, windows: Arc<dyn Windows>) -> Arc<Self> {
        let metrics = GatewayMetrics::new();
        let kept = config.kept_routes.clone();
        let most = config.limits.max_routes;
        let routes = RouteSet::load(&config.routes, kept, most, metrics.clone());
        let routes = Arc::new(routes);
        let plugins = Arc::new(Plugins::new(&Setup {
            auth: &config.auth,
            idempotency: config.idempotency.as_deref(),
            limits: &config.limits,
            metrics: &metrics,
        }));
        let limits = &config.limits;
        let client = HttpClient::new(ClientSettings {
            http2_opened: metrics.http2_connections(),
            ..ClientSettings::new(
                limits.connect_timeout,
                Screen::public_and(&config.upstream_allow),
                Roots::of_system(),
            )
        });
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

    /// Watches the routes and serves on `listeners` until `shutdown` is cancelled. Then it accepts
    /// nothing more and waits for the requests in flight, at most [`Limits::drain_timeout`].
    /// Returns how many connections were cut.
    pub async fn serve(
        self: Arc<Self>,
        listeners: Vec<TcpListener>,
        shutdown: CancellationToken,
    ) -> usize {
        self.routes.manifests().watch();
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
        let serving = server::serve(self, listeners, shutdown.clone());
        let (cut, deadline) = futures_util::future::join(serving, deadline).await;
        idempotency.finish(deadline).await;
        cut
    }

    /// Answers one request, whatever happens. `connection` is the client's connection. If the
    /// answer is 101, `handover` then holds the WebSocket that it becomes.
    async fn answer(
        &self,
        request: Request<Inbound>,
        connection: Origin,
        at_work: AtWork,
        handover: TunnelHandover,
    ) -> Response<RecordedBody> {
        let (head, body) = request.into_parts();
        let mut handling = Handling::begin(self, head, connection, at_work);
        let outcome = AssertUnwindSafe(handling.run(body, handover))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Err(RequestError::internal("a panic in the gateway")));
        handling.finish(outcome)
    }

    /// Answers a request whose head was refused before it was a request.
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
        let (trace, spans) = Trace::read(&HeaderMap::new(), false, &self.config.tracer);
        let (metrics, id) = (self.metrics.clone(), trace.request_id.clone());
        let mut record = Record::new(metrics, spans.started(), violation.method, "-".into(), id);
        record.spans = Some((self.config.tracer.clone(), spans));
        record.client = Some(connection.client);
        record.scheme = connection.scheme();
        let mut response = error.response(Some(&trace.request_id));
        headers::clean_response(response.headers_mut(), &trace.request_id);
        record.failed(&error);
        let (response, length) = outgoing::framed(&record.method, response);
        response.map(|body| RecordedBody::new(body, record, length))
    }
}

/// One request while it is handled. The access record is separate from the exchange because it
/// follows the answer's body to its last byte.
struct Handling<'a> {
    gateway: &'a Gateway,
    record: Record,
    exchange: Arc<Exchange>,
    /// Whether the answer turns the connection into a WebSocket.
    opened: bool,
}

/// What happens to an admitted request.
enum Admitted {
    /// It is forwarded.
    Request(Request<Body>),
    /// A plugin has answered it.
    Answered(Response<Body>),
}

impl<'a> Handling<'a> {
    fn begin(gateway: &'a Gateway, head: Parts, connection: Origin, at_work: AtWork) -> Self {
        let limits = &gateway.config.limits;
        let config = &gateway.config;
        let trusted = !connection.client_unknown && connection.is_trusted(&config.trusted_proxies);
        let (trace, spans) = Trace::read(&head.headers, trusted, &config.tracer);
        let mut record = Record::new(
            gateway.metrics.clone(),
            spans.started(),
            head.method.clone(),
            head.uri.path().to_string(),
            trace.request_id.clone(),
        );
        record.spans = Some((config.tracer.clone(), spans.clone()));
        record.at_work = Some(at_work);
        record.kept = head.version == Version::HTTP_2;
        record.client = Some(connection.client);
        record.scheme = connection.scheme();
        let bounds = Bounds::new(limits.max_body_bytes, limits.body_pace);
        let (plugins, upstreams) = (gateway.plugins.clone(), gateway.upstreams.clone());
        let exchange = Exchange::new(
            plugins,
            upstreams,
            head,
            (trace, Spans::of(spans)),
            connection,
            bounds,
        );
        Handling {
            gateway,
            record,
            exchange: Arc::new(exchange),
            opened: false,
        }
    }

    /// From the head of the request to the head of its answer.
    async fn run(
        &mut self,
        body: Inbound,
        handover: TunnelHandover,
    ) -> Result<Response<Body>, RequestError> {
        self.read(&body, handover)?;
        let request = match self.admit(body).await? {
            Admitted::Request(request) => request,
            Admitted::Answered(response) => return Ok(response),
        };
        // From here on the exchange is shared, and nobody writes to it.
        let answered = Chain::run(self.exchange.clone(), request).await;
        self.record.cache = self.exchange.notes.cache.used();
        let answer = answered?;
        self.opened = answer.opened;
        self.record.release = answer.release;
        self.record.tries = (answer.tries > 1).then_some(answer.tries);
        if let Some(endpoint) = answer.endpoint {
            self.record.upstream = Some(endpoint);
        }
        // If the request broke off, the upstream failed because of it or reported it. The client
        // needs the original cause.
        match self.exchange.upload.why() {
            Some(why) => Err(why.clone()),
            None => answer.outcome,
        }
    }

    /// The exchange, which nobody else holds yet.
    fn unshared(exchange: &mut Arc<Exchange>) -> Result<&mut Exchange, RequestError> {
        let shared = || RequestError::internal("a request is changed while it is served");
        Arc::get_mut(exchange).ok_or_else(shared)
    }

    /// Reads the head: what is requested, by whom, and which route it matches.
    fn read(&mut self, body: &Inbound, handover: TunnelHandover) -> Result<(), RequestError> {
        let exchange = Self::unshared(&mut self.exchange)?;
        let (limits, trusted) = (
            &self.gateway.config.limits,
            &self.gateway.config.trusted_proxies,
        );
        exchange.bodyless = body.is_end_stream();
        if exchange.bodyless {
            exchange.upgrade = UpgradeRequest::read(&mut exchange.head, handover);
        }
        let table = self.gateway.routes.table();
        let (head, connection) = (&exchange.head, exchange.origin);
        let target = Target::read(head, limits.max_target_bytes);
        let origin = headers::check(head, limits.max_headers).and_then(|()| {
            let origin = connection.of(&head.headers, trusted)?;
            Ok((origin, connection.asked(&head.headers, trusted)?))
        });
        let ((origin, asked), target) = match (origin, target) {
            (Ok(origin), Ok(target)) => (origin, target),
            (origin, target) => {
                // A refusal before the route is known must still be readable by the pages that its
                // `cors` allows.
                if let Ok(target) = &target {
                    let found = find(&table, target, head);
                    exchange.goes_nowhere(found.map_or_else(|missed| missed.beside, Some));
                }
                return Err(origin
                    .err()
                    .or(target.err())
                    .unwrap_or(Rejection::NoRoute)
                    .into());
            }
        };
        self.record.client = Some(origin.client);
        self.record.scheme = origin.scheme();
        self.record.path = target.path().to_string();
        exchange.holder = origin.holder(trusted);
        exchange.trailers = headers::takes_trailers(&exchange.head.headers);
        // A client that asks with `Expect` whether its body is wanted gets the upstream's decision.
        // A gRPC call may be a conversation.
        let asks = exchange.head.headers.contains_key(header::EXPECT);
        exchange.bounds.early_body = !asks && !exchange.trailers;
        headers::clean_request(&mut exchange.head.headers);
        (exchange.origin, exchange.asked) = (origin, asked);
        match find(&table, &target, &exchange.head) {
            Ok(route) => exchange.goes_by(route),
            Err(missed) => {
                exchange.goes_nowhere(missed.beside);
                return Err(missed.error.into());
            }
        }
        exchange.target = target;
        Ok(())
    }

    /// Runs the request sides of the route's plugins, and bounds the body.
    async fn admit(&mut self, body: Inbound) -> Result<Admitted, RequestError> {
        let (gateway, record) = (self.gateway, &mut self.record);
        let exchange = Self::unshared(&mut self.exchange)?;
        let route = exchange.matched()?.clone();
        record.route = Some(route.name.clone());
        record.upstream = Some(route.upstream.label());
        record.at_window = !route.upstream.has_services();

        // Before the keys are removed.
        if exchange.upgrade.is_some() || !route.rules.middlewares().is_empty() {
            exchange.admission = Admission::of(&route, &exchange.head.headers);
        }
        let whole = exchange.spans.clone();
        let plugins = whole.begin(SpanKind::Plugins);
        exchange.spans = plugins.spans().clone();
        let admitted = gateway.plugins.request(&route, exchange).await;
        let admitted = plugins.ended(admitted);
        exchange.spans = whole;
        record.user = exchange.caller.as_ref().map(|caller| caller.user.clone());
        if let Some(answer) = admitted? {
            return Ok(Admitted::Answered(answer));
        }

        let limits = &gateway.config.limits;
        let bounds = &exchange.bounds;
        if body.size_hint().lower() > bounds.max_body_bytes {
            let limit = bounds.max_body_bytes;
            return Err(Rejection::BodyTooLarge { limit }.into());
        }
        let body = RequestBody::new(
            body,
            bounds.max_body_bytes,
            bounds.body_pace,
            TrailerBounds {
                fields: limits.max_headers,
                bytes: limits.max_header_bytes as usize,
            },
            strip_keys,
            exchange.upload.clone(),
        );
        let body = match bounds.early_body {
            true => gateway.early.read(body).await?,
            false => body.boxed_unsync(),
        };
        if let Some(upgrade) = &mut exchange.upgrade {
            upgrade.while_admitted(Arc::new(LastingAdmission {
                plugins: gateway.plugins.clone(),
                admission: exchange.admission.clone(),
            }));
        }
        exchange.credentials = headers::credentials(&exchange.head.headers);
        Ok(Admitted::Request(Request::from_parts(
            exchange.take_head(),
            body,
        )))
    }

    /// The answer, whatever came of the request.
    fn finish(self, outcome: Result<Response<Body>, RequestError>) -> Response<RecordedBody> {
        let Handling {
            gateway,
            mut record,
            exchange,
            opened,
        } = self;
        let opened = opened && outcome.is_ok();
        let checked = |response| match opened {
            true => Ok(response),
            false => outgoing::checked(&record.method, response),
        };
        let request_id = &exchange.trace.request_id;
        let mut response = match outcome.and_then(checked) {
            Ok(response) => {
                record.answered(response.status().as_u16(), None);
                response
            }
            Err(error) => {
                record.failed(&error);
                if error.is(Problem::Internal)
                    && let Some(reason) = error.cause()
                {
                    tracing::error!(%request_id, %reason, "a request failed with an internal error");
                }
                error.response(Some(request_id))
            }
        };
        headers::clean_response(response.headers_mut(), request_id);
        let mut response = gateway.plugins.response(&exchange, response);
        if opened {
            name_upgrade(response.headers_mut());
        }
        let (response, length) = outgoing::framed(&record.method, response);
        response.map(|body| RecordedBody::new(body, record, length))
    }
}

#[cfg(test)]
mod tests;
