//! Keeps a set as its folder is.

use super::{Manifest, ManifestSet};
use hms_disk::changes::{Changes, LOOK_EVERY};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// An editor's save is several events; this much later they are over.
const SETTLE: Duration = Duration::from_millis(20);

impl<M: Manifest> ManifestSet<M> {
    /// Starts the watch, in a task of the present tokio runtime. It ends when the set is dropped.
    pub fn watch(self: &Arc<Self>) {
        tokio::spawn(run(Arc::downgrade(self)));
    }
}

async fn run<M: Manifest>(set: Weak<ManifestSet<M>>) {
    let mut changes = Changes::new();
    while let Some(set) = set.upgrade() {
        changes.follow(set.dirs()).await;
        // One that failed by a fault of its own is followed by the next.
        let _ = tokio::task::spawn_blocking(move || set.reload()).await;
        changes.wait(LOOK_EVERY).await;
        tokio::time::sleep(SETTLE).await;
    }
}
