//! The request body on its way to the upstream: bounded in size, pauses and rate, with its trailers
//! cleaned like its head.

use crate::request::headers::clean_trailers;
use crate::request::rejection::Rejection;
use crate::request::upload::Upload;
use bytes::Bytes;
use hms_core::body::{BodyError, PolledFrame};
use hms_core::delegate;
use hms_core::error::{Cause, RequestError};
use hms_net::linger::Inbound;
use hms_net::strict::TrailersTooLong;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body as HttpBody, Frame};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::{Sleep, sleep};

/// How slowly a client may send its body.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The longest pause.
    pub pause: Duration,
    /// Waiting time before the average counts.
    pub grace: Duration,
    /// The least average, in bytes per second. 0: any, also in the long run.
    pub bytes_per_s: u64,
    /// Total waiting time before the long-run average counts.
    pub long_grace: Duration,
    /// The least long-run average, in bytes per second.
    pub long_bytes_per_s: u64,
}

/// The time that a client has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Left {
    /// By the average.
    soon: Duration,
    /// By the long-run average.
    long: Duration,
}

/// The waiting time that so many bytes earn.
fn worth(bytes: usize, bytes_per_s: u64) -> Duration {
    let seconds = bytes as f64 / bytes_per_s as f64;
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

impl Pace {
    /// The time of a new client.
    fn whole(&self) -> Left {
        Left {
            soon: self.grace,
            long: self.long_grace,
        }
    }

    /// What remains of `left` after the client was waited for and sent some bytes. Bytes sent early
    /// earn at most one pause, and in the long run at most the grace period. Otherwise a client
    /// that begins quickly could then drip for days.
    fn after(&self, left: Left, waited: Duration, bytes: usize) -> Left {
        let then = |left: Duration, bytes_per_s, most| {
            let left = left.saturating_sub(waited);
            left.saturating_add(worth(bytes, bytes_per_s)).min(most)
        };
        Left {
            soon: then(left.soon, self.bytes_per_s, self.grace.max(self.pause)),
            long: then(left.long, self.long_bytes_per_s, self.long_grace),
        }
    }

    /// How long to wait for a client that has so much time left.
    fn wait(&self, left: Left) -> Duration {
        match self.bytes_per_s {
            0 => self.pause,
            _ => left.soon.min(left.long).min(self.pause),
        }
    }

    fn fault(&self, left: Left, waited: Duration) -> Rejection {
        if waited >= self.pause {
            return Rejection::BodyStalled { pause: self.pause };
        }
        let bytes_per_s = match left.long < left.soon {
            true => self.long_bytes_per_s,
            false => self.bytes_per_s,
        };
        Rejection::BodyTooSlow { bytes_per_s }
    }
}

/// Bounds of the trailers: the same as for the head.
#[derive(Debug, Clone, Copy)]
pub struct TrailerBounds {
    /// Trailer fields.
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

/// A request body that is held to the bounds of its route: bytes, pace, trailers.
pub struct RequestBody {
    inner: Inbound,
    came: u64,
    limit: u64,
    upload: Upload,
    trailers: TrailerBounds,
    clean: fn(&mut HeaderMap),
    pace: Pace,
    left: Left,
    /// When the wait began, and when it ends. Runs only while the client is waited for, not while
    /// the upstream is.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    ended: bool,
}

impl RequestBody {
    /// Allows at most `limit` bytes, then `trailers`, from which `clean` removes what no upstream
    /// may see. Reports its progress to `upload`.
    pub fn new(
        inner: Inbound,
        limit: u64,
        pace: Pace,
        trailers: TrailerBounds,
        clean: fn(&mut HeaderMap),
        upload: Upload,
    ) -> Self {
        RequestBody {
            trailers,
            clean,
            inner,
            came: 0,
            limit,
            upload,
            left: pace.whole(),
            pace,
            waiting: None,
            ended: false,
        }
    }

    /// Nobody polls for now. The waiting time up to here is charged to the client; data that
    /// arrives while nobody polls may wait for its reader.
    pub fn unasked(&mut self) {
        if let Some((since, _)) = self.waiting.take() {
            self.left = self.pace.after(self.left, since.elapsed(), 0);
            self.upload.unasked();
        }
    }

    fn cut(&mut self, cut: Rejection) -> PolledFrame {
        let cut = RequestError::from(cut);
        self.ended = true;
        self.upload.break_off(cut.clone());
        Poll::Ready(Some(Err(cut.into())))
    }
}

impl RequestBody {
    /// The trailers. They were not there when the head was checked, so the same rules apply to
    /// them.
    fn end_with(&mut self, mut trailers: HeaderMap) -> PolledFrame {
        if !self.trailers.admit(&trailers) {
            return self.cut(Rejection::TrailersTooLarge);
        }
        self.ended = true;
        clean_trailers(&mut trailers);
        (self.clean)(&mut trailers);
        let some = !trailers.is_empty();
        Poll::Ready(some.then(|| Ok(Frame::trailers(trailers))))
    }
}

/// The error with its chain of causes.
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

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let waited = this.waiting.take().map(|(since, _)| since.elapsed());
                this.upload.moved();
                let data = match frame.into_data() {
                    Ok(data) => data,
                    Err(frame) => return this.end_with(frame.into_trailers().unwrap_or_default()),
                };
                let waited = waited.unwrap_or_default();
                this.left = this.pace.after(this.left, waited, data.len());
                this.came = this.came.saturating_add(data.len() as u64);
                if this.came > this.limit {
                    let limit = this.limit;
                    return this.cut(Rejection::BodyTooLarge { limit });
                }
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Poll::Ready(Some(Err(error))) => {
                let cause = Cause::of(in_full(&error));
                this.cut(match is_oversized(&error) {
                    true => Rejection::TrailersTooLarge,
                    false => Rejection::BodyBroken(cause),
                })
            }
            Poll::Ready(None) => {
                this.ended = true;
                this.upload.moved();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let upload = &this.upload;
                let (since, sleep) = this.waiting.get_or_insert_with(|| {
                    upload.waits();
                    let wait = this.pace.wait(this.left);
                    (Instant::now(), Box::pin(sleep(wait)))
                });
                match sleep.as_mut().poll(cx) {
                    Poll::Ready(()) => {
                        let fault = this.pace.fault(this.left, since.elapsed());
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

    delegate!(inner: size_hint);
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        pause: Duration::from_secs(60),
        grace: Duration::from_secs(30),
        bytes_per_s: 240,
        long_grace: Duration::from_secs(600),
        long_bytes_per_s: 32 << 10,
    };

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn soon(seconds: u64) -> Left {
        let soon = s(seconds);
        Left {
            soon,
            ..PACE.whole()
        }
    }

    #[test]
    fn client_is_waited_for_while_it_keeps_the_average_pace() {
        assert_eq!(PACE.wait(PACE.whole()), s(30));
        let after = |left, waited, bytes| PACE.after(soon(left), s(waited), bytes).soon;
        assert_eq!(after(30, 30, 0), s(0));
        assert_eq!(after(30, 30, 2400), s(10));
        assert_eq!(after(10, 10, 0), s(0));
        assert_eq!(after(30, 0, usize::MAX), s(60), "no more than a pause");
        let any = Pace {
            bytes_per_s: 0,
            ..PACE
        };
        assert_eq!(any.wait(any.after(any.whole(), s(3600), 0)), s(60));
    }

    /// Seconds until a client is cut that sends so many bytes each second, within an hour.
    fn cut_after(bytes_per_s: usize) -> Option<u64> {
        let mut left = PACE.whole();
        (1..3600).find(|_| {
            left = PACE.after(left, s(1), bytes_per_s);
            PACE.wait(left) < s(1)
        })
    }

    #[test]
    fn required_pace_rises_with_the_time_taken() {
        assert_eq!(cut_after(0), Some(30));
        assert_eq!(cut_after(200), Some(174), "of each second a sixth is lost");
        // The least pace holds for ten minutes, and no longer.
        assert_eq!(cut_after(240), Some(604));
        assert_eq!(cut_after(16 << 10), Some(1199));
        assert_eq!(cut_after(32 << 10), None);
        let late = PACE.fault(PACE.after(PACE.whole(), s(599), 240 * 599), s(2));
        assert!(
            late.to_string().contains("less than 32768 bytes a second"),
            "{late}"
        );
    }
}
