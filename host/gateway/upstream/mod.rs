//! From a checked request to its upstream: windows in this process, or ordinary services.
//!
//! Where there are several targets, `tries` picks one, by weight and by what [`Health`] says of
//! them, and another where the first fails; `retained` has the body of the second try. `tunnel` is
//! what a WebSocket becomes.

mod error;
mod health;
mod quiet;
mod retained;
mod room;
mod tries;
mod tunnel;

pub use error::UpstreamError;
pub use health::{Health, Shared};
pub use room::Room;
pub use tries::Sending;
pub use tunnel::{Opened, Terms, TunnelHandover, UpgradeRequest, name_upgrade};

use crate::body::Body;
use crate::error::{Cause, RequestError};
use crate::gateway::client::{HttpClient, SendError};
use crate::gateway::headers;
use crate::gateway::manifest::{Destination, Endpoint, Protocol, Route};
use crate::gateway::rejection::Rejection;
use crate::gateway::target::Target;
use crate::gateway::upload::Late;
use crate::stream_idle::StreamIdle;
use futures_util::future::BoxFuture;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use quiet::ServiceBody;
use room::AtService;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// The windows, as the gateway sees them. The registry behind it hands out the lease and keeps it
/// until the answer's body has ended.
pub trait Windows: Send + Sync {
    /// Lets `window` answer. The request's URI is absolute: the authority that the client asked
    /// for, and the path as the window is to see it.
    fn call<'a>(&'a self, window: &'a str, request: Request<Body>) -> BoxFuture<'a, Answer>;
}

/// What came of a request to an upstream.
pub struct Answer {
    pub outcome: Result<Response<Body>, RequestError>,
    /// Which release of the window it came to, also where that failed.
    pub release: Option<u64>,
    /// Which of the upstream's targets it came from, where it had to be chosen.
    pub endpoint: Option<String>,
    /// How many were made; 0 where there could only be one.
    pub tries: usize,
    /// Whether the service closed the connection (GOAWAY) and said that it had not looked at this
    /// request. It happens to a service that is well.
    pub left_over: bool,
}

impl Answer {
    /// An answer of a window.
    pub fn of(outcome: Result<Response<Body>, RequestError>, release: Option<u64>) -> Self {
        Answer {
            outcome,
            release,
            endpoint: None,
            tries: 0,
            left_over: false,
        }
    }
}

impl From<Result<Response<Body>, RequestError>> for Answer {
    fn from(outcome: Result<Response<Body>, RequestError>) -> Self {
        Answer::of(outcome, None)
    }
}

/// Both kinds of upstream.
pub struct Upstreams {
    windows: Arc<dyn Windows>,
    client: HttpClient,
    times: Times,
    room: Room,
}

/// How long an ordinary service is waited for, where its route says nothing else.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Until it has sent the head of its answer, from the last byte of the request on.
    pub head: Duration,
    /// While nothing moves, once its answer has begun.
    pub idle: Duration,
}

impl Upstreams {
    /// `times` bound the waits for ordinary services, `room` the requests at them.
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
    /// When it could not even be sent; what went wrong beyond that is in the answer.
    pub async fn call(
        &self,
        sending: &Sending<'_>,
        mut request: Request<Body>,
    ) -> Result<Answer, RequestError> {
        *request.version_mut() = Version::HTTP_11;
        match sending.route.upstream.endpoints.as_slice() {
            // Its own front has the queue, the breaker and the instances; there is nothing to try
            // again.
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
    pub async fn window(&self, name: &str, mut request: Request<Body>) -> Answer {
        *request.version_mut() = Version::HTTP_11;
        self.windows.call(name, request).await
    }

    /// Has one target answer.
    async fn ask(
        &self,
        sending: &Sending<'_>,
        endpoint: &Endpoint,
        mut request: Request<Body>,
    ) -> Result<Answer, RequestError> {
        let path = sending.path.clone();
        match &endpoint.place {
            Destination::Window(name) => {
                // They have done their work. A window that never sees them cannot leak them.
                if !sending.route.rules.window_gets_credentials() {
                    headers::drop_credentials(request.headers_mut());
                }
                let authority = match sending.target.authority() {
                    Some(authority) => authority.clone(),
                    None => Authority::try_from(format!("hms-svc-{name}"))
                        .map_err(RequestError::internal)?,
                };
                address(&mut request, Scheme::HTTP, authority, path)?;
                let idle = sending.route.rules.stream_idle().map(StreamIdle);
                idle.map(|idle| request.extensions_mut().insert(idle));
                Ok(self.windows.call(name, request).await)
            }
            Destination::Service {
                protocol,
                authority,
            } => {
                let Some(at_service) = self.room.enter(sending.holder) else {
                    return Ok(Err(UpstreamError::Full.into()).into());
                };
                let asked = sending.target.authority();
                address(&mut request, protocol.scheme(), authority.clone(), path)?;
                if let Some(asked) = asked.filter(|_| sending.route.pass_host) {
                    let host =
                        HeaderValue::from_str(asked.as_str()).map_err(RequestError::internal)?;
                    request.headers_mut().insert(header::HOST, host);
                }
                // Boxed, so that the state of a request to a window, which is moved, has no room for it.
                let service = self.service(sending, *protocol, request, at_service);
                Ok(Box::pin(service).await)
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
        // HTTP/2 has no Upgrade (RFC 9113 section 8.6). Over TLS the client asks for HTTP/1.1.
        let upgrade = match protocol {
            Protocol::H2c => None,
            Protocol::Http | Protocol::Https => UpgradeRequest::take(&mut request),
        };
        let timeout = route.upstream.try_timeout.unwrap_or(self.times.head);
        let idle = route.rules.stream_idle().unwrap_or(self.times.idle);
        let sent = pin!(self.client.ask(protocol, sending.trailers, request));
        let (response, stream) = match upload.within(timeout, sent).await {
            Err(Late) => {
                let late = UpstreamError::Timeout { limit: timeout };
                return Answer::from(Err(late.into()));
            }
            Ok(Err(error)) => {
                let left_over = matches!(error, SendError::LeftOver(_));
                let answer = Answer::from(Err(unsent(error).into()));
                return Answer {
                    left_over,
                    ..answer
                };
            }
            Ok(Ok(sent)) => sent,
        };
        let answer = received(response, upgrade, at_service, |body, at_service| {
            ServiceBody::new(body, idle, upload.clone(), (at_service, stream)).boxed_unsync()
        });
        answer.into()
    }
}

/// Why there is no answer.
fn unsent(error: SendError) -> UpstreamError {
    match error {
        SendError::NotAllowed(address) => UpstreamError::Refused(Cause::of(address)),
        SendError::Connect(_)
        | SendError::NoTrustStore
        | SendError::Refused(_)
        | SendError::LeftOver(_) => UpstreamError::Unreachable(Cause::of(error)),
        SendError::Broken(_) => UpstreamError::Broken(Cause::of(error)),
    }
}

/// The answer of a service. `keeping` has its body keep the room there until it has ended.
fn received(
    response: Response<Incoming>,
    upgrade: Option<UpgradeRequest>,
    at_service: AtService,
    keeping: impl FnOnce(Body, AtService) -> Body,
) -> Result<Response<Body>, RequestError> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(upgrade) = upgrade
    {
        return upgrade.open(response, at_service);
    }
    if response.status().is_informational() {
        return Err(UpstreamError::Broken("it changed the protocol".into()).into());
    }
    Ok(response.map(|body| keeping(body.map_err(Into::into).boxed_unsync(), at_service)))
}

/// The upstream's base path, then what is left of the request's path, then the query.
pub fn path_and_query(route: &Route, target: &Target) -> Result<PathAndQuery, RequestError> {
    let mut text = format!("{}{}", route.upstream.base, route.stripped(target.path()));
    // It reads as the name of a host where the upstream sends it back in a redirect.
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

/// Sets URI and Host, which must agree.
pub fn address(
    request: &mut Request<Body>,
    scheme: Scheme,
    authority: Authority,
    path: PathAndQuery,
) -> Result<(), RequestError> {
    let host = HeaderValue::from_str(authority.as_str()).map_err(RequestError::internal)?;
    request.headers_mut().insert(header::HOST, host);
    *request.uri_mut() = Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query(path)
        .build()
        .map_err(RequestError::internal)?;
    Ok(())
}
