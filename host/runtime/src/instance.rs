//! One instance in use on a request, and the mechanism that starts one for each.

use super::bodies::{AnswerBody, AskedBody, AskedLimits, Early, Empties, Waiting, check_headers};
use super::code::Code;
use super::cpu_share::{CpuShare, CpuShares};
use super::error::InstanceError;
use super::factory::{CancelHandle, InstanceFactory};
use super::failure::{classify, root_cause};
use super::failures::Failures;
use super::in_flight::{Held, InFlight};
use super::in_flight_set::InFlightSet;
use super::interfaces::otel;
use super::log::WindowLog;
use super::meter::Meter;
use super::outgoing::{Calling, Outside};
use super::requests::Requests;
use super::reuse::Reuse;
use super::shortage::Short;
use super::usage::Usage;
use hms_core::body::Body;
use hms_core::call::{WindowCall, Windows};
use hms_core::error::RequestError;
use hms_core::events::EmitGuard;
use hms_core::framing;
use hms_core::limits::{Limit, LiveLimits, WindowLimits};
use hms_core::outgoing::Outgoing;
use hms_core::trace::{Spans, TraceContext, logged};
use hms_grants::{LiveGrants, WindowGrants};
use hms_net::lanes::PerLane;
use hms_store::Stores;
use http_body::Body as _;
use http_body_util::BodyExt;
use std::any::Any;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::time::error::Elapsed;
use wasmtime::ResourceLimiter;
use wasmtime::component::{GuestTaskId, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::handler::{
    ExpirationError, HandlerState, InstantiationError, ProxyHandler, ProxyPre, TrapOrPanicError,
};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView, p2, p3};

/// Random bytes that a guest gets in one call. 1 MiB: the host generates all before the guest gets
/// any.
const RANDOM_BYTES: u64 = 1 << 20;

/// Bytes that one table element takes on the host.
const TABLE_ELEMENT_BYTES: usize = 8;

/// Core instances, memories and tables of one instance: the most that the pool can give one
/// component.
const MAX_INSTANCES: usize = 1024;

/// Time for an instance to end after its request failed: ending takes only a moment.
const END_TIME: Duration = Duration::from_secs(1);

/// The context of an instance: what all instances of one release share.
#[derive(Clone)]
pub struct InstanceContext {
    /// The window's name: it alone decides which store an instance can reach.
    pub window: Arc<str>,
    /// The release's number.
    pub release: u64,
    /// All stores; an instance opens its own window's when it first needs it.
    pub stores: Arc<Stores>,
    /// Where the guest's stdout and stderr go.
    pub log: Arc<WindowLog>,
    /// The window's limits.
    pub limits: LiveLimits,
    /// What the operator grants the window.
    pub grants: LiveGrants,
    /// All windows, for calls of others.
    pub windows: Weak<dyn Windows>,
    /// The way to services of the network; none where there is none.
    pub outgoing: Option<Arc<dyn Outgoing>>,
    /// Asked before a transaction with events; none where there is nothing to wait for.
    pub emit_guard: Option<Arc<dyn EmitGuard>>,
    /// How its instances share the processors with others.
    pub cpu_shares: CpuShares,
    /// Why its instances failed.
    pub failures: Arc<Failures>,
    /// Whether requests find no permit.
    pub short: Arc<Short>,
    /// What its instances have used.
    pub usage: Arc<Usage>,
    /// The requests of one instance, once it is there.
    pub at_work: InstanceAtWork,
}

/// What an instance is at work on; nothing until it is there.
#[derive(Clone, Default)]
pub struct InstanceAtWork(Option<Arc<InFlightSet>>);

impl InstanceAtWork {
    /// Where is noted what the instance does.
    pub(crate) fn spans(&self) -> Spans {
        self.0.as_ref().map(|set| set.spans()).unwrap_or_default()
    }

    /// Its requests, once it is there.
    pub(crate) fn requests(&self) -> Option<&InFlightSet> {
        self.0.as_deref()
    }

    /// What a line of its log is about.
    pub(crate) fn work(&self) -> Option<TraceContext> {
        self.spans().context()
    }
}

/// The state of one instance in wasmtime.
pub(super) struct InstanceState {
    pub(super) context: InstanceContext,
    pub(super) table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    pub(super) hooks: Outside,
    pub(super) meter: Meter,
    /// The requests in flight.
    pub(super) requests: Requests,
    /// Whether it has taken a WASI 0.3 body.
    pub(super) has_taken_a_body: bool,
    /// The window's grants as they were when it started, where they have environment variables.
    pub(super) started_with: Option<Arc<WindowGrants>>,
}

impl InstanceState {
    pub(super) fn new(
        mut context: InstanceContext,
        limits: &WindowLimits,
        in_flight_set: Arc<InFlightSet>,
        cpu_share: CpuShare,
    ) -> Self {
        context.at_work = InstanceAtWork(Some(in_flight_set.clone()));
        let wasi = WasiCtxBuilder::new()
            .stdout(context.log.stream(&context.at_work))
            .stderr(context.log.stream(&context.at_work))
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .max_random_size(RANDOM_BYTES)
            .build();
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(limits.size(Limit::ResponseHeaderBytes));
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.size(Limit::Handles));
        InstanceState {
            table,
            wasi,
            http,
            hooks: Outside::new(&context, limits.get(Limit::MemoryBytes)),
            meter: Meter::new(limits, cpu_share, in_flight_set.clone()),
            requests: Requests::new(in_flight_set),
            has_taken_a_body: false,
            started_with: (!context.grants.load().grants.env.is_empty())
                .then(|| context.grants.current()),
            context,
        }
    }

    /// The request `in_flight` begins, as the guest's task `task`: the limits as they are now are
    /// its own. What the instance's start took counts for the first. How many that makes.
    pub(super) fn begin(&mut self, in_flight: &Arc<InFlight>, task: GuestTaskId) -> u64 {
        let limits = **self.context.limits.load();
        let begun = self.requests.begin(in_flight, task);
        if begun > 1 {
            self.meter.restart();
        }
        self.meter.begin(&limits);
        self.table.set_max_capacity(limits.size(Limit::Handles));
        self.http
            .set_field_size_limit(limits.size(Limit::ResponseHeaderBytes));
        begun
    }

    /// A host call.
    pub(super) fn host_call(&mut self) -> wasmtime::Result<()> {
        self.meter.host_call(&mut self.table)
    }

    /// The host is about to keep at most `bytes` more for it. See [`Meter::keep`].
    pub(super) fn keep(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.meter.keep(bytes, &mut self.table)
    }

    fn grow(&mut self, by: usize, first: bool) -> wasmtime::Result<bool> {
        self.meter.grow(by, first, &mut self.table)
    }
}

impl ResourceLimiter for InstanceState {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.grow(desired.saturating_sub(current), current == 0)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let elements = desired.saturating_sub(current);
        self.grow(elements.saturating_mul(TABLE_ELEMENT_BYTES), current == 0)
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_INSTANCES
    }

    fn memories(&self) -> usize {
        MAX_INSTANCES
    }
}

impl WasiView for InstanceState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for InstanceState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.hooks,
        }
    }
}

/// The instances of one release: a fresh one for every request, or as many requests per instance as
/// the window's limits allow.
#[derive(Clone)]
pub struct Instances {
    /// Each lane has its own instances: a reused one serves only its lane.
    handlers: PerLane<ProxyHandler<InstanceFactory>>,
    weight: u32,
    cancel_handle: CancelHandle,
}

impl Instances {
    /// Links `code` for a window, in either generation of WASI HTTP.
    ///
    /// # Errors
    ///
    /// If the component exports neither `wasi:http/handler` nor `wasi:http/incoming-handler`.
    pub fn new(code: Code, context: InstanceContext) -> anyhow::Result<Self> {
        let pre = match p3::bindings::ServicePre::new(code.linked.pre.clone()) {
            Ok(pre) => ProxyPre::P3(pre),
            Err(_) => ProxyPre::P2(p2::bindings::ProxyPre::new(code.linked.pre.clone())?),
        };
        let weight = code.linked.weight;
        let cancel_handle = CancelHandle::default();
        let reuse = Arc::new(Reuse::default());
        let handlers = PerLane::new(|| {
            ProxyHandler::new(InstanceFactory {
                code: code.clone(),
                pre: match &pre {
                    ProxyPre::P2(pre) => ProxyPre::P2(pre.clone()),
                    ProxyPre::P3(pre) => ProxyPre::P3(pre.clone()),
                },
                context: context.clone(),
                cancel_handle: cancel_handle.clone(),
                reuse: reuse.clone(),
            })
        });
        Ok(Instances {
            handlers,
            weight,
            cancel_handle,
        })
    }

    fn counter(&self) -> &InstanceFactory {
        self.handlers.beside().state()
    }

    /// A handle that ends these instances.
    pub fn cancel_handle(&self) -> CancelHandle {
        self.cancel_handle.clone()
    }

    /// Whether an instance can serve several requests, as far as known.
    pub fn reuse(&self) -> &Reuse {
        &self.counter().reuse
    }

    /// Slots of the pool that one instance takes.
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// Starts one instance and drops it: the least that a release must be able to do.
    ///
    /// # Errors
    ///
    /// Why it could not start.
    pub async fn try_start(&self) -> Result<(), RequestError> {
        match self.counter().instantiate().await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.start_failure(&error).into()),
        }
    }

    fn start_failure(&self, error: &wasmtime::Error) -> InstanceError {
        if error.is::<Elapsed>() {
            let limit = self.counter().context.limits.load();
            let limit = limit.time(Limit::WallTimeMs);
            return InstanceError::WallTime { limit };
        }
        let granted = self.counter().context.grants.load();
        match classify(error, &granted) {
            known @ (InstanceError::PoolFull
            | InstanceError::CpuTime { .. }
            | InstanceError::MemoryLimit { .. }) => known,
            _ => InstanceError::Start(root_cause(error, &granted)),
        }
    }

    /// What is known of the request of `call` as long as it is at work. `permit` is kept until the
    /// instance is done, `lease` until the last byte of the answer is out as well. `may_wait`: the
    /// permit is that of a request that may wait for others.
    pub fn in_flight(
        &self,
        call: &mut WindowCall,
        lease: impl Any + Send + Sync,
        permit: impl Any + Send + Sync,
        may_wait: bool,
    ) -> Arc<InFlight> {
        let InstanceFactory { context, code, .. } = self.counter();
        let wall_time = context.limits.load().time(Limit::WallTimeMs);
        let until = call.calling_window().and_then(|from| from.deadline);
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let calling = Calling::of(call, context, code.linked.transacts, may_wait);
        let (lease, permit) = (Box::new(lease) as Held, Box::new(permit) as Held);
        let in_flight = InFlight::new(lease, permit, wall_time).within(left);
        let tracestate = match code.linked.traces {
            true => otel::tracestate(call.request.headers()),
            false => None,
        };
        let in_flight = in_flight.noted_in(&call.spans).with_tracestate(tracestate);
        let in_flight = in_flight.beginning_by(call.begin_by);
        let in_flight = match call.calling_window() {
            Some(_) => in_flight.of_a_window(),
            None => in_flight,
        };
        Arc::new(in_flight.with_calling(calling).with_idle(call.stream_idle))
    }

    /// Has an instance serve `request`, whose state is `in_flight`. Dropping the future, or the
    /// answer's body, tells the instance that nobody waits any more.
    ///
    /// # Errors
    ///
    /// Why there is no answer. Once there is a head, a failure is an error of the body.
    pub async fn serve(
        &self,
        request: http::Request<Body>,
        in_flight: Arc<InFlight>,
    ) -> Result<http::Response<Body>, RequestError> {
        let work = in_flight.work();
        let outcome = self.answer(request, in_flight).await;
        let outcome = outcome.map_err(RequestError::from);
        if let Err(error) = &outcome {
            let failures = &self.counter().context.failures;
            logged::about(work, || failures.note(error));
        }
        outcome
    }

    async fn answer(
        &self,
        request: http::Request<Body>,
        in_flight: Arc<InFlight>,
    ) -> Result<http::Response<Body>, InstanceError> {
        let waiting = Waiting(in_flight.clone());
        let context = &self.counter().context;
        let limits = context.limits.load();
        let trailers = check_headers(request.headers(), limits.get(Limit::RequestHeaderBytes))?;
        let limit = limits.get(Limit::RequestBytes);
        if request.body().size_hint().lower() > limit {
            return Err(InstanceError::BodyTooLarge { limit });
        }
        let refused = Arc::new(OnceLock::new());
        let method = request.method().clone();
        let request = request.map(|inner| {
            let body = AskedBody {
                inner,
                empties: Empties::default(),
                in_flight: in_flight.clone(),
                left: limit,
                limits: AskedLimits {
                    body: limit,
                    trailers,
                },
                refused: refused.clone(),
            };
            body.boxed_unsync()
        });
        let Code {
            clock, slow_pool, ..
        } = &self.counter().code;
        let (handler, slow_pool) = if context.cpu_shares.fit_lanes(clock) {
            (self.handlers.here(), None)
        } else {
            // It may block its thread for long.
            (self.handlers.beside(), Some(slow_pool))
        };
        in_flight.start();
        let mut handled = pin!(handler.handle(in_flight.clone(), request));
        // An instance that serves others continues when the time of this request is over, and
        // reports nothing about it.
        let answered = poll_fn(|cx| match polled_on(slow_pool, handled.as_mut(), cx) {
            Poll::Pending => match in_flight.poll_failure(cx.waker()) {
                Some(failure) => Poll::Ready(Err(failure.clone())),
                None => Poll::Pending,
            },
            Poll::Ready(outcome) => Poll::Ready(Ok(outcome)),
        });
        let answered = answered.await;
        // The client's fault came first, whatever its guest made of it or died of.
        let wrong = |failure: &InstanceError| refused.get().unwrap_or(failure).clone();
        let answered = answered.map_err(|failure| wrong(&failure))?;
        if let Some(failure) = in_flight.failure()
            && in_flight.is_clients_fault()
        {
            return Err(wrong(failure));
        }
        match answered {
            Ok(response) => {
                in_flight.answered();
                context.cpu_shares.answered();
                let limit = limits.get(Limit::ResponseBytes);
                if response.body().size_hint().lower() > limit {
                    return Err(InstanceError::ResponseTooLarge { limit });
                }
                let failures = context.failures.clone();
                let (head, inner) = response.into_parts();
                let body = AnswerBody {
                    inner,
                    empties: Empties::default(),
                    waiting,
                    failures,
                    left: limit,
                    limit,
                    early: Early::default(),
                };
                let body = body.with_early().await;
                let bytes = body.size_hint().exact();
                match framing::check(&method, head.status, &head.headers, bytes) {
                    Ok(()) => Ok(http::Response::from_parts(head, body.boxed_unsync())),
                    Err(why) => Err(InstanceError::ResponseInvalid(why.into())),
                }
            }
            // Only a running instance reads the body, and it may have had an effect before it
            // reached the end.
            Err(error) => match refused.get() {
                Some(refused) => Err(refused.clone()),
                None => Err(self.failure(&error, &in_flight).await),
            },
        }
    }

    async fn failure(&self, error: &wasmtime::Error, in_flight: &InFlight) -> InstanceError {
        if let Some(start) = error.downcast_ref::<InstantiationError<Arc<InFlight>>>() {
            return self.start_failure(&start.error);
        }
        // The request may be told less than the end of its instance says; an instance that fails
        // before it has accepted the request does not know about it.
        if in_flight.is_begun() {
            let _ = tokio::time::timeout(END_TIME, in_flight.wait_end()).await;
        }
        if !error.is::<TrapOrPanicError>() && !error.is::<ExpirationError>() {
            if in_flight.failure().is_none() {
                let log = &self.counter().context.log;
                logged::about(in_flight.work(), || log.failure(error));
            }
            in_flight.fail(classify(error, &self.counter().context.grants.load()));
        }
        in_flight
            .failure()
            .cloned()
            .unwrap_or(InstanceError::Trapped)
    }
}

/// Polls `future` in the right place: on that runtime, or on this one.
fn polled_on<F: Future>(
    runtime: Option<&Handle>,
    future: Pin<&mut F>,
    cx: &mut Context<'_>,
) -> Poll<F::Output> {
    let _entered = runtime.map(Handle::enter);
    future.poll(cx)
}
