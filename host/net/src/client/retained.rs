//! A request body that can be sent once more.
//!
//! What the upstream reads of it is kept, up to a bound, so that another try can begin anew. Beyond
//! the bound there is no other try, nor for a method that must not be repeated once its first byte
//! was read. The design is that of linkerd's `ReplayBody`.

use bytes::Bytes;
use hms_core::body::{Body, BodyError, PolledFrame};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use parking_lot::{Mutex, MutexGuard};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Pieces that are kept. 1,024: each takes some hundred bytes beside its own, and a sender chooses
/// how small they are.
const MAX_PIECES: usize = 1024;

/// A body for several tries, and the state that they share.
#[derive(Clone)]
pub struct Retained(Arc<Mutex<State>>);

struct State {
    rest: Body,
    /// Read so far; None once it exceeds `most`.
    taken: Option<Vec<Bytes>>,
    size: usize,
    most: usize,
    /// The trailers.
    trailers: Option<HeaderMap>,
    /// Only the latest try reads: an earlier one may not have been dropped yet.
    tries: u32,
    ended: bool,
    failed: bool,
    /// There is no further try, so nothing more is kept.
    last: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("the request goes to another target")]
struct Superseded;

impl Retained {
    /// Keeps at most `most` bytes.
    pub fn new(body: Body, most: usize) -> Self {
        Retained(Arc::new(Mutex::new(State {
            rest: body,
            taken: Some(Vec::new()),
            size: 0,
            most,
            trailers: None,
            tries: 0,
            ended: false,
            failed: false,
            last: false,
        })))
    }

    /// The body of the next try, from its first byte. None if that is no longer kept.
    pub fn again(&self) -> Option<Body> {
        let mut state = self.state();
        state.taken.as_ref()?;
        state.tries += 1;
        let attempt = Attempt {
            number: state.tries,
            next: 0,
            trailed: false,
            retained: self.clone(),
        };
        Some(attempt.boxed_unsync())
    }

    /// The latest try is the last.
    pub fn last(&self) {
        self.state().last = true;
    }

    /// Whether the client's body broke off, or was refused.
    pub fn has_failed(&self) -> bool {
        self.state().failed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

/// The body of one try.
struct Attempt {
    number: u32,
    /// The next of the pieces that were kept.
    next: usize,
    /// The trailers have been sent.
    trailed: bool,
    retained: Retained,
}

impl HttpBody for Attempt {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        let this = &mut *self;
        let mut state = this.retained.state();
        let state = &mut *state;
        if state.tries != this.number {
            return Poll::Ready(Some(Err(Superseded.into())));
        }
        let kept = state.taken.as_ref().and_then(|taken| taken.get(this.next));
        if let Some(piece) = kept {
            this.next += 1;
            return Poll::Ready(Some(Ok(Frame::data(piece.clone()))));
        }
        // Everything that was kept has been sent.
        if state.last {
            state.taken = None;
        }
        if state.ended {
            let trailers = state.trailers.as_ref().filter(|_| !this.trailed);
            this.trailed = true;
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers.clone()))));
        }
        let frame = ready!(Pin::new(&mut state.rest).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) if frame.is_trailers() => {
                state.trailers = frame.trailers_ref().cloned();
                (state.ended, this.trailed) = (true, true);
            }
            Some(Ok(frame)) => {
                let piece = frame.data_ref();
                state.size = state.size.saturating_add(piece.map_or(0, Bytes::len));
                let pieces = state.taken.as_ref().map_or(0, Vec::len);
                if state.size > state.most || pieces >= MAX_PIECES {
                    state.taken = None;
                } else if let (Some(taken), Some(piece)) = (&mut state.taken, piece) {
                    taken.push(piece.clone());
                    this.next += 1;
                }
            }
            // Any other try would fail for the same reason.
            Some(Err(_)) => (state.taken, state.failed) = (None, true),
            None => state.ended = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let state = self.retained.state();
        let replayed = state
            .taken
            .as_ref()
            .is_none_or(|taken| self.next >= taken.len());
        let trailed = self.trailed || state.trailers.is_none();
        replayed && trailed && (state.ended || state.rest.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let state = self.retained.state();
        let kept = state
            .taken
            .iter()
            .flat_map(|taken| taken.iter().skip(self.next));
        let kept: u64 = kept.map(|piece| piece.len() as u64).sum();
        let rest = state.rest.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(kept));
        }
        hint.set_lower(
            rest.lower()
                .saturating_add(kept)
                .min(hint.upper().unwrap_or(u64::MAX)),
        );
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::StreamBody;
    use proptest::prelude::*;

    fn body(pieces: &[Vec<u8>]) -> Body {
        let frames: Vec<Result<Frame<Bytes>, BodyError>> = pieces
            .iter()
            .map(|piece| Ok(Frame::data(Bytes::from(piece.clone()))))
            .collect();
        StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync()
    }

    async fn take(body: &mut Body, frames: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..frames {
            let Some(frame) = body.frame().await else {
                break;
            };
            bytes.extend(frame.unwrap().into_data().unwrap());
        }
        bytes
    }

    proptest! {
        #[test]
        fn every_try_sends_the_whole_body_however_far_the_last_came(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..20), 0..8),
            breaks in proptest::collection::vec(0usize..10, 0..4),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let retained = Retained::new(body(&pieces), 1 << 10);
                for frames in breaks {
                    let mut attempt = retained.again().unwrap();
                    take(&mut attempt, frames).await;
                }
                let mut last = retained.again().unwrap();
                assert_eq!(take(&mut last, usize::MAX).await, pieces.concat());
            });
        }
    }

    #[tokio::test]
    async fn body_over_the_retention_limit_allows_no_other_try() {
        let pieces = [vec![1; 10], vec![2; 10]];
        let retained = Retained::new(body(&pieces), 15);
        let mut first = retained.again().unwrap();
        take(&mut first, 1).await;
        assert!(retained.again().is_some());
        let mut second = retained.again().unwrap();
        assert_eq!(take(&mut second, 9).await, pieces.concat());
        assert!(retained.again().is_none());
    }

    #[tokio::test]
    async fn body_of_too_many_pieces_allows_no_other_try() {
        for (pieces, kept) in [(MAX_PIECES, true), (MAX_PIECES + 1, false)] {
            let retained = Retained::new(body(&vec![vec![1]; pieces]), 1 << 20);
            let mut first = retained.again().unwrap();
            assert_eq!(take(&mut first, pieces).await.len(), pieces);
            assert_eq!(retained.again().is_some(), kept, "{pieces}");
        }
    }

    #[tokio::test]
    async fn zero_retention_limit_allows_another_try_of_an_untouched_body_only() {
        let retained = Retained::new(body(&[vec![1]]), 0);
        drop(retained.again().unwrap());
        let mut second = retained.again().unwrap();
        assert_eq!(take(&mut second, 1).await, [1]);
        assert!(retained.again().is_none());
    }

    #[tokio::test]
    async fn every_try_has_the_trailers() {
        let sum = (http::HeaderName::from_static("x-sum"), "1".parse().unwrap());
        let sum = HeaderMap::from_iter([sum]);
        let frames = [
            Ok::<_, BodyError>(Frame::data(Bytes::from("in"))),
            Ok(Frame::trailers(sum.clone())),
        ];
        let body = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
        let retained = Retained::new(body, 10);
        for _ in 0..3 {
            let whole = retained.again().unwrap().collect().await.unwrap();
            assert_eq!(whole.trailers(), Some(&sum));
            assert_eq!(whole.to_bytes(), "in");
        }
    }

    #[tokio::test]
    async fn last_try_sends_everything_and_retains_nothing() {
        let retained = Retained::new(body(&[vec![1], vec![2], vec![3]]), 10);
        let mut first = retained.again().unwrap();
        take(&mut first, 2).await;
        let mut second = retained.again().unwrap();
        take(&mut second, 1).await;
        retained.last();
        assert_eq!(take(&mut second, 9).await, [2, 3]);
        assert!(retained.state().taken.is_none());
    }

    #[tokio::test]
    async fn superseded_try_reads_nothing_more() {
        let retained = Retained::new(body(&[vec![1], vec![2]]), 10);
        let mut first = retained.again().unwrap();
        take(&mut first, 1).await;
        let mut second = retained.again().unwrap();
        assert!(first.frame().await.unwrap().is_err());
        assert_eq!(take(&mut second, 9).await, [1, 2]);
    }
}
