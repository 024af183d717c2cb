//! Counts what one clerk uses of memory, CPU time and host calls, and holds it to its window's limits.

use super::duty::Duty;
use super::failure::{CpuExhausted, HostCallsExhausted, MemoryExhausted};
use super::limits::{Limit, WindowLimits};
use super::turns::Turn;
use std::sync::Arc;
use std::time::{Duration, Instant};
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
    ticks: u64,
    host_calls_per_s: u64,
    /// Calls to the host before the next look at the time, which is when they are given again.
    host_calls_left: u64,
    host_calls_given: Instant,
    turn: Turn,
}

impl Meter {
    pub(super) fn new(limits: &WindowLimits, turn: Turn) -> Self {
        Meter {
            memory_limit: limits.get(Limit::MemoryBytes),
            cpu_limit: limits.time(Limit::CpuTimeMs),
            memory_bytes: 0,
            ticks: 0,
            host_calls_per_s: limits.get(Limit::HostCallsPerS),
            host_calls_left: limits.get(Limit::HostCallsPerS),
            host_calls_given: Instant::now(),
            turn,
        }
    }

    /// A request begins, under the limits as they are now. Where the clerk has others, CPU time counts from the last that
    /// began: a guest that spins lets none begin.
    pub(super) fn begin(&mut self, limits: &WindowLimits) {
        self.memory_limit = limits.get(Limit::MemoryBytes);
        self.cpu_limit = limits.time(Limit::CpuTimeMs);
        self.host_calls_per_s = limits.get(Limit::HostCallsPerS);
    }

    /// The CPU time counts from here.
    pub(super) fn restart(&mut self) {
        self.ticks = 0;
        self.turn.restart();
    }

    /// Called at each call to the host, the component model's own among them. A bucket of one second's calls.
    pub(super) fn host_call(&mut self) -> wasmtime::Result<()> {
        if let Some(left) = self.host_calls_left.checked_sub(1) {
            self.host_calls_left = left;
            return Ok(());
        }
        let per_s = self.host_calls_per_s;
        let given = (self.host_calls_given.elapsed().as_secs_f64() * per_s as f64) as u64;
        let Some(left) = given.min(per_s).checked_sub(1) else {
            return Err(HostCallsExhausted(per_s).into());
        };
        self.host_calls_given = Instant::now();
        self.host_calls_left = left;
        Ok(())
    }

    /// Guest code runs from here.
    pub(super) fn runs(&self) {
        self.turn.runs();
    }

    /// Called at an epoch in which guest code ran. One is counted whole however little of it the guest used.
    pub(super) fn tick(&mut self) -> wasmtime::Result<UpdateDeadline> {
        let first = self.ticks == 0;
        let ran = self.charge(self.turn.ran())?;
        // It may have run for no more than a moment of this epoch. Most requests are done soon, and each that is put behind all
        // others waits once more for all of them.
        if first && ran == EPOCH_TICK {
            self.turn.runs();
            return Ok(UpdateDeadline::Continue(1));
        }
        let turn = self.turn.clone();
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(turn.next(ran))))
    }

    /// Called by the host for each tick of work that it does for the guest.
    pub(super) fn work(&mut self) -> impl Future<Output = wasmtime::Result<()>> + Send + use<> {
        let charged = self.charge(1);
        let turn = self.turn.clone();
        async move {
            turn.next(charged?).await;
            Ok(())
        }
    }

    fn charge(&mut self, ticks: u64) -> wasmtime::Result<Duration> {
        self.ticks = self.ticks.saturating_add(ticks);
        let ran = EPOCH_TICK.saturating_mul(u32::try_from(self.ticks).unwrap_or(u32::MAX));
        if ran > self.cpu_limit {
            return Err(CpuExhausted(self.cpu_limit).into());
        }
        Ok(ran)
    }

    fn grow(&mut self, by: usize, first: bool, duty: &Duty) -> wasmtime::Result<bool> {
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
        duty.memory_denied(exhausted);
        Ok(false)
    }
}

/// A [`Meter`] together with the errands of which it says why they failed.
pub(super) struct Metered {
    pub(super) meter: Meter,
    pub(super) duty: Arc<Duty>,
}

impl ResourceLimiter for Metered {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let by = desired.saturating_sub(current);
        self.meter.grow(by, current == 0, &self.duty)
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
        self.meter.grow(by, current == 0, &self.duty)
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

#[cfg(test)]
mod tests {
    use super::super::turns::{Clock, Turns};
    use super::*;

    fn meter(limit: Limit, value: u64) -> Meter {
        let limits = WindowLimits::default().at(limit, value);
        Meter::new(&limits, Turn::new(&Turns::default(), &Clock::default()))
    }

    #[test]
    fn host_calls_are_given_again_with_time_and_no_more_than_a_seconds() {
        let mut meter = meter(Limit::HostCallsPerS, 1000);
        let mut made = |most: usize| (0..most).take_while(|_| meter.host_call().is_ok()).count();
        // A slow machine gives some while it counts.
        assert!((1000..1500).contains(&made(10_000)));
        std::thread::sleep(Duration::from_millis(100));
        assert!((90..).contains(&made(10_000)));
        std::thread::sleep(Duration::from_millis(1100));
        assert!((1000..1500).contains(&made(10_000)));
    }

    #[test]
    fn cpu_time_is_over_after_its_ticks_and_begins_again() {
        let mut meter = meter(Limit::CpuTimeMs, 3);
        for _ in 0..2 {
            assert_eq!((0..9).take_while(|_| meter.charge(1).is_ok()).count(), 3);
            meter.restart();
        }
    }
}
