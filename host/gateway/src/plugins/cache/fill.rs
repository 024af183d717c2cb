//! The body of an answer that is stored once it has passed whole.

use super::key::Key;
use super::memory::{Held, Memory};
use super::plan::Plan;
use super::stored::{Arrival, Stored};
use crate::metrics::NotCached;
use crate::routes::ActiveRoute;
use crate::upstream::Upstreams;
use bytes::Bytes;
use hms_core::body::{Body, BodyError, PolledFrame};
use hms_core::delegate;
use hms_core::framing;
use http::response::Parts;
use http::{HeaderMap, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};

/// Where an answer goes, and what it is stored with.
pub(super) struct Destined {
    pub(super) memory: Arc<Memory>,
    pub(super) upstreams: Arc<Upstreams>,
    pub(super) route: Arc<ActiveRoute>,
    pub(super) key: Key,
    /// The fields of the request, as the upstream saw them.
    pub(super) seen: HeaderMap,
    pub(super) plan: Plan,
    pub(super) from: Arrival,
    pub(super) max_body: u64,
}

/// An answer on its way into the memory.
struct Fill {
    destined: Box<Destined>,
    status: StatusCode,
    headers: HeaderMap,
    /// As the head says it.
    length: Option<u64>,
    bytes: Vec<u8>,
    held: Held,
}

impl Destined {
    /// The answer, which is stored with its last byte; and whether it is, as far as its head tells.
    pub(super) fn fill(self, response: Response<Body>) -> (Response<Body>, bool) {
        let hint = response.body().size_hint();
        let told = framing::length(response.headers()).ok().flatten();
        let length = told.or(hint.exact());
        if length.unwrap_or(hint.lower()) > self.max_body {
            self.memory.not_cached(NotCached::TooLarge);
            return (response, false);
        }
        let mut held = self.memory.hold();
        let expected = usize::try_from(length.unwrap_or_default()).unwrap_or(usize::MAX);
        if !held.grow_to(expected) {
            self.memory.not_cached(NotCached::Memory);
            return (response, false);
        }
        let (head, inner) = response.into_parts();
        let Parts {
            status, headers, ..
        } = &head;
        let fill = Fill {
            destined: Box::new(self),
            status: *status,
            headers: headers.clone(),
            length,
            bytes: Vec::with_capacity(expected),
            held,
        };
        if inner.is_end_stream() {
            // Nobody asks such a body for its end.
            fill.finish();
            return (Response::from_parts(head, inner), true);
        }
        let fill = Some(fill);
        let body = FillingBody { inner, fill }.boxed_unsync();
        (Response::from_parts(head, body), true)
    }
}

impl Fill {
    /// Takes a piece. Gives whether the answer can still be stored.
    fn take(&mut self, data: &Bytes) -> bool {
        let bytes = self.bytes.len() + data.len();
        let most = self.length.unwrap_or(self.destined.max_body);
        if bytes as u64 > most {
            if self.length.is_none() {
                self.destined.memory.not_cached(NotCached::TooLarge);
            }
            return false;
        }
        // Of a body of unknown length the buffer doubles: what it takes is counted before.
        if bytes > self.bytes.capacity() && !self.held.grow_to(2 * bytes) {
            self.destined.memory.not_cached(NotCached::Memory);
            return false;
        }
        self.bytes.extend_from_slice(data);
        true
    }

    fn is_whole(&self) -> bool {
        self.length == Some(self.bytes.len() as u64)
    }

    /// The body has ended.
    fn finish(self) {
        let Destined {
            memory,
            upstreams,
            route,
            key,
            seen,
            plan,
            from,
            ..
        } = *self.destined;
        let short = self
            .length
            .is_some_and(|length| length != self.bytes.len() as u64);
        // An answer that came too late is not used in any case, and would take the place of one
        // that is.
        if short || !memory.holds(from.mark) || !upstreams.is_current(&route, from.source) {
            return;
        }
        let vary = plan.vary.clone();
        let stored = Stored::new(self.status, &self.headers, self.bytes, plan, from);
        drop(self.held);
        memory.put(key, &vary, &seen, stored);
    }
}

struct FillingBody {
    inner: Body,
    /// None once it is stored, or cannot be.
    fill: Option<Fill>,
}

impl http_body::Body for FillingBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> PolledFrame {
        let this = &mut *self;
        let polled = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        if let Some(mut fill) = this.fill.take() {
            match &polled {
                None => fill.finish(),
                Some(Ok(frame)) => {
                    // An answer with trailers is not stored.
                    if frame.data_ref().is_some_and(|data| fill.take(data)) {
                        match this.inner.is_end_stream() {
                            true => fill.finish(),
                            false => this.fill = Some(fill),
                        }
                    }
                }
                Some(Err(_)) => {}
            }
        }
        Poll::Ready(polled)
    }

    delegate!(inner: is_end_stream, size_hint);
}

impl Drop for FillingBody {
    /// Where the length is known, the server takes the last byte and does not ask for the end.
    fn drop(&mut self) {
        if let Some(fill) = self.fill.take().filter(Fill::is_whole) {
            fill.finish();
        }
    }
}
