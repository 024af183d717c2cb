//! What one clerk may use, and the meter that holds it to that.

use super::errand::Errand;
use super::failure::{CpuExhausted, MemoryExhausted};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use wasmtime::{ResourceLimiter, UpdateDeadline};

/// The bounds on one clerk. Every field has a default that suits a small service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of linear memory and tables together, over all core modules of the component.
    ///
    /// 128 MiB: a Rust window needs about 2, a Python one about 40; enough for either, and a full pool
    /// of runaways still fits a small machine.
    pub memory_bytes: u64,
    /// Time that guest code may run for one request, start-up included. 5 s: long for any form at a
    /// counter, short enough that a loop is noticed. Counted in [`EPOCH_TICK`]s.
    pub cpu_time: Duration,
    /// Time from the request to the head of its response, and the longest pause between two chunks of a
    /// body in either direction. 30 s, as gateways commonly have it.
    pub wall_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory_bytes: 128 << 20,
            cpu_time: Duration::from_secs(5),
            wall_time: Duration::from_secs(30),
        }
    }
}

/// How often running guest code is interrupted: the grain of CPU time, and the longest that one guest keeps
/// a thread from the others. 5 ms costs next to nothing and keeps latency on two cores.
pub const EPOCH_TICK: Duration = Duration::from_millis(5);

/// Bytes that one table element takes on the host.
const TABLE_ELEMENT_BYTES: usize = 8;

/// Core instances, memories and tables of one clerk: what the pool can give one component at most.
const MAX_INSTANCES: usize = 1024;

/// Counts what one clerk uses; lives in its wasmtime store.
pub(super) struct Meter {
    limits: Limits,
    memory_bytes: usize,
    ticks: u32,
}

impl Meter {
    pub(super) fn new(limits: Limits) -> Self {
        Meter {
            limits,
            memory_bytes: 0,
            ticks: 0,
        }
    }

    /// Called at each epoch in which guest code ran. A tick is counted whole however little of it the guest
    /// used, so that no pattern of short turns escapes the count.
    pub(super) fn tick(&mut self) -> wasmtime::Result<UpdateDeadline> {
        self.ticks += 1;
        if EPOCH_TICK * self.ticks > self.limits.cpu_time {
            return Err(CpuExhausted(self.limits.cpu_time).into());
        }
        // tokio's own yield puts the task behind all others; wasmtime's would put it first again.
        Ok(UpdateDeadline::YieldCustom(
            1,
            Box::pin(tokio::task::yield_now()),
        ))
    }

    fn grow(
        &mut self,
        by: usize,
        first: bool,
        errand: Option<&Arc<Errand>>,
    ) -> wasmtime::Result<bool> {
        let total = self.memory_bytes.saturating_add(by);
        if total as u64 <= self.limits.memory_bytes {
            self.memory_bytes = total;
            return Ok(true);
        }
        let exhausted = MemoryExhausted(self.limits.memory_bytes);
        if first {
            return Err(exhausted.into());
        }
        // The guest sees a failed `memory.grow` and may cope; if it gives up instead, this is why.
        if let Some(errand) = errand {
            errand.memory_denied(exhausted);
        }
        Ok(false)
    }
}

/// A [`Meter`] together with the errand it reports to.
pub(super) struct Metered {
    pub(super) meter: Meter,
    pub(super) errand: Option<Arc<Errand>>,
}

impl ResourceLimiter for Metered {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let by = desired.saturating_sub(current);
        self.meter.grow(by, current == 0, self.errand.as_ref())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let by = desired
            .saturating_sub(current)
            .saturating_mul(TABLE_ELEMENT_BYTES);
        self.meter.grow(by, current == 0, self.errand.as_ref())
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
