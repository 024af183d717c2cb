//! How long a stream may be quiet: one rule for windows and services.

use std::time::Duration;

/// The longest time in which nothing of an answer, or of its request's body, moves once the answer
/// has begun. The gateway gives it to a window with its
/// [`WindowCall`](crate::call::WindowCall), where the route says another than the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamIdle(pub Duration);

impl Default for StreamIdle {
    /// 5 min, as Envoy's `stream_idle_timeout`, and as a WebSocket has here.
    fn default() -> Self {
        StreamIdle(Duration::from_secs(300))
    }
}
