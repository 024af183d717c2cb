//! For how long a service has said nothing, since it was asked for something.

use hms_core::delegate;
use hyper::rt::{Read, ReadBufCursor, Write};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// Shared by a connection and by those who send requests on it.
pub(super) struct Silence {
    begun: Instant,
    /// Microseconds from `begun` to the first request after which nothing came; 0 for none.
    since_us: AtomicU64,
}

impl Silence {
    pub(super) fn new() -> Self {
        Silence {
            begun: Instant::now(),
            since_us: AtomicU64::new(0),
        }
    }

    /// A request is sent.
    pub(super) fn asked(&self) {
        if self.since_us.load(Relaxed) == 0 {
            let now = self.begun.elapsed().as_micros() as u64;
            self.since_us.store(now.max(1), Relaxed);
        }
    }

    /// Something came.
    fn heard(&self) {
        if self.since_us.load(Relaxed) != 0 {
            self.since_us.store(0, Relaxed);
        }
    }

    /// How long it has lasted.
    pub(super) fn lasts(&self) -> Duration {
        match self.since_us.load(Relaxed) {
            0 => Duration::ZERO,
            since => {
                let since = Duration::from_micros(since);
                self.begun.elapsed().saturating_sub(since)
            }
        }
    }
}

/// A connection that says what it hears.
pub(super) struct Heard<S> {
    inner: S,
    silence: Arc<Silence>,
}

impl<S> Heard<S> {
    pub(super) fn new(inner: S, silence: Arc<Silence>) -> Self {
        Heard { inner, silence }
    }
}

impl<S: Read + Unpin> Read for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.inner).poll_read(cx, buf));
        self.silence.heard();
        Poll::Ready(read)
    }
}

impl<S: Write + Unpin> Write for Heard<S> {
    delegate!(inner: writes, poll_flush, poll_shutdown);
}
