//! The functions by which a guest sends a request, of both generations. wasmtime's own do all but
//! the sending, which is for [`Outside`](super::Outside): before its hook is called it is told what
//! becomes of this one request.

use super::{Call, Sending};
use crate::host_memory::{PASSED_ON_BYTES, fields_bytes};
use crate::instance::InstanceState;
use crate::middleware::{Along, received};
use crate::requests::Caller;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use wasmtime::component::{Access, Accessor, Linker, Resource};
use wasmtime::{AsContextMut, StoreContextMut};
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler::Host as _;
use wasmtime_wasi_http::p2::bindings::http::types::Host as _;
use wasmtime_wasi_http::p2::types::HostOutgoingRequest;
use wasmtime_wasi_http::p3::bindings::http::{client, types::ErrorCode};
use wasmtime_wasi_http::p3::{Request, Response};
use wasmtime_wasi_http::{RequestOptions, WasiHttp, WasiHttpView};

/// As wasmtime-wasi-http 48 names them; it has put its own there. Under another name a guest would
/// have no way out.
const HANDLER_2: &str = "wasi:http/outgoing-handler@0.2.12";
const CLIENT_3: &str = "wasi:http/client@0.3.0";

/// The handler that a middleware imports; any 0.3 is linked with it.
const HANDLER_3: &str = "wasi:http/handler@0.3.0";

pub(crate) fn add_to_linker(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    linker.instance(HANDLER_3)?.func_wrap_concurrent(
        "handle",
        |instance, (request,): (Resource<Request>,)| {
            Box::pin(async move { Ok((send(instance, request, along).await?,)) })
        },
    )?;
    linker.allow_shadowing(true);
    linker.instance(CLIENT_3)?.func_wrap_concurrent(
        "send",
        |instance, (request,): (Resource<Request>,)| {
            Box::pin(async move { Ok((send(instance, request, out).await?,)) })
        },
    )?;
    linker.instance(HANDLER_2)?.func_wrap(
        "handle",
        |store: StoreContextMut<'_, InstanceState>,
         (request, options): (
            Resource<HostOutgoingRequest>,
            Option<Resource<RequestOptions>>,
        )| { Ok((handle_2(store, request, options)?,)) },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

type Future2 = Resource<wasmtime_wasi_http::p2::types::HostFutureIncomingResponse>;
type ErrorCode2 = wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;

fn handle_2(
    mut store: StoreContextMut<'_, InstanceState>,
    request: Resource<HostOutgoingRequest>,
    options: Option<Resource<RequestOptions>>,
) -> wasmtime::Result<Result<Future2, ErrorCode2>> {
    let head = fields_bytes(&store.data_mut().table.get(&request)?.headers);
    let sending = out(&mut store, head)?;
    let instance = store.data_mut();
    instance.hooks.sending = sending;
    let http = &mut instance.http();
    let sent = match http.handle(request, options) {
        Ok(sent) => Ok(sent),
        Err(error) => Err(http.convert_error_code(error)?),
    };
    // One that could not be sent has not taken it, and it is for none that comes later.
    instance.hooks.sending = None;
    Ok(sent)
}

/// What becomes of a request whose head the host keeps with so many bytes.
type Settle =
    fn(&mut StoreContextMut<'_, InstanceState>, usize) -> wasmtime::Result<Option<Sending>>;

async fn send(
    instance: &Accessor<InstanceState>,
    request: Resource<Request>,
    settle: Settle,
) -> wasmtime::Result<Result<Resource<Response>, ErrorCode>> {
    let sending = instance.with(|mut access: Access<'_, InstanceState>| {
        let mut store = access.as_context_mut();
        let head = fields_bytes(&store.data_mut().table.get(&request)?.headers);
        settle(&mut store, head)
    })?;
    let http = instance.with_getter::<WasiHttp>(InstanceState::http);
    let mut sent = pin!(client::HostWithStore::send(&http, request));
    instance.with(|mut instance| instance.get().hooks.sending = sending);
    // The hook is called in the first poll.
    let first = poll_fn(|cx| Poll::Ready(sent.as_mut().poll(cx))).await;
    // One that could not be sent has not taken it, and it is for none that comes later.
    instance.with(|mut instance| instance.get().hooks.sending = None);
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

/// Sent on, by a middleware.
fn along(
    store: &mut StoreContextMut<'_, InstanceState>,
    head: usize,
) -> wasmtime::Result<Option<Sending>> {
    Ok(Some(match caller(store)? {
        Caller::Request(request) => match &request.calling.next {
            Some(next) => {
                let (next, over) = (next.clone(), request.calling.over().clone());
                let instance = store.data_mut();
                let bytes = PASSED_ON_BYTES + head;
                let kept = instance.meter.keep_beside(bytes, &mut instance.table)?;
                Sending::Along(Along { next, over, kept })
            }
            None => NO_WAY,
        },
        Caller::Over => Sending::Refused(
            "request-over",
            "it forwarded a request that is over: forward it before the answer ends",
        ),
        Caller::NoWay => NO_WAY,
    }))
}

const NO_WAY: Sending = Sending::Refused(
    "no-network",
    "it forwarded the request, but no route has it as a middleware (wasm)",
);

/// Sent out. None where the request in hand was granted nothing.
fn out(
    store: &mut StoreContextMut<'_, InstanceState>,
    head: usize,
) -> wasmtime::Result<Option<Sending>> {
    let request = match caller(store)? {
        Caller::NoWay => return Ok(None),
        Caller::Over => {
            return Ok(Some(Sending::Refused(
                "request-over",
                "it made a call for a request that is over: call before the answer ends",
            )));
        }
        Caller::Request(request) => request,
    };
    if request.calling.behalf.is_none() {
        return Ok(None);
    }
    let instance = store.data_mut();
    let bytes = PASSED_ON_BYTES + head;
    let kept = instance.meter.keep_beside(bytes, &mut instance.table)?;
    Ok(Some(Sending::Out(Call {
        context: instance.context.clone(),
        request,
        kept,
    })))
}

/// For whom the guest's code that runs now sends.
fn caller(store: &mut StoreContextMut<'_, InstanceState>) -> wasmtime::Result<Caller> {
    if !store.data_mut().requests.any_way() {
        return Ok(Caller::NoWay);
    }
    let stack: Vec<_> = store.async_call_stack()?.collect();
    Ok(store.data_mut().requests.caller(stack.into_iter()))
}
