//! The body of a request, as it arrives.

use crate::Problem;
use bytes::Bytes;
use wasip3::http::types::{ErrorCode, Request, Trailers};
use wasip3::wit_bindgen::{FutureReader, FutureWriter, StreamReader, StreamResult};

/// How much is asked for at once. The host hands over what it has, at most this.
const READ_BYTES: usize = 64 * 1024;

/// The body of a request that is sent on.
pub(crate) enum Passing {
    /// As it came, and whether its head is as it came as well.
    Whole((Request, bool)),
    Bytes(Vec<u8>),
}

/// A request's body: a stream of chunks. Chunks that are never read are never fetched.
pub struct Body(State);

enum State {
    Unread(Request),
    Reading {
        stream: StreamReader<u8>,
        end: FutureReader<Result<Option<Trailers>, ErrorCode>>,
        /// Told to the sender when it is dropped: we took what we wanted.
        _taken: FutureWriter<Result<(), ErrorCode>>,
    },
    Ended,
}

impl Body {
    /// A body with nothing left in it.
    pub(crate) const ENDED: Body = Body(State::Ended);

    pub(crate) fn new(request: Request) -> Self {
        Body(State::Unread(request))
    }

    /// What is sent on: the request itself while nothing of its body was read. `None` where it was.
    pub(crate) fn unread(self) -> Option<Request> {
        match self.0 {
            State::Unread(request) => Some(request),
            State::Reading { .. } | State::Ended => None,
        }
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
        // While the read is under way the state is `Ended`: a caller that gives up in the middle
        // has lost its place.
        let (mut stream, end, taken) = match std::mem::replace(&mut self.0, State::Ended) {
            State::Ended => return Ok(None),
            State::Reading {
                stream,
                end,
                _taken,
            } => (stream, end, _taken),
            State::Unread(request) => {
                let (taken, result) = wasip3::wit_future::new(|| Ok(()));
                let (stream, end) = Request::consume_body(request, result);
                (stream, end, taken)
            }
        };
        loop {
            let (result, chunk) = stream.read(Vec::with_capacity(READ_BYTES)).await;
            if !chunk.is_empty() {
                self.0 = State::Reading {
                    stream,
                    end,
                    _taken: taken,
                };
                return Ok(Some(chunk.into()));
            }
            match result {
                StreamResult::Complete(_) => continue,
                StreamResult::Dropped | StreamResult::Cancelled => break,
            }
        }
        match end.await {
            Ok(_) => Ok(None),
            Err(ErrorCode::HttpRequestBodySize(limit)) => {
                Err(Problem::too_large(limit.unwrap_or_default()))
            }
            Err(cause) => Err(Problem::bad_request(format!(
                "the request body ended too early: {cause}"
            ))),
        }
    }

    /// The whole body if it has at most `limit` bytes; otherwise 413.
    pub async fn read_to_end(&mut self, limit: usize) -> Result<Vec<u8>, Problem> {
        let mut all = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if chunk.len() > limit - all.len() {
                return Err(Problem::too_large(limit as u64));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }
}
