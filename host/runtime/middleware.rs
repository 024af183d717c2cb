//! `wasi:http/middleware@0.3`: a component that imports the handler that it exports, and so stands in a chain. What it
//! calls is the rest of its request's way ([`Next`]); a window that was not asked as a middleware has none.

use super::clerk::Clerk;
use crate::body::BodyError;
use crate::next::Next;
use http_body_util::BodyExt;
use wasmtime::component::{Accessor, Linker, Resource};
use wasmtime_wasi_http::p3::bindings::http::{client, types::ErrorCode};
use wasmtime_wasi_http::p3::{Request, Response};
use wasmtime_wasi_http::{Error, WasiBody, WasiHttp, WasiHttpView};

/// The import, as components name it; any 0.3 is linked with it.
const HANDLER: &str = "wasi:http/handler@0.3.0";

/// Whether this import makes a component a middleware.
pub(super) fn is_handler(import: &str) -> bool {
    import.starts_with("wasi:http/handler@0.3.")
}

pub(super) fn add_to_linker(linker: &mut Linker<Clerk>) -> wasmtime::Result<()> {
    linker.instance(HANDLER)?.func_wrap_concurrent(
        "handle",
        |clerk, (request,): (Resource<Request>,)| {
            Box::pin(async move { Ok((handle(clerk, request).await?,)) })
        },
    )
}

/// wasmtime's own way to send a request does all but the sending, which is for [`super::linker::Outside`]: it is told
/// in the same poll that this request goes on and not out.
async fn handle(
    clerk: &Accessor<Clerk>,
    request: Resource<Request>,
) -> wasmtime::Result<Result<Resource<Response>, ErrorCode>> {
    clerk.with(|mut clerk| clerk.get().hooks.goes_on());
    let http = clerk.with_getter::<WasiHttp>(Clerk::http);
    match client::HostWithStore::send(&http, request).await {
        Ok(response) => Ok(Ok(response)),
        Err(error) => Ok(Err(error.downcast()?)),
    }
}

/// Has the rest of the way answer what a middleware passes on.
pub(super) async fn pass_on(
    next: Next,
    request: http::Request<WasiBody>,
) -> Result<http::Response<WasiBody>, Error> {
    let request = request.map(|body| {
        body.map_err(|error| BodyError::from(error.to_string()))
            .boxed_unsync()
    });
    let response = next.call(request).await;
    Ok(response.map(|body| {
        body.map_err(|_| Error::HttpResponseIncomplete)
            .boxed_unsync()
    }))
}
