//! The body of an answer on its way to the guest: bounded in size and time. What its call holds, it
//! holds until here is the end.

use crate::call::Held;
use crate::error::broken;
use crate::metrics::Refusal;
use crate::record::Record;
use bytes::Bytes;
use hms_core::body::{Body, BodyError, PolledFrame};
use hms_core::delegate;
use hms_core::outgoing::CallError;
use http_body::Body as HttpBody;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// What bounds the body of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Bytes.
    pub(crate) most: u64,
    /// When it has to have ended.
    pub(crate) deadline: Instant,
    /// Between two pieces of it.
    pub(crate) between: Option<Duration>,
}

/// The body of an answer.
pub(crate) struct AnswerBody {
    inner: Body,
    bounds: Bounds,
    /// What is known of the call and what it holds, until the end.
    call: Option<(Record, Held)>,
    late: Pin<Box<Sleep>>,
    /// Runs only while the guest waits.
    quiet: Option<Pin<Box<Sleep>>>,
}

impl AnswerBody {
    pub(crate) fn new(inner: Body, bounds: Bounds, record: Record, held: Held) -> AnswerBody {
        let mut body = AnswerBody {
            inner,
            bounds,
            call: Some((record, held)),
            late: Box::pin(sleep_until(bounds.deadline)),
            quiet: None,
        };
        body.end_with_inner();
        body
    }

    /// Ends the call where nothing more can come.
    fn end_with_inner(&mut self) {
        if self.inner.is_end_stream() {
            self.end(None);
        }
    }

    fn end(&mut self, error: Option<&CallError>) {
        if let Some((mut record, held)) = self.call.take() {
            match error {
                Some(error) => record.failed(error),
                None => record.complete(),
            }
            // The permit is free before the line is written.
            drop(held);
        }
    }

    fn fail(&mut self, error: CallError, refusal: Option<Refusal>) -> PolledFrame {
        if let (Some((record, _)), Some(refusal)) = (&self.call, refusal) {
            record.refused(refusal);
        }
        self.end(Some(&error));
        Poll::Ready(Some(Err(error.into())))
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        let this = &mut *self;
        let Some((record, _)) = &mut this.call else {
            return Poll::Ready(None);
        };
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.quiet = None;
                record.received += frame.data_ref().map_or(0, |data| data.len() as u64);
                if record.received > this.bounds.most {
                    return this.fail(CallError::ResponseBodySize, Some(Refusal::ResponseSize));
                }
                this.end_with_inner();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                // What the guest sends may be why.
                let error = record.upload.failure().unwrap_or_else(|| broken(&*error));
                this.fail(error, None)
            }
            Poll::Ready(None) => {
                this.end(None);
                Poll::Ready(None)
            }
            Poll::Pending => {
                if this.late.as_mut().poll(cx).is_ready() {
                    return this.fail(CallError::ResponseTimeout, Some(Refusal::Time));
                }
                let between = this.bounds.between;
                let quiet = this.quiet.as_mut();
                let quiet = match (quiet, between) {
                    (None, None) => return Poll::Pending,
                    (Some(quiet), _) => quiet,
                    (None, Some(between)) => this.quiet.insert(Box::pin(sleep(between))),
                };
                match quiet.as_mut().poll(cx) {
                    Poll::Ready(()) => this.fail(CallError::ReadTimeout, None),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.call.is_none()
    }

    delegate!(inner: size_hint);
}
