//! What passes between a client and a clerk: bounded, timed, and ending as it did.

use super::errand::Errand;
use super::tally::Failures;
use crate::body::{Body, BodyError};
use crate::error::Error;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

/// Names and values, and the four bytes that HTTP/1.1 writes around each pair.
pub(super) fn check_headers(headers: &http::HeaderMap, limit: u64) -> Result<(), Error> {
    let bytes = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        name.as_str().len() + value.len() + 4
    };
    let sum: usize = headers.iter().map(bytes).sum();
    if sum as u64 > limit {
        return Err(Error::HeadersTooLarge { limit });
    }
    Ok(())
}

/// Empty pieces passed over before others have their turn.
const EMPTY_AT_ONCE: u32 = 64;

/// The next frame that says something. An endless row of empty pieces is no movement, and is not passed on: HTTP/2 would
/// make a frame of each.
fn poll_frame<B>(
    inner: &mut B,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, B::Error>>>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    for _ in 0..EMPTY_AT_ONCE {
        match ready!(Pin::new(&mut *inner).poll_frame(cx)) {
            Some(Ok(frame)) if frame.data_ref().is_some_and(Bytes::is_empty) => {}
            other => return Poll::Ready(other),
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// The request's body on its way to the clerk: bounded, and each piece noted.
pub(super) struct AskedBody {
    pub inner: Body,
    pub errand: Arc<Errand>,
    pub left: u64,
    /// Set where it was larger than that.
    pub too_large: Arc<AtomicBool>,
}

impl http_body::Body for AskedBody {
    type Data = Bytes;
    type Error = wasmtime_wasi_http::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = ready!(poll_frame(&mut self.inner, cx));
        self.errand.moved();
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                match self.left.checked_sub(bytes) {
                    Some(left) => {
                        self.left = left;
                        Some(Ok(frame))
                    }
                    None => {
                        self.too_large.store(true, Relaxed);
                        Some(Err(wasmtime_wasi_http::Error::HttpRequestBodySize(None)))
                    }
                }
            }
            Some(Err(error)) => Some(Err(request_body_error(error))),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A client's fault, as WASI HTTP can say it to a guest that reads the body.
fn request_body_error(error: BodyError) -> wasmtime_wasi_http::Error {
    if error
        .downcast_ref()
        .is_some_and(|e| matches!(e, Error::BodyTooLarge { .. }))
    {
        return wasmtime_wasi_http::Error::HttpRequestBodySize(None);
    }
    wasmtime_wasi_http::Error::ConnectionTerminated
}

/// Somebody waits for the answer; dropped, nobody does.
pub(super) struct Waiting(pub Arc<Errand>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// The body of an answer: ends as an error when the clerk failed before it had said everything. Without this
/// a clerk that is cut off would look to the client like one that had finished.
pub(super) struct AnswerBody {
    pub inner: wasmtime_wasi_http::WasiBody,
    pub waiting: Waiting,
    pub failures: Arc<Failures>,
    pub left: u64,
    pub limit: u64,
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = poll_frame(&mut self.inner, cx);
        let errand = &self.waiting.0;
        // A clerk that serves others goes on when the time of this one is over.
        let frame = match (frame, errand.poll_failure(cx.waker())) {
            (Poll::Pending, None) => return Poll::Pending,
            (Poll::Pending, Some(_)) => None,
            (Poll::Ready(frame), _) => frame,
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                errand.moved();
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                match self.left.checked_sub(bytes) {
                    Some(left) => {
                        self.left = left;
                        Some(Ok(frame))
                    }
                    None => {
                        let error = Error::ResponseTooLarge { limit: self.limit };
                        errand.fail(error.clone());
                        self.failures.note(&error);
                        Some(Err(error.into()))
                    }
                }
            }
            end => match (errand.failure(), end) {
                (Some(failure), _) => {
                    self.failures.note(failure);
                    Some(Err(failure.clone().into()))
                }
                (None, Some(Err(error))) => Some(Err(error.to_string().into())),
                (None, _) => {
                    errand.finish();
                    None
                }
            },
        })
    }

    fn is_end_stream(&self) -> bool {
        let errand = &self.waiting.0;
        let ended = self.inner.is_end_stream() && errand.failure().is_none();
        if ended {
            errand.finish();
        }
        ended
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
