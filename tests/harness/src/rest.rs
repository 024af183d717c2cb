//! What a host holds when nothing goes on in it.

use super::process::{Held, held};
use super::{Host, eventually};
use futures_util::future::join_all;
use http::Method;
use std::time::Duration;

/// Arguments for a host whose memory is measured: a pool so small that each of its places has been
/// used before the first look. The first use of a place would count as growth, and with the usual
/// pool there are thousands of them. 4 instances: 52 places for memories, of which each swap takes
/// one that no window has used while there is such a one.
pub const SMALL_POOL: [&str; 2] = ["--instances", "4"];

/// Requests at once in a rush.
const RUSH: usize = 16;

/// tokio ends a thread that did blocking work after 10 s without more; until then its stack counts
/// among the mappings.
const THREADS_END: Duration = Duration::from_secs(11);

/// What the host holds once no client is connected, every old release of `window` is gone, and
/// threads that no work is left for have ended.
///
/// The host keeps for use again what it needed at its busiest: places for instances, threads, the
/// allocator's own reserves. To compare like with like a rush on each of `paths` has it at its
/// busiest first.
pub async fn held_at_rest(host: &Host, window: &str, paths: &[&str]) -> Held {
    rush(host, paths).await;
    at_rest(host, window).await;
    tokio::time::sleep(THREADS_END).await;
    held(host.pid())
}

/// Every instance at work on each of `paths`, and more requests in the queue.
pub async fn rush(host: &Host, paths: &[&str]) {
    for path in paths {
        let rush = join_all((0..RUSH).map(|_| host.get(path))).await;
        for answer in rush {
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        }
    }
}

async fn at_rest(host: &Host, window: &str) {
    eventually("the host is at rest", || async {
        let window = host.window(window).await;
        let metrics = host.admin(Method::GET, "/metrics", "").await.text();
        let connected = "hms_gateway_open_connections ";
        let connected = metrics
            .lines()
            .find_map(|line| line.strip_prefix(connected));
        let nothing = connected == Some("0") && window.leases == 0 && window.draining.is_empty();
        nothing.then_some(())
    })
    .await;
}
