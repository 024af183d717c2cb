//! Bodies of calls, in both directions.

use crate::bodies::Empties;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The end of a request, for all that is at work for it.
#[derive(Clone, Default)]
pub(crate) struct Over {
    token: CancellationToken,
    open: Arc<Mutex<Vec<Weak<dyn BodyCell>>>>,
}

/// Where a body is until the end of its request, or its own.
trait BodyCell: Send + Sync {
    /// Drops the body, except while it is being polled: then its poller does.
    fn empty(&self);
}

impl<B: Send> BodyCell for Mutex<Option<B>> {
    fn empty(&self) {
        // Dropped after the lock is released: what else ends with it may come back here.
        let body = self.try_lock().and_then(|mut body| body.take());
        drop(body);
    }
}

impl Over {
    /// The request ends here, and with it the bodies of its calls, even those that a guest keeps
    /// and never reads.
    pub(crate) fn end(&self) {
        self.token.cancel();
        let open = std::mem::take(&mut *self.open.lock());
        for slot in open.iter().filter_map(Weak::upgrade) {
            slot.empty();
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.token.is_cancelled()
    }

    /// `future`, for as long as the request lasts.
    pub(crate) async fn run<F: Future>(&self, future: F) -> Option<F::Output> {
        self.token.run_until_cancelled(future).await
    }

    fn hold<B: Send + 'static>(&self, body: B) -> Arc<Mutex<Option<B>>> {
        let slot = Arc::new(Mutex::new(Some(body)));
        let weak: Weak<Mutex<Option<B>>> = Arc::downgrade(&slot);
        let mut open = self.open.lock();
        open.retain(|slot| slot.strong_count() > 0);
        open.push(weak);
        drop(open);
        if self.is_over() {
            slot.empty();
        }
        slot
    }
}

/// A body that lasts no longer than the request that it belongs to: then it is cut, and dropped.
/// Empty pieces of it are passed over, as those of other bodies are.
pub(crate) struct Lasting<B: http_body::Body, P> {
    slot: Arc<Mutex<Option<B>>>,
    empties: Empties,
    request: Over,
    over: Pin<Box<WaitForCancellationFutureOwned>>,
    cut: fn() -> B::Error,
    /// What becomes of each of its frames.
    pass: P,
}

impl<B: http_body::Body + Send + 'static, P> Lasting<B, P> {
    pub(crate) fn new(body: B, over: &Over, pass: P, cut: fn() -> B::Error) -> Self {
        Lasting {
            slot: over.hold(body),
            empties: Empties::default(),
            request: over.clone(),
            over: Box::pin(over.token.clone().cancelled_owned()),
            cut,
            pass,
        }
    }
}

impl<B, P> http_body::Body for Lasting<B, P>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin,
    P: FnMut(Frame<Bytes>) -> Frame<Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        let polled = match &mut *this.slot.lock() {
            Some(body) if !this.request.is_over() => Some(this.empties.poll_frame(body, cx)),
            _ => None,
        };
        let cut = match &polled {
            Some(Poll::Pending) => this.over.as_mut().poll(cx).is_ready(),
            Some(Poll::Ready(_)) => false,
            None => true,
        };
        // It may have ended during the poll, which kept the body from being dropped.
        if this.request.is_over() {
            this.slot.empty();
        }
        match polled {
            Some(frame) if !cut => frame.map_ok(&mut this.pass),
            _ => Poll::Ready(Some(Err((this.cut)()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        let body = self.slot.lock();
        body.as_ref().is_some_and(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.slot.lock();
        body.as_ref().map(B::size_hint).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hms_core::body::Body;
    use http_body_util::BodyExt;
    use http_body_util::channel::Channel;
    use std::convert::Infallible;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn forwarded_body_ends_with_its_request_in_any_state() {
        let body = || {
            let (pieces, body) = Channel::<Bytes, Infallible>::new(4);
            (pieces, body.map_err(|never| match never {}).boxed_unsync())
        };
        let over = Over::default();
        let (mut pieces, inner): (_, Body) = body();
        let mut waits = Lasting::new(inner, &over, |frame| frame, || "over".into());
        pieces.send_data(Bytes::from_static(b"one")).await.unwrap();
        assert!(waits.frame().await.unwrap().is_ok());
        let (mut pieces, inner): (_, Body) = body();
        let mut has_more = Lasting::new(inner, &over, |frame| frame, || "over".into());
        pieces.send_data(Bytes::from_static(b"two")).await.unwrap();
        let waiting = tokio::spawn(async move { waits.frame().await.unwrap().is_err() });
        tokio::time::sleep(Duration::from_millis(10)).await;
        over.end();
        assert!(waiting.await.unwrap());
        assert!(has_more.frame().await.unwrap().is_err());
    }

    #[tokio::test]
    async fn body_that_nobody_reads_is_dropped_at_the_end_of_its_request() {
        let over = Over::default();
        let body = || {
            let (pieces, body) = Channel::<Bytes, Infallible>::new(4);
            let body: Body = body.map_err(|never| match never {}).boxed_unsync();
            (
                pieces,
                Lasting::new(body, &over, |frame| frame, || "over".into()),
            )
        };
        let (mut pieces, mut kept) = body();
        pieces.send_data(Bytes::from_static(b"one")).await.unwrap();
        over.end();
        assert!(pieces.send_data(Bytes::new()).await.is_err());
        assert!(kept.frame().await.unwrap().is_err());
        let (mut pieces, _late) = body();
        assert!(pieces.send_data(Bytes::new()).await.is_err());
    }
}
