//! The body of a request, as it arrives.

use crate::Problem;
use crate::incoming::{Incoming, ReadError};
use bytes::Bytes;
use wasip3::http::types::{ErrorCode, Request};

/// A request's body: a stream of chunks. Chunks that are never read are never fetched.
pub struct Body(Incoming);

impl Body {
    /// A body with nothing left in it.
    pub(crate) const ENDED: Body = Body(Incoming::ENDED);

    pub(crate) fn new(request: Request) -> Self {
        Body(request.into())
    }

    /// What is sent on: the request itself while nothing of its body was read. `None` where it was.
    pub(crate) fn unread(self) -> Option<Request> {
        self.0.unread()
    }

    /// The next chunk, of 1 byte to 64 KiB; `None` at the end.
    ///
    /// A truncated body is an error and never an early end, so data can be stored as it is read.
    ///
    /// ```no_run
    /// # async fn count(request: hms_window::Request) -> Result<usize, hms_window::Problem> {
    /// let (mut body, mut length) = (request.body(), 0);
    /// while let Some(chunk) = body.chunk().await? {
    ///     length += chunk.len();
    /// }
    /// # Ok(length) }
    /// ```
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Problem> {
        self.0.chunk().await.map_err(problem)
    }

    /// The whole body if it has at most `limit` bytes; otherwise 413.
    pub async fn read_to_end(&mut self, limit: usize) -> Result<Vec<u8>, Problem> {
        self.0
            .read_to_end(limit)
            .await
            .map_err(|error| match error {
                ReadError::TooLarge(limit) => Problem::too_large(limit as u64),
                ReadError::Cut(code) => problem(code),
            })
    }
}

fn problem(code: ErrorCode) -> Problem {
    match code {
        ErrorCode::HttpRequestBodySize(limit) => Problem::too_large(limit.unwrap_or_default()),
        cause => Problem::bad_request(format!("the request body ended too early: {cause}")),
    }
}
