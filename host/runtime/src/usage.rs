//! What the instances of a window have used.

use crate::meter::EPOCH_TICK;
use hms_core::measures::Durations;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The sums of one window, over all instances that have ended.
#[derive(Debug, Default)]
pub struct Usage {
    ticks: AtomicU64,
    memory_peak: AtomicU64,
    /// Writes of guests, until they are durable.
    pub commits: Durations,
}

impl Usage {
    /// An instance has ended.
    pub(crate) fn add(&self, ticks: u64, memory_bytes: usize) {
        self.ticks.fetch_add(ticks, Relaxed);
        self.memory_peak.fetch_max(memory_bytes as u64, Relaxed);
    }

    /// CPU time. Sampled each millisecond, as the limit is: one request says little, many are
    /// right.
    pub fn cpu(&self) -> Duration {
        let tick = u64::try_from(EPOCH_TICK.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.ticks.load(Relaxed).saturating_mul(tick))
    }

    /// The most memory that one instance had, in bytes.
    pub fn memory_peak(&self) -> u64 {
        self.memory_peak.load(Relaxed)
    }
}
