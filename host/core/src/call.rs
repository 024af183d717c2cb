//! How windows are called, by the gateway and by each other, whoever runs them.

use crate::body::Body;
use crate::error::RequestError;
use crate::next::Next;
use crate::outgoing::CallChain;
use crate::stream_idle::StreamIdle;
use crate::trace::Spans;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use std::sync::Arc;
use std::time::Instant;

/// The windows, as those who call them see them. Whoever is behind it leases a release for the
/// request, and keeps the lease until the answer's body has ended.
pub trait Windows: Send + Sync {
    /// Lets `window` answer.
    fn call<'a>(&'a self, window: &'a str, call: WindowCall) -> BoxFuture<'a, WindowAnswer>;

    /// The edition that answers each request to `window` that a client makes now. None where none
    /// does: the window is closed, not deployed or internal, or a canary has a part of the
    /// requests. Cheap enough for each request. By default none, so that nothing is stored.
    fn edition(&self, _window: &str) -> Option<Edition> {
        None
    }
}

/// A release as it was loaded, with the grants in force: what the code of an answer was and could
/// know. No two are equal in the life of the process, not even where the window was removed
/// meanwhile, or the same release was loaded again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edition {
    /// Counts the releases that were loaded, of all windows.
    pub release: u64,
    /// Counts the changes of grants, of all windows.
    pub grants: u64,
}

/// A request to a window, and what the host knows of it.
pub struct WindowCall {
    /// Its URI is absolute: the authority that was asked for, and the path as the window is to see
    /// it. Its headers are cleaned and stamped by whoever calls.
    pub request: Request<Body>,
    /// The rest of its way, where the window is asked as a middleware.
    pub next: Option<Next>,
    /// How long its answer may be quiet, where that is not the default.
    pub stream_idle: Option<StreamIdle>,
    /// Until when its answer is to begin, the time not counted that its client is waited for. Calls
    /// that it makes end before, so that it can still answer.
    pub begin_by: Option<Instant>,
    /// Instances that wait for this answer, each with a place in the pool: middlewares and calling
    /// windows. 0 for a request that comes straight from a client.
    pub waiting: usize,
    /// Who asks; none where a client does, through the gateway.
    pub from: Option<Box<Asker>>,
    /// Where the parts of its work are noted.
    pub spans: Spans,
}

/// Who asks a window, if it is not a client.
#[derive(Debug, Clone)]
pub enum Asker {
    /// Another window.
    Window(CallingWindow),
    /// The host, which delivers an event. It reaches windows that are `internal`.
    Delivery(Delivery),
}

/// A delivery of an event, as the window that gets it is to treat it.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// By what a canary divides deliveries: the source and the key of the event, so that all events
    /// of a key are on one side.
    pub group: Arc<str>,
}

impl WindowCall {
    /// A request of a client, with nothing else to say of it.
    pub fn of_client(request: Request<Body>) -> Self {
        WindowCall {
            request,
            next: None,
            stream_idle: None,
            begin_by: None,
            waiting: 0,
            from: None,
            spans: Spans::default(),
        }
    }

    /// The window that asks, if one does.
    pub fn calling_window(&self) -> Option<&CallingWindow> {
        match self.from.as_deref() {
            Some(Asker::Window(window)) => Some(window),
            Some(Asker::Delivery(_)) | None => None,
        }
    }

    /// What is delivered, if the host asks.
    pub fn delivery(&self) -> Option<&Delivery> {
        match self.from.as_deref() {
            Some(Asker::Delivery(delivery)) => Some(delivery),
            Some(Asker::Window(_)) | None => None,
        }
    }
}

/// The window that calls another.
#[derive(Debug, Clone)]
pub struct CallingWindow {
    /// Its name.
    pub window: Arc<str>,
    /// The windows through which the request has come, this one included.
    pub chain: CallChain,
    /// When the caller's own request is over: the callee has no more time than that.
    pub deadline: Option<Instant>,
}

/// What came of a request to a window.
pub struct WindowAnswer {
    /// The head of the answer with its streaming body, or why there is none.
    pub outcome: Result<Response<Body>, RequestError>,
    /// The number of the release that was leased for it, also where that failed.
    pub release: Option<u64>,
    /// The edition that was leased for it. None where none was, or a canary chose among two.
    pub edition: Option<Edition>,
}
