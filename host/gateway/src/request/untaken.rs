//! A deadline for HTTP/2 streams whose client reads too little of its answer.
//!
//! hyper polls a body again only once the client's window has room. So the body can neither see
//! that wait nor end it, and a client that opens no window would hold everything behind its answer:
//! a release, a slot at services, the connection. Each stream is a task; this ends the task, and h2
//! resets the stream.
//!
//! An answer that is sent whole, or read at once, has no timer.

use hms_net::pace::WritePace;
use prometheus_client::metrics::counter::Counter;
use std::cell::{Cell, OnceCell};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// Checks per time limit of a pace.
const LOOKS: u32 = 8;

/// Bytes of an answer that have been written, once the client's window had room for them.
#[derive(Clone, Default)]
pub struct Taken(Arc<AtomicU64>);

impl Taken {
    /// Counts bytes that were handed to the connection.
    pub fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Relaxed);
    }
}

/// The answer of one stream, as reported by its body.
#[derive(Default)]
struct Answer {
    /// A piece was handed over, and no other has been asked for.
    waits: Cell<bool>,
    too_slow: Cell<bool>,
    /// Set once there is more than one piece.
    taken: OnceCell<Taken>,
}

tokio::task_local! {
    static ANSWER: Answer;
}

/// The body of the current stream was polled for a piece.
pub fn asked() {
    let _ = ANSWER.try_with(|answer| answer.waits.set(false));
}

/// It handed one over. None after the last piece, or if no stream is watched.
pub fn given(last: bool) -> Option<Taken> {
    let given = |answer: &Answer| {
        answer.waits.set(true);
        (!last).then(|| answer.taken.get_or_init(Taken::default).clone())
    };
    ANSWER.try_with(given).ok().flatten()
}

/// Whether the current stream ends because its client is too slow.
pub fn is_too_slow() -> bool {
    let slow = ANSWER.try_with(|answer| answer.too_slow.get());
    slow.unwrap_or_default()
}

/// Runs a stream, and drops it if its client lags behind `pace` for too long, counted in `slow`.
/// Time in which the client has everything there is does not count.
pub async fn watched<F: Future>(stream: F, pace: WritePace, slow: Counter) {
    let watched = async move {
        // Dropped in the scope of its answer.
        let mut stream = pin!(stream);
        let mut watch = Watch::new(pace);
        std::future::poll_fn(|cx| match stream.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => ANSWER.with(|answer| {
                ready!(watch.poll(cx, answer));
                answer.too_slow.set(true);
                slow.inc();
                Poll::Ready(())
            }),
        })
        .await;
    };
    ANSWER.scope(Answer::default(), watched).await;
}

struct Watch {
    pace: WritePace,
    /// The time that the client has left.
    left: Duration,
    /// The next check. None until the client is waited for.
    look: Option<Pin<Box<Sleep>>>,
}

impl Watch {
    fn new(pace: WritePace) -> Self {
        Watch {
            pace,
            left: pace.longest,
            look: None,
        }
    }

    /// Ready once the client's time is over.
    fn poll(&mut self, cx: &mut Context<'_>, answer: &Answer) -> Poll<()> {
        if self.look.is_none() && !answer.waits.get() {
            return Poll::Pending;
        }
        let pause = self.pace.longest / LOOKS;
        let look = self.look.get_or_insert_with(|| Box::pin(sleep(pause)));
        loop {
            ready!(look.as_mut().poll(cx));
            let taken = answer.taken.get();
            let bytes = taken.map_or(0, |taken| taken.0.swap(0, Relaxed));
            let worth = self.pace.worth(bytes as usize);
            self.left = self.left.saturating_add(worth).min(self.pace.longest);
            if !answer.waits.get() {
                self.look = None;
                return Poll::Pending;
            }
            self.left = self.left.saturating_sub(pause);
            if self.left < pause {
                return Poll::Ready(());
            }
            look.as_mut().reset(tokio::time::Instant::now() + pause);
        }
    }
}
