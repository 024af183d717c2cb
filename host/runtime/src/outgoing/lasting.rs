//! Bodies of calls, in both directions.

use crate::bodies::Empties;
use bytes::Bytes;
use hms_core::delegate;
use http_body::Frame;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A body that lasts no longer than the request that it belongs to: then it is cut. Empty pieces of
/// it are passed over, as those of other bodies are.
pub(crate) struct Lasting<B: http_body::Body, P> {
    body: B,
    empties: Empties,
    token: CancellationToken,
    over: Pin<Box<WaitForCancellationFutureOwned>>,
    cut: fn() -> B::Error,
    /// What becomes of each of its frames.
    pass: P,
}

impl<B: http_body::Body, P> Lasting<B, P> {
    pub(crate) fn new(body: B, over: &CancellationToken, pass: P, cut: fn() -> B::Error) -> Self {
        Lasting {
            body,
            empties: Empties::default(),
            token: over.clone(),
            over: Box::pin(over.clone().cancelled_owned()),
            cut,
            pass,
        }
    }
}

impl<B, P> http_body::Body for Lasting<B, P>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    P: FnMut(Frame<Bytes>) -> Frame<Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        if this.token.is_cancelled() {
            return Poll::Ready(Some(Err((this.cut)())));
        }
        let frame = this.empties.poll_frame(&mut this.body, cx);
        if frame.is_pending() && this.over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err((this.cut)())));
        }
        frame.map_ok(&mut this.pass)
    }

    delegate!(body: is_end_stream, size_hint);
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
        let over = CancellationToken::new();
        let (mut pieces, inner): (_, Body) = body();
        let mut waits = Lasting::new(inner, &over, |frame| frame, || "over".into());
        pieces.send_data(Bytes::from_static(b"one")).await.unwrap();
        assert!(waits.frame().await.unwrap().is_ok());
        let (mut pieces, inner): (_, Body) = body();
        let mut has_more = Lasting::new(inner, &over, |frame| frame, || "over".into());
        pieces.send_data(Bytes::from_static(b"two")).await.unwrap();
        let waiting = tokio::spawn(async move { waits.frame().await.unwrap().is_err() });
        tokio::time::sleep(Duration::from_millis(10)).await;
        over.cancel();
        assert!(waiting.await.unwrap());
        assert!(has_more.frame().await.unwrap().is_err());
    }
}
