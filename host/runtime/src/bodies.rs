//! The bodies between a client and an instance: bounded and timed, and a broken one ends as broken.

use super::error::InstanceError;
use super::failures::Failures;
use super::host_memory::own_values;
use super::in_flight::InFlight;
use bytes::Bytes;
use hms_core::body::{self, Body, BodyError, PolledFrame};
use hms_core::delegate;
use hms_core::error::{Problem, RequestError};
use hms_core::trace::logged;
use http_body::{Frame, SizeHint};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// The largest first piece after which the next one is polled for at once. 16 KiB: a larger one
/// fills a write by itself.
const EARLY_BYTES: u64 = 16 << 10;

/// Yields in all: one for the first piece and one for the end, and as many again in case the
/// instance is busy with another request. On an idle thread they take microseconds.
const EARLY_SHARES: u32 = 4;

fn bytes_of(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, Bytes::len) as u64
}

/// Names and values, and the four bytes that HTTP/1.1 writes around each pair.
fn fields_bytes(fields: &http::HeaderMap) -> u64 {
    let bytes = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.as_str().len() + value.len() + 4) as u64
    };
    fields.iter().map(bytes).sum()
}

/// What `limit` leaves for the trailers.
pub(super) fn check_headers(headers: &http::HeaderMap, limit: u64) -> Result<u64, InstanceError> {
    let left = limit.checked_sub(fields_bytes(headers));
    left.ok_or(InstanceError::HeadersTooLarge { limit })
}

/// Empty pieces skipped at once, and the pause before the next: about 1,000 a second. That costs
/// the host next to nothing and keeps the sender waiting.
const EMPTY_AT_ONCE: u32 = 64;
const EMPTY_PAUSE: Duration = Duration::from_millis(50);

/// Skips empty pieces. An endless row of them is not progress, and is not forwarded: HTTP/2 would
/// make a frame of each.
#[derive(Default)]
pub(super) struct Empties {
    in_a_row: u32,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Empties {
    /// The next frame of `inner` that says something.
    pub(super) fn poll_frame<B>(
        &mut self,
        inner: &mut B,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
    {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            match ready!(Pin::new(&mut *inner).poll_frame(cx)) {
                Some(Ok(frame)) if frame.data_ref().is_some_and(Bytes::is_empty) => {
                    self.in_a_row += 1;
                }
                other => {
                    self.in_a_row = 0;
                    return Poll::Ready(other);
                }
            }
            if self.in_a_row == EMPTY_AT_ONCE {
                self.in_a_row = 0;
                self.pause = Some(Box::pin(sleep(EMPTY_PAUSE)));
            }
        }
    }
}

/// The request's body on its way to the instance: bounded, and with its progress recorded.
pub(super) struct AskedBody {
    pub inner: Body,
    pub empties: Empties,
    pub in_flight: Arc<InFlight>,
    pub left: u64,
    /// The bounds of the body and of the head's bytes, and what was refused because of them.
    pub limits: AskedLimits,
    pub refused: Arc<OnceLock<InstanceError>>,
}

/// The bounds of what an instance is sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct AskedLimits {
    pub body: u64,
    /// What the head has left of its own limit is for the trailers, so that head and trailers
    /// together take no more than one head.
    pub trailers: u64,
}

impl AskedBody {
    /// The client has sent more than its limit.
    fn refuse(
        &self,
        why: InstanceError,
        told: wasmtime_wasi_http::Error,
    ) -> wasmtime_wasi_http::Error {
        let _ = self.refused.set(why);
        self.in_flight.body_failed();
        told
    }

    fn pass(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, wasmtime_wasi_http::Error> {
        match frame.into_trailers() {
            Ok(mut trailers) => {
                if fields_bytes(&trailers) > self.limits.trailers {
                    let told = wasmtime_wasi_http::Error::HttpRequestTrailerSectionSize(None);
                    return Err(self.refuse(InstanceError::TrailersTooLarge, told));
                }
                own_values(&mut trailers);
                Ok(Frame::trailers(trailers))
            }
            Err(frame) => {
                let bytes = bytes_of(&frame);
                self.in_flight.came(bytes);
                match self.left.checked_sub(bytes) {
                    Some(left) => {
                        self.left = left;
                        Ok(frame)
                    }
                    None => {
                        let limit = self.limits.body;
                        let told = wasmtime_wasi_http::Error::HttpRequestBodySize(None);
                        Err(self.refuse(InstanceError::BodyOverrun { limit }, told))
                    }
                }
            }
        }
    }
}

impl http_body::Body for AskedBody {
    type Data = Bytes;
    type Error = wasmtime_wasi_http::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if this.in_flight.failure().is_some() {
            // The request is over, even if its client is still sending.
            return Poll::Ready(Some(Err(wasmtime_wasi_http::Error::ConnectionTerminated)));
        }
        let (empties, inner) = (&mut this.empties, &mut this.inner);
        let frame = match inner.is_end_stream() {
            // Most requests have no trailers, and nobody waits for them.
            true => ready!(empties.poll_frame(inner, cx)),
            false => ready!(this.in_flight.ask(cx, |cx| empties.poll_frame(inner, cx))),
        };
        self.in_flight.moved();
        if !matches!(frame, Some(Ok(_))) || self.inner.is_end_stream() {
            self.in_flight.asked_all();
        }
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(self.pass(frame)),
            Some(Err(error)) => {
                self.in_flight.body_failed();
                Some(Err(request_body_error(error)))
            }
            None => None,
        })
    }

    delegate!(inner: is_end_stream, size_hint);
}

/// The client's fault, as WASI HTTP reports it to a guest that reads the body.
fn request_body_error(error: BodyError) -> wasmtime_wasi_http::Error {
    match error.downcast_ref().map(RequestError::problem) {
        Some(Problem::BodyTooLarge) => wasmtime_wasi_http::Error::HttpRequestBodySize(None),
        Some(Problem::TrailersTooLarge) => {
            wasmtime_wasi_http::Error::HttpRequestTrailerSectionSize(None)
        }
        _ => wasmtime_wasi_http::Error::ConnectionTerminated,
    }
}

/// Held while somebody waits for the answer.
pub(super) struct Waiting(pub Arc<InFlight>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// The body of an answer. It ends with an error if the instance failed before it had written
/// everything. Otherwise the client would take a truncated answer for a complete one.
pub(super) struct AnswerBody {
    pub inner: wasmtime_wasi_http::WasiBody,
    pub empties: Empties,
    pub waiting: Waiting,
    pub failures: Arc<Failures>,
    pub left: u64,
    pub limit: u64,
    pub early: Early,
}

/// The pieces that were available before the body was polled: at most two frames.
#[derive(Default)]
pub(super) struct Early {
    frames: VecDeque<Result<Frame<Bytes>, BodyError>>,
    /// Nothing follows them.
    whole: bool,
}

impl AnswerBody {
    /// Yields this thread to the instance a few times, then takes what it has written: most
    /// instances write their whole body right after the head. Head, body and end then leave in one
    /// write instead of three, and the length is known.
    pub(crate) async fn with_early(mut self) -> Self {
        let mut cpu_shares = 0;
        poll_fn(|cx| {
            loop {
                match self.poll_next(cx) {
                    Poll::Ready(Some(frame)) => {
                        let small = matches!(&frame, Ok(frame) if bytes_of(frame) <= EARLY_BYTES);
                        self.early.frames.push_back(frame);
                        if !small || self.early.frames.len() > 1 {
                            return Poll::Ready(());
                        }
                    }
                    Poll::Ready(None) => {
                        self.early.whole = true;
                        return Poll::Ready(());
                    }
                    Poll::Pending if cpu_shares == EARLY_SHARES => return Poll::Ready(()),
                    Poll::Pending => {
                        cpu_shares += 1;
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
            }
        })
        .await;
        self
    }

    /// Why it ends here. The failure is counted.
    fn failed(&self, error: InstanceError) -> BodyError {
        let error = RequestError::from(error);
        let work = self.waiting.0.work();
        logged::about(work, || self.failures.note(&error));
        error.into()
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> PolledFrame {
        let frame = self.empties.poll_frame(&mut self.inner, cx);
        let in_flight = &self.waiting.0;
        // An instance that serves others continues when the time of this request is over.
        let frame = match (frame, in_flight.poll_failure(cx.waker())) {
            (Poll::Pending, None) => return Poll::Pending,
            (Poll::Pending, Some(_)) => None,
            (Poll::Ready(frame), _) => frame,
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                in_flight.moved();
                let bytes = bytes_of(&frame);
                match self.left.checked_sub(bytes) {
                    Some(left) => {
                        self.left = left;
                        Some(Ok(frame))
                    }
                    None => {
                        let error = InstanceError::ResponseTooLarge { limit: self.limit };
                        in_flight.fail(error.clone());
                        Some(Err(self.failed(error)))
                    }
                }
            }
            end => match (in_flight.failure(), end) {
                (Some(failure), _) => Some(Err(self.failed(failure.clone()))),
                (None, Some(Err(error))) => Some(Err(error.to_string().into())),
                (None, _) => {
                    in_flight.finish();
                    None
                }
            },
        })
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        if self.early.whole {
            return Poll::Ready(self.early.frames.pop_front());
        }
        self.waiting.0.taken();
        let frame = match self.early.frames.pop_front() {
            Some(frame) => Poll::Ready(Some(frame)),
            None => self.poll_next(cx),
        };
        if let Poll::Ready(Some(frame)) = &frame {
            let bytes = frame.as_ref().map_or(0, bytes_of);
            self.waiting.0.given(bytes);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        if self.early.whole || !self.early.frames.is_empty() {
            return self.early.frames.is_empty();
        }
        let in_flight = &self.waiting.0;
        let ended = self.inner.is_end_stream() && in_flight.failure().is_none();
        if ended {
            in_flight.finish();
        }
        ended
    }

    fn size_hint(&self) -> SizeHint {
        let early = self.early.frames.iter().flatten().map(bytes_of).sum();
        if self.early.whole {
            return SizeHint::with_exact(early);
        }
        body::with_first(self.inner.size_hint(), early)
    }
}

#[cfg(test)]
mod tests {
    use super::super::log::WindowLog;
    use super::*;
    use hms_core::limits::LiveLimits;
    use hms_grants::LiveGrants;
    use http_body_util::{BodyExt, StreamBody};
    use std::convert::Infallible;
    use tokio::time::Instant;

    /// As many empty pieces, then one that says something.
    fn empty_then_full(
        empty: u32,
    ) -> impl http_body::Body<Data = Bytes, Error = Infallible> + Unpin {
        let frame = |bytes| Ok(Frame::data(Bytes::from_static(bytes)));
        let pieces = (0..empty).map(move |_| frame(b"")).chain([frame(b"full")]);
        StreamBody::new(futures_util::stream::iter(pieces))
    }

    async fn first_said(
        mut body: impl http_body::Body<Data = Bytes, Error = Infallible> + Unpin,
    ) -> Bytes {
        let mut empties = Empties::default();
        let frame = std::future::poll_fn(|cx| empties.poll_frame(&mut body, cx)).await;
        frame.unwrap().unwrap().into_data().unwrap()
    }

    #[tokio::test]
    async fn empty_pieces_are_skipped_and_the_next_full_one_passed_on() {
        assert_eq!(first_said(empty_then_full(0)).await, "full");
        assert_eq!(first_said(empty_then_full(3)).await, "full");
        let rest = empty_then_full(1).collect().await.unwrap().to_bytes();
        assert_eq!(rest, "full");
    }

    #[tokio::test(start_paused = true)]
    async fn long_run_of_empty_pieces_is_slowed_down() {
        let begun = Instant::now();
        assert_eq!(first_said(empty_then_full(4 * EMPTY_AT_ONCE)).await, "full");
        assert!(begun.elapsed() >= 4 * EMPTY_PAUSE);
    }

    /// A writer that waits for each of its pieces to be taken.
    #[tokio::test(start_paused = true)]
    async fn empty_pieces_arriving_one_by_one_are_slowed_down() {
        let (mut pieces, body) = http_body_util::channel::Channel::<Bytes, Infallible>::new(1);
        let writer = tokio::spawn(async move {
            for _ in 0..2 * EMPTY_AT_ONCE {
                pieces.send_data(Bytes::new()).await.unwrap();
                tokio::task::yield_now().await;
            }
            pieces.send_data(Bytes::from_static(b"full")).await.unwrap();
        });
        let begun = Instant::now();
        assert_eq!(first_said(body).await, "full");
        assert!(begun.elapsed() >= 2 * EMPTY_PAUSE);
        writer.await.unwrap();
    }

    fn asked(inner: Body, left: u64) -> (AskedBody, Arc<InFlight>) {
        let time = Duration::from_secs(9);
        let in_flight = Arc::new(InFlight::new(Box::new(()), Box::new(()), time));
        let body = AskedBody {
            inner,
            empties: Empties::default(),
            in_flight: in_flight.clone(),
            left,
            limits: AskedLimits {
                body: left,
                trailers: 100,
            },
            refused: Arc::default(),
        };
        (body, in_flight)
    }

    #[tokio::test(start_paused = true)]
    async fn time_waiting_for_the_client_is_measured_without_that_of_the_instance() {
        let pause = Duration::from_millis(40);
        let (mut pieces, inner) = http_body_util::channel::Channel::<Bytes, BodyError>::new(2);
        let (mut body, in_flight) = asked(inner.boxed_unsync(), 100);
        let mut next = Box::pin(body.frame());
        assert!(futures_util::poll!(&mut next).is_pending());
        tokio::time::sleep(pause).await;
        assert!(in_flight.waited_for_body() >= pause, "also while it waits");
        pieces.send_data(Bytes::from_static(b"here")).await.unwrap();
        let waited = in_flight.waited_for_body();
        // It is there, and the instance does not look.
        tokio::time::advance(pause).await;
        assert_eq!(in_flight.waited_for_body(), waited);
        assert_eq!(next.await.unwrap().unwrap().into_data().unwrap(), "here");
        // Nor does it wait for more yet.
        tokio::time::advance(pause).await;
        assert_eq!(in_flight.waited_for_body(), waited);
        assert!(!in_flight.is_clients_fault());
    }

    #[tokio::test]
    async fn truncated_or_oversized_body_is_the_fault_of_the_client() {
        let broken = StreamBody::new(futures_util::stream::iter([
            Err::<Frame<Bytes>, BodyError>("reset".into()),
        ]));
        let large = hms_core::body::full("more than ten bytes");
        let code = |body: &AskedBody| body.refused.clone();
        for (inner, refused) in [
            (broken.boxed_unsync(), None),
            (large, Some("body-too-large")),
            (trailed(101 - 5), Some("trailers-too-large")),
        ] {
            let (body, in_flight) = asked(inner, 10);
            let why = code(&body);
            assert!(body.collect().await.is_err());
            assert!(in_flight.is_clients_fault());
            assert_eq!(why.get().map(InstanceError::code), refused);
        }
    }

    /// No body, and one trailer of so many bytes beside its name.
    fn trailed(bytes: usize) -> Body {
        let value = "v".repeat(bytes).parse().unwrap();
        let trailers = http::HeaderMap::from_iter([(http::HeaderName::from_static("x"), value)]);
        let frames = [Ok::<_, BodyError>(Frame::trailers(trailers))];
        StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync()
    }

    #[tokio::test]
    async fn trailers_reach_the_instance_within_the_bounds_left_by_the_head() {
        let (body, in_flight) = asked(trailed(100 - 5), 10);
        let collected = body.collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["x"].len(), 95);
        assert!(!in_flight.is_clients_fault());
    }

    type Pieces = http_body_util::channel::Channel<Bytes, wasmtime_wasi_http::Error>;

    async fn answer(inner: Pieces) -> AnswerBody {
        let time = Duration::from_secs(9);
        let log = Arc::new(WindowLog::new(
            "w",
            LiveLimits::default(),
            LiveGrants::default(),
        ));
        let in_flight = Arc::new(InFlight::new(Box::new(()), Box::new(()), time));
        let body = AnswerBody {
            inner: inner.boxed_unsync(),
            empties: Empties::default(),
            waiting: Waiting(in_flight),
            failures: Arc::new(Failures::new(log)),
            left: 1 << 30,
            limit: 1 << 30,
            early: Early::default(),
        };
        body.with_early().await
    }

    #[tokio::test]
    async fn body_written_whole_after_the_head_has_a_length() {
        let (mut pieces, inner) = Pieces::new(1);
        tokio::spawn(async move { pieces.send_data(Bytes::from_static(b"all of it")).await });
        let body = answer(inner).await;
        assert_eq!(http_body::Body::size_hint(&body).exact(), Some(9));
        assert!(!http_body::Body::is_end_stream(&body));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "all of it");
    }

    #[tokio::test]
    async fn trailers_written_after_the_head_are_kept_and_leave_the_length_open() {
        let (mut pieces, inner) = Pieces::new(2);
        tokio::spawn(async move {
            pieces.send_data(Bytes::from_static(b"told")).await?;
            let trailers = http::HeaderMap::from_iter([(
                http::HeaderName::from_static("x-sum"),
                http::HeaderValue::from_static("4"),
            )]);
            pieces.send_trailers(trailers).await
        });
        let body = answer(inner).await;
        assert_eq!(http_body::Body::size_hint(&body).exact(), None);
        let all = body.collect().await.unwrap();
        assert_eq!(all.trailers().unwrap()["x-sum"], "4");
        assert_eq!(all.to_bytes(), "told");
    }

    #[tokio::test]
    async fn late_body_is_not_waited_for() {
        let (mut pieces, inner) = Pieces::new(1);
        let body = answer(inner).await;
        assert!(body.early.frames.is_empty() && !body.early.whole);
        pieces.send_data(Bytes::from_static(b"late")).await.unwrap();
        drop(pieces);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "late");
    }
}
