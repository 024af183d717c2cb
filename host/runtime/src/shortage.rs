//! Whether requests find no place at a window just now, or in the pool: then slow clients are
//! looked for among those that have only begun.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long places are held to be short after a request found none. 2 s: where slow clients come
/// back as fast as they are ended, there is a place now and then, and none a moment later.
const SHORT_FOR: Duration = Duration::from_secs(2);

/// When a request last found no place.
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
    /// A request finds no place.
    pub fn note(&self) {
        self.last_ms.store(self.now_ms(), Relaxed);
    }

    /// Whether one found none a short while ago.
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
    /// The window has no place that its own limits allow.
    pub window: Shortage,
    /// All windows together have none.
    pub pool: Arc<Shortage>,
}

impl Short {
    /// Whether a slow client of the window may keep somebody from a place.
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
