//! How an instance serves one request: the only place where our types meet the WASI handles.

use crate::{Next, Problem, Request, Response};
use std::future::Future;
use wasip3::http::types::{self, ErrorCode};

/// Answers one request with `handler`: what [`crate::middleware!`] exports.
pub async fn serve_between<H, A>(
    request: types::Request,
    handler: H,
) -> Result<types::Response, ErrorCode>
where
    H: FnOnce(Request, Next) -> A,
    A: Future<Output = Result<Response, Problem>>,
{
    serve(request, |request| handler(request, Next::new())).await
}

/// Answers one request with `handler`: what [`crate::window!`] exports.
pub async fn serve<H, A>(request: types::Request, handler: H) -> Result<types::Response, ErrorCode>
where
    H: FnOnce(Request) -> A,
    A: Future<Output = Result<Response, Problem>>,
{
    let request = Request::from_wasi(request)?;
    let head_only = request.is_head();
    let request_id = request.text("x-request-id").map(str::to_owned);
    let answer = handler(request).await.and_then(Response::checked);
    answer
        .unwrap_or_else(|problem| problem.into_response(request_id.as_deref()))
        .into_wasi(head_only)
}
