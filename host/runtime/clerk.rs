//! One clerk: an instance at work on a request, and the mechanism that starts one for each.

use super::bodies::{AnswerBody, AskedBody, Waiting, check_headers};
use super::deadline::Deadline;
use super::engine::Code;
use super::errand::Errand;
use super::failure::classify;
use super::limits::{Limit, LiveLimits, WindowLimits};
use super::linker::NoNetwork;
use super::log::WindowLog;
use super::meter::{Meter, Metered};
use super::tally::Failures;
use super::turns::{Turn, Turns};
use crate::body::Body;
use crate::error::Error;
use crate::store::Cabinet;
use http_body::Body as _;
use http_body_util::BodyExt;
use std::any::Any;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use tokio_util::sync::CancellationToken;
use wasmtime::component::{GuestTaskId, ResourceTable};
use wasmtime::{Store, StoreContextMut};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::handler::{
    ExpirationError, HandlerState, Instance, InstantiationError, ProxyHandler, ProxyPre,
    ShouldAccept, TrapOrPanicError, WorkerState,
};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView, p2, p3};

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
}

/// What wasmtime keeps for one clerk.
pub(super) struct Clerk {
    pub(super) post: Post,
    pub(super) table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: NoNetwork,
    metered: Metered,
}

impl Clerk {
    fn new(post: Post, limits: &WindowLimits, turn: Turn) -> Self {
        let wasi = WasiCtxBuilder::new()
            .stdout(post.log.stream())
            .stderr(post.log.stream())
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(limits.size(Limit::ResponseHeaderBytes));
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.size(Limit::Handles));
        Clerk {
            table,
            wasi,
            http,
            hooks: NoNetwork,
            metered: Metered {
                meter: Meter::new(limits, turn),
                errand: None,
            },
            post,
        }
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

/// The clerks of one release: starts a fresh one for every request.
#[derive(Clone)]
pub struct Clerks {
    handler: ProxyHandler<Counter>,
    weight: u32,
    cutter: Cutter,
}

/// Ends all clerks of one release without keeping the release itself.
#[derive(Clone, Default)]
pub struct Cutter(Arc<Cut>);

#[derive(Default)]
struct Cut {
    why: OnceLock<Error>,
    token: CancellationToken,
}

impl Cutter {
    /// Ends every clerk at work; to its client `why` is the failure. There will be no further ones.
    pub fn cut(&self, why: Error) {
        let _ = self.0.why.set(why);
        self.0.token.cancel();
    }

    /// Resolves with the reason once [`Cutter::cut`] was called.
    pub(super) async fn cut_off(self) -> Error {
        self.0.token.cancelled().await;
        self.0.why.get().cloned().unwrap_or(Error::ClerkTrapped)
    }
}

impl Clerks {
    /// Links `code` as a window's, either generation of WASI HTTP.
    ///
    /// # Errors
    /// When the component exports neither `wasi:http/handler` nor `wasi:http/incoming-handler`.
    pub fn new(code: Code, post: Post) -> anyhow::Result<Self> {
        let pre = match p3::bindings::ServicePre::new(code.pre.clone()) {
            Ok(pre) => ProxyPre::P3(pre),
            Err(_) => ProxyPre::P2(p2::bindings::ProxyPre::new(code.pre.clone())?),
        };
        let weight = code.weight;
        let cutter = Cutter::default();
        let counter = Counter {
            code,
            pre,
            post,
            cutter: cutter.clone(),
        };
        Ok(Clerks {
            handler: ProxyHandler::new(counter),
            weight,
            cutter,
        })
    }

    /// The means to end these clerks.
    pub fn cutter(&self) -> Cutter {
        self.cutter.clone()
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
        match self.handler.state().instantiate().await {
            Ok(_) => Ok(()),
            Err(error) => Err(start_failure(&error)),
        }
    }

    /// Has a clerk serve `request`. `held` is kept until both the clerk is gone and the last byte of the answer is
    /// out. Dropping the future, or the answer's body, tells the clerk that nobody waits any more.
    ///
    /// # Errors
    /// Why there is no answer; once there is a head, a failure shows as an error of the body.
    pub async fn serve(
        &self,
        request: http::Request<Body>,
        held: impl Any + Send + Sync,
    ) -> Result<http::Response<Body>, Error> {
        let outcome = self.answer(request, held).await;
        if let Err(error) = &outcome {
            self.handler.state().post.failures.note(error);
        }
        outcome
    }

    async fn answer(
        &self,
        request: http::Request<Body>,
        held: impl Any + Send + Sync,
    ) -> Result<http::Response<Body>, Error> {
        let post = &self.handler.state().post;
        let limits = post.limits.load();
        check_headers(request.headers(), limits.get(Limit::RequestHeaderBytes))?;
        let limit = limits.get(Limit::RequestBytes);
        if request.body().size_hint().lower() > limit {
            return Err(Error::BodyTooLarge { limit });
        }
        let errand = Arc::new(Errand::new(held));
        let waiting = Waiting(errand.clone());
        let too_large = Arc::new(AtomicBool::new(false));
        let request = request.map(|inner| {
            let body = AskedBody {
                inner,
                errand: errand.clone(),
                left: limit,
                too_large: too_large.clone(),
            };
            body.boxed_unsync()
        });
        match self.handler.handle(errand.clone(), request).await {
            Ok(response) => {
                errand.answered();
                let limit = limits.get(Limit::ResponseBytes);
                if response.body().size_hint().lower() > limit {
                    return Err(Error::ResponseTooLarge { limit });
                }
                let failures = post.failures.clone();
                Ok(response.map(|inner| {
                    let body = AnswerBody {
                        inner,
                        waiting,
                        failures,
                        left: limit,
                        limit,
                    };
                    body.boxed_unsync()
                }))
            }
            Err(_) if too_large.load(Relaxed) => Err(Error::BodyTooLarge { limit }),
            Err(error) => Err(self.failure(&error, &errand).await),
        }
    }

    async fn failure(&self, error: &wasmtime::Error, errand: &Errand) -> Error {
        if let Some(start) = error.downcast_ref::<InstantiationError<Arc<Errand>>>() {
            return start_failure(&start.error);
        }
        if error.is::<TrapOrPanicError>() {
            errand.wait_end().await;
        } else if !error.is::<ExpirationError>() {
            errand.fail(classify(error));
            self.handler.state().post.log.failure(error);
        }
        errand.failure().cloned().unwrap_or(Error::ClerkTrapped)
    }
}

fn start_failure(error: &wasmtime::Error) -> Error {
    match classify(error) {
        known @ (Error::ClerkLimit | Error::CpuTime { .. } | Error::MemoryLimit { .. }) => known,
        _ => Error::ClerkStart(error.root_cause().to_string()),
    }
}

/// The place where clerks of one release are made: wasmtime's handler asks it for each.
struct Counter {
    code: Code,
    pre: ProxyPre<Clerk>,
    post: Post,
    cutter: Cutter,
}

impl HandlerState for Counter {
    type StoreData = Clerk;
    type WorkerExpiration = Deadline;
    type WorkerState = AtWork;

    async fn instantiate(&self) -> wasmtime::Result<Instance<Clerk, Deadline, AtWork>> {
        let limits = **self.post.limits.load();
        let turn = Turn::new(&self.post.turns);
        let clerk = Clerk::new(self.post.clone(), &limits, turn.clone());
        let mut store = Store::new(&self.code.engine, clerk);
        store.limiter(|clerk| &mut clerk.metered);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut store| store.data_mut().metered.meter.tick());
        let wall_time = limits.time(Limit::WallTimeMs);
        let starting = turn.around(self.pre.instantiate_async(&mut store));
        let proxy = tokio::time::timeout(wall_time, starting).await??;
        let errand = Arc::new(OnceLock::new());
        Ok(Instance {
            store,
            proxy,
            view: Clerk::http,
            expiration: Deadline::new(wall_time, errand.clone(), self.cutter.clone(), turn),
            state: AtWork {
                errand,
                post: self.post.clone(),
            },
        })
    }
}

/// The state of one clerk at work.
struct AtWork {
    errand: Arc<OnceLock<Arc<Errand>>>,
    post: Post,
}

impl WorkerState for AtWork {
    type StoreData = Clerk;
    type RequestData = Arc<Errand>;

    // A clerk has no memory: one request, then it goes.
    fn should_accept_request(&self, _: usize, total: usize) -> ShouldAccept {
        if total == 0 {
            ShouldAccept::Yes
        } else {
            ShouldAccept::Never
        }
    }

    fn on_request_start(
        &self,
        mut store: StoreContextMut<'_, Clerk>,
        errand: Arc<Errand>,
        _: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        store.data_mut().metered.errand = Some(errand.clone());
        let _ = self.errand.set(errand);
        // `Deadline` ends the whole clerk, which with one request a clerk is the same and always fires.
        Box::pin(std::future::pending())
    }

    fn drop(&self, store: Store<Clerk>, result: wasmtime::Result<()>) {
        let errand = self.errand.get();
        if let (Err(error), Some(errand)) = (&result, errand) {
            if errand.failure().is_none() {
                self.post.log.failure(error);
            }
            // Before the wasmtime store goes: with it goes the body's other end, and the body asks at its end
            // whether the clerk failed.
            errand.fail(classify(error));
        }
        drop(store);
        if let Some(errand) = errand {
            errand.end();
        }
    }
}
