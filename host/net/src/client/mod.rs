//! The host as a client: pooled connections to services, plain and TLS, by HTTP/1.1 and HTTP/2.
//!
//! A client is built from [`ClientSettings`]: the gateway has one for all routes. Clients share no
//! connections and no TLS sessions, so what one may reach, shows and trusts is never another's.
//! `dial` makes every connection, to what the `screen` lets through and as many as `connections`
//! allows, by `permits`; `own_listeners` are what it can be told to refuse always. `trust` is the
//! client's side of TLS. `http2` has the connections of HTTP/2, and `silence` notices those that
//! lead nowhere. What is learnt of services, and how often they may be asked again, is in `health`;
//! `retained` is a body that can be sent once more, and `reached` tells when a request has its
//! connection.

mod connections;
mod dial;
mod error;
mod health;
mod http2;
mod own_listeners;
mod permits;
mod protocol;
mod reached;
mod retained;
mod screen;
mod silence;
mod trust;

pub use connections::{Connections, OfAll};
pub use dial::Resolve;
pub use error::{Cause, SendError, Unresolved, find, is_shortage};
pub use health::{Attempt, Health, Rotation};
pub use http2::Stream;
pub use own_listeners::OwnListeners;
pub use permits::{Permit, Permits};
pub use protocol::Protocol;
pub use reached::Reached;
pub use retained::Retained;
pub use screen::{NotAllowed, Screen};
pub use trust::{Identity, Roots};

use crate::lanes::PerLane;
use dial::Dialer;
use error::{BoxError, refused};
use futures_util::future::{Either, select};
use hms_core::body::Body;
use http::uri::{Scheme, Uri};
use http::{Request, Response, header};
use http2::{Pool, Sent};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{Connect, capture_connection};
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use prometheus_client::metrics::counter::Counter;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tower_service::Service;

/// Idle connections of HTTP/1.1 kept for each host by each lane, where nothing else is set.
const MAX_IDLE_PER_HOST: usize = 64;

/// How long idle connections are kept. Shorter than the usual server keeps them, so that we rarely
/// write into one that is being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// What a client may reach, whom it believes, and what it keeps.
#[derive(Clone)]
pub struct ClientSettings {
    /// Bounds TCP connects, all addresses of a host together. With its TLS handshake a connection
    /// has twice as long.
    pub connect_timeout: Duration,
    /// The addresses that it connects to.
    pub screen: Screen,
    /// The certificate authorities of services.
    pub roots: Roots,
    /// What it shows to services that ask for a certificate.
    pub identity: Option<Identity>,
    /// Idle connections of HTTP/1.1 kept for each host by each lane, for 20 s. Those of HTTP/2 end
    /// as soon, and carry up to 100 requests each.
    pub max_idle_per_host: usize,
    /// Counts the connections of HTTP/2.
    pub http2_opened: Counter,
    /// Resolves names; none: the system does.
    pub resolver: Option<Arc<dyn Resolve>>,
    /// Bounds the connections, together with other clients that have the same; none: no bound.
    pub connections: Option<Arc<Connections>>,
}

impl ClientSettings {
    /// Without a certificate of its own, with 64 idle connections per host and lane.
    pub fn new(connect_timeout: Duration, screen: Screen, roots: Roots) -> Self {
        ClientSettings {
            connect_timeout,
            screen,
            roots,
            identity: None,
            max_idle_per_host: MAX_IDLE_PER_HOST,
            http2_opened: Counter::default(),
            resolver: None,
            connections: None,
        }
    }
}

type Secure = HttpsConnector<Dialer>;

/// A connector with a time for each connection: one in the background, which nobody waits for, ends
/// as well.
#[derive(Clone)]
struct Within<C> {
    connector: C,
    time: Duration,
}

impl<C> Service<Uri> for Within<C>
where
    C: Service<Uri>,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(self.time, self.connector.call(to));
        Box::pin(async move {
            let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no connection in time");
            connecting.await.map_err(late)?.map_err(Into::into)
        })
    }
}

/// Follows no redirects and sends nothing twice, but for what a connection that closed had not
/// taken yet. Each lane has connections of its own, so that an answer wakes no other thread.
#[derive(Clone)]
pub struct HttpClient {
    plain: PerLane<Client<Dialer, Body>>,
    /// HTTP/2 with prior knowledge.
    h2c: PerLane<Arc<Pool<Dialer>>>,
    /// None where no certificate authority is trusted.
    tls: Option<Tls>,
}

/// Over TLS the service chooses the protocol.
#[derive(Clone)]
struct Tls {
    http1: PerLane<Client<Within<Secure>, Body>>,
    http2: PerLane<Arc<Pool<Secure>>>,
}

impl HttpClient {
    /// A client with no connections yet.
    pub fn new(settings: ClientSettings) -> Self {
        let dialer = Dialer::new(settings.screen.clone(), settings.connect_timeout)
            .resolving(settings.resolver.clone())
            .bounded(settings.connections.clone());
        let h2c = || {
            Arc::new(Pool::new(
                dialer.probing(),
                Scheme::HTTP,
                settings.connect_timeout,
                settings.http2_opened.clone(),
            ))
        };
        let idle = settings.max_idle_per_host;
        HttpClient {
            plain: PerLane::new(|| pool(idle).build(dialer.clone())),
            h2c: PerLane::new(h2c),
            tls: Tls::new(&dialer, settings),
        }
    }

    /// Sends a request to its URI, and waits for the head of the answer, without a limit of its
    /// own.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, SendError> {
        let protocol = match request.uri().scheme() == Some(&Scheme::HTTPS) {
            true => Protocol::Https,
            false => Protocol::Http,
        };
        let (answered, _) = self.ask(protocol, false, request).await?;
        Ok(answered)
    }

    /// Sends a request whose URI is absolute, and waits for the head of the answer, without a limit
    /// of its own. Its `Host` is the name by which the service is asked. With `trailers` one that
    /// speaks HTTP/2 is told that they reach the client. An answer by HTTP/2 has its place on the
    /// connection with it, to be kept as long as its body.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn ask(
        &self,
        protocol: Protocol,
        trailers: bool,
        request: Request<Body>,
    ) -> Result<(Response<Incoming>, Option<Stream>), SendError> {
        // Boxed, so that the usual way is no larger for the others.
        match protocol {
            Protocol::Http => http1(self.plain.here(), request).await,
            Protocol::H2c => match Box::pin(self.h2c.here().send(request, trailers)).await? {
                Sent::Answered(answered, stream) => Ok((answered, Some(stream))),
                // There is nothing to choose in the clear.
                Sent::Http1(request) => http1(self.plain.here(), request).await,
            },
            Protocol::Https => {
                let tls = self.tls.as_ref().ok_or(SendError::NoTrustStore)?;
                Box::pin(tls.send(request, trailers)).await
            }
        }
    }
}

impl Tls {
    fn new(dialer: &Dialer, settings: ClientSettings) -> Option<Tls> {
        if settings.roots.is_empty() {
            return None;
        }
        let config = trust::config(&settings.roots, settings.identity);
        let secure = || {
            HttpsConnectorBuilder::new()
                .with_tls_config(config.clone())
                .https_only()
        };
        let either = secure().enable_all_versions();
        let either = either.wrap_connector(dialer.probing());
        // As long again for the handshake.
        let connect_time = settings.connect_timeout * 2;
        let http1 = Within {
            connector: secure().enable_http1().wrap_connector(dialer.clone()),
            time: connect_time,
        };
        let http2 = || {
            Arc::new(Pool::new(
                either.clone(),
                Scheme::HTTPS,
                connect_time,
                settings.http2_opened.clone(),
            ))
        };
        let idle = settings.max_idle_per_host;
        Some(Tls {
            http1: PerLane::new(|| pool(idle).build(http1.clone())),
            http2: PerLane::new(http2),
        })
    }

    async fn send(
        &self,
        request: Request<Body>,
        trailers: bool,
    ) -> Result<(Response<Incoming>, Option<Stream>), SendError> {
        // A WebSocket is an HTTP/1.1 connection from its handshake on.
        if request.headers().contains_key(header::UPGRADE) {
            return http1(self.http1.here(), request).await;
        }
        let request = match self.http2.here().send(request, trailers).await? {
            Sent::Answered(answered, stream) => return Ok((answered, Some(stream))),
            Sent::Http1(request) => request,
        };
        let at = request.uri().authority().cloned();
        let sent = http1(self.http1.here(), request).await;
        if let (Err(SendError::Connect(_)), Some(at)) = (&sent, at) {
            self.http2.here().forget(&at);
        }
        sent
    }
}

async fn http1<C>(
    client: &Client<C, Body>,
    mut request: Request<Body>,
) -> Result<(Response<Incoming>, Option<Stream>), SendError>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let reached = request.extensions_mut().remove::<Reached>();
    let sent = match reached {
        None => client.request(request).await,
        Some(reached) => {
            let mut captured = capture_connection(&mut request);
            let connected = async move { drop(captured.wait_for_connection_metadata().await) };
            match select(client.request(request), pin!(connected)).await {
                Either::Left((sent, _)) => sent,
                Either::Right(((), sending)) => {
                    reached.set();
                    sending.await
                }
            }
        }
    };
    let error = match sent {
        Ok(answered) => return Ok((answered, None)),
        Err(error) => error,
    };
    Err(match (refused(&error), error.is_connect()) {
        (Some(refused), _) => refused,
        (None, true) => SendError::Connect(Arc::new(error)),
        (None, false) => SendError::Broken(Arc::new(error)),
    })
}

fn pool(max_idle_per_host: usize) -> Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(max_idle_per_host);
    builder
}

#[cfg(test)]
mod tests;
