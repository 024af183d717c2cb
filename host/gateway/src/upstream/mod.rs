//! From a checked request to its upstream: a window in this process, or an ordinary service.
//!
//! If there are several targets, `tries` picks one by weight and health, and another if the first
//! fails. `tunnel` is what a WebSocket becomes.

mod error;
pub(crate) mod location;
mod quiet;
mod room;
mod tries;
mod tunnel;

pub(crate) use error::{UpstreamError, refusal};
pub(crate) use room::Room;
pub(crate) use tries::Sending;
pub(crate) use tunnel::{Admitted, Terms, TunnelHandover, UpgradeRequest, name_upgrade};

use crate::request::headers::{self, REQUEST_ID};
use crate::request::rejection::Rejection;
use crate::request::target::Target;
use crate::request::upload::Late;
use crate::routes::manifest::{Destination, Endpoint, Route};
use hms_core::body::Body;
use hms_core::call::{Edition, WindowAnswer, WindowCall, Windows};
use hms_core::error::{Cause, RequestError};
use hms_core::stream_idle::StreamIdle;
use hms_core::trace::SpanKind;
use hms_net::client::{HttpClient, Protocol, SendError};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body_util::BodyExt;
use quiet::ServiceBody;
use room::AtService;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The result of a request to an upstream.
pub struct Answer {
    pub outcome: Result<Response<Body>, RequestError>,
    /// The release of the window that got the request, even if it failed.
    pub release: Option<u64>,
    /// Whose answer it is, for whoever keeps it. None if it must not be kept.
    pub source: Option<Source>,
    /// The target that answered, if one had to be chosen.
    pub endpoint: Option<String>,
    /// The number of tries; 0 if only one was possible.
    pub tries: usize,
    /// Whether the service closed the connection (GOAWAY) and said that it had not processed this
    /// request. A healthy service does that too.
    pub left_over: bool,
    /// Whether there is no answer because this host has run out of something: it says nothing of
    /// the service.
    pub hosts_own: bool,
    /// Whether the answer is the 101 after which the connection is a WebSocket.
    pub opened: bool,
}

/// Whose answer one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// An ordinary service's.
    Service,
    /// That of a release of one of the route's windows.
    Edition(Edition),
}

impl From<WindowAnswer> for Answer {
    fn from(answer: WindowAnswer) -> Self {
        Answer {
            outcome: answer.outcome,
            release: answer.release,
            source: answer.edition.map(Source::Edition),
            endpoint: None,
            tries: 0,
            left_over: false,
            hosts_own: false,
            opened: false,
        }
    }
}

impl From<Result<Response<Body>, RequestError>> for Answer {
    fn from(outcome: Result<Response<Body>, RequestError>) -> Self {
        Answer::from(WindowAnswer {
            outcome,
            release: None,
            edition: None,
        })
    }
}

/// Both kinds of upstream.
pub struct Upstreams {
    windows: Arc<dyn Windows>,
    client: HttpClient,
    times: Times,
    room: Room,
}

/// Time limits for ordinary services, unless the route sets others.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Until the head of the answer, from the last byte of the request.
    pub head: Duration,
    /// Without any data, once the answer has begun.
    pub idle: Duration,
}

impl Upstreams {
    /// `times` bounds the waits for ordinary services, `room` the requests to them.
    pub fn new(windows: Arc<dyn Windows>, client: HttpClient, times: Times, room: Room) -> Self {
        Upstreams {
            windows,
            client,
            times,
            room,
        }
    }

    /// Sends `request`, whose headers are cleaned and stamped, to the route's upstream.
    ///
    /// # Errors
    ///
    /// If the request could not even be sent. Later failures are in the answer.
    pub async fn call(
        &self,
        sending: &Sending<'_>,
        mut request: Request<Body>,
    ) -> Result<Answer, RequestError> {
        *request.version_mut() = Version::HTTP_11;
        match sending.route.upstream.endpoints.as_slice() {
            // The window itself has the queue, the breaker and the instances; there is nothing to
            // retry.
            [
                only @ Endpoint {
                    place: Destination::Window(_),
                    ..
                },
            ] => self.ask(sending, only, request).await,
            _ => self.tries(sending, request).await,
        }
    }

    /// Has a window answer, whatever the route's upstream is.
    pub async fn window(&self, name: &str, mut call: WindowCall) -> Answer {
        *call.request.version_mut() = Version::HTTP_11;
        self.windows.call(name, call).await.into()
    }

    /// Whether an answer of `source` is the one that `route` would have now.
    pub fn is_current(&self, route: &Route, source: Source) -> bool {
        let Source::Edition(edition) = source else {
            return true;
        };
        let mut windows = route.upstream.windows();
        windows.any(|window| self.windows.edition(window) == Some(edition))
    }

    /// Whether no answer that `route` has now may be kept: a canary runs, or its windows are
    /// closed.
    pub fn is_in_between(&self, route: &Route) -> bool {
        let mut windows = route.upstream.windows();
        !route.upstream.has_services()
            && windows.all(|window| self.windows.edition(window).is_none())
    }

    /// Calls one target.
    async fn ask(
        &self,
        sending: &Sending<'_>,
        endpoint: &Endpoint,
        mut request: Request<Body>,
    ) -> Result<Answer, RequestError> {
        match &endpoint.place {
            Destination::Window(name) => {
                // The credentials have been used. A window that never sees them cannot leak them.
                if !sending.route.rules.window_gets_credentials() {
                    headers::drop_credentials(request.headers_mut());
                }
                address_window(&mut request, sending.target, name)?;
                let call = WindowCall {
                    stream_idle: sending.stream_idle.map(StreamIdle),
                    begin_by: sending.response.map(|limit| Instant::now() + limit),
                    waiting: sending.route.rules.middlewares().len(),
                    spans: sending.spans.clone(),
                    ..WindowCall::of_client(request)
                };
                Ok(self.windows.call(name, call).await.into())
            }
            Destination::Service {
                protocol,
                authority,
            } => {
                let Some(at_service) = self.room.enter(sending.holder) else {
                    return Ok(Err(UpstreamError::Full.into()).into());
                };
                let asked = sending.target.authority();
                address(&mut request, protocol.scheme(), authority.clone())?;
                if let Some(asked) = asked.filter(|_| sending.route.pass_host) {
                    let host =
                        HeaderValue::from_str(asked.as_str()).map_err(RequestError::internal)?;
                    request.headers_mut().insert(header::HOST, host);
                }
                let span = sending.spans.begin(SpanKind::Upstream);
                span.about(|| {
                    let (method, scheme) = (request.method().as_str(), protocol.scheme());
                    let to = [method, " ", scheme.as_str(), "://", authority.as_str()];
                    to.concat().into()
                });
                if let Some(context) = span.spans().context() {
                    let below = HeaderValue::try_from(context.to_string());
                    let below = below.map_err(RequestError::internal)?;
                    request.headers_mut().insert(headers::TRACEPARENT, below);
                }
                // Boxed, so that the state of a request to a window, which is moved, reserves no
                // space for it.
                let service = self.service(sending, *protocol, request, at_service);
                let answer = Box::pin(service).await;
                span.note(&answer.outcome);
                Ok(Answer {
                    source: Some(Source::Service),
                    ..answer
                })
            }
        }
    }

    async fn service(
        &self,
        sending: &Sending<'_>,
        protocol: Protocol,
        mut request: Request<Body>,
        at_service: AtService,
    ) -> Answer {
        let (route, upload) = (sending.route, sending.upload);
        // HTTP/2 has no Upgrade (RFC 9113 section 8.6). Over TLS, the client offers only HTTP/1.1.
        let upgrade = match protocol {
            Protocol::H2c => None,
            Protocol::Http | Protocol::Https => sending.upgrade,
        };
        if upgrade.is_some() {
            name_upgrade(request.headers_mut());
        }
        let request_id = request.headers().get(REQUEST_ID).cloned();
        let timeout = route.upstream.try_timeout.unwrap_or(self.times.head);
        let idle = sending.stream_idle.unwrap_or(self.times.idle);
        let sent = pin!(self.client.ask(protocol, sending.trailers, request));
        let (response, stream) = match upload.within(timeout, sent).await {
            Err(Late) => {
                let late = UpstreamError::Timeout { limit: timeout };
                return Answer::from(Err(late.into()));
            }
            Ok(Err(error)) => {
                let left_over = matches!(error, SendError::LeftOver(_));
                let hosts_own = error.is_hosts_own();
                let answer = Answer::from(Err(unsent(error).into()));
                return Answer {
                    left_over,
                    hosts_own,
                    ..answer
                };
            }
            Ok(Ok(sent)) => sent,
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS
            && let Some(upgrade) = upgrade
        {
            let outcome = upgrade.open(response, request_id.as_ref(), at_service);
            let opened = outcome.is_ok();
            return Answer {
                opened,
                ..outcome.into()
            };
        }
        if response.status().is_informational() {
            let error = UpstreamError::Broken("it changed the protocol".into()).into();
            return Err(error).into();
        }
        let guard = (at_service, stream);
        let response = response.map(|body| {
            let body = body.map_err(Into::into).boxed_unsync();
            ServiceBody::new(body, idle, upload.clone(), guard).boxed_unsync()
        });
        Ok(response).into()
    }
}

/// Why there is no answer.
fn unsent(error: SendError) -> UpstreamError {
    match error {
        SendError::NotAllowed(address) => UpstreamError::Refused(Cause::of(refusal(&address))),
        SendError::Connect(_)
        | SendError::NoTrustStore
        | SendError::TooManyConnections { .. }
        | SendError::Refused(_)
        | SendError::LeftOver(_) => UpstreamError::Unreachable(Cause::of(error)),
        SendError::Broken(_) => UpstreamError::Broken(Cause::of(error)),
    }
}

/// The upstream's base path, then the rest of the request's path, then the query.
pub(crate) fn path_and_query(route: &Route, target: &Target) -> Result<PathAndQuery, RequestError> {
    let mut text = format!("{}{}", route.upstream.base, route.stripped(target.path()));
    // The upstream may send it back in a redirect, where it would read as the name of a host.
    if text.starts_with("//") {
        let reason = "the path begins with '//' once the route's prefix is stripped";
        return Err(Rejection::BadRequest(reason.into()).into());
    }
    if let Some(query) = target.query() {
        text.push('?');
        text.push_str(query);
    }
    PathAndQuery::try_from(text).map_err(RequestError::internal)
}

/// Addresses a request to a window: with the authority that its client asked for, or else one made
/// of the window's name.
pub(crate) fn address_window(
    request: &mut Request<Body>,
    target: &Target,
    window: &str,
) -> Result<(), RequestError> {
    let authority = match target.authority() {
        Some(authority) => authority.clone(),
        None => Authority::try_from(format!("hms-svc-{window}")).map_err(RequestError::internal)?,
    };
    address(request, Scheme::HTTP, authority)
}

/// Sets Host, scheme and authority, which must agree.
fn address(
    request: &mut Request<Body>,
    scheme: Scheme,
    authority: Authority,
) -> Result<(), RequestError> {
    let host = HeaderValue::from_str(authority.as_str()).map_err(RequestError::internal)?;
    request.headers_mut().insert(header::HOST, host);
    let mut uri = std::mem::take(request.uri_mut()).into_parts();
    (uri.scheme, uri.authority) = (Some(scheme), Some(authority));
    *request.uri_mut() = Uri::from_parts(uri).map_err(RequestError::internal)?;
    Ok(())
}
