//! The gateway as a client: pooled connections to ordinary services, plain and TLS, by HTTP/1.1 and
//! HTTP/2.

mod http2;
mod silence;

pub(crate) use http2::Stream;

use crate::routes::manifest::Protocol;
use crate::upstream::screen::{NotAllowed, Resolver, Screen};
use hms_core::body::Body;
use hms_net::lanes::PerLane;
use http::uri::Scheme;
use http::{Request, Response, header};
use http2::{Pool, Sent};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use prometheus_client::metrics::counter::Counter;
use rustls::ClientConfig;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

/// Idle connections kept for each host by each lane, and for how long. Shorter than the usual
/// server keeps them, so that we rarely write into one that is being closed.
const MAX_IDLE_PER_HOST: usize = 64;
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// On a connection of HTTP/2 the kernel asks after the service when it was silent for so long, so
/// often, and so many times: one that is gone without a word ends its streams within 40 s. Not by
/// PING frames: gRPC servers end a connection on which more than one comes in 5 minutes.
/// Linux does not ask while bytes of ours are on their way, and sends those again for a quarter of
/// an hour: `GONE_AFTER` bounds that too.
const PROBE_AFTER: Duration = Duration::from_secs(20);
const PROBE_EVERY: Duration = Duration::from_secs(5);
const PROBES: u32 = 4;
#[cfg(target_os = "linux")]
const GONE_AFTER: Duration = Duration::from_secs(40);

/// What a failure comes from. Shared, because several requests may wait for one connection.
pub(crate) type Cause = Arc<dyn Error + Send + Sync>;

/// Why a request has no answer of its service.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SendError {
    #[error("this machine has no certificate authorities for https: install its ca-certificates")]
    NoTrustStore,
    #[error("{0}")]
    NotAllowed(NotAllowed),
    #[error("no connection: {}", innermost(&**.0))]
    Connect(Cause),
    /// It did nothing with the request.
    #[error("it refused the request without looking at it: {}", innermost(&**.0))]
    Refused(Cause),
    /// As `Refused`, because it closed the connection, which is nothing unusual.
    #[error("it closed the connection without looking at the request: {}", innermost(&**.0))]
    LeftOver(Cause),
    #[error("the connection broke off: {}", innermost(&**.0))]
    Broken(Cause),
}

type Plain = HttpConnector<Resolver>;
type Secure = HttpsConnector<Plain>;

/// Follows no redirects and sends nothing twice, but for what a connection that closed had not
/// taken yet. Each lane has connections of its own, so that an answer wakes no other thread.
#[derive(Clone)]
pub struct HttpClient {
    plain: PerLane<Client<Plain, Body>>,
    /// HTTP/2 with prior knowledge.
    h2c: PerLane<Arc<Pool<Plain>>>,
    /// None where the machine has no trust store.
    tls: Option<Tls>,
    screen: Screen,
}

/// Over TLS the service chooses the protocol.
#[derive(Clone)]
struct Tls {
    http1: PerLane<Client<Secure, Body>>,
    http2: PerLane<Arc<Pool<Secure>>>,
}

impl HttpClient {
    /// Connects to what `screen` lets through. `connect_timeout` bounds TCP connects, all addresses
    /// of a host together.
    pub fn new(connect_timeout: Duration, screen: Screen) -> Self {
        Self::counting(connect_timeout, screen, Counter::default())
    }

    /// The same; `opened` counts the connections of HTTP/2.
    pub fn counting(connect_timeout: Duration, screen: Screen, opened: Counter) -> Self {
        let mut connector = HttpConnector::new_with_resolver(Resolver::new(screen.clone()));
        connector.set_connect_timeout(Some(connect_timeout));
        connector.set_nodelay(true);
        connector.enforce_http(false);
        let probing = probing(&connector);
        let http2 = || {
            let opened = opened.clone();
            Arc::new(Pool::new(
                probing.clone(),
                Scheme::HTTP,
                connect_timeout,
                opened,
            ))
        };
        HttpClient {
            plain: PerLane::new(|| pool().build(connector.clone())),
            h2c: PerLane::new(http2),
            tls: Tls::new(&connector, connect_timeout, &opened),
            screen,
        }
    }

    /// Sends a request to its URI, and waits for the head of the answer, without a limit of its
    /// own.
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
    pub async fn ask(
        &self,
        protocol: Protocol,
        trailers: bool,
        request: Request<Body>,
    ) -> Result<(Response<Incoming>, Option<Stream>), SendError> {
        // The connector resolves names alone.
        let host = request.uri().host().unwrap_or_default();
        self.screen
            .check_host(host)
            .map_err(SendError::NotAllowed)?;
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
    fn new(connector: &Plain, connect_timeout: Duration, opened: &Counter) -> Option<Tls> {
        let config = ClientConfig::builder().with_native_roots().ok()?;
        let config = config.with_no_client_auth();
        let secure = || {
            HttpsConnectorBuilder::new()
                .with_tls_config(config.clone())
                .https_only()
        };
        let either = secure().enable_all_versions();
        let either = either.wrap_connector(probing(connector));
        let http1 = secure().enable_http1().wrap_connector(connector.clone());
        // As long again for the handshake.
        let connect_time = connect_timeout * 2;
        let http2 = || {
            let opened = opened.clone();
            Arc::new(Pool::new(
                either.clone(),
                Scheme::HTTPS,
                connect_time,
                opened,
            ))
        };
        Some(Tls {
            http1: PerLane::new(|| pool().build(http1.clone())),
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

/// The same connector for connections that may be quiet for long.
fn probing(connector: &Plain) -> Plain {
    let mut connector = connector.clone();
    connector.set_keepalive(Some(PROBE_AFTER));
    connector.set_keepalive_interval(Some(PROBE_EVERY));
    connector.set_keepalive_retries(Some(PROBES));
    #[cfg(target_os = "linux")]
    connector.set_tcp_user_timeout(Some(GONE_AFTER));
    connector
}

async fn http1<C>(
    client: &Client<C, Body>,
    request: Request<Body>,
) -> Result<(Response<Incoming>, Option<Stream>), SendError>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let error = match client.request(request).await {
        Ok(answered) => return Ok((answered, None)),
        Err(error) => error,
    };
    Err(match (not_allowed(&error), error.is_connect()) {
        (Some(address), _) => SendError::NotAllowed(address),
        (None, true) => SendError::Connect(Arc::new(error)),
        (None, false) => SendError::Broken(Arc::new(error)),
    })
}

fn pool() -> Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(MAX_IDLE_PER_HOST);
    builder
}

/// The refused address, if that is the cause.
fn not_allowed(error: &(dyn Error + 'static)) -> Option<NotAllowed> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<NotAllowed>() {
            return Some(*found);
        }
        // An io::Error's `source` is that of what it holds, not what it holds.
        let held = error
            .downcast_ref::<std::io::Error>()
            .and_then(|error| error.get_ref());
        if let Some(found) = held.and_then(|held| held.downcast_ref::<NotAllowed>()) {
            return Some(*found);
        }
        cause = error.source();
    }
    None
}

/// The innermost cause says what happened; the layers around it only say where.
fn innermost(error: &(dyn Error + Send + Sync + 'static)) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
