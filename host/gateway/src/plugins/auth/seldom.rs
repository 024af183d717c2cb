//! Limits log lines that requests could repeat.

use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// Time between two such lines.
const PAUSE: Duration = Duration::from_secs(600);

/// When the line was last written.
#[derive(Default)]
pub(super) struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    /// Whether to write it now, which then counts as written.
    pub(super) fn is_due(&self) -> bool {
        let mut said = self.0.lock();
        let due = said.is_none_or(|said| said.elapsed() >= PAUSE);
        if due {
            *said = Some(Instant::now());
        }
        due
    }
}
