//! The request body on its way to the upstream: bounded in size, in pauses and in slowness, its trailers cleaned as its
//! head was.

use crate::body::BodyError;
use crate::error::{Cause, Error};
use crate::gateway::headers::clean_trailers;
use crate::gateway::plugins::auth::strip_keys;
use crate::gateway::strict::TrailersTooLong;
use crate::linger::Inbound;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::{Sleep, sleep};

/// Says afterwards why the upstream did not get the whole body.
#[derive(Clone, Default)]
pub struct Broken(Arc<OnceLock<Error>>);

impl Broken {
    /// The client's own fault, if there was one.
    pub fn why(&self) -> Option<&Error> {
        self.0.get()
    }
}

/// How slow a client may be with its body.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The longest pause.
    pub pause: Duration,
    /// Time that the client is waited for before the average counts.
    pub grace: Duration,
    /// The least average, in bytes a second; 0 is any.
    pub bytes_per_s: u64,
}

impl Pace {
    /// What is left of a client's time, of which there was `left`, after it was waited for so long and so much came. What came early
    /// counts for no more than a pause: else a client that begins quickly could drip for days.
    fn after(&self, left: Duration, waited: Duration, bytes: usize) -> Duration {
        let earned = Duration::try_from_secs_f64(bytes as f64 / self.bytes_per_s as f64);
        let left = left.saturating_sub(waited);
        let left = left.saturating_add(earned.unwrap_or(Duration::MAX));
        left.min(self.grace.max(self.pause))
    }

    /// How long a client is waited for that has so much time left.
    fn wait(&self, left: Duration) -> Duration {
        match self.bytes_per_s {
            0 => self.pause,
            _ => left.min(self.pause),
        }
    }

    fn fault(&self, waited: Duration) -> Error {
        if waited >= self.pause {
            let pause = self.pause.as_secs_f32();
            return Error::BodyTooSlow(format!("nothing of the request's body came for {pause} s"));
        }
        let pace = self.bytes_per_s;
        Error::BodyTooSlow(format!(
            "the request's body came at less than {pace} bytes a second"
        ))
    }
}

/// How much may stand behind a body: as much as in front of it.
#[derive(Debug, Clone, Copy)]
pub struct TrailerBounds {
    pub fields: usize,
    /// Of names and values, and the four bytes that HTTP/1.1 writes around each pair.
    pub bytes: usize,
}

impl TrailerBounds {
    fn admit(&self, trailers: &HeaderMap) -> bool {
        let bytes =
            |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
        let bytes: usize = trailers.iter().map(bytes).sum();
        trailers.len() <= self.fields && bytes <= self.bytes
    }
}

pub struct RequestBody {
    inner: Inbound,
    came: u64,
    limit: u64,
    broken: Broken,
    trailers: TrailerBounds,
    pace: Pace,
    left: Duration,
    /// Since when, and until when. Runs only while the client is waited for, not while the upstream takes its time.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    ended: bool,
}

impl RequestBody {
    pub fn new(
        inner: Inbound,
        limit: u64,
        pace: Pace,
        trailers: TrailerBounds,
        broken: Broken,
    ) -> Self {
        RequestBody {
            trailers,
            inner,
            came: 0,
            limit,
            broken,
            left: pace.grace,
            pace,
            waiting: None,
            ended: false,
        }
    }

    fn cut(&mut self, cut: Error) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.ended = true;
        let _ = self.broken.0.set(cut.clone());
        Poll::Ready(Some(Err(cut.into())))
    }
}

impl RequestBody {
    /// What comes behind the body. It was not there when the head was checked, so it may say no more than that might.
    fn end_with(
        &mut self,
        mut trailers: HeaderMap,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.trailers.admit(&trailers) {
            return self.cut(Error::TrailersTooLarge);
        }
        self.ended = true;
        clean_trailers(&mut trailers);
        strip_keys(&mut trailers);
        let some = !trailers.is_empty();
        Poll::Ready(some.then(|| Ok(Frame::trailers(trailers))))
    }
}

/// The error with all that caused it.
fn in_full(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    causes.join(": ")
}

/// Whether it was the trailer section that had no room.
fn is_oversized(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>();
        io.and_then(|io| io.get_ref())
            .is_some_and(|inner| inner.is::<TrailersTooLong>())
    })
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
                let waited = this.waiting.take().map(|(since, _)| since.elapsed());
                let data = match frame.into_data() {
                    Ok(data) => data,
                    Err(frame) => return this.end_with(frame.into_trailers().unwrap_or_default()),
                };
                let waited = waited.unwrap_or_default();
                this.left = this.pace.after(this.left, waited, data.len());
                this.came = this.came.saturating_add(data.len() as u64);
                if this.came > this.limit {
                    let limit = this.limit;
                    return this.cut(Error::BodyTooLarge { limit });
                }
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Poll::Ready(Some(Err(error))) => {
                let cause = Cause::of(in_full(&error));
                this.cut(match is_oversized(&error) {
                    true => Error::TrailersTooLarge,
                    false => Error::BodyBroken(cause),
                })
            }
            Poll::Ready(None) => {
                this.ended = true;
                Poll::Ready(None)
            }
            Poll::Pending => {
                let (since, sleep) = this.waiting.get_or_insert_with(|| {
                    let wait = this.pace.wait(this.left);
                    (Instant::now(), Box::pin(sleep(wait)))
                });
                match sleep.as_mut().poll(cx) {
                    Poll::Ready(()) => {
                        let fault = this.pace.fault(since.elapsed());
                        this.cut(fault)
                    }
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

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        pause: Duration::from_secs(60),
        grace: Duration::from_secs(30),
        bytes_per_s: 240,
    };

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_client_is_waited_for_as_long_as_it_keeps_the_pace_on_average() {
        assert_eq!(PACE.wait(PACE.grace), s(30));
        assert_eq!(PACE.after(s(30), s(30), 0), s(0));
        assert_eq!(PACE.after(s(30), s(30), 2400), s(10));
        assert_eq!(PACE.after(s(10), s(10), 0), s(0));
        assert_eq!(
            PACE.after(s(30), s(0), usize::MAX),
            s(60),
            "no more than a pause"
        );
        let any = Pace {
            bytes_per_s: 0,
            ..PACE
        };
        assert_eq!(any.wait(any.after(s(30), s(3600), 0)), s(60));
    }
}
