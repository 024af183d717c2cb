//! The gateway as a client: pooled connections to ordinary services, plain and TLS.

use crate::body::Body;
use crate::gateway::screen::{NotAllowed, Resolver, Screen};
use crate::lanes::PerLane;
use http::{Request, Response, Uri, uri::Scheme};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Builder, Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::time::Duration;

/// Idle connections kept for each host by each lane, and for how long. Shorter than the usual server keeps them, so that
/// we rarely write into one that is being closed.
const MAX_IDLE_PER_HOST: usize = 64;
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// Why a request did not reach its service.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error("this machine has no certificate authorities for https: install its ca-certificates")]
    NoTrustStore,
    #[error("{0}")]
    NotAllowed(NotAllowed),
    #[error("no connection: {}", innermost(.0))]
    Connect(ClientError),
    #[error("the connection broke off: {}", innermost(.0))]
    Broken(ClientError),
}

/// Follows no redirects and sends nothing twice, but for a pooled connection that closed before the request was on it. Each lane
/// has connections of its own, so that an answer wakes no other thread.
#[derive(Clone)]
pub struct HttpClient {
    plain: PerLane<Client<HttpConnector<Resolver>, Body>>,
    /// None where the machine has no trust store.
    tls: Option<PerLane<Client<HttpsConnector<HttpConnector<Resolver>>, Body>>>,
    screen: Screen,
}

impl HttpClient {
    /// Connects to what `screen` lets through. `connect_timeout` bounds TCP connects, all addresses of a host together.
    pub fn new(connect_timeout: Duration, screen: Screen) -> Self {
        let mut connector = HttpConnector::new_with_resolver(Resolver::new(screen.clone()));
        connector.set_connect_timeout(Some(connect_timeout));
        connector.set_nodelay(true);
        connector.enforce_http(false);
        let tls = HttpsConnectorBuilder::new()
            .with_native_roots()
            .ok()
            .map(|builder| {
                let tls = builder.https_only().enable_all_versions();
                let tls = tls.wrap_connector(connector.clone());
                PerLane::new(|| pool().build(tls.clone()))
            });
        HttpClient {
            plain: PerLane::new(|| pool().build(connector.clone())),
            tls,
            screen,
        }
    }

    /// Sends the request and waits for the head of the answer, without a limit of its own.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, SendError> {
        // The connector resolves names alone.
        let host = request.uri().host().unwrap_or_default();
        self.screen
            .check_host(host)
            .map_err(SendError::NotAllowed)?;
        let sent = if is_https(request.uri()) {
            self.tls
                .as_ref()
                .ok_or(SendError::NoTrustStore)?
                .here()
                .request(request)
                .await
        } else {
            self.plain.here().request(request).await
        };
        sent.map_err(|error| match (not_allowed(&error), error.is_connect()) {
            (Some(address), _) => SendError::NotAllowed(address),
            (None, true) => SendError::Connect(error),
            (None, false) => SendError::Broken(error),
        })
    }
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

fn is_https(uri: &Uri) -> bool {
    uri.scheme() == Some(&Scheme::HTTPS)
}

/// The refused address, if that is the cause.
fn not_allowed(error: &ClientError) -> Option<NotAllowed> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
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
fn innermost(error: &ClientError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
