//! WebSockets to ordinary services (RFC 6455): the handshake passes like any request; when the
//! service has answered 101, both connections become one stream of bytes that the gateway no longer
//! reads.
//!
//! Nothing else is upgraded, and no window is: what does not ask for a WebSocket as the RFC says
//! loses its `Upgrade` like any hop-by-hop field, and a 101 that nobody asked for is a broken
//! answer.

use super::UpstreamError;
use super::room::AtService;
use crate::request::fields::{members, only};
use futures_util::future::BoxFuture;
use hms_core::body::{self, Body};
use hms_core::delegate;
use hms_core::error::RequestError;
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

/// RFC 6455 section 4.1: the one version there is.
const VERSION: &[u8] = b"13";

/// 16 bytes in base64.
const KEY_LENGTH: usize = 24;

/// Time for the end of a WebSocket to be told to both sides.
const GOODBYE: Duration = Duration::from_secs(1);

/// Where a connection finds what it becomes after its answer, if it becomes something else.
#[derive(Clone, Default)]
pub struct TunnelHandover(Arc<Mutex<Option<Tunnel>>>);

impl TunnelHandover {
    pub fn take(&self) -> Option<Tunnel> {
        self.0.lock().take()
    }
}

/// What the client of a WebSocket was let in with.
pub trait Admitted: Send + Sync {
    /// Resolves when that does not let it in any more: its token has expired, its API key was
    /// revoked, its issuer's keys have changed. Why it would be refused now.
    fn lapse(&self) -> BoxFuture<'_, RequestError>;
}

/// A client's request for a WebSocket. Windows know nothing of it.
pub struct UpgradeRequest {
    client: OnUpgrade,
    slot: TunnelHandover,
    /// None where nothing was asked of the client.
    admitted: Option<Arc<dyn Admitted>>,
}

impl UpgradeRequest {
    /// Reads it from a head whose hop-by-hop fields are still there, and whose request has no body.
    ///
    /// What the connection can become is hyper's, which gives it among the extensions of a request
    /// and in no other way. `slot` is where the connection looks.
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

    /// What the request was let in with is to hold as long as the WebSocket does.
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

/// Says the upgrade in fields from which the hop-by-hop ones have been dropped.
pub(crate) fn name_upgrade(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, UPGRADE);
    headers.insert(header::UPGRADE, WEBSOCKET);
}

/// hyper looks at `Upgrade` alone.
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
    /// The longest silence both ways.
    pub idle: Duration,
    pub closing: &'a CancellationToken,
}

impl Tunnel {
    /// Copies both ways until both have ended, one has failed, or `terms` say so. Why it ended;
    /// nothing where it never opened.
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
        // The frames are not ours, so no Close frame can be put between them: what was passed on
        // arrives, and then the end.
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

/// Resolves when the client may not be there any longer, with why.
async fn lapse(admitted: Option<&dyn Admitted>) -> RequestError {
    match admitted {
        Some(admitted) => admitted.lapse().await,
        None => std::future::pending().await,
    }
}

/// One side of a tunnel, whose bytes are counted as they come.
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
