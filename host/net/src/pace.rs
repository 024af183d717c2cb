//! A deadline for a client that does not read.
//!
//! hyper waits without limit for a client to take what it is sent. What waits there keeps a
//! connection, and the lease of a release with it. This writer ends the wait of a client that is
//! behind a least pace for too long.
//!
//! Linux says that a socket can be written to only once a third of its send buffer is free. That
//! buffer grows to 4 MiB, so a client that steadily takes 20 kB a second looks for a minute as if
//! it took nothing. A write, however, takes what room there is: so while one waits, it is tried
//! once a second. A client that keeps up never waits as long, and costs nothing.

use crate::connection_limit::{Activity, AtWork};
use hms_core::delegate;
use prometheus_client::metrics::counter::Counter;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// Between two looks for room in the kernel's buffer.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How slow a client may be in taking what it is sent.
#[derive(Debug, Clone, Copy)]
pub struct WritePace {
    /// How long it may take nothing; and how far, in time, it may be behind the pace.
    pub longest: Duration,
    /// The least pace, in bytes a second.
    pub bytes_per_s: u32,
}

impl WritePace {
    /// How often room is looked for that was not told of. A second: the instance behind has a time
    /// of its own for its next chunk, which must move before that is over.
    fn look(&self) -> Duration {
        LOOK_EVERY.min(self.longest / 8)
    }

    /// The time that taking so much is worth.
    pub fn worth(&self, bytes: usize) -> Duration {
        let seconds = bytes as f64 / f64::from(self.bytes_per_s.max(1));
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

/// A stream that can be written to although it is not told to have room.
pub trait Press {
    /// Writes what there is room for, without waiting.
    ///
    /// # Errors
    /// Where there is none, or the stream is broken.
    fn press(&self, bytes: &[u8]) -> io::Result<usize>;
}

impl Press for TcpStream {
    fn press(&self, bytes: &[u8]) -> io::Result<usize> {
        // Not by the stream's own methods: they do not even ask the kernel until it has told of
        // room.
        Ok(rustix::io::write(self, bytes)?)
    }
}

/// A stream whose reader must keep up with a [`WritePace`]; otherwise its writes fail.
pub struct Paced<S> {
    stream: S,
    pace: WritePace,
    /// What is left of its time: less by what it is waited for, more by what it takes, and never
    /// more than `longest`.
    left: Duration,
    /// Since when a write waits, and until when.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    /// There was room that was not told of, and may be more.
    pressing: bool,
    /// Of the connection.
    activity: Activity,
    /// From a write that waited to the flush behind the last one: whoever writes has more
    /// meanwhile.
    unsent: Option<AtWork>,
    /// Counts the clients whose time was over.
    slow: Counter,
}

impl<S> Paced<S> {
    /// Bounds the wait for the client of `stream`, whose connection counts as busy meanwhile.
    pub fn new(stream: S, pace: WritePace, slow: Counter, activity: Activity) -> Self {
        Paced {
            stream,
            pace,
            left: pace.longest,
            waiting: None,
            pressing: false,
            activity,
            unsent: None,
            slow,
        }
    }

    /// The client has made room for so many bytes.
    fn took(&mut self, bytes: usize) {
        if let Some((since, _)) = self.waiting.take() {
            self.left = self.left.saturating_sub(since.elapsed());
        }
        if self.left < self.pace.longest {
            let worth = self.pace.worth(bytes);
            self.left = self.left.saturating_add(worth).min(self.pace.longest);
        }
    }
}

impl<S: Press> Paced<S> {
    /// Passes on what came of a write of `bytes`; that of a client whose time is over has failed.
    fn timed(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<usize>>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match polled {
            Poll::Ready(Ok(taken)) => {
                self.took(taken);
                return polled;
            }
            Poll::Ready(Err(_)) => return polled,
            Poll::Pending => {}
        }
        if self.unsent.is_none() {
            self.unsent = Some(self.activity.unsent());
        }
        let (left, look) = (self.left, self.pace.look());
        let waiting = || (Instant::now(), Box::pin(sleep(left.min(look))));
        let (since, until) = self.waiting.get_or_insert_with(waiting);
        if !self.pressing {
            ready!(until.as_mut().poll(cx));
        }
        match self.stream.press(bytes) {
            Ok(taken) if taken > 0 => {
                self.pressing = true;
                self.took(taken);
                Poll::Ready(Ok(taken))
            }
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Poll::Ready(Err(error)),
            _ => {
                self.pressing = false;
                let left = left.saturating_sub(since.elapsed());
                if left.is_zero() {
                    self.slow.inc();
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                let next = tokio::time::Instant::now() + left.min(look);
                until.as_mut().reset(next);
                self.timed(cx, Poll::Pending, bytes)
            }
        }
    }
}

impl<S: AsyncWrite + Press + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.timed(cx, polled, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        let first = bufs.iter().find(|buf| !buf.is_empty());
        self.timed(cx, polled, first.map_or(&[], |buf| buf))
    }

    delegate!(stream: is_write_vectored, poll_shutdown);

    /// Of a socket it waits for nothing. Comes when all has been written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() {
            self.unsent = None;
        }
        flushed
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    delegate!(stream: poll_read);
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpSocket};
    use tokio::task::JoinHandle;

    const PACE: WritePace = WritePace {
        longest: Duration::from_millis(700),
        bytes_per_s: 10_000,
    };

    /// What became of it, within 4 s.
    #[derive(Debug, PartialEq, Eq)]
    enum End {
        GoesOn,
        Ended(io::ErrorKind),
    }

    /// A server that writes without end, in such pieces, to a client that takes so much each 20 ms.
    async fn download(piece: usize, taken: usize) -> (End, Duration, u64) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpSocket::new_v4().unwrap();
        client.set_recv_buffer_size(16 << 10).unwrap();
        let client = client.connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let (mut client, slow) = (client.unwrap(), Counter::default());
        let server = accepted.unwrap().0;
        let mut server = Paced::new(server, PACE, slow.clone(), Activity::new());
        let begun = Instant::now();
        let writing: JoinHandle<io::Result<()>> = tokio::spawn(async move {
            loop {
                server.write_all(&vec![7; piece]).await?;
            }
        });
        let mut piece = vec![0; taken];
        while begun.elapsed() < Duration::from_secs(4) && !writing.is_finished() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if taken > 0 {
                client.read_exact(&mut piece).await.unwrap();
            }
        }
        let outcome = match writing.is_finished() {
            true => End::Ended(writing.await.unwrap().unwrap_err().kind()),
            false => End::GoesOn,
        };
        (outcome, begun.elapsed(), slow.get())
    }

    #[tokio::test]
    async fn steady_download_continues_however_large_the_kernel_buffer() {
        // 200 kB a second: of the megabytes that the kernel holds a third takes far longer than the
        // client has.
        for piece in [16 << 10, 100] {
            let (outcome, _, slow) = download(piece, 4 << 10).await;
            assert_eq!((outcome, slow), (End::GoesOn, 0), "pieces of {piece}");
        }
    }

    #[tokio::test]
    async fn client_that_reads_next_to_nothing_is_disconnected() {
        for taken in [0, 1, 40] {
            let (outcome, after, slow) = download(16 << 10, taken).await;
            let ended = End::Ended(io::ErrorKind::TimedOut);
            assert_eq!((outcome, slow), (ended, 1), "{taken} bytes each 20 ms");
            assert!(after >= PACE.longest, "{after:?}");
        }
    }

    #[test]
    fn pace_debt_costs_time_and_credit_is_capped() {
        let mut paced = Paced::new((), PACE, Counter::default(), Activity::new());
        paced.took(1 << 30);
        assert_eq!(paced.left, PACE.longest);
        paced.left = Duration::from_millis(100);
        paced.took(1000);
        assert_eq!(paced.left, Duration::from_millis(200));
        paced.took(1 << 30);
        assert_eq!(paced.left, PACE.longest);
    }
}
