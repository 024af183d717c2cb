//! One clerk: an instance at work on a request, and the mechanism that starts one for each.

use super::bodies::{AnswerBody, AskedBody, AskedLimits, Early, Empties, Waiting, check_headers};
use super::code::Code;
use super::counter::{Counter, Cutter};
use super::duty::Duty;
use super::errand::{Errand, Held};
use super::failure::classify;
use super::limits::{Limit, LiveLimits, WindowLimits};
use super::linker::Outside;
use super::log::WindowLog;
use super::meter::Meter;
use super::requests::Requests;
use super::reuse::Reuse;
use super::shortage::Short;
use super::tally::Failures;
use super::turns::{Turn, Turns};
use crate::body::Body;
use crate::error::{Cause, Error};
use crate::framing;
use crate::lanes::PerLane;
use crate::next::Next;
use crate::store::Cabinet;
use crate::stream_idle::StreamIdle;
use http_body::Body as _;
use http_body_util::BodyExt;
use std::any::Any;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::error::Elapsed;
use wasmtime::ResourceLimiter;
use wasmtime::component::{GuestTaskId, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::handler::{
    ExpirationError, HandlerState, InstantiationError, ProxyHandler, ProxyPre, TrapOrPanicError,
};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView, p2, p3};

/// Bytes of chance that a guest has in one call. 1 MiB: the host makes them before the guest has
/// them.
const RANDOM_BYTES: u64 = 1 << 20;

/// Bytes that one table element takes on the host.
const TABLE_ELEMENT_BYTES: usize = 8;

/// Core instances, memories and tables of one clerk: what the pool can give one component at most.
const MAX_INSTANCES: usize = 1024;

/// Time for a clerk to end after its request failed: it is at its end already, and to be done with
/// it takes a moment.
const END_TIME: Duration = Duration::from_secs(1);

/// Where a clerk works: what all clerks of one release share.
#[derive(Clone)]
pub struct Post {
    /// The window's name: the one thing that decides which store a clerk reaches.
    pub window: Arc<str>,
    /// All stores; a clerk opens its own window's when it first needs it.
    pub cabinet: Arc<Cabinet>,
    /// Where the guest's stdout and stderr go.
    pub log: Arc<WindowLog>,
    /// The window's limits.
    pub limits: LiveLimits,
    /// How its clerks share the processors with others.
    pub turns: Turns,
    /// Why its clerks failed.
    pub failures: Arc<Failures>,
    /// Whether requests find no place.
    pub short: Arc<Short>,
}

/// What wasmtime keeps for one clerk.
pub(super) struct Clerk {
    pub(super) post: Post,
    pub(super) table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    pub(super) hooks: Outside,
    pub(super) meter: Meter,
    duty: Arc<Duty>,
    /// The requests that it was given.
    pub(super) requests: Requests,
    /// It has taken a body of WASI 0.3.
    pub(super) has_taken_a_body: bool,
}

impl Clerk {
    pub(super) fn new(post: Post, limits: &WindowLimits, duty: Arc<Duty>, turn: Turn) -> Self {
        let wasi = WasiCtxBuilder::new()
            .stdout(post.log.stream())
            .stderr(post.log.stream())
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .max_random_size(RANDOM_BYTES)
            .build();
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(limits.size(Limit::ResponseHeaderBytes));
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.size(Limit::Handles));
        Clerk {
            table,
            wasi,
            http,
            hooks: Outside::new(post.failures.clone(), limits.get(Limit::MemoryBytes)),
            meter: Meter::new(limits, turn),
            requests: Requests::new(duty.clone()),
            has_taken_a_body: false,
            duty,
            post,
        }
    }

    /// The request `errand` begins, as the guest's task `task`: the limits as they are now are its
    /// own. What the clerk's start took counts for the first. How many that makes.
    pub(super) fn begin(&mut self, errand: &Errand, task: GuestTaskId) -> u64 {
        let limits = **self.post.limits.load();
        let begun = self.requests.begin(errand.onward(), task);
        if begun > 1 {
            self.meter.restart();
        }
        self.meter.begin(&limits);
        self.table.set_max_capacity(limits.size(Limit::Handles));
        self.http
            .set_field_size_limit(limits.size(Limit::ResponseHeaderBytes));
        begun
    }

    /// It calls the host.
    pub(super) fn host_call(&mut self) -> wasmtime::Result<()> {
        self.meter.host_call(&mut self.table)
    }

    /// The host is about to keep at most `bytes` more for it. See [`Meter::keep`].
    pub(super) fn keep(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.meter.keep(bytes, &mut self.table)
    }

    fn grow(&mut self, by: usize, first: bool) -> wasmtime::Result<bool> {
        self.meter.grow(by, first, &self.duty, &mut self.table)
    }
}

impl ResourceLimiter for Clerk {
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

impl WasiView for Clerk {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for Clerk {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.hooks,
        }
    }
}

/// The clerks of one release: a fresh one for every request, or as many requests a clerk as the
/// window's limits say.
#[derive(Clone)]
pub struct Clerks {
    /// Each lane has clerks of its own: one that is reused serves the lane that it is on.
    handlers: PerLane<ProxyHandler<Counter>>,
    weight: u32,
    cutter: Cutter,
}

impl Clerks {
    /// Links `code` as a window's, either generation of WASI HTTP.
    ///
    /// # Errors
    /// When the component exports neither `wasi:http/handler` nor `wasi:http/incoming-handler`.
    pub fn new(code: Code, post: Post) -> anyhow::Result<Self> {
        let pre = match p3::bindings::ServicePre::new(code.linked.pre.clone()) {
            Ok(pre) => ProxyPre::P3(pre),
            Err(_) => ProxyPre::P2(p2::bindings::ProxyPre::new(code.linked.pre.clone())?),
        };
        let weight = code.linked.weight;
        let cutter = Cutter::default();
        let reuse = Arc::new(Reuse::default());
        let handlers = PerLane::new(|| {
            ProxyHandler::new(Counter {
                code: code.clone(),
                pre: match &pre {
                    ProxyPre::P2(pre) => ProxyPre::P2(pre.clone()),
                    ProxyPre::P3(pre) => ProxyPre::P3(pre.clone()),
                },
                post: post.clone(),
                cutter: cutter.clone(),
                reuse: reuse.clone(),
            })
        });
        Ok(Clerks {
            handlers,
            weight,
            cutter,
        })
    }

    fn counter(&self) -> &Counter {
        self.handlers.beside().state()
    }

    /// The means to end these clerks.
    pub fn cutter(&self) -> Cutter {
        self.cutter.clone()
    }

    /// What is known of whether a clerk can serve several requests.
    pub fn reuse(&self) -> &Reuse {
        &self.counter().reuse
    }

    /// Places in the pool that one clerk takes.
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// Starts one clerk and lets it go again: the least that a release must be able to do.
    ///
    /// # Errors
    /// Why it could not start.
    pub async fn try_start(&self) -> Result<(), Error> {
        match self.counter().instantiate().await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.start_failure(&error)),
        }
    }

    fn start_failure(&self, error: &wasmtime::Error) -> Error {
        if error.is::<Elapsed>() {
            let limit = self.counter().post.limits.load();
            let limit = limit.time(Limit::WallTimeMs);
            return Error::WallTime { limit };
        }
        match classify(error) {
            known @ (Error::ClerkLimit | Error::CpuTime { .. } | Error::MemoryLimit { .. }) => {
                known
            }
            _ => Error::ClerkStart(Cause::of(error.root_cause())),
        }
    }

    /// What is known of `request` as long as it is at work. `place` is kept until the clerk is
    /// done, `lease` until the last byte of the answer is out as well.
    pub fn errand(
        &self,
        request: &mut http::Request<Body>,
        lease: impl Any + Send + Sync,
        place: impl Any + Send + Sync,
    ) -> Arc<Errand> {
        let wall_time = self.counter().post.limits.load().time(Limit::WallTimeMs);
        let next = request.extensions_mut().remove::<Next>();
        let idle = request.extensions_mut().remove::<StreamIdle>();
        let (lease, place) = (Box::new(lease) as Held, Box::new(place) as Held);
        let errand = Errand::new(lease, place, wall_time);
        Arc::new(errand.with_next(next).with_idle(idle))
    }

    /// Has a clerk serve `request`, whose `errand` this is. Dropping the future, or the answer's
    /// body, tells the clerk that nobody waits any more.
    ///
    /// # Errors
    /// Why there is no answer; once there is a head, a failure shows as an error of the body.
    pub async fn serve(
        &self,
        request: http::Request<Body>,
        errand: Arc<Errand>,
    ) -> Result<http::Response<Body>, Error> {
        let outcome = self.answer(request, errand).await;
        if let Err(error) = &outcome {
            self.counter().post.failures.note(error);
        }
        outcome
    }

    async fn answer(
        &self,
        request: http::Request<Body>,
        errand: Arc<Errand>,
    ) -> Result<http::Response<Body>, Error> {
        let waiting = Waiting(errand.clone());
        let post = &self.counter().post;
        let limits = post.limits.load();
        let trailers = check_headers(request.headers(), limits.get(Limit::RequestHeaderBytes))?;
        let limit = limits.get(Limit::RequestBytes);
        if request.body().size_hint().lower() > limit {
            return Err(Error::BodyTooLarge { limit });
        }
        let refused = Arc::new(OnceLock::new());
        let method = request.method().clone();
        let request = request.map(|inner| {
            let body = AskedBody {
                inner,
                empties: Empties::default(),
                errand: errand.clone(),
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
            clock, workroom, ..
        } = &self.counter().code;
        let (handler, workroom) = if post.turns.fit_lanes(clock) {
            (self.handlers.here(), None)
        } else {
            // It may hold its thread for long.
            (self.handlers.beside(), Some(workroom))
        };
        let mut handled = pin!(handler.handle(errand.clone(), request));
        // A clerk that serves others goes on when the time of this one is over, and says nothing of
        // it.
        let answered = poll_fn(|cx| match polled_on(workroom, handled.as_mut(), cx) {
            Poll::Pending => match errand.poll_failure(cx.waker()) {
                Some(failure) => Poll::Ready(Err(failure.clone())),
                None => Poll::Pending,
            },
            Poll::Ready(outcome) => Poll::Ready(Ok(outcome)),
        });
        let answered = answered.await;
        // What the client did wrong came first, whatever its guest made of it or died of.
        let wrong = |failure: &Error| refused.get().unwrap_or(failure).clone();
        let answered = answered.map_err(|failure| wrong(&failure))?;
        if let Some(failure) = errand.failure()
            && errand.is_clients_fault()
        {
            return Err(wrong(failure));
        }
        match answered {
            Ok(response) => {
                errand.answered();
                post.turns.answered();
                let limit = limits.get(Limit::ResponseBytes);
                if response.body().size_hint().lower() > limit {
                    return Err(Error::ResponseTooLarge { limit });
                }
                let failures = post.failures.clone();
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
                    Err(why) => Err(Error::ResponseInvalid(why.into())),
                }
            }
            // Only a clerk at work reads the body, and it may have done something before it came to
            // the end.
            Err(error) => match refused.get() {
                Some(refused) => Err(refused.clone()),
                None => Err(self.failure(&error, &errand).await),
            },
        }
    }

    async fn failure(&self, error: &wasmtime::Error, errand: &Errand) -> Error {
        if let Some(start) = error.downcast_ref::<InstantiationError<Arc<Errand>>>() {
            return self.start_failure(&start.error);
        }
        // What the request is told may be less than what its clerk's end says; a clerk that fails
        // before it has taken the request on does not know of it.
        if errand.is_begun() {
            let _ = tokio::time::timeout(END_TIME, errand.wait_end()).await;
        }
        if !error.is::<TrapOrPanicError>() && !error.is::<ExpirationError>() {
            if errand.failure().is_none() {
                self.counter().post.log.failure(error);
            }
            errand.fail(classify(error));
        }
        errand.failure().cloned().unwrap_or(Error::ClerkTrapped)
    }
}

/// Polls `future` where what it starts is to run: on that runtime, or on this one.
fn polled_on<F: Future>(
    runtime: Option<&Handle>,
    future: Pin<&mut F>,
    cx: &mut Context<'_>,
) -> Poll<F::Output> {
    let _entered = runtime.map(Handle::enter);
    future.poll(cx)
}
