//! Connects to a service: its name is resolved, each address checked, and what passes is dialled.

use super::error::{BoxError, Unresolved};
use super::{NotAllowed, Screen};
use futures_util::future::BoxFuture;
use http::Uri;
use http::uri::Scheme;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::rt::TokioIo;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tower_service::Service;

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

/// Finds the addresses of names, in place of the system.
pub trait Resolve: Send + Sync {
    /// The addresses of a name. Their ports mean nothing.
    fn resolve(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;
}

/// Connects to what a screen lets through. Every connection of a client begins here.
#[derive(Clone)]
pub(super) struct Dialer {
    screen: Screen,
    connect_timeout: Duration,
    resolver: Option<Arc<dyn Resolve>>,
    probes: bool,
}

impl Dialer {
    /// `connect_timeout` bounds TCP connects, all addresses of a host together.
    pub(super) fn new(screen: Screen, connect_timeout: Duration) -> Self {
        Dialer {
            screen,
            connect_timeout,
            resolver: None,
            probes: false,
        }
    }

    /// The same with names resolved by `resolver`; none: by the system.
    pub(super) fn resolving(self, resolver: Option<Arc<dyn Resolve>>) -> Self {
        Dialer { resolver, ..self }
    }

    /// The same for connections that may be quiet for long.
    pub(super) fn probing(&self) -> Self {
        Dialer {
            probes: true,
            ..self.clone()
        }
    }

    /// A connector of its own for each connection: what it resolves is checked with the port.
    fn connector(&self, port: u16) -> HttpConnector<Resolver> {
        let resolver = Resolver {
            system: GaiResolver::new(),
            given: self.resolver.clone(),
            screen: self.screen.clone(),
            port,
        };
        let mut connector = HttpConnector::new_with_resolver(resolver);
        connector.set_connect_timeout(Some(self.connect_timeout));
        connector.set_nodelay(true);
        connector.enforce_http(false);
        if self.probes {
            connector.set_keepalive(Some(PROBE_AFTER));
            connector.set_keepalive_interval(Some(PROBE_EVERY));
            connector.set_keepalive_retries(Some(PROBES));
            #[cfg(target_os = "linux")]
            connector.set_tcp_user_timeout(Some(GONE_AFTER));
        }
        connector
    }

    /// The connector resolves names alone; an address is checked here.
    fn check_address(&self, host: &str, port: u16) -> Result<(), NotAllowed> {
        let plain = host.trim_matches(['[', ']']);
        let address = plain.parse::<IpAddr>();
        address.map_or(Ok(()), |ip| self.screen.check(SocketAddr::new(ip, port)))
    }
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let usual = if to.scheme() == Some(&Scheme::HTTPS) {
            443
        } else {
            80
        };
        let port = to.port_u16().unwrap_or(usual);
        let checked = self.check_address(to.host().unwrap_or_default(), port);
        let mut connector = self.connector(port);
        Box::pin(async move {
            checked?;
            std::future::poll_fn(|cx| connector.poll_ready(cx)).await?;
            Ok(connector.call(to).await?)
        })
    }
}

/// Resolves names, by the system where nothing else is given, and leaves out what the screen does
/// not let through.
#[derive(Clone)]
struct Resolver {
    system: GaiResolver,
    given: Option<Arc<dyn Resolve>>,
    screen: Screen,
    /// The one that is connected to.
    port: u16,
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.system.poll_ready(cx)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolving: BoxFuture<'static, io::Result<Vec<SocketAddr>>> = match &self.given {
            Some(given) => given.resolve(name.as_str()),
            None => {
                let resolving = self.system.call(name);
                Box::pin(async move { Ok(resolving.await?.collect()) })
            }
        };
        let (screen, port) = (self.screen.clone(), self.port);
        Box::pin(async move {
            let found = resolving.await;
            let found = found.map_err(|error| io::Error::new(error.kind(), Unresolved(error)))?;
            let (mut passed, mut refused) = (Vec::new(), None);
            for mut address in found {
                address.set_port(port);
                match screen.check(address) {
                    Ok(()) => passed.push(address),
                    Err(not_allowed) => refused = Some(not_allowed),
                }
            }
            match refused {
                Some(not_allowed) if passed.is_empty() => Err(io::Error::other(not_allowed)),
                _ => Ok(passed.into_iter()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::OwnListeners;
    use super::super::error::not_allowed;
    use super::*;
    use tokio::net::TcpListener;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// Why a connection to `to` was refused, if it was.
    async fn refused(screen: &Screen, to: &str) -> Option<NotAllowed> {
        let mut dialer = Dialer::new(screen.clone(), PATIENCE);
        let error = dialer.call(to.parse().unwrap()).await.err()?;
        Some(not_allowed(&*error).unwrap_or_else(|| panic!("{to}: {error}")))
    }

    #[tokio::test]
    async fn name_and_address_of_a_private_network_are_refused_before_they_are_dialled() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let screen = Screen::public_and(&[]);
        for host in ["localhost", "127.0.0.1", "[::ffff:127.0.0.1]", "127.1"] {
            let why = refused(&screen, &format!("http://{host}:{port}/")).await;
            let expected = matches!(why, Some(NotAllowed::NotPublic(ip)) if ip.is_loopback());
            assert!(expected, "{host}: {why:?}");
        }
        let name = format!("http://localhost:{port}/");
        assert_eq!(refused(&Screen::open(), &name).await, None);
    }

    #[tokio::test]
    async fn own_listener_is_refused_by_name_and_address_and_with_the_usual_port_of_the_scheme() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let own = OwnListeners::default();
        let loopback = ["127.0.0.0/8", "::1/128"].map(|net| net.parse().unwrap());
        let screen = Screen::public_and(&loopback).without(&own);
        let address = format!("http://{here}/");
        assert_eq!(refused(&screen, &address).await, None);
        let at = |port| SocketAddr::from(([0, 0, 0, 0], port));
        own.set(vec![at(here.port()), at(80), at(443)]);
        for to in [
            address,
            format!("http://localhost:{}/", here.port()),
            "http://localhost/".into(),
            "http://127.0.0.1/".into(),
            "https://localhost/".into(),
            "https://[::1]/".into(),
        ] {
            let why = refused(&screen, &to).await;
            let expected = matches!(why, Some(NotAllowed::OwnListener(_)));
            assert!(expected, "{to}: {why:?}");
        }
    }
}
