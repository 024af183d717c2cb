//! A window without our SDK: plain WASI 0.2, as the `wstd` crate shows it.

use wstd::http::{Body, Error, Request, Response};

/// Set at build time, so that two builds differ by bytes and by answer.
const VERSION: &str = match option_env!("GUEST_VERSION") {
    Some(version) => version,
    None => "1",
};

#[wstd::http_server]
async fn main(_request: Request<Body>) -> Result<Response<Body>, Error> {
    let text = format!("hello from hello-wstd {VERSION}\n");
    let response = Response::builder()
        .header("content-type", "text/plain; charset=utf-8")
        .body(Body::from(text))?;
    Ok(response)
}
