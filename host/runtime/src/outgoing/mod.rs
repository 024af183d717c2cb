//! Requests that a guest sends.
//!
//! [`imports`] are the functions by which it sends one, of both generations of WASI HTTP. Each asks
//! first for which of the instance's requests that is ([`super::requests`]); what such a request
//! may do was settled when it began ([`calling`]). Then [`Outside`], which is wasmtime's hook, does
//! one of these:
//!
//! - passes it on along the chain, for a middleware ([`super::middleware`]);
//! - has another window answer, in this process, or a service of the network ([`mod@call`]), once
//!   it is [`clean`]. Which is told by the host name ([`destination`]);
//! - refuses it, and says which grant would allow it ([`refusal`]).
//!
//! A call ends with the request that it is made for: what is at work then is ended, bodies in both
//! directions included ([`lasting`]), and later calls are refused. [`code`] is what the guest is
//! told of a failure.

mod call;
mod calling;
mod clean;
mod code;
mod destination;
mod imports;
mod lasting;
mod refusal;

pub(super) use calling::Calling;
pub(super) use imports::add_to_linker;
pub(super) use lasting::{Lasting, Over};

use super::failures::Failures;
use super::host_memory::{BODY_CHUNK_BYTES, write_bytes};
use super::instance::InstanceContext;
use super::middleware::Along;
use call::Call;
use hms_core::outgoing::RequestedTimeouts;
use hms_grants::LiveGrants;
use std::sync::Arc;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, RequestOptions, WasiBody, WasiHttpHooks,
};

/// What becomes of a request that is being sent.
pub(super) enum Sending {
    /// It goes on along its chain.
    Along(Along),
    /// It is a call of its own.
    Out(Call),
    /// Counted under this reason.
    Refused(&'static str, &'static str),
}

/// The instance's way out: what happens to a request that its guest sends.
pub(super) struct Outside {
    failures: Arc<Failures>,
    grants: LiveGrants,
    /// What becomes of the request that is being sent; none where nothing is granted.
    pub sending: Option<Sending>,
    /// Bytes of one piece of an outgoing body of WASI 0.2.
    write_bytes: usize,
}

impl Outside {
    /// For an instance of so much memory.
    pub(super) fn new(context: &InstanceContext, memory_limit: u64) -> Self {
        Outside {
            write_bytes: write_bytes(memory_limit),
            failures: context.failures.clone(),
            grants: context.grants.clone(),
            sending: None,
        }
    }
}

type SendResult = Result<
    (
        http::Response<WasiBody>,
        Box<dyn Future<Output = Result<(), Error>> + Send>,
    ),
    Error,
>;

impl WasiHttpHooks for Outside {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = SendResult> + Send> {
        let done = || -> Box<dyn Future<Output = _> + Send> { Box::new(async { Ok(()) }) };
        match self.sending.take() {
            Some(Sending::Along(along)) => {
                let answer = along.answer(request);
                return Box::new(async move { Ok((answer.await?, done())) });
            }
            Some(Sending::Out(call)) => {
                let answer = call.answer(request, options.map(requested).unwrap_or_default());
                return Box::new(async move { Ok((answer.await?, done())) });
            }
            Some(Sending::Refused(reason, sentence)) => self.failures.count(reason, sentence),
            None => {
                let granted = self.grants.load();
                let (reason, sentence) =
                    refusal::not_granted(&granted, request.method(), request.uri());
                self.failures.count(reason, &sentence);
            }
        }
        Box::new(async { Err(Error::HttpRequestDenied) })
    }

    // As the default is, without a closure made for each name.
    fn is_forbidden_header(&mut self, name: &http::HeaderName) -> bool {
        DEFAULT_FORBIDDEN_HEADERS.contains(name)
    }

    // A window's headers were cleaned by the gateway, and what it answers is cleaned there again.
    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        self.write_bytes
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK_BYTES
    }
}

fn requested(options: RequestOptions) -> RequestedTimeouts {
    RequestedTimeouts {
        connect: options.connect_timeout,
        first_byte: options.first_byte_timeout,
        between_bytes: options.between_bytes_timeout,
    }
}
