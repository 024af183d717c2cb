//! WebSockets to ordinary services (RFC 6455): the handshake passes like any request; when the
//! service has answered 101, both connections become one stream of bytes that the gateway no longer
//! reads.
//!
//! Nothing else is upgraded, and no window is: what does not ask for a WebSocket as the RFC says
//! loses its `Upgrade` like any hop-by-hop field, and a 101 that nobody asked for is a broken
//! answer.

use super::UpstreamError;
use super::room::AtService;
use crate::body::{self, Body};
use crate::connection_limit::Activity;
use crate::delegate::delegate;
use crate::error::RequestError;
use crate::gateway::fields::{members, only};
use crate::gateway::headers::REQUEST_ID;
use crate::gateway::plugins::auth::AuthError;
use crate::gateway::plugins::{Admission, Plugins};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, Version};
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

/// Between two looks whether the client of a WebSocket may still be there. It costs a hash each
/// time.
const LOOK_EVERY: Duration = Duration::from_secs(1);

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

/// A client's request for a WebSocket. It travels with the request, and windows know nothing of it.
#[derive(Clone)]
pub struct UpgradeRequest {
    client: OnUpgrade,
    slot: TunnelHandover,
    request_id: String,
    admission: Admission,
}

impl UpgradeRequest {
    /// Reads it from a head whose hop-by-hop fields are still there, and whose request has no body.
    pub fn read(parts: &mut Parts) -> Option<UpgradeRequest> {
        let slot = parts.extensions.remove::<TunnelHandover>()?;
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
            request_id: String::new(),
            admission: Admission::default(),
        })
    }

    /// What the request was let in with, which is to hold as long as the WebSocket does.
    pub fn admitted(&mut self, admission: Admission) {
        self.admission = admission;
    }

    /// Takes it out of a request that goes to a service, and puts it into the request's fields.
    pub(super) fn take(request: &mut Request<Body>) -> Option<UpgradeRequest> {
        let mut upgrade = request.extensions_mut().remove::<UpgradeRequest>()?;
        let id = request.headers().get(REQUEST_ID);
        upgrade.request_id = id
            .and_then(|id| id.to_str().ok())
            .unwrap_or_default()
            .into();
        name_upgrade(request.headers_mut());
        Some(upgrade)
    }

    /// The service has answered 101.
    pub(super) fn open(
        self,
        mut answered: Response<Incoming>,
        at_service: AtService,
    ) -> Result<Response<Body>, RequestError> {
        if !is_websocket(answered.headers()) {
            let cause = "it changed the protocol to another";
            return Err(UpstreamError::Broken(cause.into()).into());
        }
        let tunnel = Tunnel {
            client: self.client,
            service: hyper::upgrade::on(&mut answered),
            request_id: self.request_id,
            admission: self.admission,
            at_service,
        };
        *self.slot.0.lock() = Some(tunnel);
        let mut response = answered.map(|_| body::empty());
        response.extensions_mut().insert(Opened);
        Ok(response)
    }
}

/// Marks the answer after which the connection is a WebSocket.
#[derive(Clone)]
pub struct Opened;

/// Says the upgrade in fields from which the hop-by-hop ones have been dropped.
pub fn name_upgrade(headers: &mut HeaderMap) {
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
    admission: Admission,
    at_service: AtService,
}

/// What ends a WebSocket from the gateway's side.
pub struct Terms<'a> {
    /// Asked again whether the client may still be there.
    pub plugins: &'a Plugins,
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
            error = lapse(terms.plugins, &self.admission) => {
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

/// Resolves when what the client was let in with does not do any more: its token has expired, its
/// API key was revoked, its issuer's keys have changed. Why it would be refused now.
async fn lapse(plugins: &Plugins, admission: &Admission) -> AuthError {
    if !admission.may_end() {
        return std::future::pending().await;
    }
    loop {
        if let Err(error) = plugins.admits_still(admission).await {
            return error;
        }
        tokio::time::sleep(LOOK_EVERY).await;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::config::GatewayConfig;
    use crate::gateway::manifest::Route;
    use crate::gateway::metrics::GatewayMetrics;
    use crate::gateway::plugins::auth::{AuthConfig, IssuerConfig, JwksSource, KeySource};
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    /// Of a token that was verified when there still were keys.
    fn admission(expiry_s: u64) -> Admission {
        let text = "uri: /ws/**\nupstream: http://192.0.2.1\nplugins: [auth]\n";
        let route = Route::parse("ws", text).unwrap();
        let part = |json: String| URL_SAFE_NO_PAD.encode(json);
        let header = part(r#"{"alg":"ES256","kid":"1"}"#.into());
        let claims = part(format!(r#"{{"sub":"alice","exp":{expiry_s}}}"#));
        let token = format!("Bearer {header}.{claims}.AAAA");
        let field = (header::AUTHORIZATION, token.parse().unwrap());
        Admission::of(&route, &HeaderMap::from_iter([field]))
    }

    #[tokio::test]
    async fn an_outage_of_the_provider_ends_no_websocket_before_its_token_does() {
        let data = tempfile::tempdir().unwrap();
        let gone = JwksSource::File(data.path().join("gone.json"));
        let issuers = vec![IssuerConfig::only(gone)];
        let auth = AuthConfig {
            leeway: Duration::ZERO,
            ..AuthConfig::new(KeySource::Issuers(issuers))
        };
        let config = GatewayConfig::new(data.path(), auth);
        let plugins = Plugins::new(&config, &GatewayMetrics::new());
        let now_s = jsonwebtoken::get_current_timestamp();
        let lasting = admission(now_s + 3600);
        let ending = admission(now_s + 3);
        let begun = Instant::now();
        let ended = tokio::select! {
            error = lapse(&plugins, &lasting) => panic!("ended by {error:?}"),
            error = lapse(&plugins, &ending) => error,
            () = tokio::time::sleep(Duration::from_secs(20)) => panic!("it goes on"),
        };
        assert!(matches!(ended, AuthError::Unauthorized { .. }), "{ended:?}");
        assert!(
            begun.elapsed() >= Duration::from_secs(1),
            "it ended at once"
        );
    }
}
