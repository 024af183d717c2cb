//! Connects to a service: its name is resolved, each address checked, and what passes is dialled.

use super::connections::{Connections, Counted, TooManyConnections};
use super::error::{BoxError, Unresolved, find};
use super::{NotAllowed, Screen};
use futures_util::future::BoxFuture;
use hms_core::delegate;
use http::Uri;
use http::uri::Scheme;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
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
    connections: Option<Arc<Connections>>,
    probes: bool,
}

impl Dialer {
    /// `connect_timeout` bounds TCP connects, all addresses of a host together.
    pub(super) fn new(screen: Screen, connect_timeout: Duration) -> Self {
        Dialer {
            screen,
            connect_timeout,
            resolver: None,
            connections: None,
            probes: false,
        }
    }

    /// The same with names resolved by `resolver`; none: by the system.
    pub(super) fn resolving(self, resolver: Option<Arc<dyn Resolve>>) -> Self {
        Dialer { resolver, ..self }
    }

    /// The same with as many connections at once as `connections` says; none: any number.
    pub(super) fn bounded(self, connections: Option<Arc<Connections>>) -> Self {
        Dialer {
            connections,
            ..self
        }
    }

    /// The same for connections that may be quiet for long.
    pub(super) fn probing(&self) -> Self {
        Dialer {
            probes: true,
            ..self.clone()
        }
    }

    /// A connector of its own for each connection: what it resolves is checked with the port.
    fn connector(&self, port: u16, permit: Option<Arc<Counted>>) -> HttpConnector<Resolver> {
        let resolver = Resolver {
            system: GaiResolver::new(),
            given: self.resolver.clone(),
            screen: self.screen.clone(),
            port,
            permit,
            connections: self.connections.clone(),
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
    type Response = Dialed;
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
        let dialer = self.clone();
        Box::pin(async move {
            checked?;
            let permit = match &dialer.connections {
                Some(connections) => Some(Arc::new(connections.enter().await?)),
                None => None,
            };
            let mut connector = dialer.connector(port, permit.clone());
            std::future::poll_fn(|cx| connector.poll_ready(cx)).await?;
            let tcp = connector.call(to).await?;
            Ok(Dialed {
                tcp,
                _permit: permit,
            })
        })
    }
}

/// A TCP connection, which counts as one until it is closed.
pub(super) struct Dialed {
    tcp: TokioIo<TcpStream>,
    _permit: Option<Arc<Counted>>,
}

impl Read for Dialed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl Write for Dialed {
    delegate!(tcp: writes, poll_flush, poll_shutdown);
}

impl Connection for Dialed {
    fn connected(&self) -> Connected {
        self.tcp.connected()
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
    permit: Option<Arc<Counted>>,
    connections: Option<Arc<Connections>>,
}

impl Resolver {
    /// The addresses of a name, whatever the screen says of them. The system's look-up does not end
    /// with those who wait for it: it counts until its end.
    async fn look_up(mut self, name: Name) -> io::Result<Vec<SocketAddr>> {
        let look_up = match &self.connections {
            Some(connections) => Some(connections.look_up().await.map_err(io::Error::other)?),
            None => None,
        };
        if let Some(given) = &self.given {
            return given.resolve(name.as_str()).await;
        }
        let counts = (look_up, self.permit);
        let resolving = self.system.call(name);
        if counts.0.is_none() {
            return Ok(resolving.await?.collect());
        }
        let counted = async move {
            let found = resolving.await;
            drop(counts);
            found
        };
        Ok(tokio::spawn(counted).await??.collect())
    }
}

/// The name has no address, unless it was not even looked up.
fn unresolved(error: io::Error) -> io::Error {
    match find::<TooManyConnections>(&error) {
        Some(_) => error,
        None => io::Error::new(error.kind(), Unresolved(error)),
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.system.poll_ready(cx)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolving = self.clone().look_up(name);
        let (screen, port) = (self.screen.clone(), self.port);
        Box::pin(async move {
            let found = resolving.await.map_err(unresolved)?;
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
