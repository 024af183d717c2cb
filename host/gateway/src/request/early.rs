//! Reads small request bodies before their upstream is asked. A slow client then holds no instance
//! of a window, and no worker of a service, while it sends a form.
//!
//! Nothing is refused here. If the body is larger, takes longer, or memory is short, the upstream
//! is asked with what has arrived, and the rest is streamed. A stream whose sender waits for the
//! beginning of the answer thus still starts.

use crate::limits::Limits;
use crate::metrics::{ShareHits, Whose};
use crate::request::body::RequestBody;
use crate::request::rejection::Rejection;
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use hms_core::body::{self, Body, BodyError, PolledFrame};
use hms_core::error::{Cause, RequestError};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The name of the memory bound in metrics.
const BODIES: &str = "early-bodies";

/// Reads the bodies of all requests within one memory bound.
pub struct EarlyBodies {
    most: usize,
    known: Duration,
    unknown: Duration,
    free: Arc<AtomicU64>,
    hits: ShareHits,
}

/// A part of the bound, in bytes, returned on drop.
struct Held {
    free: Arc<AtomicU64>,
    bytes: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.free.fetch_add(self.bytes, Relaxed);
    }
}

impl EarlyBodies {
    /// `hits` counts how often memory was short.
    pub fn new(limits: &Limits, hits: &ShareHits) -> Self {
        EarlyBodies {
            most: limits.early_body_bytes,
            known: limits.early_known,
            unknown: limits.early_unknown,
            free: Arc::new(AtomicU64::new(limits.max_early_bytes)),
            hits: hits.clone(),
        }
    }

    fn hold(&self, bytes: usize) -> Option<Held> {
        let bytes = bytes as u64;
        let held = self
            .free
            .fetch_update(Relaxed, Relaxed, |free| free.checked_sub(bytes));
        if held.is_err() {
            self.hits.hit(BODIES, Whose::Host);
            return None;
        }
        Some(Held {
            free: self.free.clone(),
            bytes,
        })
    }

    /// Reads `body` as far as the bounds allow.
    ///
    /// # Errors
    ///
    /// If the body broke off, or was too large or too slow. The upstream is then not asked.
    pub async fn read(&self, mut body: RequestBody) -> Result<Body, RequestError> {
        if body.is_end_stream() {
            return Ok(body.boxed_unsync());
        }
        let length = body.size_hint().exact();
        let length = length.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        let most = length.unwrap_or(self.most);
        if most > self.most {
            return Ok(body.boxed_unsync());
        }
        let mut early = Early::default();
        // What arrived with the head, usually everything, costs neither a copy nor a timer.
        if let Some(frame) = body.frame().now_or_never() {
            match piece(frame)? {
                Piece::Data(data) => early.first = Some(data),
                Piece::Trailers(trailers) => early.trailers = Some(trailers),
                Piece::End => {}
            }
            if body.is_end_stream() || early.first.is_none() {
                return Ok(early.before(body));
            }
        }
        let Some(held) = self.hold(most) else {
            body.unasked();
            return Ok(early.before(body));
        };
        let wait = match length {
            Some(_) => self.known,
            None => self.unknown,
        };
        let until = Instant::now() + wait;
        let mut whole = BytesMut::with_capacity(most);
        // Copied, because a piece of one byte would keep alive the whole buffer that it was read
        // into.
        whole.extend_from_slice(&early.first.take().unwrap_or_default());
        while whole.len() < most
            && !body.is_end_stream()
            && let Ok(frame) = timeout_at(until, body.frame()).await
        {
            match piece(frame)? {
                Piece::Data(more) if more.len() <= most - whole.len() => {
                    whole.extend_from_slice(&more);
                }
                Piece::Data(more) => {
                    early.second = Some(more);
                    break;
                }
                Piece::Trailers(trailers) => {
                    early.trailers = Some(trailers);
                    break;
                }
                Piece::End => break,
            }
        }
        // Its time is over. The upstream may never ask for the rest.
        body.unasked();
        early.first = (!whole.is_empty()).then(|| whole.freeze());
        early.held = Some(held);
        Ok(early.before(body))
    }
}

/// What a frame of a body is.
enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
}

fn piece(frame: Option<Result<Frame<Bytes>, BodyError>>) -> Result<Piece, RequestError> {
    match frame {
        None => Ok(Piece::End),
        Some(Ok(frame)) => Ok(match frame.into_data() {
            Ok(data) => Piece::Data(data),
            Err(frame) => Piece::Trailers(frame.into_trailers().unwrap_or_default()),
        }),
        Some(Err(error)) => Err(match error.downcast::<RequestError>() {
            Ok(error) => *error,
            Err(error) => Rejection::BodyBroken(Cause::of(error)).into(),
        }),
    }
}

/// What was read, followed by the rest as it arrives.
#[derive(Default)]
struct Early {
    first: Option<Bytes>,
    /// The frame that did not fit.
    second: Option<Bytes>,
    /// Nothing follows.
    trailers: Option<HeaderMap>,
    rest: Option<RequestBody>,
    held: Option<Held>,
}

impl Early {
    fn before(mut self, rest: RequestBody) -> Body {
        self.rest = Some(rest);
        self.boxed_unsync()
    }

    fn bytes(&self) -> u64 {
        let pieces = [&self.first, &self.second];
        let bytes = pieces.map(|piece| piece.as_ref().map_or(0, Bytes::len) as u64);
        bytes.iter().sum()
    }
}

impl HttpBody for Early {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        if let Some(piece) = self.first.take().or_else(|| self.second.take()) {
            // From here on the memory is charged to the upstream.
            self.held = None;
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        let rest = self.rest.as_ref();
        self.bytes() == 0 && self.trailers.is_none() && rest.is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.as_ref().map(HttpBody::size_hint);
        body::with_first(rest.unwrap_or_default(), self.bytes())
    }
}
