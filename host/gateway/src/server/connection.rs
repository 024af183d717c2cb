//! Connections: accepts them, serves HTTP/1.1 and HTTP/2 on them, and closes them cleanly.

use crate::Gateway;
use crate::limits::Limits;
use crate::metrics::OpenConnection;
use crate::request::origin::Origin;
use crate::request::untaken;
use crate::upstream::{Terms, TunnelHandover};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use hms_core::body::BodyError;
use hms_net::connection_limit::{ConnectionLimit, ConnectionPermit, Holder};
use hms_net::lanes::Lanes;
use hms_net::linger::{Lingering, Unread};
use hms_net::listen::Listeners;
use hms_net::pace::{Paced, WritePace};
use hms_net::proxy_protocol;
use hms_net::sniff::Sniff;
use hms_net::strict::{Refused, Strict};
use http::{HeaderValue, StatusCode, Version, header};
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use prometheus_client::metrics::counter::Counter;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Pause after an accept that failed for lack of something, such as file descriptors, so that
/// connections can end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// hyper has no idle timeout for HTTP/2: pings detect a peer that is gone.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Time for an idle HTTP/2 client to close; during a shutdown at most a quarter of the drain time.
const GOODBYE: Duration = Duration::from_secs(5);

/// Time for output that starts to wait for its client at the moment when its connection is told to
/// close.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// Connections accepted from the kernel's queue during the shutdown, before the listeners close and
/// the kernel resets the rest. The usual length of that queue.
const LAST_ACCEPTS: usize = 4096;

/// State shared by all connections.
#[derive(Clone)]
struct Server {
    gateway: Arc<Gateway>,
    builder: Arc<Builder<Beside>>,
    limit: ConnectionLimit,
    connections: TaskTracker,
    /// No new connections from here on, and no requests except those that clients may have sent by
    /// then.
    closing: CancellationToken,
    /// The same without a lock: from now on, answers over HTTP/1 close their connections.
    leaving: Arc<AtomicBool>,
    /// What is still running is cut.
    cut: CancellationToken,
}

/// Serves on `listeners`, which must not be empty, until `shutdown` is cancelled. Then waits for
/// the requests in flight, at most [`Limits::drain_timeout`]. Returns how many connections were
/// cut.
pub(crate) async fn serve(
    gateway: Arc<Gateway>,
    listeners: Vec<TcpListener>,
    shutdown: CancellationToken,
) -> usize {
    let limits = &gateway.config.limits;
    let drain_timeout = limits.drain_timeout;
    let server = Server {
        builder: Arc::new(protocol(limits, gateway.metrics.slow_readers())),
        limit: ConnectionLimit::new(
            limits.max_connections,
            limits.max_connections_per_address,
            gateway.metrics.connection_limit(),
        ),
        connections: TaskTracker::new(),
        closing: shutdown,
        leaving: Arc::default(),
        cut: CancellationToken::new(),
        gateway: gateway.clone(),
    };
    server.accept(Listeners::new(listeners)).await;
    server.connections.close();
    if tokio::time::timeout(drain_timeout, server.connections.wait())
        .await
        .is_ok()
    {
        return 0;
    }
    let cut = server.connections.len();
    tracing::warn!(
        connections = cut,
        ?drain_timeout,
        "cutting off requests still in flight after the drain"
    );
    server.cut.cancel();
    server.connections.wait().await;
    cut
}

/// Where the requests of an HTTP/2 connection run: outside of its lane, on threads that share work,
/// because one connection may carry all the load of the host.
#[derive(Clone)]
struct Beside(Arc<Streams>);

struct Streams {
    runtime: Handle,
    pace: WritePace,
    /// Counts streams whose client was too slow.
    slow: Counter,
}

impl<F> Executor<F> for Beside
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, request: F) {
        let Streams {
            runtime,
            pace,
            slow,
        } = &*self.0;
        runtime.spawn(untaken::watched(request, *pace, slow.clone()));
    }
}

fn protocol(limits: &Limits, slow: Counter) -> Builder<Beside> {
    let streams = Streams {
        runtime: Handle::current(),
        pace: limits.stream_pace(),
        slow,
    };
    let mut builder = Builder::new(Beside(Arc::new(streams)));
    builder
        .http1()
        // Without a timer, hyper's timeouts do not work, and it does not say so.
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(limits.max_headers)
        .max_buf_size(limits.max_header_bytes as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(limits.max_header_bytes)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

impl Server {
    /// Accepts until the shutdown, then also those that were queued by then; the listeners close
    /// and free their port.
    async fn accept(&self, listeners: Listeners) {
        loop {
            let accepted = tokio::select! {
                accepted = self.next(&listeners) => accepted,
                () = self.closing.cancelled() => break,
            };
            match accepted {
                Ok(Some((permit, stream, peer))) => self.spawn(permit, stream, peer),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    tokio::select! {
                        () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                        () = self.closing.cancelled() => break,
                    }
                }
            }
        }
        self.leaving.store(true, Relaxed);
        // So that the runtime sees queued connections.
        tokio::task::yield_now().await;
        for _ in 0..LAST_ACCEPTS {
            match self.next(&listeners).now_or_never() {
                Some(Ok(Some((permit, stream, peer)))) => self.spawn(permit, stream, peer),
                Some(Ok(None)) => {}
                _ => return,
            }
        }
    }

    /// How long clients with a connection but no request in flight may still send one after the
    /// shutdown has begun.
    fn farewell(&self) -> Duration {
        let limits = &self.gateway.config.limits;
        limits.farewell.min(limits.drain_timeout / 2)
    }

    /// Resolves when that time is over.
    async fn farewell_is_over(&self) {
        self.closing.cancelled().await;
        tokio::time::sleep(self.farewell()).await;
    }

    /// The next connection and its permit. None if its address has used up its share. While it
    /// waits for a permit, later connections stay in the kernel's queue.
    async fn next(
        &self,
        listeners: &Listeners,
    ) -> io::Result<Option<(ConnectionPermit, TcpStream, Origin)>> {
        let (stream, peer) = listeners.accept().await?;
        let origin = Origin {
            client: peer.ip().to_canonical(),
            secure: false,
            client_unknown: false,
        };
        let permit = self.limit.take(self.holder(&origin)).await;
        if permit.is_none() {
            tracing::debug!(peer = %origin.client, "connection refused: its address has used its share");
        }
        Ok(permit.map(|permit| (permit, stream, origin)))
    }

    fn holder(&self, origin: &Origin) -> Holder {
        origin.holder(&self.gateway.config.trusted_proxies)
    }

    fn spawn(&self, permit: ConnectionPermit, stream: TcpStream, origin: Origin) {
        let open = self.gateway.metrics.connection();
        let lanes = self.gateway.config.lanes.as_ref();
        let Some(guard) = lanes.and_then(Lanes::guard) else {
            // A panic ends only this task.
            self.connections
                .spawn(self.clone().connection(permit, open, stream, origin));
            return;
        };
        let (server, lane) = (self.clone(), guard.handle().clone());
        // Its events must arrive in the lane's own queue.
        let stream = stream.into_std();
        let serving = async move {
            let _lane = guard;
            match stream.and_then(TcpStream::from_std) {
                Ok(stream) => server.connection(permit, open, stream, origin).await,
                Err(error) => tracing::warn!(%error, "cannot hand a connection to its lane"),
            }
        };
        self.connections.spawn_on(serving, &lane);
    }

    async fn connection(
        self,
        mut permit: ConnectionPermit,
        _open: OpenConnection,
        mut stream: TcpStream,
        mut origin: Origin,
    ) {
        let limits = &self.gateway.config.limits;
        let peer = origin.client;
        if self.gateway.config.proxy_protocol
            && origin.is_trusted(&self.gateway.config.trusted_proxies)
        {
            let reading = proxy_protocol::read(&mut stream);
            let reading = tokio::time::timeout(limits.first_byte_timeout, reading);
            let read = tokio::select! {
                read = reading => read,
                () = permit.evicted() => return,
            };
            origin = match read {
                Ok(Ok(header)) => origin.behind(header),
                // A health check that only connects.
                Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return,
                Ok(Err(error)) => {
                    tracing::warn!(%peer, %error, "a trusted proxy's connection does not begin with a PROXY header");
                    return;
                }
                Err(_) => return,
            };
            if !permit.belongs_to(self.holder(&origin)) {
                let client = origin.client;
                tracing::debug!(%client, "connection refused: its address has used its share");
                return;
            }
        }
        // Answers are written whole, so waiting to fill packets would only delay them.
        let _ = stream.set_nodelay(true);
        let slow = self.gateway.metrics.slow_readers();
        let activity = permit.activity().clone();
        let paced = Paced::new(stream, limits.write_pace(), slow, activity);
        let Some(certificate) = &self.gateway.config.certificate else {
            return self.serve(paced, origin, permit).await;
        };
        let handshake = certificate.acceptor().accept(paced);
        let limit = limits.handshake_timeout;
        origin.secure = true;
        tokio::select! {
            shaken = tokio::time::timeout(limit, handshake) => match shaken {
                Ok(Ok(stream)) => self.serve(stream, origin, permit).await,
                Ok(Err(error)) => {
                    self.gateway.metrics.handshake_failed();
                    tracing::debug!(%peer, %error, "a TLS handshake failed");
                }
                Err(_) => {
                    self.gateway.metrics.handshake_failed();
                    tracing::debug!(%peer, "a TLS handshake took too long");
                }
            },
            () = self.farewell_is_over() => {}
            () = permit.evicted() => {}
        }
    }

    async fn serve<S>(&self, stream: S, origin: Origin, permit: ConnectionPermit)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let unread = Unread::default();
        let limits = &self.gateway.config.limits;
        let sniff = Sniff::new(stream, limits.first_byte_timeout);
        let refused = Refused::default();
        let activity = permit.activity();
        let strict = Strict::new(sniff, limits.head(), refused.clone());
        let (slot, through) = (TunnelHandover::default(), strict.through());
        let (multiplexed, http2) = (AtomicBool::new(false), Notify::new());
        let io = TokioIo::new(Lingering::new(strict, unread.clone()));
        let service = service_fn(|request| {
            let violation = refused.of(&request);
            let request = unread.watch(request);
            if violation.is_some() {
                unread.leave();
            }
            let (gateway, slot) = (self.gateway.clone(), slot.clone());
            let (begun, through) = (activity.begin(), through.clone());
            let http1 = request.version() < Version::HTTP_2;
            if !http1 && !multiplexed.swap(true, Relaxed) {
                http2.notify_one();
            }
            let leaving = self.leaving.clone();
            async move {
                let Some(at_work) = begun else {
                    // The connection is about to be dropped.
                    return std::future::pending().await;
                };
                Ok::<_, Infallible>(match violation {
                    Some(violation) => gateway.refuse(violation, origin),
                    None => {
                        let mut answer = gateway.answer(request, origin, at_work, slot).await;
                        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
                            through.open();
                        } else if http1 && leaving.load(Relaxed) {
                            // RFC 9112 section 9.6: the client sends nothing more, so it loses
                            // nothing.
                            let close = HeaderValue::from_static("close");
                            answer.headers_mut().insert(header::CONNECTION, close);
                        }
                        answer
                    }
                })
            }
        });
        let untaken = limits.stream_pace().longest;
        // Rare events are polled only when one of them wakes; the rest is polled for each request.
        let mut rare = FuturesUnordered::new();
        let idle = activity.idle_for(limits.connection_idle_timeout, untaken);
        rare.push(idle.map(|()| Rare::Idle).boxed());
        rare.push(self.closing.cancelled().map(|()| Rare::Closing).boxed());
        rare.push(self.cut.cancelled().map(|()| Rare::Cut).boxed());
        rare.push(permit.evicted().map(|()| Rare::Evicted).boxed());
        let mut connection =
            std::pin::pin!(self.builder.serve_connection_with_upgrades(io, service));
        let mut gone = std::pin::pin!(None);
        let mut parting = std::pin::pin!(None);
        let mut closing = false;
        let goodbye = GOODBYE.min(limits.drain_timeout / 4);
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    log_early_end(&origin, ended);
                    break;
                }
                Some(rare) = rare.next(), if !rare.is_empty() => match rare {
                    Rare::Closing if closing => {}
                    Rare::Closing => {
                    closing = true;
                    self.leaving.store(true, Relaxed);
                    // If a connection were closed between two requests, the next one could already
                    // be on its way and would be lost.
                    parting.set(Some(activity.idle_from_now(self.farewell(), untaken)));
                    }
                    Rare::Idle if closing => {}
                    Rare::Idle => {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                    // A client that ignores the GOAWAY would stay; one that has just sent another
                    // request is served.
                    let grace = limits.connection_idle_timeout.min(GOODBYE);
                    gone.set(Some(activity.idle_after(grace, untaken)));
                    }
                    Rare::Evicted => {
                    connection.as_mut().graceful_shutdown();
                    // What can be sent at once: a GOAWAY, or the close_notify of TLS. Somebody
                    // waits for the permit. An answer that had not reached the socket when the
                    // connection was chosen is sent first.
                    let leave = std::future::poll_fn(|cx| {
                        let polled = connection.as_mut().poll(cx).map(drop);
                        match activity.claim() {
                            Some(_) => Poll::Ready(()),
                            None => polled,
                        }
                    });
                    let _ = tokio::time::timeout(LAST_OUTPUT, leave).await;
                    return;
                    }
                    Rare::Cut => return,
                },
                // Kept since the first request, so it is sent at once or with the answer. If `gone`
                // is set, the client has been told.
                () = http2.notified(), if closing && gone.is_none() => {
                    parting.set(None);
                    // A GOAWAY that refuses nothing, then another that says which requests were
                    // accepted, once the client has seen the first (RFC 9113 section 6.8). h2
                    // checks that by a PING, and would wait for its answer without limit.
                    connection.as_mut().graceful_shutdown();
                    gone.set(Some(activity.idle_after(goodbye, untaken)));
                }
                Some(()) = maybe(parting.as_mut().as_pin_mut()) => {
                    parting.set(None);
                    // Data that has just arrived is a request.
                    if let Some(ended) = connection.as_mut().now_or_never() {
                        log_early_end(&origin, ended);
                        break;
                    }
                    match activity.claim() {
                        Some(_) => {
                            connection.as_mut().graceful_shutdown();
                            gone.set(Some(activity.idle_after(goodbye, untaken)));
                        }
                        None => parting.set(Some(activity.idle_from_now(self.farewell(), untaken))),
                    }
                }
                Some(()) = maybe(gone.as_mut().as_pin_mut()) => return,
            }
        }
        if let Some(tunnel) = slot.take() {
            let Some(_at_work) = activity.begin() else {
                return;
            };
            let terms = Terms {
                idle: limits.websocket_idle_timeout,
                closing: &self.closing,
            };
            if let Some(end) = tunnel.run(terms).await {
                self.gateway.metrics.websocket_ended(end);
            }
        }
    }
}

/// Events outside of a connection that may end it.
enum Rare {
    /// It has had no request for too long.
    Idle,
    /// The host is shutting down.
    Closing,
    /// The drain time is over.
    Cut,
    /// Its permit is needed.
    Evicted,
}

fn log_early_end(origin: &Origin, ended: Result<(), BodyError>) {
    if let Err(error) = ended {
        tracing::debug!(peer = %origin.client, error, "a connection ended early");
    }
}

/// The result of an optional future.
async fn maybe<F: Future>(future: Option<Pin<&mut F>>) -> Option<F::Output> {
    match future {
        Some(future) => Some(future.await),
        None => None,
    }
}
