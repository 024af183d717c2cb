//! How a request leaves the window, along its chain or out of it.

use crate::Request;
use crate::body_writer::{BodyWriter, Produce};
use http::{HeaderMap, Method, header};
use wasip3::http::types::{self, ErrorCode, RequestOptions, Scheme};

/// The body of a request that is sent.
pub(crate) enum Sent {
    /// As it came, and whether its head is as it came as well.
    Whole(types::Request, bool),
    Bytes(Vec<u8>),
    Stream(Produce),
}

/// A request in its parts, to be sent.
pub(crate) struct Parts {
    pub method: Method,
    /// Path and query.
    pub target: String,
    pub headers: HeaderMap,
    pub scheme: Scheme,
    pub authority: Option<String>,
    pub body: Sent,
    pub options: Option<RequestOptions>,
}

impl Parts {
    /// As the host takes it. What is left of the body to write goes on after this returns.
    pub(crate) fn into_wasi(self) -> Result<types::Request, ErrorCode> {
        let internal = |cause: String| ErrorCode::InternalError(Some(cause));
        let mut headers = self.headers;
        let (contents, trailers) = match self.body {
            Sent::Whole(request, true) => return Ok(request),
            Sent::Whole(request, false) => {
                let (taken, result) = wasip3::wit_future::new(|| Ok(()));
                let (stream, trailers) = types::Request::consume_body(request, result);
                wasip3::spawn_local(async move { _ = taken.write(Ok(())).await });
                (Some(stream), trailers)
            }
            Sent::Bytes(bytes) => {
                headers.remove(header::TRANSFER_ENCODING);
                headers.insert(header::CONTENT_LENGTH, bytes.len().into());
                let (mut out, stream, end) = BodyWriter::new("the request is not read any more");
                let there = !bytes.is_empty();
                wasip3::spawn_local(async move {
                    let outcome = match there {
                        true => out.write(bytes).await,
                        false => Ok(()),
                    };
                    out.end(&outcome).await;
                });
                (there.then_some(stream), end)
            }
            Sent::Stream(produce) => {
                let (out, stream, end) = BodyWriter::new("the request is not read any more");
                wasip3::spawn_local(async move { _ = produce(out).await });
                (Some(stream), end)
            }
        };
        let headers = headers
            .try_into()
            .map_err(|cause| internal(format!("{cause}")))?;
        let (sent, _) = types::Request::new(headers, contents, trailers, self.options);
        let method = types::Method::from(self.method);
        let set = sent
            .set_method(&method)
            .and_then(|()| sent.set_path_with_query(Some(&self.target)))
            .and_then(|()| sent.set_scheme(Some(&self.scheme)))
            .and_then(|()| sent.set_authority(self.authority.as_deref()));
        set.map_err(|()| internal("the request cannot be represented".into()))?;
        Ok(sent)
    }
}

impl Request {
    /// In its parts, as it goes on along its chain.
    pub(crate) fn passed_on(self) -> Parts {
        let authority = self.authority.clone();
        self.into_parts(Scheme::Http, authority, None)
    }
}
