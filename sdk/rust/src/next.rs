//! The rest of the chain, for a middleware (`wasi:http/middleware`).

use crate::bindings::chain::wasi::http::handler;
use crate::response::Content;
use crate::{Problem, Request, Response};
use wasip3::http::types::{self, ErrorCode};

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
        let request = request.passed_on().into_wasi();
        let request = request.map_err(Problem::internal)?;
        match handler::handle(request).await {
            Ok(response) => Response::from_wasi(response).map_err(Problem::internal),
            Err(cause) => Err(Problem::new(
                502,
                "no-answer",
                format!("the next handler did not answer: {cause}"),
            )),
        }
    }
}

impl Response {
    /// What came back, its body untouched.
    pub(crate) fn from_wasi(response: types::Response) -> Result<Self, ErrorCode> {
        let status = response.get_status_code();
        let headers = response.get_headers().try_into()?;
        let mut passed = Response::empty(status).with_content(Content::Passed(response));
        *passed.headers_mut() = headers;
        Ok(passed)
    }
}
