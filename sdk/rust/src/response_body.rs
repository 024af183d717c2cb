//! The body of an answer, as it arrives.

use crate::body_writer::BodyWriter;
use crate::fetch_error::{FetchError, Target};
use crate::incoming::{Incoming, ReadError};
use crate::response::{Content, DISCONNECTED};
use crate::{HeaderMap, Response};
use bytes::Bytes;
use serde::de::DeserializeOwned;

/// The most that [`Response::read_json`] reads, in bytes: 1 MiB. A larger answer is read in chunks.
const JSON_LIMIT: usize = 1 << 20;

/// An answer's body: a stream of chunks. Chunks that are never read are never fetched.
pub struct ResponseBody {
    incoming: Incoming,
    target: Target,
}

impl ResponseBody {
    /// The next chunk, of 1 byte to 64 KiB; `None` at the end.
    ///
    /// A truncated body is an error and never an early end, so data can be stored as it is read.
    ///
    /// ```no_run
    /// # use hms_window::{FetchError, Request, fetch};
    /// # async fn count() -> Result<usize, FetchError> {
    /// let mut body = fetch(Request::get("https://archive.example/1")).await?.into_body();
    /// let mut length = 0;
    /// while let Some(chunk) = body.chunk().await? {
    ///     length += chunk.len();
    /// }
    /// # Ok(length) }
    /// ```
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        let chunk = self.incoming.chunk().await;
        chunk.map_err(|code| FetchError::of(&self.target, code))
    }

    /// The whole body if it has at most `limit` bytes; otherwise
    /// [`FetchErrorKind::Unexpected`](crate::FetchErrorKind::Unexpected).
    pub async fn read_to_end(&mut self, limit: usize) -> Result<Vec<u8>, FetchError> {
        let read = self.incoming.read_to_end(limit).await;
        read.map_err(|error| match error {
            ReadError::Cut(code) => FetchError::of(&self.target, code),
            ReadError::TooLarge(limit) => {
                let what = format!("its answer is larger than {limit} bytes");
                FetchError::unexpected(&self.target, what)
            }
        })
    }

    /// The trailers, once the body has been read to its end; `None` if there were none.
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.incoming.trailers()
    }
}

impl Response {
    /// The body: of an answer that [`fetch`](crate::fetch()), [`call`](crate::call()) or
    /// [`Next::call`](crate::Next::call) returned.
    pub fn into_body(self) -> ResponseBody {
        let target = self.target.clone().unwrap_or_else(Target::next);
        let incoming = match self.into_content() {
            Content::Passed(response) => response.into(),
            Content::Bytes(bytes) => bytes.into(),
            Content::Stream(produce) => {
                let (out, stream, end) = BodyWriter::new(DISCONNECTED);
                wasip3::spawn_local(async move { _ = produce(out).await });
                Incoming::open(stream, end)
            }
        };
        ResponseBody { incoming, target }
    }

    /// The body as JSON, whatever its content type: at most 1 MiB, in the shape of `T`; otherwise
    /// [`FetchErrorKind::Unexpected`](crate::FetchErrorKind::Unexpected). Look at the status first.
    pub async fn read_json<T: DeserializeOwned>(self) -> Result<T, FetchError> {
        let mut body = self.into_body();
        let bytes = body.read_to_end(JSON_LIMIT).await?;
        serde_json::from_slice(&bytes).map_err(|cause| {
            let what = format!("its answer is not the JSON that was expected: {cause}");
            FetchError::unexpected(&body.target, what)
        })
    }
}
