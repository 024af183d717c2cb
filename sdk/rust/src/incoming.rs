//! The body of a message that arrives, as the host hands it over.

use bytes::Bytes;
use http::HeaderMap;
use wasip3::http::types::{ErrorCode, Request, Response, Trailers};
use wasip3::wit_bindgen::{FutureReader, FutureWriter, StreamReader, StreamResult};

/// How much is asked for at once. The host hands over what it has, at most this.
const READ_BYTES: usize = 64 * 1024;

/// The end of a body: its trailers, or why it was cut.
pub(crate) type End = FutureReader<Result<Option<Trailers>, ErrorCode>>;

/// What is left of a body. Chunks that are never read are never fetched.
pub(crate) struct Incoming {
    state: State,
    trailers: Option<HeaderMap>,
}

enum State {
    Request(Request),
    Response(Response),
    /// Made by this window.
    There(Bytes),
    Reading {
        stream: StreamReader<u8>,
        end: End,
        /// Told to the sender when it is dropped: we took what we wanted.
        taken: Option<FutureWriter<Result<(), ErrorCode>>>,
    },
    Ended,
}

/// Why a body was not read to its end.
pub(crate) enum ReadError {
    /// It has more than this many bytes.
    TooLarge(usize),
    Cut(ErrorCode),
}

impl From<ErrorCode> for ReadError {
    fn from(code: ErrorCode) -> Self {
        ReadError::Cut(code)
    }
}

impl From<Request> for Incoming {
    fn from(request: Request) -> Self {
        Incoming::of(State::Request(request))
    }
}

impl From<Response> for Incoming {
    fn from(response: Response) -> Self {
        Incoming::of(State::Response(response))
    }
}

impl From<Bytes> for Incoming {
    fn from(bytes: Bytes) -> Self {
        Incoming::of(State::There(bytes))
    }
}

impl Incoming {
    /// A body with nothing left in it.
    pub(crate) const ENDED: Incoming = Incoming::of(State::Ended);

    const fn of(state: State) -> Self {
        Incoming {
            state,
            trailers: None,
        }
    }

    /// What somebody writes into the other end.
    pub(crate) fn open(stream: StreamReader<u8>, end: End) -> Self {
        let taken = None;
        Incoming::of(State::Reading { stream, end, taken })
    }

    /// The request itself while nothing of its body was read. `None` where it was.
    pub(crate) fn unread(self) -> Option<Request> {
        match self.state {
            State::Request(request) => Some(request),
            _ => None,
        }
    }

    /// The trailers, once the body has ended; `None` if there were none.
    pub(crate) fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    /// The next chunk, of 1 byte to 64 KiB; `None` at the end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, ErrorCode> {
        // While the read is under way the state is `Ended`: a caller that gives up in the middle
        // has lost its place.
        let (mut stream, end, taken) = match std::mem::replace(&mut self.state, State::Ended) {
            State::Ended => return Ok(None),
            State::There(bytes) => return Ok((!bytes.is_empty()).then_some(bytes)),
            State::Reading { stream, end, taken } => (stream, end, taken),
            State::Request(request) => {
                let (taken, result) = wasip3::wit_future::new(|| Ok(()));
                let (stream, end) = Request::consume_body(request, result);
                (stream, end, Some(taken))
            }
            State::Response(response) => {
                let (taken, result) = wasip3::wit_future::new(|| Ok(()));
                let (stream, end) = Response::consume_body(response, result);
                (stream, end, Some(taken))
            }
        };
        loop {
            let (result, chunk) = stream.read(Vec::with_capacity(READ_BYTES)).await;
            if !chunk.is_empty() {
                self.state = State::Reading { stream, end, taken };
                return Ok(Some(chunk.into()));
            }
            match result {
                StreamResult::Complete(_) => continue,
                StreamResult::Dropped | StreamResult::Cancelled => break,
            }
        }
        self.trailers = end.await?.map(HeaderMap::try_from).transpose()?;
        Ok(None)
    }

    /// The whole body if it has at most `limit` bytes.
    pub(crate) async fn read_to_end(&mut self, limit: usize) -> Result<Vec<u8>, ReadError> {
        let mut all = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if chunk.len() > limit - all.len() {
                return Err(ReadError::TooLarge(limit));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }
}
