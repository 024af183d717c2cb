//! The one body type that travels between gateway, windows and network.

use crate::delegate;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Why a body ended before its end.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A streaming body, either direction. Nothing in the host collects one whole.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// What polling a [`Body`] for its next frame gives.
pub type PolledFrame = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

/// The size hint of a body of which so many bytes more come first.
pub fn with_first(mut hint: SizeHint, bytes: u64) -> SizeHint {
    if let Some(upper) = hint.upper() {
        hint.set_upper(upper.saturating_add(bytes));
    }
    hint.set_lower(hint.lower().saturating_add(bytes));
    hint
}

/// A body, and what lasts as long as it.
pub struct Guarded<G> {
    inner: Body,
    _guard: G,
}

impl<G> Guarded<G> {
    /// Keeps `guard` until the body is dropped.
    pub fn new(inner: Body, guard: G) -> Self {
        let _guard = guard;
        Guarded { inner, _guard }
    }
}

impl<G: Unpin> http_body::Body for Guarded<G> {
    type Data = Bytes;
    type Error = BodyError;

    delegate!(inner: poll_frame, is_end_stream, size_hint);
}

/// `inner`, of whose trailers `clean` leaves what may pass.
pub fn with_trailers(inner: Body, clean: impl Fn(&mut HeaderMap) + Send + Unpin + 'static) -> Body {
    Trailed(inner, clean).boxed_unsync()
}

struct Trailed<C>(Body, C);

impl<C: Fn(&mut HeaderMap) + Unpin> http_body::Body for Trailed<C> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        loop {
            let frame = match std::task::ready!(Pin::new(&mut self.0).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                ended => return Poll::Ready(ended),
            };
            match frame.into_trailers() {
                Err(frame) => return Poll::Ready(Some(Ok(frame))),
                Ok(mut trailers) => {
                    (self.1)(&mut trailers);
                    if !trailers.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                    }
                }
            }
        }
    }

    delegate!(0: is_end_stream, size_hint);
}

/// A body with no bytes.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body that is already in memory, for the host's own short answers.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}
