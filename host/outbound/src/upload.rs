//! The body of a request on its way out: counted, bounded, and held to the length that its head
//! names.

use hms_core::body::{Body, BodyError, PolledFrame};
use hms_core::delegate;
use hms_core::outgoing::CallError;
use http_body::Body as HttpBody;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

/// How far the body is, for those who do not have it.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    sent: AtomicU64,
    failure: OnceLock<CallError>,
}

impl Progress {
    /// Bytes taken from the guest.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Why it ended before its end.
    pub(crate) fn failure(&self) -> Option<CallError> {
        self.failure.get().cloned()
    }
}

/// A body of a request.
pub(crate) struct Upload {
    inner: Body,
    progress: Arc<Progress>,
    most: u64,
    /// As its head says.
    length: Option<u64>,
}

impl Upload {
    /// May be as long as `most`, and must be as long as `length`.
    pub(crate) fn new(
        inner: Body,
        progress: Arc<Progress>,
        most: u64,
        length: Option<u64>,
    ) -> Upload {
        Upload {
            inner,
            progress,
            most,
            length,
        }
    }

    fn fail(&self, error: CallError) -> BodyError {
        // The first one says why.
        let _ = self.progress.failure.set(error.clone());
        error.into()
    }
}

impl HttpBody for Upload {
    type Data = bytes::Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        let this = &mut *self;
        let polled = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        let sent = this.progress.sent();
        let too_short = this.length.is_some_and(|length| sent < length);
        Poll::Ready(match polled {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                let sent = sent.saturating_add(bytes);
                let most = this.length.unwrap_or(this.most).min(this.most);
                if sent > most || (frame.is_trailers() && too_short) {
                    return Poll::Ready(Some(Err(this.fail(CallError::RequestBodySize))));
                }
                this.progress.sent.store(sent, Relaxed);
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                let known = error.downcast::<CallError>();
                let error = known.map_or(CallError::ConnectionTerminated, |error| *error);
                Some(Err(this.fail(error)))
            }
            None if too_short => Some(Err(this.fail(CallError::RequestBodySize))),
            None => None,
        })
    }

    delegate!(inner: is_end_stream, size_hint);
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};

    async fn sent(
        pieces: &[&'static str],
        most: u64,
        length: Option<u64>,
    ) -> Result<Bytes, CallError> {
        let frames: Vec<Result<_, BodyError>> = pieces
            .iter()
            .map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes()))))
            .collect();
        let body = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
        let progress = Arc::new(Progress::default());
        let upload = Upload::new(body, progress.clone(), most, length);
        match upload.collect().await {
            Ok(whole) => {
                assert_eq!(progress.failure(), None);
                Ok(whole.to_bytes())
            }
            Err(_) => Err(progress.failure().unwrap()),
        }
    }

    #[tokio::test]
    async fn body_ends_at_its_bound_and_at_the_length_that_its_head_names() {
        let pieces = ["abc", "def"];
        let whole = Ok(Bytes::from_static(b"abcdef"));
        let size = Err(CallError::RequestBodySize);
        assert_eq!(sent(&pieces, 6, None).await, whole);
        assert_eq!(sent(&pieces, 6, Some(6)).await, whole);
        assert_eq!(sent(&pieces, 5, None).await, size);
        assert_eq!(sent(&pieces, 9, Some(5)).await, size);
        assert_eq!(sent(&pieces, 9, Some(7)).await, size);
    }
}
