//! What the host still holds when nothing goes on in it.

use super::harness::Host;
use super::harness::process::{Held, held};
use super::harness::rest::at_rest;
use std::time::Duration;

/// tokio ends a thread that did blocking work after 10 s without more; until then its stack counts among the mappings.
const THREADS_END: Duration = Duration::from_secs(11);

/// What the host holds once no client is connected, every old release is gone, and threads that no work is left for have
/// ended.
pub async fn held_at_rest(host: &Host, window: &str) -> Held {
    at_rest(host, window).await;
    tokio::time::sleep(THREADS_END).await;
    held(host.pid())
}
