//! The engine: how code is compiled and run, and how much of it at once.

use super::code::{Code, LoadError, Loaded};
use super::cpu_share::Clock;
use super::linker::{self, Experimental};
use super::log::WindowLog;
use super::meter::EPOCH_TICK;
use super::native;
use super::slow_pool::SlowPool;
use super::waiters::Waiters;
use crate::instance::InstanceState;
use anyhow::Context;
use hms_core::limits::LiveLimits;
use hms_grants::LiveGrants;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tokio::sync::Semaphore;
use wasmtime::component::Linker;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig,
    WasmBacktraceDetails,
};

/// Sizes of the pool that all instances share.
#[derive(Debug, Clone, Copy)]
pub struct EngineConfig {
    /// Concurrent instances, over all windows. 512: address space is reserved for each (20 GiB in
    /// all), memory is used only as needed.
    pub instances: u32,
    /// The largest linear memory that any window can be given, in bytes. 1 GiB.
    pub max_memory_bytes: usize,
    /// Whether traps tell lines of source, where a component has them. Not in production: whoever
    /// deploys decides what is parsed then, and how long that takes.
    pub source_lines: bool,
    /// Interfaces that windows are given beside.
    pub experimental: Experimental,
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig {
            instances: 512,
            max_memory_bytes: 1 << 30,
            source_lines: false,
            experimental: Experimental::default(),
        }
    }
}

/// Core instances in the pool per instance, and half as many tables: a component of a Rust window
/// has about three core modules, one of a Python window more.
const CORE_INSTANCES_PER_INSTANCE: u32 = 4;
pub(super) const TABLES_PER_INSTANCE: u32 = 2;

/// Instances need as many memories as tables. There are twice as many, because a slot is fast for
/// the component that it was last used for, and each thread looks for such a slot in a part of the
/// pool that it shares with few: so a thousand components find theirs.
const MEMORIES_PER_INSTANCE: u32 = 4;

/// Concurrent instances per idle instance that is kept.
const IDLE_SHARE: u32 = 4;

/// Slots beyond the permits: for instances that are about to end.
const SPARE: u32 = 8;

/// The most that a single component may take of the pool.
const MAX_CORE_INSTANCES_PER_COMPONENT: u32 = 64;
const MAX_TABLES_PER_COMPONENT: u32 = 64;
const MAX_MEMORIES_PER_COMPONENT: u32 = 16;
/// Frames of a trap, where source lines are told. 100: code that is built for an author is hardly
/// inlined, and below the author's own frames are those of a panic.
const AUTHORS_FRAMES: usize = 100;
/// Elements of one table. CPython's is about 12,000.
const MAX_TABLE_ELEMENTS: usize = 65_536;

/// Bytes of each slot that stay in memory between two instances and are cleared instead of returned
/// to the kernel. Measured: this makes a fresh instance per request about three times as fast. A
/// request of most windows touches less than 256 KiB, and one of a JavaScript window some 350 KiB.
const MEMORY_KEEP_RESIDENT: RangeInclusive<usize> = (256 << 10)..=(512 << 10);

/// Bytes that all slots together may keep so, unless each would keep less than the least. 256 MiB:
/// what a peak leaves behind.
const MEMORY_KEEP_RESIDENT_TOTAL: usize = 256 << 20;

/// The same of a table: that of CPython has 96 KiB, which each instance fills.
const TABLE_KEEP_RESIDENT: usize = 128 << 10;
const STACK_KEEP_RESIDENT: usize = 64 << 10;

/// The settings that compiling child and running host must share: everything that shapes native
/// code.
fn code_config(source_lines: bool) -> Config {
    let mut config = Config::new();
    config.wasm_backtrace_details(match source_lines {
        true => WasmBacktraceDetails::Enable,
        false => WasmBacktraceDetails::Disable,
    });
    config
        .wasm_component_model(true)
        .wasm_component_model_async(true)
        .epoch_interruption(true);
    config
}

/// Compiles a component to native code for this build of the host, with its `source_lines` as
/// [`EngineConfig`] has it. Runs in the child process.
///
/// # Errors
/// The compiler's message, if the component is not valid.
pub fn precompile(wasm: &[u8], source_lines: bool) -> anyhow::Result<Vec<u8>> {
    let engine = Engine::new(&code_config(source_lines))?;
    Ok(engine.precompile_component(wasm)?)
}

/// The engine, the linker, and the pool behind them.
pub struct Runtime {
    engine: Engine,
    linker: Linker<InstanceState>,
    experimental: Experimental,
    loaded: Loaded,
    room: Arc<Semaphore>,
    waiters: Arc<Waiters>,
    clock: Clock,
    slow_pool: SlowPool,
    /// Ends the epoch thread with the runtime.
    running: Arc<AtomicBool>,
}

impl Runtime {
    /// Creates the engine and starts its clock and its slow pool.
    ///
    /// # Errors
    /// When the pool cannot be reserved, which says how to make it smaller.
    pub fn new(config: &EngineConfig) -> anyhow::Result<Self> {
        let mut code = code_config(config.source_lines);
        if config.source_lines {
            code.wasm_backtrace_max_frames(NonZeroUsize::new(AUTHORS_FRAMES));
        }
        code.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(config)));
        let engine = Engine::new(&code).map_err(anyhow::Error::from).with_context(|| {
            format!(
                "the pool for {} instances could not be reserved: the address space is limited (see `ulimit -v`), \
                 start with a smaller --instances",
                config.instances
            )
        })?;
        let linker = linker::build(&engine, config.experimental)?;
        let running = Arc::new(AtomicBool::new(true));
        let clock = Clock::default();
        let slow_pool =
            SlowPool::start().context("the threads for the instances could not be started")?;
        start_clock(engine.clone(), clock.clone(), running.clone())?;
        Ok(Runtime {
            engine,
            linker,
            experimental: config.experimental,
            loaded: Loaded::default(),
            room: Arc::new(Semaphore::new(idle(config.instances) as usize)),
            waiters: Waiters::new(config.instances),
            clock,
            slow_pool,
            running,
        })
    }

    /// Names the native code this engine can load: it changes with the compiler, its settings and
    /// the CPU.
    pub fn compatibility(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.engine
            .precompile_compatibility_hash()
            .hash(&mut hasher);
        native::FORM.hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }

    /// Loads what the compiler wrote of the component with the digest `component`, unless it is
    /// loaded already, and links it with what a window may reach. With `trap_unknown`, functions
    /// that no window is given end the request that calls them. Blocks: the whole file is read.
    ///
    /// # Errors
    /// When the file is damaged or not native code for this engine, or the component wants what no
    /// window is given.
    pub fn load(
        &self,
        compiled: &Path,
        component: &str,
        trap_unknown: bool,
    ) -> Result<Code, LoadError> {
        let linked = self.loaded.get(
            &self.engine,
            &self.linker,
            compiled,
            component,
            trap_unknown,
            self.experimental,
        )?;
        Ok(Code {
            linked,
            engine: self.engine.clone(),
            room: self.room.clone(),
            waiters: self.waiters.clone(),
            clock: self.clock.clone(),
            slow_pool: self.slow_pool.handle().clone(),
        })
    }

    /// The instances that wait for slow clients.
    pub fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    /// A log for a window, with the rate that its limits say. What its grants reveal to it is
    /// masked.
    pub fn window_log(window: &str, limits: &LiveLimits, grants: &LiveGrants) -> Arc<WindowLog> {
        Arc::new(WindowLog::new(window, limits.clone(), grants.clone()))
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.running.store(false, Relaxed);
    }
}

/// Instances that are reused and have nothing to do, for a pool of that many at work.
fn idle(instances: u32) -> u32 {
    instances.div_ceil(IDLE_SHARE)
}

fn pool(config: &EngineConfig) -> PoolingAllocationConfig {
    // Those at work hold a place each, those that wait for their next request have room beside
    // them; and one may end while the next begins.
    let instances = config.instances + idle(config.instances) + SPARE;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances * CORE_INSTANCES_PER_INSTANCE)
        .total_memories(instances * MEMORIES_PER_INSTANCE)
        .total_tables(instances * TABLES_PER_INSTANCE)
        .total_stacks(instances * 2)
        // With wasmtime's 100 the instances of the 101st window would map their memory anew.
        .max_unused_warm_slots(instances * MEMORIES_PER_INSTANCE)
        .max_core_instances_per_component(MAX_CORE_INSTANCES_PER_COMPONENT)
        .max_tables_per_component(MAX_TABLES_PER_COMPONENT)
        .max_memories_per_component(MAX_MEMORIES_PER_COMPONENT)
        .table_elements(MAX_TABLE_ELEMENTS)
        .max_memory_size(config.max_memory_bytes)
        .linear_memory_keep_resident(kept(instances))
        .table_keep_resident(TABLE_KEEP_RESIDENT)
        .async_stack_keep_resident(STACK_KEEP_RESIDENT)
        .pagemap_scan(pagemap_scan());
    pool
}

/// Bytes of memory that each of so many slots keeps.
fn kept(slots: u32) -> usize {
    let slots = usize::try_from(slots).unwrap_or(usize::MAX).max(1);
    let share = MEMORY_KEEP_RESIDENT_TOTAL / slots;
    let (least, most) = (*MEMORY_KEEP_RESIDENT.start(), *MEMORY_KEEP_RESIDENT.end());
    // In whole pages of WebAssembly.
    (share & !0xffff).clamp(least, most)
}

/// PAGEMAP_SCAN resets a slot fastest, but wasmtime 48 misses dirty pages that were swapped out:
/// the next instance could read them. So it is used only where the kernel has it and no swap is
/// active.
fn pagemap_scan() -> Enabled {
    let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
    let swap_active = swaps.lines().skip(1).any(|line| !line.trim().is_empty());
    let known = swaps.starts_with("Filename");
    if !known || swap_active {
        let why = if known {
            "swap is active"
        } else {
            "/proc/swaps cannot be read"
        };
        tracing::info!(why, "instance memory is reset without PAGEMAP_SCAN");
        return Enabled::No;
    }
    if !PoolingAllocationConfig::is_pagemap_scan_available() {
        tracing::info!(
            why = "the kernel does not support it",
            "instance memory is reset without PAGEMAP_SCAN"
        );
        return Enabled::No;
    }
    tracing::info!(
        why = "no swap is active",
        "instance memory is reset with PAGEMAP_SCAN"
    );
    Enabled::Yes
}

fn start_clock(engine: Engine, clock: Clock, running: Arc<AtomicBool>) -> anyhow::Result<()> {
    std::thread::Builder::new()
        .name("epoch".into())
        .spawn(move || {
            while running.load(Relaxed) {
                std::thread::sleep(EPOCH_TICK);
                clock.tick();
                engine.increment_epoch();
            }
        })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_keep_memory_up_to_a_total_but_never_next_to_none() {
        assert_eq!(kept(1), 512 << 10);
        assert_eq!(kept(600), 384 << 10);
        assert_eq!(kept(u32::MAX), 256 << 10);
    }
}
