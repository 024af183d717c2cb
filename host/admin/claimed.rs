//! Whose a request to the admin API is, and how many of those that are somebody's are at work at once.
//!
//! Everybody on the machine can connect to the admin listener. So a request holds its connection's place only once it has shown the
//! token; until then, and after it, whoever comes next may take it.

use crate::body::{Body, BodyError};
use crate::places::AtWork;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A request at work.
pub(super) struct Claimed {
    at_work: AtWork,
    room: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Claimed {
    /// Nobody's yet. Those that are somebody's have `room` together.
    pub fn new(at_work: AtWork, room: Arc<Semaphore>) -> Self {
        Claimed {
            at_work,
            room,
            permit: None,
        }
    }

    /// It has shown the token. Whether there is room for it.
    pub fn prove(&mut self) -> bool {
        self.permit = self.room.clone().try_acquire_owned().ok();
        self.permit.is_some() && self.at_work.prove()
    }
}

/// An answer's body, with which its request ends.
pub(super) struct ClaimedBody {
    inner: Body,
    /// Ends with it.
    _claimed: Claimed,
}

impl ClaimedBody {
    pub fn new(inner: Body, claimed: Claimed) -> Self {
        let _claimed = claimed;
        ClaimedBody { inner, _claimed }
    }
}

impl HttpBody for ClaimedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
