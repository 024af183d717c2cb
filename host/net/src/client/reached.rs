//! When a request has its connection: for those who wait for that no longer than for its answer.

use std::sync::Arc;
use tokio::sync::Notify;

/// Told when a request has a connection. Goes with it, among its extensions.
#[derive(Debug, Clone, Default)]
pub struct Reached(Arc<Notify>);

impl Reached {
    pub(super) fn set(&self) {
        self.0.notify_one();
    }

    /// Resolves once, when the request has a connection. Not where it gets none.
    pub async fn wait(&self) {
        self.0.notified().await;
    }
}
