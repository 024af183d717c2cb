//! The operators' side: its own listener, its own credentials, never reachable through the gateway.
//!
//! [`token`] is the credential, [`api`] the table of requests, [`windows`] the handlers that change
//! and show windows, [`tasks`] where changes run, [`reply`] how answers and refusals are written.
//! [`backup`] streams a copy of the host. The pages for people are a crate of their own,
//! hms-dashboard.

// For maintainers: the documentation is built with private items.
#![allow(rustdoc::private_intra_doc_links)]

mod api;
mod backup;
mod claimed;
mod events;
mod grants;
mod keys;
mod limits;
mod manifests;
mod metrics;
mod process;
mod query;
mod reply;
mod requests;
mod routes;
mod store;
mod tasks;
#[cfg(test)]
mod tests;
pub mod token;
mod whole;
mod window_metrics;
mod windows;

pub use api::{Admin, Readiness};
pub use backup::Backups;
pub use metrics::Metrics;
pub use tasks::Tasks;

use claimed::{Claimed, Rooms};
use hms_core::body::Guarded;
use hms_net::connection_limit::{ConnectionLimit, ConnectionPermit, Holder};
use hms_net::linger::{Lingering, Unread};
use hms_net::listen::Listeners;
use hms_net::pace::{Paced, WritePace};
use http::{HeaderName, HeaderValue};
use http_body_util::BodyExt;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A field of every answer, by which the command line recognises the admin API: another server, or
/// the gateway's port, may answer with JSON too. Not `Server`, which proxies overwrite.
pub const MARK: (HeaderName, HeaderValue) = (
    HeaderName::from_static("hms-admin"),
    HeaderValue::from_static("1"),
);

/// Concurrent admin connections. 64: operators, scripts and one scraper; more is a mistake. On
/// loopback all of them have one address, so there are no shares, and the most dispensable one is
/// closed.
const MAX_CONNECTIONS: usize = 64;

/// How long a connection is left alone, so that its first head can be read: 100 ms. A client that
/// opens one after the other thus displaces nobody before they have used theirs, and 640 a second
/// are accepted from the kernel's queue.
const LEAST_TIME: Duration = Duration::from_millis(100);

/// Time for the head of a request, and so how long an idle connection is kept. 5 s.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// How slowly a client may read an answer: as at the gateway.
const PACE: WritePace = WritePace {
    longest: Duration::from_secs(30),
    bytes_per_s: 240,
};

/// Pause after an accept that failed for lack of resources, such as file descriptors: time for
/// connections to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes of head that are read, and fields in it.
const MAX_HEAD_BYTES: usize = 16 << 10;
const MAX_FIELDS: usize = 64;

/// Serves the admin API on `listeners` until `shutdown`; requests in flight complete.
pub async fn serve(listeners: Vec<TcpListener>, admin: Arc<Admin>, shutdown: CancellationToken) {
    let listeners = Listeners::new(listeners);
    let sampling = {
        let (admin, shutdown) = (admin.clone(), shutdown.clone());
        async move { admin.dashboard.sample(admin.clone(), shutdown).await }
    };
    tokio::spawn(sampling);
    let counters = admin.metrics.connections.clone();
    let limit = ConnectionLimit::of_one_address(MAX_CONNECTIONS, counters, LEAST_TIME);
    let rooms = Rooms::default();
    let tracker = TaskTracker::new();
    loop {
        let next = async {
            let (stream, peer) = listeners.accept().await?;
            let holder = Holder::of(peer.ip());
            let client = match holder {
                Holder::Address(address) => address,
                Holder::Proxy => peer.ip(),
            };
            let permit = limit.take(holder).await;
            Ok::<_, std::io::Error>(permit.map(|permit| (permit, stream, client)))
        };
        let accepted = tokio::select! {
            accepted = next => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok(Some((permit, stream, client))) => {
                let (admin, rooms) = (admin.clone(), rooms.clone());
                let shutdown = shutdown.clone();
                tracker.spawn(connection(permit, stream, client, admin, rooms, shutdown));
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "admin: a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listeners);
    tracker.close();
    tracker.wait().await;
}

async fn connection(
    permit: ConnectionPermit,
    stream: TcpStream,
    client: IpAddr,
    admin: Arc<Admin>,
    rooms: Rooms,
    shutdown: CancellationToken,
) {
    let unread = Unread::default();
    let (slow, activity) = (
        admin.metrics.slow_readers.clone(),
        permit.activity().clone(),
    );
    let stream = Paced::new(stream, PACE, slow, activity);
    let io = TokioIo::new(Lingering::new(stream, unread.clone()));
    let service = service_fn(|request| {
        let request = unread.watch(request);
        let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        let (admin, rooms) = (admin.clone(), rooms.clone());
        let begun = permit.activity().begin_unproven();
        async move {
            let Some(at_work) = begun else {
                // The connection is about to be dropped.
                return std::future::pending().await;
            };
            let mut claimed = Claimed::new(at_work, rooms);
            let mut answer = admin.answer(request, client, &mut claimed).await;
            let (name, value) = MARK;
            answer.headers_mut().insert(name, value);
            Ok::<_, Infallible>(answer.map(|inner| Guarded::new(inner, claimed)))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_FIELDS)
        .serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    let mut closing = false;
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = shutdown.cancelled(), if !closing => {
                closing = true;
                connection.as_mut().graceful_shutdown();
            }
            () = permit.evicted() => return,
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "admin: a connection ended");
    }
}
