//! Counts what one clerk uses of memory and CPU time, and holds it to its window's limits.

use super::errand::Errand;
use super::failure::{CpuExhausted, MemoryExhausted};
use super::limits::{Limit, WindowLimits};
use super::turns::Turn;
use std::sync::Arc;
use std::time::Duration;
use wasmtime::{ResourceLimiter, UpdateDeadline};

/// How often running guest code is interrupted: the grain of CPU time, and the longest that one guest keeps
/// a thread from the others. A short request waits for a millisecond at most where one spins on each processor.
pub const EPOCH_TICK: Duration = Duration::from_millis(1);

/// Bytes that one table element takes on the host.
const TABLE_ELEMENT_BYTES: usize = 8;

/// Core instances, memories and tables of one clerk: what the pool can give one component at most.
const MAX_INSTANCES: usize = 1024;

/// Counts what one clerk uses; lives in its wasmtime store.
pub(super) struct Meter {
    memory_limit: u64,
    cpu_limit: Duration,
    memory_bytes: usize,
    ticks: u32,
    turn: Turn,
}

impl Meter {
    pub(super) fn new(limits: &WindowLimits, turn: Turn) -> Self {
        Meter {
            memory_limit: limits.get(Limit::MemoryBytes),
            cpu_limit: limits.time(Limit::CpuTimeMs),
            memory_bytes: 0,
            ticks: 0,
            turn,
        }
    }

    /// Called at each epoch in which guest code ran. A tick is counted whole however little of it the guest
    /// used, so that no pattern of short turns escapes the count.
    pub(super) fn tick(&mut self) -> wasmtime::Result<UpdateDeadline> {
        self.ticks += 1;
        let ran = EPOCH_TICK * self.ticks;
        if ran > self.cpu_limit {
            return Err(CpuExhausted(self.cpu_limit).into());
        }
        Ok(UpdateDeadline::YieldCustom(
            1,
            Box::pin(self.turn.clone().next(ran)),
        ))
    }

    fn grow(
        &mut self,
        by: usize,
        first: bool,
        errand: Option<&Arc<Errand>>,
    ) -> wasmtime::Result<bool> {
        let total = self.memory_bytes.saturating_add(by);
        if total as u64 <= self.memory_limit {
            self.memory_bytes = total;
            return Ok(true);
        }
        let exhausted = MemoryExhausted(self.memory_limit);
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
