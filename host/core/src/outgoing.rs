//! How a window calls out: to services of the network, and to other windows. The runtime asks
//! through the trait; who is behind it decides what is granted.

use crate::body::Body;
use crate::trace::Spans;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Windows that may stand in one chain of calls, the first included: 4 are deep enough for any
/// composition, and a mistake that calls in circles ends at once.
pub const MAX_CALL_DEPTH: usize = 4;

/// Calls between windows that one request of a client may cause, over all windows: 128.
pub const MAX_CALLS_OF_ROOT: u32 = 128;

/// Outgoing requests to services.
pub trait Outgoing: Send + Sync {
    /// Sends `request`, whose URI is absolute, for `from`. The future ends with the head of the
    /// answer; what the call holds it holds until the body of the answer has ended or was dropped.
    ///
    /// # Errors
    /// Why there is no answer.
    fn send(
        &self,
        from: OnBehalf,
        request: Request<Body>,
        requested: RequestedTimeouts,
    ) -> BoxFuture<'static, Result<Response<Body>, CallError>>;
}

impl std::fmt::Debug for dyn Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outgoing")
    }
}

/// The timeouts that the guest requests for one call: each can only shorten what the host allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestedTimeouts {
    /// Until there is a connection.
    pub connect: Option<Duration>,
    /// Until the head of the answer.
    pub first_byte: Option<Duration>,
    /// Between two pieces of the body of the answer.
    pub between_bytes: Option<Duration>,
}

/// For whom a call is made: the request that the instance has in hand.
#[derive(Debug, Clone)]
pub struct OnBehalf {
    /// The calling window.
    pub window: Arc<str>,
    /// Its release.
    pub release: u64,
    /// The request's id, as the gateway gave it.
    pub request_id: Option<HeaderValue>,
    /// The request's `traceparent`.
    pub traceparent: Option<HeaderValue>,
    /// The verified user of the request.
    pub user: Option<HeaderValue>,
    /// The verified scopes of the request.
    pub scopes: Option<HeaderValue>,
    /// When the request is over at the latest.
    pub deadline: Option<Instant>,
    /// Until when its own answer is to begin, where somebody waits no longer for that.
    pub begin_by: Option<BeginBy>,
    /// Outgoing calls that the request has made so far. The runtime counts, and holds the window
    /// to its limit, before it asks.
    pub calls: Arc<AtomicU32>,
    /// How the request came to this window.
    pub chain: CallChain,
    /// Where the call is noted.
    pub spans: Spans,
}

/// Until when the answer to the request in hand is to begin. A call that is made for it ends then,
/// unless the answer has begun: it may be what is passed on.
#[derive(Clone)]
pub struct BeginBy {
    /// Until when.
    pub at: Instant,
    /// Whether it has begun.
    pub has_begun: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl BeginBy {
    /// Whether a call is too late, as of `now`.
    pub fn is_over(&self, now: Instant) -> bool {
        now >= self.at && !(self.has_begun)()
    }
}

impl std::fmt::Debug for BeginBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("BeginBy").field(&self.at).finish()
    }
}

/// The windows through which a request has come, the first first, and what all of them may still
/// do together.
#[derive(Debug, Clone, Default)]
pub struct CallChain {
    windows: Arc<[Arc<str>]>,
    calls: Arc<AtomicU32>,
}

impl CallChain {
    /// Windows before the one that is asked now: 0 for a request of a client.
    pub fn depth(&self) -> usize {
        self.windows.len()
    }

    /// Whether the window that is asked now may call another at all: not if it is the last that
    /// [`MAX_CALL_DEPTH`] allows.
    pub fn may_go_on(&self) -> bool {
        // With the caller and the callee.
        self.windows.len() + 2 <= MAX_CALL_DEPTH
    }

    /// The chain of a call that `caller` makes to `callee`.
    ///
    /// # Errors
    /// [`CallError::LoopDetected`] where `callee` is in the chain already, or the chain is longer
    /// than [`MAX_CALL_DEPTH`]; [`CallError::TooManyCalls`] beyond [`MAX_CALLS_OF_ROOT`].
    pub fn onward(&self, caller: &Arc<str>, callee: &str) -> Result<CallChain, CallError> {
        let is_callee = |window: &Arc<str>| **window == *callee;
        let repeats = is_callee(caller) || self.windows.iter().any(is_callee);
        if repeats || !self.may_go_on() {
            return Err(CallError::LoopDetected);
        }
        if self.calls.fetch_add(1, Relaxed) >= MAX_CALLS_OF_ROOT {
            return Err(CallError::TooManyCalls);
        }
        let windows = self.windows.iter().chain([caller]).cloned().collect();
        Ok(CallChain {
            windows,
            calls: self.calls.clone(),
        })
    }
}

/// Why a call has no answer, or its body none to the end. The guest sees the error of WASI HTTP
/// (`wasi:http/types.error-code`) that is named with each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// `HTTP-request-denied`.
    #[error("no grant allows it")]
    Denied,
    /// `HTTP-request-URI-invalid`.
    #[error("invalid URI: {0}")]
    UriInvalid(&'static str),
    /// `destination-IP-prohibited`.
    #[error("the address of the service is not allowed")]
    AddressProhibited,
    /// `DNS-error`.
    #[error("the name of the service has no address")]
    DnsError,
    /// `connection-refused`.
    #[error("the service refuses connections")]
    ConnectionRefused,
    /// `connection-terminated`.
    #[error("the connection broke off")]
    ConnectionTerminated,
    /// `connection-limit-reached`.
    #[error("the limit of concurrent calls or connections is reached")]
    ConnectionLimit,
    /// `connection-limit-reached`.
    #[error("the request has reached its call limit")]
    TooManyCalls,
    /// `connection-timeout`: no connection in time.
    #[error("no connection in time")]
    ConnectTimeout,
    /// `HTTP-response-timeout`: no answer in time.
    #[error("no answer in time")]
    ResponseTimeout,
    /// `connection-read-timeout`: the body of the answer stands still.
    #[error("the answer stalled")]
    ReadTimeout,
    /// `TLS-certificate-error`: the certificate of the service is not accepted.
    #[error("the certificate of the service is not accepted: {0}")]
    Certificate(String),
    /// `TLS-protocol-error`.
    #[error("TLS with the service failed: {0}")]
    Tls(String),
    /// `HTTP-request-body-size`.
    #[error("the body of the request is larger than the window may send")]
    RequestBodySize,
    /// `HTTP-response-body-size`.
    #[error("the body of the answer is larger than the window may receive")]
    ResponseBodySize,
    /// `HTTP-response-header-section-size`.
    #[error("the head of the answer is larger than the window may receive")]
    ResponseHeadSize,
    /// `HTTP-protocol-error`.
    #[error("the service does not speak valid HTTP")]
    Protocol,
    /// `loop-detected`.
    #[error("call loop, or call chain too long")]
    LoopDetected,
    /// `destination-unavailable`.
    #[error("the service is not available")]
    Unavailable,
    /// `internal-error`.
    #[error("the host could not make the call")]
    Internal,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Arc<str> {
        name.into()
    }

    #[test]
    fn chain_ends_where_a_window_would_be_asked_twice_or_too_deep() {
        let root = CallChain::default();
        assert_eq!(
            root.onward(&name("a"), "a").err(),
            Some(CallError::LoopDetected)
        );
        let ab = root.onward(&name("a"), "b").unwrap();
        assert_eq!(ab.depth(), 1);
        assert_eq!(
            ab.onward(&name("b"), "a").err(),
            Some(CallError::LoopDetected)
        );
        let bc = ab.onward(&name("b"), "c").unwrap();
        let cd = bc.onward(&name("c"), "d").unwrap();
        assert_eq!(cd.depth(), 3);
        let may_go_on = [&root, &ab, &bc, &cd].map(CallChain::may_go_on);
        assert_eq!(may_go_on, [true, true, true, false]);
        assert_eq!(
            cd.onward(&name("d"), "e").err(),
            Some(CallError::LoopDetected)
        );
    }

    #[test]
    fn calls_of_one_root_are_bounded_over_all_its_windows() {
        let root = CallChain::default();
        let below = root.onward(&name("a"), "b").unwrap();
        for _ in 1..MAX_CALLS_OF_ROOT {
            below.onward(&name("b"), "c").unwrap();
        }
        assert_eq!(
            root.onward(&name("a"), "b").err(),
            Some(CallError::TooManyCalls)
        );
    }
}
