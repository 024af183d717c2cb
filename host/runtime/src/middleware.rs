//! `wasi:http/middleware@0.3`: a component that imports the handler that it exports, and so stands
//! in a chain. What it calls is the rest of its request's way ([`Next`]); a window that was not
//! asked as a middleware has none.

use super::host_memory::{HANDLE_BYTES, RetainedBytes, fields_bytes, own_values};
use super::instance::InstanceState;
use super::outgoing::{Lasting, Over};
use bytes::Bytes;
use hms_core::body::{Body, BodyError};
use hms_core::next::Next;
use http_body::Frame;
use http_body_util::BodyExt;
use wasmtime::component::Resource;
use wasmtime_wasi_http::p3::Response;
use wasmtime_wasi_http::{Error, WasiBody};

/// The answer's head is the instance's from here on: it may hold that long after the body has
/// ended.
pub(super) fn received(
    instance: &mut InstanceState,
    response: &Resource<Response>,
) -> wasmtime::Result<()> {
    let head = fields_bytes(&instance.table.get(response)?.headers);
    instance.keep(head)
}

/// The rest of a request's way, as one call takes it.
pub(super) struct Along {
    pub next: Next,
    /// That the request is over for which it goes on.
    pub over: Over,
    /// What the host keeps for the call, until its answer's body has ended.
    pub kept: RetainedBytes,
}

impl Along {
    /// Has the rest of the way answer `request`, for as long as the request lasts that it goes on
    /// for.
    pub(super) async fn answer(
        self,
        request: http::Request<WasiBody>,
    ) -> Result<http::Response<WasiBody>, Error> {
        let Along { next, over, kept } = self;
        let request = request.map(|body| sent(body, &over));
        let response = over.run(next.call(request)).await;
        let response = response.ok_or(Error::ConnectionTerminated)?;
        Ok(arrived(response, &over, kept, |_| {
            Error::HttpResponseIncomplete
        }))
    }
}

/// The body of a request that a guest sends, which lasts no longer than the request that it is sent
/// for.
pub(super) fn sent(body: WasiBody, over: &Over) -> Body {
    let body = body.map_err(|error| BodyError::from(error.to_string()));
    Lasting::new(body, over, |frame| frame, || "the request is over".into()).boxed_unsync()
}

/// An answer to a guest, which lasts no longer than the request that it was asked for. `kept` is
/// kept until its body has ended; `error` is what the guest is told where that breaks off.
pub(super) fn arrived(
    response: http::Response<Body>,
    over: &Over,
    kept: RetainedBytes,
    error: fn(BodyError) -> Error,
) -> http::Response<WasiBody> {
    let (mut head, body) = response.into_parts();
    own_values(&mut head.headers);
    let pass = move |frame| arriving(frame, &kept);
    let body = Lasting::new(body.map_err(error), over, pass, || {
        Error::ConnectionTerminated
    });
    http::Response::from_parts(head, body.boxed_unsync())
}

/// The answer's trailers are the instance's from here on, like its head.
fn arriving(frame: Frame<Bytes>, kept: &RetainedBytes) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            own_values(&mut trailers);
            kept.arrives(HANDLE_BYTES + fields_bytes(&trailers));
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}
