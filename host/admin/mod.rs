//! The operators' side: its own listener, its own credentials, never reachable through the gateway.
//!
//! [`token`] is the credential, [`api`] the table of what can be asked, [`windows`] the handlers that change and show
//! windows, [`reply`] how an answer or a refusal is written.

mod api;
mod keys;
mod limits;
mod metrics;
mod query;
mod reply;
mod routes;
pub mod token;
mod windows;

pub use api::{Admin, Readiness};
pub use metrics::Metrics;

use crate::linger::{Lingering, Unread};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Admin connections at once. 64: operators, scripts and one scraper; more is a mistake.
const MAX_CONNECTIONS: usize = 64;

/// Time for the head of a request. 10 s.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// Bytes of head that are read, and fields in it.
const MAX_HEAD_BYTES: usize = 16 << 10;
const MAX_FIELDS: usize = 64;

/// Serves the admin API on `listeners` until `shutdown`; requests under way are finished.
pub async fn serve(listeners: Vec<TcpListener>, admin: Arc<Admin>, shutdown: CancellationToken) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let tracker = tokio_util::task::TaskTracker::new();
    for listener in listeners {
        let accept = accept(
            listener,
            admin.clone(),
            places.clone(),
            tracker.clone(),
            shutdown.clone(),
        );
        tracker.spawn(accept);
    }
    tracker.close();
    tracker.wait().await;
}

async fn accept(
    listener: TcpListener,
    admin: Arc<Admin>,
    places: Arc<Semaphore>,
    tracker: tokio_util::task::TaskTracker,
    shutdown: CancellationToken,
) {
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "admin: a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let admin = admin.clone();
        let shutdown = shutdown.clone();
        tracker.spawn(async move {
            let unread = Unread::default();
            let io = TokioIo::new(Lingering::new(stream, unread.clone()));
            let service = service_fn(move |request| {
                let request = unread.watch(request);
                let admin = admin.clone();
                async move { Ok::<_, Infallible>(admin.answer(request).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME)
                .max_buf_size(MAX_HEAD_BYTES)
                .max_headers(MAX_FIELDS)
                .serve_connection(io, service);
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = shutdown.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "admin: a connection ended");
            }
            drop(place);
        });
    }
}
