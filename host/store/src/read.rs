//! The result of a read: ready at once, or later.

use super::StoreError;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

/// The result of the reading calls of a [`Store`](super::Store).
///
/// The read begins with the call, not with the first poll. It borrows nothing. If it need not wait,
/// it is ready when the call returns, and allocates nothing besides the result.
#[must_use = "the answer is in it"]
pub struct Read<T>(State<T>);

type Answer<T> = Result<T, StoreError>;

enum State<T> {
    Ready(Answer<T>),
    Waiting(Pin<Box<dyn Future<Output = Answer<T>> + Send>>),
    Taken,
}

impl<T> Read<T> {
    /// A read that is ready.
    pub fn ready(answer: Result<T, StoreError>) -> Self {
        Read(State::Ready(answer))
    }

    /// A read that becomes ready with `future`.
    pub fn waiting(future: impl Future<Output = Result<T, StoreError>> + Send + 'static) -> Self {
        Read(State::Waiting(Box::pin(future)))
    }

    /// Blocks this thread until the result is there. Not for a thread that other requests need.
    ///
    /// # Errors
    /// Those of the read.
    pub fn wait(self) -> Result<T, StoreError> {
        struct Unpark(Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waiting = match self.0 {
            State::Ready(answer) => return answer,
            waiting => Read(waiting),
        };
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut waiting = pin!(waiting);
        loop {
            match waiting.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(answer) => return answer,
                Poll::Pending => std::thread::park(),
            }
        }
    }
}

// Only values behind pointers of their own are pinned.
impl<T> Unpin for Read<T> {}

impl<T> Future for Read<T> {
    type Output = Result<T, StoreError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::Waiting(future) = &mut self.0 {
            return future.as_mut().poll(cx);
        }
        match std::mem::replace(&mut self.0, State::Taken) {
            State::Ready(answer) => Poll::Ready(answer),
            // Like any future, it must not be polled once it has ended.
            State::Waiting(_) | State::Taken => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_answer_is_ready_at_the_first_poll() {
        let mut read = pin!(Read::ready(Ok(7)));
        let polled = read.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(polled, Poll::Ready(Ok(7)));
        assert_eq!(Read::ready(Ok(7)).wait(), Ok(7));
    }

    #[test]
    fn thread_can_wait_for_an_answer_inside_and_outside_a_runtime() {
        let late = || {
            let (answer, later) = tokio::sync::oneshot::channel();
            std::thread::spawn(move || answer.send(7));
            Read::waiting(async move { later.await.map_err(|_| StoreError::Closed) })
        };
        assert_eq!(late().wait(), Ok(7));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        assert_eq!(runtime.block_on(async { late().wait() }), Ok(7));
        assert_eq!(runtime.block_on(late()), Ok(7));
    }
}
