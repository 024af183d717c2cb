//! Creates the instances of one release and hands requests to them: our policy for wasmtime's
//! mechanism.

use super::code::Code;
use super::cpu_share::CpuShare;
use super::deadline::Deadline;
use super::failure::classify;
use super::in_flight::InFlight;
use super::in_flight_set::InFlightSet;
use super::instance::{InstanceContext, InstanceState};
use super::reuse::{Reuse, ReuseTrial};
use super::waiters::WaitShare;
use hms_core::limits::{Limit, WindowLimits};
use hms_core::trace::logged;
use parking_lot::{Mutex, MutexGuard};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::CancellationToken;
use wasmtime::component::GuestTaskId;
use wasmtime::{CallHook, Store, StoreContextMut};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::handler::{HandlerState, Instance, ProxyPre, ShouldAccept, WorkerState};

/// Concurrent requests of one instance, if it is reused and WASI 0.3. 16: their waits overlap, and
/// a trap costs no more than these.
const AT_ONCE: usize = 16;

/// Bytes that a guest can hand to the host in one call. 16 MiB: four of a store's largest values.
/// Never more than its memory limit.
const HOST_CALL_BYTES: usize = 16 << 20;

/// Bytes of the memory limit per task, stream or future that an instance may have at once. 8 KiB:
/// each takes about 1 KiB of the host, which is not counted, so all of them take an additional
/// eighth of the limit. The default of `--subtasks` matches the default of `--memory`.
const SUBTASK_MEMORY_BYTES: usize = 8 << 10;

/// The minimum, however small the memory: what a few requests need.
const LEAST_SUBTASKS: usize = 256;

/// Ends all instances of one release without keeping the release alive.
#[derive(Clone, Default)]
pub struct CancelHandle(Arc<Cancellation>);

#[derive(Default)]
struct Cancellation {
    token: CancellationToken,
    closed: CancellationToken,
}

impl CancelHandle {
    /// Ends every instance in flight; clients are told that the release was replaced. No more are
    /// created.
    pub fn cut(&self) {
        self.0.token.cancel();
    }

    /// No more requests will come: idle instances end, the others finish.
    pub fn close(&self) {
        self.0.closed.cancel();
    }

    /// Resolves once [`CancelHandle::close`] was called.
    pub(super) async fn closed(self) {
        self.0.closed.cancelled().await;
    }

    /// Resolves once [`CancelHandle::cut`] was called.
    pub(super) async fn cut_off(self) {
        self.0.token.cancelled().await;
    }
}

/// Creates instances when wasmtime's handler asks for one.
pub(super) struct InstanceFactory {
    pub code: Code,
    pub pre: ProxyPre<InstanceState>,
    pub context: InstanceContext,
    pub cancel_handle: CancelHandle,
    pub reuse: Arc<Reuse>,
}

impl HandlerState for InstanceFactory {
    type StoreData = InstanceState;
    type WorkerExpiration = Deadline;
    type WorkerState = AtWork;

    async fn instantiate(&self) -> wasmtime::Result<Instance<InstanceState, Deadline, AtWork>> {
        let limits = **self.context.limits.load();
        let cpu_share = CpuShare::new(&self.context.cpu_shares, &self.code.clock);
        let in_flight_set = Arc::new(InFlightSet::default());
        let instance = InstanceState::new(
            self.context.clone(),
            &limits,
            in_flight_set.clone(),
            cpu_share.clone(),
        );
        let mut store = Store::new(&self.code.engine, instance);
        store.limiter(|instance| instance);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut store| store.data_mut().meter.tick());
        store.call_hook(|mut store, what| match what {
            CallHook::CallingHost => store.data_mut().host_call(),
            CallHook::CallingWasm | CallHook::ReturningFromHost => {
                store.data_mut().meter.runs();
                Ok(())
            }
            CallHook::ReturningFromWasm => Ok(()),
        });
        let memory = limits.size(Limit::MemoryBytes);
        store.set_hostcall_fuel(HOST_CALL_BYTES.min(memory));
        store.set_max_component_handles(limits.size(Limit::Handles));
        if let Some(table) = store.concurrent_resource_table() {
            let most = (memory / SUBTASK_MEMORY_BYTES).max(LEAST_SUBTASKS);
            table.set_max_capacity(limits.size(Limit::Subtasks).min(most));
        }
        let wall_time = limits.time(Limit::WallTimeMs);
        let starting = async {
            cpu_share.begin().await;
            cpu_share
                .around(self.pre.instantiate_async(&mut store))
                .await
        };
        let proxy = tokio::time::timeout(wall_time, starting).await??;
        let room = self.code.room.clone();
        let share = WaitShare {
            waiters: self.code.waiters.clone(),
            window: self.context.window.clone(),
            weight: self.code.linked.weight,
            limits: self.context.limits.clone(),
            short: self.context.short.clone(),
        };
        let cancel_handle = self.cancel_handle.clone();
        Ok(Instance {
            store,
            proxy,
            view: InstanceState::http,
            expiration: Deadline::new(
                wall_time,
                in_flight_set.clone(),
                room,
                share,
                cancel_handle,
                cpu_share,
                self.reuse.clone(),
            ),
            state: AtWork {
                in_flight_set,
                context: self.context.clone(),
                reuse: self.reuse.clone(),
                trial: Mutex::default(),
            },
        })
    }
}

/// Requests that an instance serves before it ends. It may hold the heads of all of them, which are
/// not counted. So at most as many as fit into its memory limit once more, each of the largest
/// size.
fn reuse(limits: &WindowLimits) -> usize {
    let head = limits.size(Limit::RequestHeaderBytes).max(1);
    let heads = limits.size(Limit::MemoryBytes) / head;
    limits.size(Limit::Reuse).min(heads).max(1)
}

/// One instance in use.
pub(super) struct AtWork {
    in_flight_set: Arc<InFlightSet>,
    context: InstanceContext,
    reuse: Arc<Reuse>,
    /// The right to a second request, until that comes.
    trial: Mutex<Option<ReuseTrial>>,
}

impl AtWork {
    fn trial(&self) -> MutexGuard<'_, Option<ReuseTrial>> {
        self.trial.lock()
    }

    /// Whether it may try a second request, whose outcome is unknown: alone, and no other instance
    /// tries one.
    fn may_try(&self, at_once: usize) -> ShouldAccept {
        if at_once > 0 {
            return ShouldAccept::No;
        }
        let mut trial = self.trial();
        if trial.is_none() {
            *trial = self.reuse.try_one(Instant::now());
        }
        match *trial {
            Some(_) => ShouldAccept::Yes,
            // Its `Deadline` will wake the worker.
            None if self
                .in_flight_set
                .tried()
                .is_some_and(|it| self.reuse.is_trial(it)) =>
            {
                ShouldAccept::No
            }
            None => ShouldAccept::Never,
        }
    }
}

impl WorkerState for AtWork {
    type StoreData = InstanceState;
    type RequestData = Arc<InFlight>;

    fn should_accept_request(&self, at_once: usize, total: usize) -> ShouldAccept {
        if total == 0 {
            return ShouldAccept::Yes;
        }
        if total >= reuse(&self.context.limits.load()) || self.in_flight_set.takes_no_more() {
            return ShouldAccept::Never;
        }
        if !self.reuse.is_proven() {
            return self.may_try(at_once);
        }
        if at_once < AT_ONCE {
            ShouldAccept::Yes
        } else {
            ShouldAccept::No
        }
    }

    fn on_request_start(
        &self,
        mut store: StoreContextMut<'_, InstanceState>,
        in_flight: Arc<InFlight>,
        task: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        if store.data_mut().begin(&in_flight, task) > 1
            && let Some(trial) = self.trial().take()
        {
            self.in_flight_set.try_one(trial.number());
            in_flight.tries(trial);
        }
        self.in_flight_set.begin(in_flight);
        // `Deadline` times the requests in flight, and always fires.
        Box::pin(std::future::pending())
    }

    fn drop(&self, store: Store<InstanceState>, result: wasmtime::Result<()>) {
        if let Err(error) = &result {
            let work = self.in_flight_set.spans().context();
            // Before the wasmtime store is dropped: the other ends of bodies are dropped with it,
            // and a body that ends checks whether the instance failed.
            if self
                .in_flight_set
                .fail(&classify(error, &self.context.grants.load()))
            {
                logged::about(work, || self.context.log.failure(error));
            }
        }
        let (ticks, memory_bytes) = store.data().meter.used();
        self.context.usage.add(ticks, memory_bytes);
        drop(store);
        self.in_flight_set.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_heads_of_one_instance_fit_its_memory_limit() {
        let limits = WindowLimits::default();
        let memory = limits.get(Limit::MemoryBytes);
        let head = limits.get(Limit::RequestHeaderBytes);
        assert_eq!(reuse(&limits), 1);
        assert_eq!(reuse(&limits.at(Limit::Reuse, 1000)), 1000);
        let most = reuse(&limits.at(Limit::Reuse, 1_000_000));
        assert_eq!(most as u64, memory / head);
        let small = limits.at(Limit::RequestHeaderBytes, 1024);
        assert_eq!(reuse(&small.at(Limit::Reuse, 10_000)), 10_000);
    }
}
