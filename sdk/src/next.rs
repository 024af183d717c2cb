//! The rest of the chain, for a middleware (`wasi:http/middleware`).

use crate::body::Passing;
use crate::response::Content;
use crate::{Problem, Request, Response};
use wasip3::http::types::{self, ErrorCode, Scheme};

wasip3::wit_bindgen::generate!({
    path: "../wit",
    world: "chain",
    runtime_path: "wasip3::wit_bindgen::rt",
    with: {
        "wasi:http/types@0.3.0": wasip3::http::types,
    },
    generate_all,
});

/// The rest of the chain: further middleware, then the route's window or service.
///
/// ```no_run
/// use hms_window::{Next, Problem, Request, Response};
///
/// async fn handle(request: Request, next: Next) -> Result<Response, Problem> {
///     if request.text("x-reason").is_none() {
///         return Err(Problem::bad_request("say why, in x-reason"));
///     }
///     Ok(next.call(request).await?.header("x-audited", "yes"))
/// }
///
/// hms_window::middleware!(handle);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Next(());

impl Next {
    pub(crate) fn new() -> Self {
        Next(())
    }

    /// Forwards the request and returns the answer. The body is streamed through unread. If it was
    /// read, the forwarded body is empty, or what [`Request::with_body`] has set.
    ///
    /// The caller cannot be changed: the host sets `x-hms-*` again.
    ///
    /// The call belongs to the request whose task makes it, and lasts no longer. Once the answer to
    /// that request has ended, calls in flight are cut off, and further calls are errors.
    pub async fn call(self, request: Request) -> Result<Response, Problem> {
        let request = into_wasi(request).map_err(Problem::internal)?;
        match wasi::http::handler::handle(request).await {
            Ok(response) => Response::from_wasi(response).map_err(Problem::internal),
            Err(cause) => Err(Problem::new(
                502,
                "no-answer",
                format!("the next handler did not answer: {cause}"),
            )),
        }
    }
}

fn into_wasi(request: Request) -> Result<types::Request, ErrorCode> {
    let internal = |cause: String| ErrorCode::InternalError(Some(cause));
    let (method, target, mut headers, authority, body) = request.into_parts();
    let (contents, trailers) = match body {
        Passing::Whole(request) if request.1 => return Ok(request.0),
        Passing::Whole((request, _)) => {
            let (taken, result) = wasip3::wit_future::new(|| Ok(()));
            let (stream, trailers) = types::Request::consume_body(request, result);
            wasip3::spawn_local(async move { _ = taken.write(Ok(())).await });
            (Some(stream), trailers)
        }
        Passing::Bytes(bytes) => {
            headers.remove(http::header::TRANSFER_ENCODING);
            headers.insert(http::header::CONTENT_LENGTH, bytes.len().into());
            let (mut writer, stream) = wasip3::wit_stream::new();
            let (end, trailers) = wasip3::wit_future::new(|| Ok(None));
            let there = !bytes.is_empty();
            wasip3::spawn_local(async move {
                if there {
                    writer.write_all(bytes).await;
                }
                drop(writer);
                _ = end.write(Ok(None)).await;
            });
            (there.then_some(stream), trailers)
        }
    };
    let headers = headers
        .try_into()
        .map_err(|cause| internal(format!("{cause}")))?;
    let (sent, _) = types::Request::new(headers, contents, trailers, None);
    let method = types::Method::from(method);
    let set = sent
        .set_method(&method)
        .and_then(|()| sent.set_path_with_query(Some(&target)))
        .and_then(|()| sent.set_scheme(Some(&Scheme::Http)))
        .and_then(|()| sent.set_authority(authority.as_deref()));
    set.map_err(|()| internal("the request cannot be represented".into()))?;
    Ok(sent)
}

impl Response {
    /// What came back, its body untouched.
    fn from_wasi(response: types::Response) -> Result<Self, ErrorCode> {
        let status = response.get_status_code();
        let headers = response.get_headers().try_into()?;
        let mut passed = Response::empty(status).with_content(Content::Passed(response));
        *passed.headers_mut() = headers;
        Ok(passed)
    }
}
