//! Closing a connection so that its last answer arrives.
//!
//! A server that answers before it has read a request to its end, and closes, makes the kernel send
//! a reset: it drops what the client has not read yet, so that the client sees a broken pipe in
//! place of the 401 or 413 (RFC 9112 section 9.6). [`Lingering`] closes its sending half first,
//! then reads and throws away what still comes, in bounds.

use bytes::Bytes;
use hms_core::delegate;
use http::Request;
use http_body::{Body, Frame};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// The longest that a closed connection is read from. 30 s, as nginx's `lingering_time`.
const LONGEST: Duration = Duration::from_secs(30);

/// The longest wait for a next byte meanwhile. 5 s, as nginx's `lingering_timeout`.
const IDLE: Duration = Duration::from_secs(5);

/// Bytes thrown away at a time.
const PIECE: usize = 16 << 10;

/// Whether the last request of a connection was not read to its end. Shared by its stream and its
/// requests.
#[derive(Clone, Default)]
pub struct Unread(Arc<AtomicBool>);

impl Unread {
    /// What the last request was is not read to its end, and will not be.
    pub fn leave(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Keeps account of how far `request` is read.
    pub fn watch<B: Body>(&self, request: Request<B>) -> Request<Watched<B>> {
        self.0
            .store(!request.body().is_end_stream(), Ordering::Release);
        request.map(|inner| Watched {
            inner,
            unread: self.clone(),
        })
    }
}

/// What the listeners hand on: a request body as hyper reads it.
pub type Inbound = Watched<hyper::body::Incoming>;

/// A request body that tells [`Unread`] of its end.
pub struct Watched<B> {
    inner: B,
    unread: Unread,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Watched<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if frame.is_none() || self.inner.is_end_stream() {
            self.unread.0.store(false, Ordering::Release);
        }
        Poll::Ready(frame)
    }

    delegate!(inner: is_end_stream, size_hint);
}

/// A stream whose shutdown waits for the peer's end where a request was left unread.
pub struct Lingering<S> {
    stream: S,
    unread: Unread,
    closing: Option<Closing>,
    longest: Duration,
    idle: Duration,
}

struct Closing {
    until: Instant,
    idle: Pin<Box<Sleep>>,
}

impl<S> Lingering<S> {
    /// Lingers at the end of `stream` if `unread` says that the client is still sending.
    pub fn new(stream: S, unread: Unread) -> Self {
        Lingering {
            stream,
            unread,
            closing: None,
            longest: LONGEST,
            idle: IDLE,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Lingering<S> {
    /// Ready when the peer has ended, failed, or had its time.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let closing = self.closing.get_or_insert_with(|| Closing {
            until: Instant::now() + self.longest,
            idle: Box::pin(sleep(self.idle)),
        });
        let mut piece = [std::mem::MaybeUninit::uninit(); PIECE];
        loop {
            let mut buf = ReadBuf::uninit(&mut piece);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return closing.idle.as_mut().poll(cx),
            }
            let now = Instant::now();
            if now >= closing.until {
                return Poll::Ready(());
            }
            closing
                .idle
                .as_mut()
                .reset((now + self.idle).min(closing.until));
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.closing.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        }
        if this.unread.0.load(Ordering::Acquire) {
            ready!(this.poll_discard(cx));
        }
        Poll::Ready(Ok(()))
    }

    delegate!(stream: writes, poll_flush);
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    delegate!(stream: poll_read);
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Empty, Full};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    fn unread() -> Unread {
        let unread = Unread::default();
        drop(unread.watch(Request::new(Full::new(Bytes::from("not read")))));
        unread
    }

    #[tokio::test]
    async fn bytes_after_an_early_answer_are_read_until_the_peer_closes() {
        let (mut client, server) = duplex(1024);
        let mut server = Lingering::new(server, unread());
        let closed = tokio::spawn(async move {
            server.write_all(b"413").await.unwrap();
            server.shutdown().await.unwrap();
        });
        // A thousand times what the pipe holds: without the reader it would stay full or break.
        client.write_all(&vec![7; 1 << 20]).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "413");
        assert!(!closed.is_finished());
        drop(client);
        closed.await.unwrap();
    }

    /// How long the shutdown waits for a peer that sends a byte every `pause`, with 100 ms for a
    /// next byte and 500 in all.
    async fn wait_for_a_peer_with(pause: Duration) -> Duration {
        let (mut client, server) = duplex(1024);
        let sending = tokio::spawn(async move {
            loop {
                tokio::time::sleep(pause).await;
                if client.write_all(b"m").await.is_err() {
                    return;
                }
            }
        });
        let mut server = Lingering::new(server, unread());
        server.idle = Duration::from_millis(100);
        server.longest = Duration::from_millis(500);
        let begun = Instant::now();
        let closing = tokio::time::timeout(Duration::from_secs(30), server.shutdown());
        closing.await.expect("it is left").unwrap();
        sending.abort();
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn silent_peer_is_closed_soon() {
        let waited = wait_for_a_peer_with(Duration::from_secs(60)).await;
        assert_eq!(waited.as_millis(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn endless_peer_is_closed_after_the_longest_linger() {
        let waited = wait_for_a_peer_with(Duration::from_millis(10)).await;
        assert_eq!(waited.as_millis(), 500);
    }

    #[tokio::test]
    async fn connection_with_fully_read_requests_does_not_linger() {
        let bodyless = Unread::default();
        drop(bodyless.watch(Request::new(Empty::<Bytes>::new())));
        let read = Unread::default();
        let request = read.watch(Request::new(Full::new(Bytes::from("read"))));
        request.into_body().collect().await.unwrap();
        for account in [Unread::default(), bodyless, read] {
            let (_client, server) = duplex(1024);
            let mut server = Lingering::new(server, account);
            server.idle = Duration::from_secs(3600);
            let closing = tokio::time::timeout(Duration::from_secs(30), server.shutdown());
            closing.await.unwrap().unwrap();
        }
    }
}
