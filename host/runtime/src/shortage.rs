//! Whether requests currently find no permit at a window, or in the pool. Then even clients that
//! have only begun are checked for slowness.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long a shortage lasts after a request found no permit. 2 s: if slow clients return as fast
/// as they are cut, a permit is free now and then, and none a moment later.
const SHORT_FOR: Duration = Duration::from_secs(2);

/// When a request last found no permit.
pub struct Shortage {
    begun: Instant,
    /// Milliseconds since `begun`, plus one; 0 is never.
    last_ms: AtomicU64,
}

impl Default for Shortage {
    fn default() -> Self {
        Shortage {
            begun: Instant::now(),
            last_ms: AtomicU64::new(0),
        }
    }
}

impl Shortage {
    /// A request finds no permit.
    pub fn note(&self) {
        self.last_ms.store(self.now_ms(), Relaxed);
    }

    /// Whether a request found no permit recently.
    pub fn is_now(&self) -> bool {
        match self.last_ms.load(Relaxed) {
            0 => false,
            last => self.now_ms().saturating_sub(last) < SHORT_FOR.as_millis() as u64,
        }
    }

    fn now_ms(&self) -> u64 {
        let now = self.begun.elapsed().as_millis();
        u64::try_from(now).unwrap_or(u64::MAX - 1) + 1
    }
}

/// The shortages that concern one window.
#[derive(Default)]
pub struct Short {
    /// The window has used up its own limit.
    pub window: Shortage,
    /// The pool is used up.
    pub pool: Arc<Shortage>,
}

impl Short {
    /// Whether a slow client of the window may keep somebody from a permit.
    pub fn is_now(&self) -> bool {
        self.window.is_now() || self.pool.is_now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_is_short_of_its_own_permits_and_of_those_of_the_pool() {
        let (one, other) = (Short::default(), Short::default());
        assert!(!one.is_now());
        one.window.note();
        assert!(one.is_now() && !other.is_now());
        let third = Short {
            pool: other.pool.clone(),
            ..Short::default()
        };
        other.pool.note();
        assert!(other.is_now() && third.is_now());
    }
}
