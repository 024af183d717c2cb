//! The body of an answer on its way to the guest: bounded in size and time. What its call holds,
//! its connection too, it holds until here is the end, and no longer than its deadline, also where
//! the guest neither reads nor drops it.

use crate::call::Held;
use crate::error::broken;
use crate::metrics::Refusal;
use crate::record::Record;
use bytes::Bytes;
use hms_core::body::{Body, BodyError, PolledFrame};
use hms_core::headers::clean_answer;
use hms_core::outgoing::{BeginBy, CallError};
use http_body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// What bounds the body of an answer.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    /// Bytes.
    pub(crate) most: u64,
    /// When it has to have ended.
    pub(crate) deadline: Instant,
    /// When it has to have ended, unless the answer to the request in hand has begun by then.
    pub(crate) begin_by: Option<BeginBy>,
    /// Between two pieces of it.
    pub(crate) between: Option<Duration>,
}

impl Bounds {
    /// Whether the time has come.
    fn are_over(&self) -> bool {
        let now = Instant::now();
        let begin_by = self.begin_by.as_ref();
        now >= self.deadline || begin_by.is_some_and(|it| it.is_over(now.into_std()))
    }
}

/// The body of an answer.
pub(crate) struct AnswerBody {
    call: Arc<Mutex<Call>>,
    bounds: Bounds,
    /// Ends the call at its deadline.
    timer: Option<AbortHandle>,
    /// Runs only while the guest waits.
    quiet: Option<Pin<Box<Sleep>>>,
}

/// The call, of which its body and its timer know.
struct Call {
    /// None: it has ended.
    open: Option<Open>,
    /// The timer has ended it, and the guest has not read that yet.
    late: bool,
    /// The guest, while it waits.
    waits: Option<Waker>,
}

/// What a call holds. Its connection is given back first, then its places.
struct Open {
    inner: Body,
    held: Held,
    record: Record,
}

impl AnswerBody {
    pub(crate) fn new(inner: Body, bounds: Bounds, record: Record, held: Held) -> AnswerBody {
        let mut call = Call {
            open: Some(Open {
                inner,
                held,
                record,
            }),
            late: false,
            waits: None,
        };
        call.end_with_inner();
        let is_open = call.open.is_some();
        let call = Arc::new(Mutex::new(call));
        let timer = is_open.then(|| {
            let (call, deadline) = (call.clone(), bounds.deadline);
            let begin_by = bounds.begin_by.clone();
            let timer = async move {
                let early = match &begin_by {
                    Some(begin_by) => {
                        sleep_until(deadline.min(begin_by.at.into())).await;
                        begin_by.is_over(Instant::now().into_std())
                    }
                    None => false,
                };
                if !early {
                    sleep_until(deadline).await;
                }
                let mut call = call.lock();
                if call.open.is_some() {
                    drop(call.run_late());
                    call.late = true;
                    if let Some(waits) = call.waits.take() {
                        waits.wake();
                    }
                }
            };
            tokio::spawn(timer).abort_handle()
        });
        AnswerBody {
            call,
            bounds,
            timer,
            quiet: None,
        }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        // At once: the timer has its share of the call until it is cleared away.
        drop(self.call.lock().open.take());
        if let Some(timer) = &self.timer {
            timer.abort();
        }
    }
}

impl Call {
    /// Ends where nothing more can come.
    fn end_with_inner(&mut self) {
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.inner.is_end_stream())
        {
            self.end(None);
        }
    }

    fn end(&mut self, error: Option<&CallError>) {
        if let Some(open) = self.open.take() {
            let Open {
                inner,
                held,
                mut record,
            } = open;
            match error {
                Some(error) => record.failed(error),
                None => record.complete(),
            }
            drop(inner);
            // The permit is free before the line is written.
            drop(held);
        }
    }

    fn fail(&mut self, error: CallError, refusal: Option<Refusal>) -> PolledFrame {
        if let (Some(open), Some(refusal)) = (&self.open, refusal) {
            open.record.refused(refusal);
        }
        self.end(Some(&error));
        Poll::Ready(Some(Err(error.into())))
    }

    fn run_late(&mut self) -> PolledFrame {
        self.fail(CallError::ResponseTimeout, Some(Refusal::Time))
    }

    fn poll(&mut self, bounds: &Bounds, cx: &mut Context<'_>) -> PolledFrame {
        if std::mem::take(&mut self.late) {
            return Poll::Ready(Some(Err(CallError::ResponseTimeout.into())));
        }
        // Also while there is always something to read.
        if self.open.is_some() && bounds.are_over() {
            return self.run_late();
        }
        loop {
            let Some(Open { inner, record, .. }) = &mut self.open else {
                return Poll::Ready(None);
            };
            match Pin::new(inner).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    record.received += frame.data_ref().map_or(0, |data| data.len() as u64);
                    if record.received > bounds.most {
                        let size = CallError::ResponseBodySize;
                        return self.fail(size, Some(Refusal::ResponseSize));
                    }
                    self.end_with_inner();
                    if let Some(frame) = cleaned(frame) {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    // What the guest sends may be why.
                    let error = record.upload.failure().unwrap_or_else(|| broken(&*error));
                    return self.fail(error, None);
                }
                Poll::Ready(None) => self.end(None),
                Poll::Pending => {
                    self.waits = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
        }
    }
}

/// A frame without the trailers that are for the host alone; none where no other is left.
fn cleaned(frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
    match frame.into_trailers() {
        Err(frame) => Some(frame),
        Ok(mut trailers) => {
            clean_answer(&mut trailers);
            (!trailers.is_empty()).then(|| Frame::trailers(trailers))
        }
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        let this = &mut *self;
        let mut call = this.call.lock();
        let polled = call.poll(&this.bounds, cx);
        if polled.is_ready() {
            this.quiet = None;
            if let (true, Some(timer)) = (call.open.is_none(), this.timer.take()) {
                timer.abort();
            }
            return polled;
        }
        let quiet = match (&mut this.quiet, this.bounds.between) {
            (None, None) => return Poll::Pending,
            (Some(quiet), _) => quiet,
            (quiet, Some(between)) => quiet.insert(Box::pin(sleep(between))),
        };
        match quiet.as_mut().poll(cx) {
            Poll::Ready(()) => call.fail(CallError::ReadTimeout, None),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        let call = self.call.lock();
        call.open.is_none() && !call.late
    }

    fn size_hint(&self) -> SizeHint {
        let call = self.call.lock();
        match &call.open {
            Some(open) => open.inner.size_hint(),
            // It is cut short: what would have come is not known.
            None if call.late => SizeHint::default(),
            None => SizeHint::with_exact(0),
        }
    }
}
