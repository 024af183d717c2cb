//! A deadline for the first bytes of a connection.
//!
//! hyper-util reads up to 24 bytes to tell HTTP/2 from HTTP/1, and waits for them without limit.
//! This reader ends the wait: it runs a timer until the bytes read tell the version, then it is
//! only a pipe.

use hms_core::delegate;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// RFC 9113 section 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream whose first bytes have a deadline; reading fails with `TimedOut` after it.
pub struct Sniff<S> {
    stream: S,
    /// None once the version is clear.
    deadline: Option<Pin<Box<Sleep>>>,
    seen: usize,
}

impl<S> Sniff<S> {
    /// The time runs from now on, until the bytes tell the HTTP version.
    pub fn new(stream: S, timeout: Duration) -> Self {
        Sniff {
            stream,
            deadline: Some(Box::pin(sleep(timeout))),
            seen: 0,
        }
    }

    /// Whether these bytes leave the version open.
    fn still_open(&mut self, bytes: &[u8]) -> bool {
        let rest = PREFACE.get(self.seen..).unwrap_or_default();
        self.seen += bytes.len();
        bytes.len() < rest.len() && rest.starts_with(bytes)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Sniff<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        let Some(deadline) = &mut this.deadline else {
            return polled;
        };
        if polled.is_pending() {
            ready!(deadline.as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let bytes = buf.filled().get(before..).unwrap_or_default();
        if !this.still_open(bytes) {
            this.deadline = None;
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Sniff<S> {
    delegate!(stream: writes, poll_flush, poll_shutdown);
}
