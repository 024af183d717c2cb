//! The request body on its way to the upstream: bounded in size and in pauses, and without trailers.

use crate::body::BodyError;
use crate::linger::Inbound;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// Says afterwards why the upstream did not get the whole body.
#[derive(Clone, Default)]
pub struct Overflow(Arc<AtomicBool>);

impl Overflow {
    /// Whether the body was larger than its limit.
    pub fn happened(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error("the request body is larger than {0} bytes")]
    TooLarge(u64),
    #[error("nothing of the request body came for {} s", .0.as_secs_f32())]
    Idle(Duration),
}

/// Trailers are dropped: no window reads them, and they could claim an identity after the headers were checked.
pub struct RequestBody {
    inner: Inbound,
    left: u64,
    limit: u64,
    overflow: Overflow,
    idle_timeout: Duration,
    /// Runs only while the client is waited for, not while the upstream takes its time.
    idle: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

impl RequestBody {
    pub fn new(inner: Inbound, limit: u64, idle_timeout: Duration, overflow: Overflow) -> Self {
        RequestBody {
            inner,
            left: limit,
            limit,
            overflow,
            idle_timeout,
            idle: None,
            ended: false,
        }
    }

    fn cut(&mut self, cut: Cut) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.ended = true;
        Poll::Ready(Some(Err(cut.into())))
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.idle = None;
                let Ok(data) = frame.into_data() else {
                    this.ended = true;
                    return Poll::Ready(None);
                };
                let Some(left) = this.left.checked_sub(data.len() as u64) else {
                    this.overflow.0.store(true, Ordering::Release);
                    return this.cut(Cut::TooLarge(this.limit));
                };
                this.left = left;
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Poll::Ready(Some(Err(error))) => {
                this.ended = true;
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => {
                this.ended = true;
                Poll::Ready(None)
            }
            Poll::Pending => {
                let timeout = this.idle_timeout;
                let idle = this.idle.get_or_insert_with(|| Box::pin(sleep(timeout)));
                match idle.as_mut().poll(cx) {
                    Poll::Ready(()) => this.cut(Cut::Idle(timeout)),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
