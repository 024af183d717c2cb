//! Connections to services by HTTP/2: one carries many requests, and where it is full there is
//! another.
//!
//! Not hyper-util's pool, because that has one connection for each service, on which requests
//! beyond the service's limit of streams wait for the end of others (a gRPC stream may last for
//! days), and because a service may be asked by another name than that of its URL.

use super::IDLE_TIMEOUT;
use super::Reached;
use super::error::{BoxError, Cause, SendError, innermost, refused};
use super::silence::{Heard, Silence};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use hms_core::body::Body;
use http::header::{self, HeaderValue};
use http::uri::{Authority, Scheme, Uri};
use http::{Request, Response, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper_util::client::legacy::connect::Connection as Connected;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio_util::task::AbortOnDropHandle;
use tower_service::Service;

/// Requests at once on one connection, where the service takes as many. RFC 9113 section 6.5.2 asks
/// services to take no fewer; with more, too many would end with one connection.
const MOST_STREAMS: usize = 100;

/// Until the service has said how many it takes. A number that hardly any service says, so that it
/// shows when that has come.
const STREAMS_UNTOLD: usize = MOST_STREAMS - 1;

/// Looks for what the service says in the first 63 ms of a connection, with these pauses. It is the
/// first that a service says, before it has seen a request.
const LOOKS: [Duration; 6] = [
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(4),
    Duration::from_millis(8),
    Duration::from_millis(16),
    Duration::from_millis(32),
];

/// Between two looks whether a connection is still needed, and whether the service takes another
/// number of requests by now.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Bytes of an answer that are taken before they are read: the initial window of RFC 9113.
const STREAM_WINDOW: u32 = 65_535;

/// Those of all answers of a connection together. As many as they may have, so that clients who do
/// not read their answers leave room for the others'.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MOST_STREAMS as u32;

/// Bytes of a request that wait to be written.
const SEND_BUFFER: usize = 64 << 10;

/// Bytes of the head of an answer. As for HTTP/1.
const MAX_HEAD: u32 = 64 << 10;

/// A connection on which nothing came for so long since a request was sent is given no more of them
/// when one is given up: it may lead nowhere (a firewall that forgot it, a service that was
/// replaced), and a new one may not. 1 s: where the service is only slow, a new connection a second
/// is all that it costs.
const SILENCE: Duration = Duration::from_secs(1);

/// Requests that may be given up before their answer on one connection. Services take streams that
/// are reset for an attack and end the connection, with what others have on it: gRPC on Netty by
/// 200 in 30 s. As many as that with those that may be at work by then.
const MOST_GIVEN_UP: usize = 100;

/// How long it is remembered that a service chose HTTP/1.1.
const CHOICE_TIME: Duration = Duration::from_secs(600);

/// Services of which that is remembered. Beyond, all are asked anew: whoever may call names below
/// a wildcard could else fill the memory with them.
const MAX_CHOICES: usize = 1024;

/// Connections that are taken for one request, each of which the service may have been closing.
const CONNECTIONS_TRIED: usize = 3;

/// What an operator may look at, behind the cause of a failure.
const NOT_HTTP2: &str = "; perhaps it does not speak HTTP/2 in the clear, which h2c:// requires";

/// The connections of one lane, by the authority of the service.
pub(super) struct Pool<C> {
    connector: C,
    scheme: Scheme,
    /// For a connection with its TLS.
    connect_time: Duration,
    opened: Counter,
    hosts: Hosts,
}

type Hosts = Arc<Mutex<HashMap<Authority, HostConnections>>>;

#[derive(Default)]
struct HostConnections {
    open: Vec<Arc<Open>>,
    /// Requests that come meanwhile wait for the same one. It ends with the last of them.
    connecting: Option<WeakShared<BoxFuture<'static, OpenResult>>>,
    /// The service chose HTTP/1.1. It is asked again then.
    http1_until: Option<Instant>,
}

impl HostConnections {
    fn is_in_use(&self) -> bool {
        !self.open.is_empty() || self.connecting().is_some()
    }

    fn connecting(&self) -> Option<Connecting> {
        self.connecting.as_ref().and_then(WeakShared::upgrade)
    }

    fn is_nothing(&self) -> bool {
        !self.is_in_use() && self.http1_until.is_none()
    }
}

type Connecting = Shared<BoxFuture<'static, OpenResult>>;

/// None: the service chose HTTP/1.1.
type OpenResult = Result<Option<Arc<Open>>, SendError>;

/// An open connection.
struct Open {
    sender: SendRequest<Body>,
    streams: AtomicUsize,
    /// As many as the service takes at once.
    most: AtomicUsize,
    idle_since: Mutex<Instant>,
    silence: Arc<Silence>,
    given_up: AtomicUsize,
    /// Takes no new requests.
    is_spent: AtomicBool,
}

/// A request's place on a connection, until it is dropped.
pub struct Stream {
    open: Arc<Open>,
    /// Whether the service said what comes of the request. Dropped before, it is given up.
    is_decided: bool,
}

/// What came of a request.
pub(super) enum Sent {
    Answered(Response<Incoming>, Stream),
    /// The service speaks HTTP/1.1. The request is as it was.
    Http1(Request<Body>),
}

impl<C, S> Pool<C>
where
    C: Service<Uri, Response = S> + Clone + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send,
    S: Connected + hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    /// Connects by `connector`, which negotiates the protocol where the scheme is https.
    pub(super) fn new(
        connector: C,
        scheme: Scheme,
        connect_time: Duration,
        opened: Counter,
    ) -> Self {
        Pool {
            connector,
            scheme,
            connect_time,
            opened,
            hosts: Hosts::default(),
        }
    }

    /// Sends a request whose URI is absolute to that authority, by the name in its `Host`. What a
    /// connection that is closing has not taken goes on another one.
    pub(super) async fn send(
        &self,
        mut request: Request<Body>,
        trailers: bool,
    ) -> Result<Sent, SendError> {
        let Some(at) = request.uri().authority().cloned() else {
            return Err(closed("it has no address"));
        };
        let mut last = closed("the service closes its connections at once");
        for tried in 0..CONNECTIONS_TRIED {
            let Some(mut stream) = self.stream(&at).await? else {
                // It has changed its mind. The next try begins anew.
                if tried > 0 {
                    break;
                }
                return Ok(Sent::Http1(request));
            };
            if tried == 0 {
                prepare(&mut request, trailers)?;
            }
            if let Some(reached) = request.extensions().get::<Reached>() {
                reached.set();
            }
            stream.open.silence.asked();
            let sent = stream.open.sender.clone().try_send_request(request).await;
            match sent {
                Ok(answered) => {
                    stream.is_decided = true;
                    return Ok(Sent::Answered(answered, stream));
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => {
                        let error = error.into_error();
                        stream.is_decided = said_by_it(&error).is_some();
                        return Err(self.explained(&stream.open, failed(error)));
                    }
                },
            }
            last = self.explained(&stream.open, last);
        }
        Err(last)
    }

    /// Says with a failure in the clear that the service may speak another protocol, where it has
    /// said nothing on the connection that is HTTP/2.
    fn explained(&self, open: &Open, error: SendError) -> SendError {
        if self.scheme != Scheme::HTTP || open.most.load(Relaxed) != STREAMS_UNTOLD {
            return error;
        }
        let explain = |cause: Cause| -> Cause {
            let text = innermost(&*cause);
            match text.ends_with(NOT_HTTP2) {
                true => cause,
                false => Arc::new(io::Error::other(text + NOT_HTTP2)),
            }
        };
        match error {
            SendError::Connect(cause) => SendError::Connect(explain(cause)),
            SendError::Broken(cause) => SendError::Broken(explain(cause)),
            other => other,
        }
    }

    /// Forgets that the service speaks HTTP/1.1.
    pub(super) fn forget(&self, at: &Authority) {
        if let Some(host) = self.hosts.lock().get_mut(at) {
            host.http1_until = None;
        }
    }

    /// A place on a connection. None where the service speaks HTTP/1.1.
    async fn stream(&self, at: &Authority) -> Result<Option<Stream>, SendError> {
        loop {
            let connecting = {
                let mut hosts = self.hosts.lock();
                let host = hosts.entry(at.clone()).or_default();
                host.open.retain(|open| !open.is_spent.load(Relaxed));
                if let Some(stream) = host.open.iter().find_map(Stream::on) {
                    return Ok(Some(stream));
                }
                if host.http1_until.is_some_and(|until| Instant::now() < until) {
                    return Ok(None);
                }
                host.connecting().unwrap_or_else(|| {
                    let connecting = self.connect(at);
                    host.connecting = connecting.downgrade();
                    connecting
                })
            };
            match connecting.await? {
                None => return Ok(None),
                Some(open) if open.sender.is_closed() => {
                    let error = closed("the service closed the connection at once");
                    return Err(self.explained(&open, error));
                }
                // Those that waited as well may have filled it.
                Some(open) => {
                    if let Some(stream) = Stream::on(&open) {
                        return Ok(Some(stream));
                    }
                }
            }
        }
    }

    /// Connects in a task of its own: whoever asked first may leave before the others. Where all
    /// have left, it ends.
    fn connect(&self, at: &Authority) -> Connecting {
        let establishing = establish(self.connector.clone(), self.scheme.clone(), at.clone());
        let establishing = tokio::time::timeout(self.connect_time, establishing);
        let (hosts, at, opened) = (self.hosts.clone(), at.clone(), self.opened.clone());
        let task = tokio::spawn(async move {
            let _ended = Ended(hosts.clone(), at.clone());
            let established = establishing.await;
            let mut locked = hosts.lock();
            let host = locked.entry(at.clone()).or_default();
            host.connecting = None;
            let established = match established {
                Ok(Ok(established)) => Ok(established),
                Ok(Err(error)) => Err(unconnected(error.into())),
                Err(_) => Err(closed("no connection in time")),
            };
            let Some((sender, driver, silence)) = established? else {
                let host = locked.entry(at).or_default();
                host.http1_until = Some(Instant::now() + CHOICE_TIME);
                if locked.len() > MAX_CHOICES {
                    locked.retain(|_, host| host.is_in_use());
                }
                return Ok(None);
            };
            let open = Arc::new(Open {
                sender,
                streams: AtomicUsize::new(0),
                most: AtomicUsize::new(most(&driver)),
                idle_since: Mutex::new(Instant::now()),
                silence,
                given_up: AtomicUsize::new(0),
                is_spent: AtomicBool::new(false),
            });
            opened.inc();
            let host = locked.entry(at.clone()).or_default();
            host.open.push(open.clone());
            drop(locked);
            tokio::spawn(attend(driver, Arc::downgrade(&open), hosts, at));
            Ok(Some(open))
        });
        let task = AbortOnDropHandle::new(task);
        let ended = async move {
            task.await
                .unwrap_or_else(|error| Err(SendError::Connect(Arc::new(error))))
        };
        ended.boxed().shared()
    }
}

impl<C> Drop for Pool<C> {
    /// Idle connections end, and those with requests once these have ended.
    fn drop(&mut self) {
        let hosts = std::mem::take(&mut *self.hosts.lock());
        drop(hosts);
    }
}

/// An attempt to connect, whatever becomes of it: a service without a connection is forgotten.
struct Ended(Hosts, Authority);

impl Drop for Ended {
    fn drop(&mut self) {
        let mut hosts = self.0.lock();
        if hosts.get(&self.1).is_some_and(HostConnections::is_nothing) {
            hosts.remove(&self.1);
        }
    }
}

type Driver<S> = Pin<Box<Connection<Heard<S>, Body, TokioExecutor>>>;

type Established<S> = (SendRequest<Body>, Driver<S>, Arc<Silence>);

async fn establish<C, S>(
    mut connector: C,
    scheme: Scheme,
    at: Authority,
) -> Result<Option<Established<S>>, BoxError>
where
    C: Service<Uri, Response = S>,
    C::Error: Into<BoxError>,
    S: Connected + hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    let negotiates = scheme == Scheme::HTTPS;
    let uri = Uri::builder().scheme(scheme).authority(at);
    let uri = uri.path_and_query("/").build()?;
    let ready = std::future::poll_fn(|cx| connector.poll_ready(cx)).await;
    ready.map_err(Into::into)?;
    let io = connector.call(uri).await.map_err(Into::into)?;
    if negotiates && !io.connected().is_negotiated_h2() {
        return Ok(None);
    }
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_max_send_streams(STREAMS_UNTOLD)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(MAX_HEAD);
    let silence = Arc::new(Silence::new());
    let io = Heard::new(io, silence.clone());
    let (sender, driver) = builder.handshake(io).await?;
    for pause in LOOKS {
        if driver.current_max_send_streams() != STREAMS_UNTOLD {
            break;
        }
        tokio::time::sleep(pause).await;
    }
    Ok(Some((sender, Box::pin(driver), silence)))
}

/// Requests at once on this connection. One at least, or none would ever find out.
fn most<S>(driver: &Driver<S>) -> usize
where
    S: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    driver.current_max_send_streams().clamp(1, MOST_STREAMS)
}

/// Has a connection work until it ends, and ends it where nobody has needed it for a time.
async fn attend<S>(mut driver: Driver<S>, open: Weak<Open>, hosts: Hosts, at: Authority)
where
    S: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    loop {
        let ended = std::future::poll_fn(|cx| {
            let polled = driver.as_mut().poll(cx);
            if let Some(open) = open.upgrade() {
                open.most.store(most(&driver), Relaxed);
            }
            polled.map(drop)
        });
        tokio::select! {
            () = ended => break,
            () = tokio::time::sleep(LOOK_EVERY) => {
                leave(&hosts, &at, |other| is_same(other, &open) && other.is_idle());
            }
        }
    }
    leave(&hosts, &at, |other| is_same(other, &open));
}

/// Takes connections out of the pool; without a request on it such a one ends.
fn leave(hosts: &Hosts, at: &Authority, which: impl Fn(&Arc<Open>) -> bool) {
    let mut hosts = hosts.lock();
    let Some(host) = hosts.get_mut(at) else {
        return;
    };
    host.open.retain(|open| !which(open));
    if host.is_nothing() {
        hosts.remove(at);
    }
}

fn is_same(open: &Arc<Open>, weak: &Weak<Open>) -> bool {
    std::ptr::eq(Arc::as_ptr(open), weak.as_ptr())
}

impl Open {
    fn is_idle(&self) -> bool {
        self.streams.load(Relaxed) == 0 && self.idle_since.lock().elapsed() >= IDLE_TIMEOUT
    }

    /// A request was given up before its answer. What others have on the connection goes on.
    fn give_up(&self) {
        let given_up = self.given_up.fetch_add(1, Relaxed) + 1;
        if given_up >= MOST_GIVEN_UP || self.silence.lasts() >= SILENCE {
            self.is_spent.store(true, Relaxed);
        }
    }
}

impl Stream {
    /// A place on this connection, where there is one.
    fn on(open: &Arc<Open>) -> Option<Stream> {
        if open.sender.is_closed() || open.is_spent.load(Relaxed) {
            return None;
        }
        let most = open.most.load(Relaxed);
        let taken = open.streams.fetch_update(Relaxed, Relaxed, |streams| {
            (streams < most).then_some(streams + 1)
        });
        taken.ok().map(|_| Stream {
            open: open.clone(),
            is_decided: false,
        })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.is_decided {
            self.open.give_up();
        }
        *self.open.idle_since.lock() = Instant::now();
        self.open.streams.fetch_sub(1, Relaxed);
    }
}

/// Gives a request the form of HTTP/2: its `Host` is `:authority` (RFC 9113 section 8.3.1). A body
/// that breaks off is the client's doing, which the service is told by CANCEL (section 7).
fn prepare(request: &mut Request<Body>, trailers: bool) -> Result<(), SendError> {
    *request.version_mut() = Version::HTTP_2;
    let body = std::mem::replace(request.body_mut(), hms_core::body::empty());
    let cancelled = |_| h2::Error::from(h2::Reason::CANCEL).into();
    *request.body_mut() = body.map_err(cancelled).boxed_unsync();
    if trailers {
        let trailers = HeaderValue::from_static("trailers");
        request.headers_mut().insert(header::TE, trailers);
    }
    let Some(host) = request.headers_mut().remove(header::HOST) else {
        return Ok(());
    };
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    let named = Authority::from_maybe_shared(host);
    parts.authority = Some(named.map_err(|error| SendError::Broken(Arc::new(error)))?);
    let uri = Uri::from_parts(parts).map_err(|error| SendError::Broken(Arc::new(error)))?;
    *request.uri_mut() = uri;
    Ok(())
}

/// Why a request that a connection had taken has no answer. A service may say of a stream that it
/// has not looked at it: by REFUSED_STREAM, and of all above a number by GOAWAY (RFC 9113 section
/// 8.7).
fn failed(error: hyper::Error) -> SendError {
    let said = said_by_it(&error);
    let (is_go_away, reason) = said.map_or((false, None), |e| (e.is_go_away(), e.reason()));
    let cause: Cause = Arc::new(error);
    match reason {
        Some(h2::Reason::NO_ERROR) if is_go_away => SendError::LeftOver(cause),
        Some(h2::Reason::REFUSED_STREAM) => SendError::Refused(cause),
        _ if is_go_away => SendError::Refused(cause),
        _ => SendError::Broken(cause),
    }
}

/// What the service said itself.
fn said_by_it(error: &hyper::Error) -> Option<&h2::Error> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<h2::Error>() {
            return Some(found).filter(|said| said.is_remote());
        }
        cause = error.source();
    }
    None
}

fn unconnected(error: Cause) -> SendError {
    refused(&*error).unwrap_or(SendError::Connect(error))
}

fn closed(reason: &'static str) -> SendError {
    SendError::Connect(Arc::new(io::Error::other(reason)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hms_core::body;
    use hyper_util::rt::TokioIo;
    use std::task::{Context, Poll};
    use tokio::net::TcpStream;

    /// Connects to nobody.
    #[derive(Clone)]
    struct Refused;

    impl Service<Uri> for Refused {
        type Response = TokioIo<TcpStream>;
        type Error = io::Error;
        type Future = std::future::Ready<io::Result<Self::Response>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Uri) -> Self::Future {
            std::future::ready(Err(io::ErrorKind::ConnectionRefused.into()))
        }
    }

    #[tokio::test]
    async fn services_without_a_connection_are_not_remembered() {
        let time = Duration::from_secs(1);
        let pool = Pool::new(Refused, Scheme::HTTP, time, Counter::default());
        for name in 0..10 {
            let request = Request::get(format!("http://{name}.example/"));
            let request = request.body(body::empty()).unwrap();
            assert!(pool.send(request, false).await.is_err());
        }
        assert_eq!(pool.hosts.lock().len(), 0);
    }
}
