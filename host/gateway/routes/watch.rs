//! Keeps a route set as its folder is.
//!
//! The file system's events make a change live at once; a look at the folder twice a second makes it live also where
//! events get lost: network file systems, too few watches, a folder that is made later or replaced.

use super::RouteSet;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_millis(500);

/// An editor's save is several events; this much later they are over.
const SETTLE: Duration = Duration::from_millis(20);

impl RouteSet {
    /// Starts the watch. It ends when the set is dropped.
    pub fn watch(self: &Arc<Self>) {
        let set = Arc::downgrade(self);
        let started = thread::Builder::new()
            .name("routes-watch".into())
            .spawn(move || run(&set));
        if let Err(error) = started {
            tracing::error!(%error, "the routes folder is not watched: manifests are live after a restart only");
        }
    }
}

fn run(set: &Weak<RouteSet>) {
    // One place: a full channel already says "look".
    let (changed, changes) = sync_channel(1);
    let mut watcher = None;
    while let Some(set) = set.upgrade() {
        if watcher.is_none() {
            watcher = events(&set, changed.clone());
        }
        set.reload();
        drop(set);
        wait(&changes);
    }
}

/// None while the folder cannot be watched; then it is tried again.
fn events(set: &RouteSet, changed: SyncSender<()>) -> Option<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |_| match changed.try_send(()) {
        Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
    })
    .ok()?;
    watcher.watch(set.dir(), RecursiveMode::NonRecursive).ok()?;
    Some(watcher)
}

fn wait(changes: &Receiver<()>) {
    match changes.recv_timeout(LOOK_EVERY) {
        Ok(()) => {
            thread::sleep(SETTLE);
            let _ = changes.try_recv();
        }
        Err(RecvTimeoutError::Timeout) => {}
        // The sender lives as long as this thread.
        Err(RecvTimeoutError::Disconnected) => thread::sleep(LOOK_EVERY),
    }
}
