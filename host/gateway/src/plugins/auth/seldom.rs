//! What is worth a line of the log, and not one for each request.

use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// Between two lines that say the same.
const PAUSE: Duration = Duration::from_secs(600);

/// When something was said last.
#[derive(Default)]
pub(super) struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    /// Whether to say it now; then it counts as said.
    pub(super) fn is_due(&self) -> bool {
        let mut said = self.0.lock();
        let due = said.is_none_or(|said| said.elapsed() >= PAUSE);
        if due {
            *said = Some(Instant::now());
        }
        due
    }
}
