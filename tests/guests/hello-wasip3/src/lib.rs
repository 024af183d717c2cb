//! A window without our SDK: plain WASI 0.3, as the `wasip3` crate shows it.

use bytes::Bytes;
use http_body_util::Full;
use wasip3::http::types::{ErrorCode, Request, Response};
use wasip3::http_compat::http_into_wasi_response;

/// Set at build time, so that two builds differ by bytes and by answer.
const VERSION: &str = match option_env!("GUEST_VERSION") {
    Some(version) => version,
    None => "1",
};

struct Hello;

impl wasip3::exports::http::handler::Guest for Hello {
    async fn handle(_request: Request) -> Result<Response, ErrorCode> {
        let text = format!("hello from hello-wasip3 {VERSION}\n");
        let response = http::Response::builder()
            .header("content-type", "text/plain; charset=utf-8")
            .body(Full::new(Bytes::from(text)))
            .map_err(|fault| ErrorCode::InternalError(Some(fault.to_string())))?;
        http_into_wasi_response(response)
    }
}

wasip3::http::service::export!(Hello with_types_in wasip3);
