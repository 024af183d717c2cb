//! The answer of a service: cut if nothing moves for too long, in either direction.

use super::UpstreamError;
use crate::request::upload::Upload;
use bytes::Bytes;
use hms_core::body::{Body, BodyError, PolledFrame};
use hms_core::delegate;
use hms_core::error::RequestError;
use http_body::Body as HttpBody;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// A service's answer. `guard` is what its request holds there, until this is dropped.
pub(super) struct ServiceBody<G> {
    inner: Body,
    idle: Duration,
    /// The progress of the request's body, which may still move.
    upload: Upload,
    /// When the wait for the service began, and when it is checked again. Runs only while the
    /// client asks for more.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    over: bool,
    _guard: G,
}

impl<G> ServiceBody<G> {
    /// Allows a silence of `idle`.
    pub(super) fn new(inner: Body, idle: Duration, upload: Upload, guard: G) -> Self {
        ServiceBody {
            inner,
            idle,
            upload,
            waiting: None,
            over: false,
            _guard: guard,
        }
    }
}

impl<G: Unpin> HttpBody for ServiceBody<G> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            this.waiting = None;
            return Poll::Ready(frame);
        }
        let idle = this.idle;
        let (since, until) = this
            .waiting
            .get_or_insert_with(|| (Instant::now(), Box::pin(sleep(idle))));
        loop {
            ready!(until.as_mut().poll(cx));
            let moved = (*since).max(this.upload.last_moved());
            if moved.elapsed() >= idle {
                this.over = true;
                let error = RequestError::from(UpstreamError::Idle { limit: idle });
                return Poll::Ready(Some(Err(error.into())));
            }
            until.as_mut().reset(moved + idle);
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.inner.is_end_stream()
    }

    delegate!(inner: size_hint);
}
