//! Counts the memory, CPU time and host calls of one instance, and applies its window's limits.

use super::cpu_share::CpuShare;
use super::failure::{CpuExhausted, HostCallsExhausted, MemoryExhausted};
use super::host_memory::{HANDLE_BYTES, HostMemory, RetainedBytes};
use super::in_flight_set::InFlightSet;
use hms_core::limits::{Limit, WindowLimits};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use wasmtime::UpdateDeadline;
use wasmtime::component::ResourceTable;

/// How often running guest code is interrupted: the granularity of CPU time, and the longest that
/// one guest keeps a thread from the others. A short request waits at most a millisecond if one
/// guest spins on each processor.
pub(crate) const EPOCH_TICK: Duration = Duration::from_millis(1);

/// Host calls after which the handles that they may have created are counted. 1,024: half a MiB of
/// handles at most, and next to nothing per call. A power of two.
const COUNTED_CALLS: u64 = 1024;

/// Counts what one instance uses; lives in its wasmtime store.
pub(super) struct Meter {
    memory_limit: u64,
    cpu_limit: Duration,
    memory_bytes: usize,
    host: HostMemory,
    ticks: u64,
    /// Those of requests before.
    ticks_before: u64,
    host_calls_per_s: u64,
    /// Host calls before the next check of the time, which refills them.
    host_calls_left: u64,
    host_calls_given: Instant,
    cpu_share: CpuShare,
    /// Told what is used, for the records of its requests.
    in_flight_set: Arc<InFlightSet>,
}

impl Meter {
    pub(super) fn new(
        limits: &WindowLimits,
        cpu_share: CpuShare,
        in_flight_set: Arc<InFlightSet>,
    ) -> Self {
        Meter {
            memory_limit: limits.get(Limit::MemoryBytes),
            cpu_limit: limits.time(Limit::CpuTimeMs),
            memory_bytes: 0,
            host: HostMemory::new(limits.get(Limit::MemoryBytes)),
            ticks: 0,
            ticks_before: 0,
            host_calls_per_s: limits.get(Limit::HostCallsPerS),
            host_calls_left: limits.get(Limit::HostCallsPerS),
            host_calls_given: Instant::now(),
            cpu_share,
            in_flight_set,
        }
    }

    /// A request begins, under the current limits. If the instance has others, CPU time counts from
    /// the last that began: a guest that spins lets none begin.
    pub(super) fn begin(&mut self, limits: &WindowLimits) {
        self.memory_limit = limits.get(Limit::MemoryBytes);
        self.cpu_limit = limits.time(Limit::CpuTimeMs);
        self.host_calls_per_s = limits.get(Limit::HostCallsPerS);
    }

    /// The CPU time counts from here.
    pub(super) fn restart(&mut self) {
        self.ticks_before = self.ticks_before.saturating_add(self.ticks);
        self.ticks = 0;
        self.in_flight_set.restart();
        self.cpu_share.restart();
    }

    /// Called at each host call, including those of the component model itself. A bucket with one
    /// second's calls. Each call may create a handle in `table`.
    pub(super) fn host_call(&mut self, table: &mut ResourceTable) -> wasmtime::Result<()> {
        if let Some(left) = self.host_calls_left.checked_sub(1) {
            self.host_calls_left = left;
            // Zero is one of the values checked, so no check is skipped when calls are refilled.
            if left & (COUNTED_CALLS - 1) == 0 {
                self.keep(COUNTED_CALLS as usize * HANDLE_BYTES, table)?;
            }
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
        self.cpu_share.runs();
    }

    /// Called at an epoch in which guest code ran. An epoch is charged whole, however little of it
    /// the guest used.
    pub(super) fn tick(&mut self) -> wasmtime::Result<UpdateDeadline> {
        let first = self.ticks == 0;
        let ran = self.charge(self.cpu_share.ran())?;
        // It may have run only for a moment of this epoch. Most requests are done soon, and each
        // that goes behind all others waits for all of them once more.
        if first && ran == EPOCH_TICK {
            self.cpu_share.runs();
            return Ok(UpdateDeadline::Continue(1));
        }
        let cpu_share = self.cpu_share.clone();
        Ok(UpdateDeadline::YieldCustom(
            1,
            Box::pin(cpu_share.next(ran)),
        ))
    }

    /// Called by the host for each tick of work that it does for the guest.
    pub(super) fn work(&mut self) -> impl Future<Output = wasmtime::Result<()>> + Send + use<> {
        let charged = self.charge(1);
        let cpu_share = self.cpu_share.clone();
        async move {
            cpu_share.next(charged?).await;
            Ok(())
        }
    }

    /// The ticks in which the instance ran, and the bytes of its memory.
    pub(super) fn used(&self) -> (u64, usize) {
        (
            self.ticks_before.saturating_add(self.ticks),
            self.memory_bytes,
        )
    }

    fn charge(&mut self, ticks: u64) -> wasmtime::Result<Duration> {
        self.ticks = self.ticks.saturating_add(ticks);
        self.in_flight_set.ran(self.ticks);
        let ran = EPOCH_TICK.saturating_mul(u32::try_from(self.ticks).unwrap_or(u32::MAX));
        if ran > self.cpu_limit {
            return Err(CpuExhausted(self.cpu_limit).into());
        }
        Ok(ran)
    }

    /// The host is about to keep at most `bytes` more for the instance, in `table`.
    ///
    /// # Errors
    /// [`MemoryExhausted`], if that would exceed its memory limit.
    pub(super) fn keep(&mut self, bytes: usize, table: &mut ResourceTable) -> wasmtime::Result<()> {
        if !self.has_room(bytes, table)? {
            return Err(MemoryExhausted(self.memory_limit).into());
        }
        self.host.add(bytes);
        Ok(())
    }

    /// The same for memory outside of the table, until the result is dropped.
    ///
    /// # Errors
    /// As [`Meter::keep`].
    pub(super) fn keep_beside(
        &mut self,
        bytes: usize,
        table: &mut ResourceTable,
    ) -> wasmtime::Result<RetainedBytes> {
        if !self.has_room(bytes, table)? {
            return Err(MemoryExhausted(self.memory_limit).into());
        }
        Ok(self.host.beside(bytes))
    }

    /// Bytes charged for an outgoing WASI 0.2 body.
    pub(super) fn body_bytes(&self) -> usize {
        self.host.body_bytes()
    }

    /// Trailers of so many bytes follow an outgoing body.
    pub(super) fn trailers(&mut self, bytes: usize) {
        self.host.trailers(bytes);
    }

    /// Whether `bytes` more fit into the memory limit, including what the host keeps.
    fn has_room(&mut self, bytes: usize, table: &mut ResourceTable) -> wasmtime::Result<bool> {
        let fits = |meter: &Meter| {
            let total = meter.memory_bytes.saturating_add(meter.host.bytes());
            total.saturating_add(bytes) as u64 <= meter.memory_limit
        };
        if fits(self) {
            return Ok(true);
        }
        let begun = Instant::now();
        self.host.count(table);
        self.charge((begun.elapsed().as_nanos() / EPOCH_TICK.as_nanos()) as u64)?;
        Ok(fits(self))
    }

    /// A memory or a table of the instance is about to grow by so many bytes.
    pub(super) fn grow(
        &mut self,
        by: usize,
        first: bool,
        table: &mut ResourceTable,
    ) -> wasmtime::Result<bool> {
        if self.has_room(by, table)? {
            self.memory_bytes = self.memory_bytes.saturating_add(by);
            self.in_flight_set.grew(self.memory_bytes);
            return Ok(true);
        }
        let exhausted = MemoryExhausted(self.memory_limit);
        if first {
            return Err(exhausted.into());
        }
        // The guest sees a failed `memory.grow` and may cope; if it aborts instead, this is the
        // reason.
        self.in_flight_set.memory_denied(exhausted);
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::super::cpu_share::{Clock, CpuShares};
    use super::*;

    fn meter(limit: Limit, value: u64) -> Meter {
        let limits = WindowLimits::default().at(limit, value);
        Meter::new(
            &limits,
            CpuShare::new(&CpuShares::default(), &Clock::default()),
            Arc::default(),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn host_calls_are_replenished_over_time_up_to_one_second_of_them() {
        let mut meter = meter(Limit::HostCallsPerS, 1000);
        let mut table = ResourceTable::new();
        let mut made = |most: usize| {
            let calls = 0..most;
            calls
                .take_while(|_| meter.host_call(&mut table).is_ok())
                .count()
        };
        assert_eq!(made(10_000), 1000);
        tokio::time::advance(Duration::from_millis(100)).await;
        assert_eq!(made(10_000), 100);
        tokio::time::advance(Duration::from_millis(1100)).await;
        assert_eq!(made(10_000), 1000);
    }

    #[test]
    fn cpu_time_ends_after_its_ticks_and_restarts() {
        let mut meter = meter(Limit::CpuTimeMs, 3);
        for _ in 0..2 {
            assert_eq!((0..9).take_while(|_| meter.charge(1).is_ok()).count(), 3);
            meter.restart();
        }
    }

    const LIMIT: u64 = 1 << 20;

    fn grows(meter: &mut Meter, table: &mut ResourceTable, by: usize) -> bool {
        meter.grow(by, false, table).unwrap()
    }

    #[test]
    fn guest_memory_and_host_memory_share_one_limit() {
        let (mut meter, mut table) = (meter(Limit::MemoryBytes, LIMIT), ResourceTable::new());
        let half = LIMIT as usize / 2;
        let kept = meter.keep_beside(half, &mut table).unwrap();
        assert!(!grows(&mut meter, &mut table, half + 1));
        assert!(grows(&mut meter, &mut table, half));
        let refused = meter.keep(1, &mut table).unwrap_err();
        assert!(refused.is::<MemoryExhausted>(), "{refused}");
        drop(kept);
        meter.keep(half, &mut table).unwrap();
        assert!(meter.keep_beside(LIMIT as usize, &mut table).is_err());
    }

    #[test]
    fn stale_host_memory_is_recounted_when_memory_is_needed() {
        let (mut meter, mut table) = (meter(Limit::MemoryBytes, LIMIT), ResourceTable::new());
        for _ in 0..100 {
            meter.keep(LIMIT as usize / 2, &mut table).unwrap();
        }
        assert!(grows(&mut meter, &mut table, LIMIT as usize));
    }

    #[test]
    fn handles_made_by_host_calls_are_counted() {
        let (mut meter, mut table) = (meter(Limit::MemoryBytes, LIMIT), ResourceTable::new());
        let calls = || 0..LIMIT / HANDLE_BYTES as u64 + COUNTED_CALLS;
        assert!(calls().all(|_| meter.host_call(&mut table).is_ok()));
        let made = calls().take_while(|_| {
            table.push(()).unwrap();
            meter.host_call(&mut table).is_ok()
        });
        assert!(made.count() as u64 <= LIMIT / HANDLE_BYTES as u64);
    }
}
