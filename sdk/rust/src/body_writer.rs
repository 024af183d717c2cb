//! A body that is written while it is sent.

use crate::Problem;
use std::future::Future;
use std::pin::Pin;
use wasip3::http::types::ErrorCode;
use wasip3::http_compat;
use wasip3::wit_bindgen::StreamReader;

use crate::incoming::End;

pub(crate) type Producing = Pin<Box<dyn Future<Output = Result<(), Problem>>>>;

/// What writes a body.
pub(crate) type Produce = Box<dyn FnOnce(BodyWriter) -> Producing>;

/// `produce`, and the end of the body by its outcome.
pub(crate) fn producing<F>(produce: F) -> Produce
where
    F: AsyncFnOnce(&mut BodyWriter) -> Result<(), Problem> + 'static,
{
    Box::new(|mut out: BodyWriter| -> Producing {
        Box::pin(async move {
            let outcome = produce(&mut out).await;
            out.end(&outcome).await;
            outcome
        })
    })
}

/// Where [`Response::stream`](crate::Response::stream) and
/// [`Request::with_stream`](crate::Request::with_stream) write.
pub struct BodyWriter {
    inner: http_compat::BodyWriter,
    /// What it means if nobody reads it.
    unread: &'static str,
}

impl BodyWriter {
    /// And the other end.
    pub(crate) fn new(unread: &'static str) -> (Self, StreamReader<u8>, End) {
        let (inner, stream, end) = http_compat::BodyWriter::new();
        (BodyWriter { inner, unread }, stream, end)
    }

    /// Sends `bytes`, and waits until the host has accepted them: a slow receiver slows the writer.
    /// Fails when the receiver has gone; return that error.
    pub async fn write(&mut self, bytes: impl Into<Vec<u8>>) -> Result<(), Problem> {
        let unread = self.inner.stream_writer.write_all(bytes.into()).await;
        match unread.is_empty() {
            true => Ok(()),
            false => Err(Problem::bad_request(self.unread)),
        }
    }

    /// The result first, the end of the stream after it: the host learns of a cut before it sees
    /// the end.
    pub(crate) async fn end(self, outcome: &Result<(), Problem>) {
        let http_compat::BodyWriter {
            stream_writer,
            result_writer,
            ..
        } = self.inner;
        match outcome {
            Ok(()) => {
                drop(stream_writer);
                _ = result_writer.write(Ok(None)).await;
            }
            Err(problem) => {
                let cause = ErrorCode::InternalError(Some(problem.to_string()));
                _ = result_writer.write(Err(cause)).await;
            }
        }
    }
}
