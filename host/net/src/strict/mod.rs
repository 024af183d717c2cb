//! The strict reading of HTTP/1, in front of hyper.
//!
//! hyper repairs some of what RFC 9112 allows a server to repair: with both Content-Length and
//! Transfer-Encoding it drops the length before anybody sees that it was there. And what it refuses
//! it answers by itself, without our log and our problem+json. So this reader holds each head back
//! until it is whole, reads it ([`head`]), and hands it on as it came; of bodies it only finds the
//! end. In place of a head that breaks a rule hyper gets a request that is answered with the reason
//! ([`Refused`]), as the last one of its connection. HTTP/2 passes by after its preface.

mod chunks;
mod head;

pub use head::{Kind, Violation};

use chunks::{BadChunk, Chunks, Most};
use head::Framing;
use hms_core::delegate;
use memchr::memchr_iter;
use parking_lot::Mutex;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// RFC 9113 section 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What hyper reads in place of a head that is refused.
const SUBSTITUTE: &[u8] = b"GET /-/refused HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";
const SUBSTITUTE_PATH: &str = "/-/refused";

/// Bytes of the trailer section of a body. hyper takes less than 16 KiB, and says nothing of it
/// that could be told from other faults.
const MOST_TRAILER_BYTES: usize = 16_000;

/// Bytes read at a time while a head is waited for.
const PIECE: usize = 8 << 10;

/// The trailer section of a body is larger than a head may be. Reading such a body fails with it.
#[derive(Debug, thiserror::Error)]
#[error("the trailer section is too long")]
pub struct TrailersTooLong;

/// The most that a head may have. A trailer section has no more bytes and fields either.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// Bytes.
    pub max_bytes: usize,
    /// Header fields.
    pub max_fields: usize,
    /// For a head that has begun, until it is whole.
    pub max_time: Duration,
}

/// Why the last head of a connection was refused. Shared by its stream and its requests.
#[derive(Clone, Default)]
pub struct Refused(Arc<Mutex<Option<Violation>>>);

impl Refused {
    /// The reason, if this request stands for a head that was refused.
    pub fn of<B>(&self, request: &http::Request<B>) -> Option<Violation> {
        if request.uri().path() != SUBSTITUTE_PATH {
            return None;
        }
        self.0.lock().take()
    }
}

/// Tells a connection's stream that what comes is no HTTP any more.
#[derive(Clone, Default)]
pub struct Through(Arc<AtomicBool>);

impl Through {
    /// From the next head on.
    pub fn open(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A stream whose HTTP/1 heads have been read strictly.
pub struct Strict<S> {
    stream: S,
    refused: Refused,
    through: Through,
    limits: HeadLimits,
    /// Runs while half a head is there.
    deadline: Option<Pin<Box<Sleep>>>,
    /// Of `pending`, in which no end of a head was found.
    searched: usize,
    /// Read, and not yet looked at.
    pending: Vec<u8>,
    /// Looked at, and not yet handed on; from this byte on.
    checked: (Vec<u8>, usize),
    state: State,
}

enum State {
    /// Whether the connection has had a head before: the first may be HTTP/2's preface.
    Head {
        first: bool,
    },
    Length(u64),
    Chunked(Chunks),
    /// All that comes is handed on.
    Through,
    /// A head was refused: nothing more is read.
    Over,
}

impl<S> Strict<S> {
    /// Reads `stream`. Why a head is refused is in `refused` then.
    pub fn new(stream: S, limits: HeadLimits, refused: Refused) -> Self {
        Strict {
            stream,
            refused,
            through: Through::default(),
            limits,
            deadline: None,
            searched: 0,
            pending: Vec::new(),
            checked: (Vec::new(), 0),
            state: State::Head { first: true },
        }
    }

    /// What ends the reading, once the connection is no HTTP any more.
    pub fn through(&self) -> Through {
        self.through.clone()
    }

    /// Takes a whole head from what is pending. Whether there was one.
    fn take_head(&mut self, first: bool) -> bool {
        if first {
            if self.pending.starts_with(PREFACE) {
                self.state = State::Through;
                return true;
            }
            if PREFACE.starts_with(&self.pending) {
                return false;
            }
        }
        // RFC 9112 section 2.2: an empty line in front of a request, such as some clients send
        // after a body.
        if self.pending.starts_with(b"\r\n") {
            self.pending.drain(..2);
        }
        // An end that the last look had half of is found by going back over it.
        let from = self.searched.saturating_sub(3).min(self.pending.len());
        let found = self.pending.get(from..).and_then(head_length);
        let Some(length) = found.map(|length| from + length) else {
            self.searched = self.pending.len();
            if self.pending.len() > self.limits.max_bytes {
                self.refuse(Violation {
                    kind: Kind::TooLarge,
                    method: head::unknown(),
                });
                return true;
            }
            return false;
        };
        self.searched = 0;
        let rest = self.pending.split_off(length);
        let head = std::mem::replace(&mut self.pending, rest);
        if head.len() > self.limits.max_bytes {
            self.refuse(Violation {
                kind: Kind::TooLarge,
                method: head::unknown(),
            });
            return true;
        }
        match head::read(&head, self.limits.max_fields) {
            Ok(framing) => {
                self.checked = (head, 0);
                self.state = match framing {
                    Framing::Nothing => State::Head { first: false },
                    Framing::Length(length) => State::Length(length),
                    Framing::Chunked => State::Chunked(Chunks::bounded(Most {
                        bytes: self.limits.max_bytes.min(MOST_TRAILER_BYTES),
                        fields: self.limits.max_fields,
                    })),
                };
            }
            Err(violation) => self.refuse(violation),
        }
        true
    }

    fn refuse(&mut self, violation: Violation) {
        let mut refused = self.refused.0.lock();
        *refused = Some(violation);
        self.checked = (SUBSTITUTE.to_vec(), 0);
        self.pending = Vec::new();
        self.state = State::Over;
    }

    /// Hands on what is left of a head. Whether there was something.
    fn hand_on(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let (bytes, from) = &mut self.checked;
        let left = bytes.get(*from..).unwrap_or_default();
        if left.is_empty() {
            return false;
        }
        let count = left.len().min(buf.remaining());
        buf.put_slice(left.get(..count).unwrap_or_default());
        *from += count;
        if *from == bytes.len() {
            self.checked = (Vec::new(), 0);
        }
        true
    }

    /// Hands on what is pending, as much as fits.
    fn hand_on_pending(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.pending.len().min(buf.remaining());
        buf.put_slice(self.pending.get(..count).unwrap_or_default());
        self.pending.drain(..count);
    }
}

/// The bytes of the head, its empty line included, if it is there. A line that ends with LF alone
/// counts here, so that its head is found and refused rather than waited for.
fn head_length(bytes: &[u8]) -> Option<usize> {
    for at in memchr_iter(b'\n', bytes) {
        let rest = bytes.get(at + 1..)?;
        if rest.starts_with(b"\r\n") {
            return Some(at + 3);
        }
        if rest.starts_with(b"\n") {
            return Some(at + 2);
        }
    }
    None
}

impl<S: AsyncRead + Unpin> AsyncRead for Strict<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if buf.remaining() == 0 || this.hand_on(buf) {
                return Poll::Ready(Ok(()));
            }
            match &mut this.state {
                State::Over => return this.poll_discard(cx),
                State::Through if this.pending.is_empty() => {
                    return Pin::new(&mut this.stream).poll_read(cx, buf);
                }
                State::Through => {
                    this.hand_on_pending(buf);
                    return Poll::Ready(Ok(()));
                }
                State::Head { .. } if this.through.0.load(Ordering::Acquire) => {
                    this.state = State::Through;
                }
                State::Head { first } => {
                    let first = *first;
                    if this.take_head(first) {
                        this.deadline = None;
                    } else if ready!(this.poll_more(cx))? {
                        // Half a head and then the end: hyper tells it as it does without us.
                        this.state = State::Through;
                    }
                }
                State::Length(_) | State::Chunked(_) => return this.poll_body(cx, buf),
            }
        }
    }
}

impl<S: AsyncRead + Unpin> Strict<S> {
    /// Reads more of a head. Whether the stream has ended.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut piece = [std::mem::MaybeUninit::uninit(); PIECE];
        let mut piece = ReadBuf::uninit(&mut piece);
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut piece)?;
        if read.is_ready() {
            self.pending.extend_from_slice(piece.filled());
            return Poll::Ready(Ok(piece.filled().is_empty()));
        }
        // Between two requests hyper counts the time.
        if !self.pending.is_empty() {
            let longest = self.limits.max_time;
            let deadline = self
                .deadline
                .get_or_insert_with(|| Box::pin(sleep(longest)));
            ready!(deadline.as_mut().poll(cx));
            self.refuse(Violation {
                kind: Kind::TooSlow,
                method: head::unknown(),
            });
            return Poll::Ready(Ok(false));
        }
        Poll::Pending
    }

    /// Throws away what comes after a refused head. Only a client that closes ends it: an end that
    /// comes before the refusal is sent would have hyper not send it.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = ready!(self.poll_more(cx))?;
        self.pending.clear();
        if ended {
            return Poll::Ready(Ok(()));
        }
        // One piece, and then others have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Hands on more of a body, and keeps what comes after it.
    fn poll_body(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.pending.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        } else {
            self.hand_on_pending(buf);
        }
        let read = buf.filled().get(before..).unwrap_or_default();
        let (count, ended) = match &mut self.state {
            State::Length(left) => {
                let count = usize::try_from(*left).map_or(read.len(), |left| left.min(read.len()));
                *left -= count as u64;
                (count, *left == 0)
            }
            State::Chunked(chunks) => match chunks.take(read) {
                Ok(count) => (count, chunks.has_ended()),
                Err(why) => {
                    // Who fails has read nothing.
                    buf.set_filled(before);
                    return Poll::Ready(Err(broken(&why)));
                }
            },
            _ => (read.len(), false),
        };
        let surplus = read.get(count..).unwrap_or_default();
        if !surplus.is_empty() {
            self.pending.splice(..0, surplus.iter().copied());
            buf.set_filled(before + count);
        }
        if ended {
            self.state = State::Head { first: false };
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Strict<S> {
    delegate!(stream: writes, poll_flush, poll_shutdown);
}

fn broken(why: &BadChunk) -> io::Error {
    let kind = io::ErrorKind::InvalidData;
    match why {
        BadChunk::Syntax => io::Error::new(kind, "the body is not chunked as RFC 9112 requires"),
        BadChunk::Trailers => io::Error::new(kind, TrailersTooLong),
    }
}

#[cfg(test)]
mod tests;
