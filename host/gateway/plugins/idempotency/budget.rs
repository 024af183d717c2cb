//! Bytes that are held in memory at once, with a bound.

use crate::body::{Body, BodyError};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

/// A number of bytes that all together may hold.
#[derive(Clone)]
pub struct Budget {
    held: Arc<AtomicU64>,
    limit: u64,
}

impl Budget {
    pub fn new(limit: u64) -> Self {
        Budget {
            held: Arc::default(),
            limit,
        }
    }

    /// Holds nothing yet.
    pub fn hold(&self) -> Held {
        Held {
            budget: self.clone(),
            bytes: 0,
        }
    }
}

/// What one holds; given back when it is dropped.
pub struct Held {
    budget: Budget,
    bytes: u64,
}

impl Held {
    /// Holds `more` bytes. False, and nothing held of them, where that is beyond the bound.
    pub fn grow(&mut self, more: usize) -> bool {
        let more = more as u64;
        let before = self.budget.held.fetch_add(more, Relaxed);
        if before.saturating_add(more) > self.budget.limit {
            self.budget.held.fetch_sub(more, Relaxed);
            return false;
        }
        self.bytes += more;
        true
    }

    /// `bytes` as a body, and held until it is sent.
    pub fn body(self, bytes: Bytes) -> Body {
        let inner = Full::new(bytes);
        HeldBody { inner, _held: self }.boxed_unsync()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Relaxed);
    }
}

struct HeldBody {
    inner: Full<Bytes>,
    _held: Held,
}

impl http_body::Body for HeldBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.inner)
            .poll_frame(cx)
            .map_err(|never| match never {})
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_given_back_and_no_more() {
        let budget = Budget::new(10);
        let (mut one, mut other) = (budget.hold(), budget.hold());
        assert!(one.grow(6) && !other.grow(5) && other.grow(4));
        drop(one);
        assert!(!other.grow(7) && other.grow(6));
        drop(other.body(Bytes::from_static(b"0123456789")));
        assert!(budget.hold().grow(10));
    }
}
