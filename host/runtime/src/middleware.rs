//! `wasi:http/middleware@0.3`: a component that imports the handler that it exports, and so is a
//! step in a chain. It calls the rest of its request's chain ([`Next`](hms_core::next::Next)); a
//! window that was not called as a middleware has none.
//!
//! A call belongs to the request whose task makes it ([`super::requests`]), and ends with that
//! request: calls in progress are then ended, including bodies in both directions, and later calls
//! are refused.

use super::host_memory::{HANDLE_BYTES, PASSED_ON_BYTES, RetainedBytes, fields_bytes, own_values};
use super::in_flight::Onward;
use super::instance::InstanceState;
use super::requests::Caller;
use bytes::Bytes;
use hms_core::body::{Body, BodyError};
use hms_core::delegate;
use http_body::Frame;
use http_body_util::BodyExt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use wasmtime::AsContextMut;
use wasmtime::component::{Access, Accessor, Linker, Resource};
use wasmtime_wasi_http::p3::bindings::http::{client, types::ErrorCode};
use wasmtime_wasi_http::p3::{Request, Response};
use wasmtime_wasi_http::{Error, WasiBody, WasiHttp, WasiHttpView};

/// The import, as components name it; any 0.3 version links to it.
const HANDLER: &str = "wasi:http/handler@0.3.0";

pub(super) fn add_to_linker(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    linker.instance(HANDLER)?.func_wrap_concurrent(
        "handle",
        |instance, (request,): (Resource<Request>,)| {
            Box::pin(async move { Ok((handle(instance, request).await?,)) })
        },
    )
}

/// What happens to a request that a middleware forwards.
pub(super) enum PassedOn {
    Along(Along),
    /// Counted under this reason.
    Refused(&'static str, &'static str),
}

/// wasmtime's own way to send a request does everything except the sending, which is done by
/// [`super::linker::Outside`]. Only in its first poll is it told that this request is forwarded,
/// not sent out.
async fn handle(
    instance: &Accessor<InstanceState>,
    request: Resource<Request>,
) -> wasmtime::Result<Result<Resource<Response>, ErrorCode>> {
    let passed_on = instance.with(|instance| passed_on(instance, &request))?;
    let http = instance.with_getter::<WasiHttp>(InstanceState::http);
    let mut sent = pin!(client::HostWithStore::send(&http, request));
    instance.with(|mut instance| instance.get().hooks.passed_on = Some(passed_on));
    let first = poll_fn(|cx| Poll::Ready(sent.as_mut().poll(cx))).await;
    // A request that could not be sent has not used this, and no later one may.
    instance.with(|mut instance| instance.get().hooks.passed_on = None);
    let answer = match first {
        Poll::Ready(answer) => answer,
        Poll::Pending => sent.await,
    };
    match answer {
        Ok(response) => {
            instance.with(|mut access| received(access.get(), &response))?;
            Ok(Ok(response))
        }
        Err(error) => Ok(Err(error.downcast()?)),
    }
}

/// From here on the answer's head belongs to the instance, which may hold it long after the body.
fn received(instance: &mut InstanceState, response: &Resource<Response>) -> wasmtime::Result<()> {
    let head = fields_bytes(&instance.table.get(response)?.headers);
    instance.keep(head)
}

fn passed_on(
    mut access: Access<'_, InstanceState>,
    request: &Resource<Request>,
) -> wasmtime::Result<PassedOn> {
    let mut store = access.as_context_mut();
    let stack: Vec<_> = store.async_call_stack()?.collect();
    let instance = store.data_mut();
    Ok(match instance.requests.caller(stack.into_iter()) {
        Caller::Request(onward) => {
            let head = fields_bytes(&instance.table.get(request)?.headers);
            let bytes = PASSED_ON_BYTES + head;
            let kept = instance.meter.keep_beside(bytes, &mut instance.table)?;
            PassedOn::Along(Along { onward, kept })
        }
        Caller::Over => PassedOn::Refused(
            "request-over",
            "it called on for a request that is over: call on before the answer's end",
        ),
        Caller::NoWay => PassedOn::Refused(
            "no-network",
            "it called on, but no route has it as a middleware (wasm)",
        ),
    })
}

/// The rest of a request's chain, as one call uses it.
pub(super) struct Along {
    onward: Onward,
    /// What the host keeps for the call, until its answer's body has ended.
    kept: RetainedBytes,
}

impl Along {
    /// Has the rest of the chain answer `request`, for as long as the request lasts that it belongs
    /// to.
    pub(crate) async fn answer(
        self,
        request: http::Request<WasiBody>,
    ) -> Result<http::Response<WasiBody>, Error> {
        let Along { onward, kept } = self;
        let Onward { next, over } = onward;
        let request = request.map(|body| -> Body {
            let body = body.map_err(|error| BodyError::from(error.to_string()));
            Lasting::new(body, &over, |frame| frame, || "the request is over".into()).boxed_unsync()
        });
        let response = over.run_until_cancelled(next.call(request)).await;
        let response = response.ok_or(Error::ConnectionTerminated)?;
        let (mut head, body) = response.into_parts();
        own_values(&mut head.headers);
        let body = body.map_err(|_| Error::HttpResponseIncomplete);
        let pass = move |frame| arriving(frame, &kept);
        let body = Lasting::new(body, &over, pass, || Error::ConnectionTerminated);
        Ok(http::Response::from_parts(head, body.boxed_unsync()))
    }
}

/// From here on the answer's trailers belong to the instance, like its head.
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

/// A body that is cut when the request that it belongs to is over.
struct Lasting<B: http_body::Body, P> {
    body: B,
    token: CancellationToken,
    over: Pin<Box<WaitForCancellationFutureOwned>>,
    cut: fn() -> B::Error,
    /// Processes each of its frames.
    pass: P,
}

impl<B: http_body::Body, P> Lasting<B, P> {
    fn new(body: B, over: &CancellationToken, pass: P, cut: fn() -> B::Error) -> Self {
        Lasting {
            body,
            token: over.clone(),
            over: Box::pin(over.clone().cancelled_owned()),
            cut,
            pass,
        }
    }
}

impl<B, P> http_body::Body for Lasting<B, P>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    P: FnMut(Frame<Bytes>) -> Frame<Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        if this.token.is_cancelled() {
            return Poll::Ready(Some(Err((this.cut)())));
        }
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        if frame.is_pending() && this.over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err((this.cut)())));
        }
        frame.map_ok(&mut this.pass)
    }

    delegate!(body: is_end_stream, size_hint);
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::channel::Channel;
    use std::convert::Infallible;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn forwarded_body_ends_with_its_request_in_any_state() {
        let body = || {
            let (pieces, body) = Channel::<Bytes, Infallible>::new(4);
            (pieces, body.map_err(|never| match never {}).boxed_unsync())
        };
        let over = CancellationToken::new();
        let (mut pieces, inner): (_, Body) = body();
        let mut waits = Lasting::new(inner, &over, |frame| frame, || "over".into());
        pieces.send_data(Bytes::from_static(b"one")).await.unwrap();
        assert!(waits.frame().await.unwrap().is_ok());
        let (mut pieces, inner): (_, Body) = body();
        let mut has_more = Lasting::new(inner, &over, |frame| frame, || "over".into());
        pieces.send_data(Bytes::from_static(b"two")).await.unwrap();
        let waiting = tokio::spawn(async move { waits.frame().await.unwrap().is_err() });
        tokio::time::sleep(Duration::from_millis(10)).await;
        over.cancel();
        assert!(waiting.await.unwrap());
        assert!(has_more.frame().await.unwrap().is_err());
    }
}
