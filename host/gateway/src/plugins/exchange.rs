//! One request and its answer, on their way through the gateway.

use super::admission::Admission;
use super::outcome::ForwardOutcome;
use super::{Notes, Plugins, Rules};
use crate::request::body::Pace;
use crate::request::caller::Caller;
use crate::request::origin::{Asked, Origin};
use crate::request::stamp::{Passage, stamp};
use crate::request::target::Target;
use crate::request::trace::Trace;
use crate::request::upload::Upload;
use crate::routes::ActiveRoute;
use crate::upstream::{UpgradeRequest, Upstreams};
use hms_core::error::RequestError;
use hms_core::trace::Spans;
use hms_net::connection_limit::Holder;
use http::header::HeaderMap;
use http::request::Parts;
use http::{Method, Request};
use std::sync::Arc;
use std::time::Duration;

/// Everything known about one request. It is filled while the request is read, matched and
/// admitted. From then on it is only read, and is shared by whatever takes part in the answer: a
/// task that outlives the client, or a middleware that calls the upstream several times.
pub struct Exchange {
    /// What the plugins share between requests.
    pub plugins: Arc<Plugins>,
    /// The connections to all upstreams.
    pub upstreams: Arc<Upstreams>,

    /// The request id and the trace context.
    pub trace: Trace,
    /// Where the parts of its work are noted.
    pub spans: Spans,
    /// As it came, for the log and the response side.
    pub method: Method,
    /// As received; cleaned once it has been checked; empty once the request has been forwarded.
    pub head: Parts,
    /// Empty until the head has been read.
    pub target: Target,
    /// That of the connection until the head has been read.
    pub origin: Origin,
    /// What a trusted proxy says of the address that the client asked for.
    pub asked: Asked,
    /// Whether the client accepts trailers, as gRPC announces it (`TE: trailers`).
    pub trailers: bool,
    /// Whether the client has sent no body.
    pub bodyless: bool,
    /// The WebSocket that the client asks for.
    pub upgrade: Option<UpgradeRequest>,

    /// None until the request has matched.
    pub route: Option<Arc<ActiveRoute>>,
    /// For a request without a route: the route of the same path whose `cors` decides which pages
    /// may read the refusal.
    pub beside: Option<Arc<ActiveRoute>>,
    /// The limits that apply to this request.
    pub bounds: Bounds,
    /// What the plugins noted for their response sides.
    pub notes: Notes,
    /// None until `auth` has run, and on routes without `auth`.
    pub caller: Option<Caller>,

    /// Checked again while the request lasts. Empty if nobody does that.
    pub admission: Admission,
    /// Whom the request is counted against at services.
    pub holder: Holder,
    /// The credentials for a service behind a middleware that does not see them. Contains no API
    /// key of ours.
    pub credentials: HeaderMap,
    /// The progress of the request's body.
    pub upload: Upload,
    /// The result of forwarding the request.
    pub outcome: ForwardOutcome,
}

/// The bounds of one request: the host's limits, as modified by the route's plugins.
pub struct Bounds {
    /// Bytes of the request's body.
    pub max_body_bytes: u64,
    /// How slowly the client may send the body.
    pub body_pace: Pace,
    /// Whether a small body is read before the upstream is asked.
    pub early_body: bool,
    /// Time until the upstream has sent the head of its answer.
    pub response: Option<Duration>,
    /// How long an answer may pause once it has begun. None: the upstream's own limit.
    pub stream_idle: Option<Duration>,
}

impl Bounds {
    /// The host's bounds, for a request whose route sets none.
    pub fn new(max_body_bytes: u64, body_pace: Pace) -> Self {
        Bounds {
            max_body_bytes,
            body_pace,
            early_body: true,
            response: None,
            stream_idle: None,
        }
    }

    /// Bounds the request's body to so many bytes.
    pub fn no_larger_than(&mut self, bytes: u64) {
        self.max_body_bytes = self.max_body_bytes.min(bytes);
    }
}

impl Exchange {
    /// For a request with this `head`, received on a connection from `connection`.
    pub fn new(
        plugins: Arc<Plugins>,
        upstreams: Arc<Upstreams>,
        head: Parts,
        (trace, spans): (Trace, Spans),
        connection: Origin,
        bounds: Bounds,
    ) -> Self {
        Exchange {
            plugins,
            upstreams,
            trace,
            spans,
            method: head.method.clone(),
            head,
            target: Target::default(),
            origin: connection,
            asked: Asked::default(),
            trailers: false,
            bodyless: false,
            upgrade: None,
            route: None,
            beside: None,
            bounds,
            notes: Notes::default(),
            caller: None,
            admission: Admission::default(),
            holder: Holder::of(connection.client),
            credentials: HeaderMap::new(),
            upload: Upload::default(),
            outcome: ForwardOutcome::default(),
        }
    }

    /// The rules of its route; if `unmatched`, of the route in `beside` as well.
    pub fn rules(&self, unmatched: bool) -> Option<&Rules> {
        let beside = self.beside.as_ref().filter(|_| unmatched);
        self.route.as_ref().or(beside).map(|route| &route.rules)
    }

    /// The route of the request.
    ///
    /// # Errors
    ///
    /// If the request has not been matched yet, which is a fault of the host.
    pub fn matched(&self) -> Result<&Arc<ActiveRoute>, RequestError> {
        let unmatched = || RequestError::internal("a request is sent on without a route");
        self.route.as_ref().ok_or_else(unmatched)
    }

    /// The request matched `route`.
    pub fn goes_by(&mut self, route: &Arc<ActiveRoute>) {
        self.notes = Notes::of(&route.rules, &self.head, true);
        self.route = Some(route.clone());
    }

    /// The request matched no route; `beside` decides which pages may read the refusal.
    pub fn goes_nowhere(&mut self, beside: Option<&Arc<ActiveRoute>>) {
        if let Some(beside) = beside {
            self.notes = Notes::of(&beside.rules, &self.head, false);
        }
        self.beside = beside.cloned();
    }

    /// Takes the head out, to be forwarded.
    pub fn take_head(&mut self) -> Parts {
        let (empty, ()) = Request::default().into_parts();
        std::mem::replace(&mut self.head, empty)
    }

    /// Sets the gateway's fields for the upstream on clean headers.
    ///
    /// # Errors
    ///
    /// If the caller's name or the path cannot be a header value.
    pub fn stamp(&self, headers: &mut HeaderMap) -> Result<(), RequestError> {
        let passage = Passage {
            target: &self.target,
            origin: self.origin,
            asked: &self.asked,
            stripped: &self.matched()?.strip,
            trace: &self.trace,
            context: self.trace.context,
            caller: self.caller.as_ref(),
        };
        Ok(stamp(headers, &passage)?)
    }
}
