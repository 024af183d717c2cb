//! WebSockets to ordinary services (RFC 6455): the handshake is forwarded like any request. Once
//! the service has answered 101, both connections become one stream of bytes that the gateway no
//! longer interprets.
//!
//! Nothing else is upgraded, and windows are not. A request that is not a WebSocket handshake by
//! the RFC loses its `Upgrade` like any hop-by-hop field, and an unrequested 101 is an invalid
//! answer.

use super::UpstreamError;
use super::room::AtService;
use futures_util::future::BoxFuture;
use hms_core::body::{self, Body};
use hms_core::delegate;
use hms_core::error::RequestError;
use hms_core::fields::{members, only};
use hms_net::connection_limit::Activity;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response, Version};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_util::sync::CancellationToken;

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
const UPGRADE: HeaderValue = HeaderValue::from_static("upgrade");

/// RFC 6455 section 4.1: the only version.
const VERSION: &[u8] = b"13";

/// 16 bytes in base64.
const KEY_LENGTH: usize = 24;

/// Time to send the end of a WebSocket to both sides.
const GOODBYE: Duration = Duration::from_secs(1);

/// Where a connection finds what it becomes after its answer, if anything.
#[derive(Clone, Default)]
pub struct TunnelHandover(Arc<Mutex<Option<Tunnel>>>);

impl TunnelHandover {
    pub fn take(&self) -> Option<Tunnel> {
        self.0.lock().take()
    }
}

/// The admission of a WebSocket's client.
pub trait Admitted: Send + Sync {
    /// Resolves when the client is no longer admitted: its token has expired, its API key was
    /// revoked, or its issuer's keys have changed. Returns why it would be refused now.
    fn lapse(&self) -> BoxFuture<'_, RequestError>;
}

/// A client's request for a WebSocket. Windows do not get it.
pub struct UpgradeRequest {
    client: OnUpgrade,
    slot: TunnelHandover,
    /// None if the route requires no credentials.
    admitted: Option<Arc<dyn Admitted>>,
}

impl UpgradeRequest {
    /// Reads the handshake from a head that still has its hop-by-hop fields, and whose request has
    /// no body.
    ///
    /// hyper provides the upgraded connection only in the extensions of a request. `slot` is where
    /// the connection looks for it.
    pub fn read(parts: &mut Parts, slot: TunnelHandover) -> Option<UpgradeRequest> {
        let client = parts.extensions.remove::<OnUpgrade>()?;
        let one = |name: HeaderName| only(&parts.headers, &name);
        let asks = parts.method == Method::GET
            && parts.version == Version::HTTP_11
            && is_websocket(&parts.headers)
            && connection_names_upgrade(&parts.headers)
            && one(header::SEC_WEBSOCKET_VERSION).is_some_and(|value| value == VERSION)
            && one(header::SEC_WEBSOCKET_KEY).is_some_and(|value| value.len() == KEY_LENGTH);
        asks.then(|| UpgradeRequest {
            client,
            slot,
            admitted: None,
        })
    }

    /// Requires the admission to hold as long as the WebSocket lasts.
    pub fn while_admitted(&mut self, admitted: Arc<dyn Admitted>) {
        self.admitted = Some(admitted);
    }

    /// The service has answered 101.
    pub(super) fn open(
        &self,
        mut answered: Response<Incoming>,
        request_id: Option<&HeaderValue>,
        at_service: AtService,
    ) -> Result<Response<Body>, RequestError> {
        if !is_websocket(answered.headers()) {
            let cause = "it changed the protocol to another";
            return Err(UpstreamError::Broken(cause.into()).into());
        }
        let tunnel = Tunnel {
            client: self.client.clone(),
            service: hyper::upgrade::on(&mut answered),
            request_id: request_id
                .and_then(|id| id.to_str().ok())
                .unwrap_or_default()
                .into(),
            admitted: self.admitted.clone(),
            at_service,
        };
        *self.slot.0.lock() = Some(tunnel);
        Ok(answered.map(|_| body::empty()))
    }
}

/// Sets the upgrade fields, after the hop-by-hop ones have been dropped.
pub(crate) fn name_upgrade(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, UPGRADE);
    headers.insert(header::UPGRADE, WEBSOCKET);
}

/// hyper checks only `Upgrade`.
fn connection_names_upgrade(headers: &HeaderMap) -> bool {
    members(headers, &header::CONNECTION).any(|name| name.eq_ignore_ascii_case(b"upgrade"))
}

fn is_websocket(headers: &HeaderMap) -> bool {
    only(headers, &header::UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// A WebSocket between a client and a service.
pub struct Tunnel {
    client: OnUpgrade,
    service: OnUpgrade,
    request_id: String,
    admitted: Option<Arc<dyn Admitted>>,
    at_service: AtService,
}

/// What ends a WebSocket from the gateway's side.
pub struct Terms<'a> {
    /// The longest silence in both directions.
    pub idle: Duration,
    pub closing: &'a CancellationToken,
}

impl Tunnel {
    /// Copies in both directions until both have ended, one has failed, or `terms` end it. Returns
    /// why it ended; None if it never opened.
    pub async fn run(self, terms: Terms<'_>) -> Option<&'static str> {
        let (opened, request_id) = (Instant::now(), self.request_id);
        let _at_service = self.at_service;
        let opening = async { futures_util::try_join!(self.client, self.service) };
        let both = tokio::select! {
            both = opening => both,
            () = terms.closing.cancelled() => return None,
        };
        let (client, service) = match both {
            Ok(both) => both,
            Err(error) => {
                tracing::debug!(%request_id, %error, "a WebSocket did not open");
                return None;
            }
        };
        let activity = Activity::new();
        let (mut client, mut service) =
            (Side::new(client, &activity), Side::new(service, &activity));
        let mut reason = None;
        let end = tokio::select! {
            copied = tokio::io::copy_bidirectional(&mut client, &mut service) => match copied {
                Ok(_) => "ended",
                Err(_) => "broken",
            },
            () = activity.idle_for(terms.idle, terms.idle) => "idle",
            error = lapse(self.admitted.as_deref()) => {
                reason = Some(error.to_string());
                "credential"
            }
            // It has no end to wait for.
            () = terms.closing.cancelled() => "shutdown",
        };
        // The gateway does not parse frames, so it cannot insert a Close frame: what was forwarded
        // arrives, and then the connection ends.
        let leave = async { tokio::join!(client.shutdown(), service.shutdown()) };
        let _ = tokio::time::timeout(GOODBYE, leave).await;
        tracing::info!(
            target: "access",
            websocket = end,
            reason,
            bytes_in = client.bytes,
            bytes_out = service.bytes,
            duration_ms = opened.elapsed().as_millis() as u64,
            %request_id,
        );
        Some(end)
    }
}

/// Resolves when the client is no longer admitted, with the reason.
async fn lapse(admitted: Option<&dyn Admitted>) -> RequestError {
    match admitted {
        Some(admitted) => admitted.lapse().await,
        None => std::future::pending().await,
    }
}

/// One side of a tunnel, with a count of its bytes.
struct Side {
    stream: TokioIo<Upgraded>,
    activity: Activity,
    bytes: u64,
}

impl Side {
    fn new(stream: Upgraded, activity: &Activity) -> Side {
        Side {
            stream: TokioIo::new(stream),
            activity: activity.clone(),
            bytes: 0,
        }
    }
}

impl AsyncRead for Side {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if polled.is_ready() {
            self.bytes += (buf.filled().len() - before) as u64;
            drop(self.activity.begin());
        }
        polled
    }
}

impl AsyncWrite for Side {
    delegate!(stream: writes, poll_flush, poll_shutdown);
}
