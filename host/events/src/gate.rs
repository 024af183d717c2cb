//! What the windows ask of the deliveries, before there are any: windows are opened first, because
//! deliveries go to them.

use crate::events::Events;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hms_core::events::{EmitGuard, Outboxes};
use std::sync::{Arc, OnceLock, Weak};

/// Given to the windows, and opened with the deliveries once.
#[derive(Default)]
pub struct Gate(OnceLock<Weak<Events>>);

impl Gate {
    /// Has `events` answer from now on.
    pub fn open(&self, events: &Arc<Events>) {
        // There is one for each host.
        let _ = self.0.set(Arc::downgrade(events));
    }

    fn events(&self) -> Option<Arc<Events>> {
        self.0.get().and_then(Weak::upgrade)
    }
}

impl EmitGuard for Gate {
    fn before_emit<'a>(&'a self, window: &'a str) -> Option<BoxFuture<'a, Result<(), String>>> {
        let Some(events) = self.events() else {
            let why = "the host is starting or ending".to_owned();
            return Some(std::future::ready(Err(why)).boxed());
        };
        // All but the first event of a run need no more than this.
        if events.shared.logs.is_marked(window) {
            return None;
        }
        let window = window.to_owned();
        let marked = async move {
            match events.shared.logs.before_emit(&window) {
                Some(marking) => marking.await,
                None => Ok(()),
            }
        };
        Some(marked.boxed())
    }
}

impl Outboxes for Gate {
    fn undelivered<'a>(&'a self, window: &'a str) -> BoxFuture<'a, Option<String>> {
        async move { self.events()?.undelivered(window).await }.boxed()
    }

    fn store_deleted(&self, window: &str) {
        if let Some(events) = self.events() {
            events.store_deleted(window);
        }
    }
}
