//! An operator's stop or removal closes the window at once, even if another change has it.
//!
//! It shuts the window before it waits for its turn, so what the other change opens gets no
//! request. If the wait takes too long, the closing is left with the window. The next change does
//! it first, so nothing has to wait for it, and a window never has more than one such task.

use super::Change;
use crate::record::WindowRecord;
use crate::registry::Registry;
use crate::traffic::unavailable::WindowUnavailable;
use crate::window::Window;
use crate::{ChangeError, WindowName};
use hms_api::Unsaved;
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use time::OffsetDateTime;

/// How long a stop or a removal waits for its turn before it is left with the window. 500 ms: a
/// deploy without a probe, on a working disk, is done by then, and an operator gets an answer
/// within a second.
pub(crate) const TURN_TIME: Duration = Duration::from_millis(500);

/// How a window is closed. A later variant includes an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Closing {
    Stop,
    Remove { delete_store: bool },
}

impl Closing {
    /// What closed the window of that record, if it is closed.
    pub(super) fn of(record: &WindowRecord) -> Option<Closing> {
        let delete_store = record.removing;
        match record.is_deployed() {
            true => record.stopped.then_some(Closing::Stop),
            false => Some(Closing::Remove { delete_store }),
        }
    }

    /// Edits the record. Returns whether there is something to close.
    pub(crate) fn edit(self, record: &mut WindowRecord) -> bool {
        match self {
            Closing::Stop if !record.is_deployed() => return false,
            Closing::Stop => record.stopped = true,
            // Once the store has been given up for deletion, there is no way back. It takes two
            // writes and a deleted file: a host that ends between them completes it at its next
            // start.
            Closing::Remove { delete_store } if delete_store || record.removing => {
                record.stopped = true;
                record.removing = true;
            }
            Closing::Remove { .. } => *record = WindowRecord::default(),
        }
        true
    }
}

/// The closings of one window that are not complete.
#[derive(Default)]
pub(super) struct Closings {
    asked: Mutex<Asked>,
    /// The strongest of them, for requests: 0 for none.
    shut: AtomicU8,
    /// Stops requested so far.
    stops: AtomicU64,
}

#[derive(Default)]
struct Asked {
    /// Closings whose callers wait for their turn.
    waiting: Vec<Closing>,
    /// The one that is left to the next change.
    left: Option<Closing>,
    since: Option<OffsetDateTime>,
    /// The window is no longer in the registry.
    gone: bool,
}

impl Asked {
    fn strongest(&self) -> Option<Closing> {
        self.waiting.iter().copied().chain(self.left).max()
    }
}

impl Closings {
    fn lock(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Asked) -> T) -> T {
        let mut asked = self.lock();
        let done = change(&mut asked);
        let strongest = asked.strongest();
        let since = asked.since.unwrap_or_else(OffsetDateTime::now_utc);
        asked.since = strongest.map(|_| since);
        let shut = match strongest {
            None => 0,
            Some(Closing::Stop) => 1,
            Some(Closing::Remove { .. }) => 2,
        };
        self.shut.store(shut, SeqCst);
        done
    }

    /// Takes no lock: every request calls it.
    ///
    /// # Errors
    ///
    /// If the window `name` is being closed.
    pub(super) fn check(&self, name: &WindowName) -> Result<(), WindowUnavailable> {
        let window = || name.to_string();
        match self.shut.load(SeqCst) {
            0 => Ok(()),
            1 => Err(WindowUnavailable::Stopped { window: window() }),
            _ => Err(WindowUnavailable::NotDeployed { window: window() }),
        }
    }

    /// The strongest incomplete one, and since when.
    pub(super) fn pending(&self) -> Option<(Closing, Unsaved)> {
        let asked = self.lock();
        let unsaved = Unsaved {
            since: asked.since?,
            why: "another change of the window is under way, and this one comes after it".into(),
            enforced: true,
        };
        Some((asked.strongest()?, unsaved))
    }

    pub(super) fn stops(&self) -> u64 {
        self.stops.load(SeqCst)
    }

    pub(super) fn left(&self) -> Option<Closing> {
        self.lock().left
    }

    /// `closing` is in force. Returns whether nothing more was left meanwhile.
    pub(super) fn done(&self, closing: Closing) -> bool {
        self.change(|asked| {
            asked.left = asked.left.filter(|left| *left != closing);
            asked.left.is_none()
        })
    }

    /// Nothing can be left with the window from now on. False if something is left already.
    pub(super) fn end(&self) -> bool {
        self.change(|asked| {
            asked.gone = asked.left.is_none();
            asked.gone
        })
    }
}

/// A closing whose caller waits for its turn. Dropped when it is given up or done.
pub(crate) struct Asking {
    window: Arc<Window>,
    closing: Closing,
    waits: bool,
}

impl Asking {
    fn new(window: &Arc<Window>, closing: Closing) -> Self {
        let closings = &window.recorded.closings;
        if closing == Closing::Stop {
            closings.stops.fetch_add(1, SeqCst);
        }
        closings.change(|asked| asked.waiting.push(closing));
        Asking {
            window: window.clone(),
            closing,
            waits: true,
        }
    }

    /// Leaves it with the window. Returns whether it is the first; None if the window is gone.
    fn leave(mut self) -> Option<bool> {
        self.waits = false;
        let closing = self.closing;
        self.window.recorded.closings.change(|asked| {
            forget(&mut asked.waiting, closing);
            let first = asked.left.is_none();
            if !asked.gone {
                asked.left = asked.left.max(Some(closing));
            }
            (!asked.gone).then_some(first)
        })
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if self.waits {
            let closing = self.closing;
            let closings = &self.window.recorded.closings;
            closings.change(|asked| forget(&mut asked.waiting, closing));
        }
    }
}

fn forget(waiting: &mut Vec<Closing>, closing: Closing) {
    if let Some(at) = waiting.iter().position(|other| *other == closing) {
        waiting.swap_remove(at);
    }
}

/// The state of a closing.
pub(crate) enum Closed {
    /// It has its turn. The window stays shut until the second value is dropped.
    Turn(Change, Asking),
    /// The window is shut, and the rest is done later.
    Left(Arc<Window>, Unsaved),
}

impl Closing {
    /// Shuts the window of that name to requests, and waits a while for its turn.
    ///
    /// # Errors
    ///
    /// If there is none, or it cannot be closed in this way.
    pub(crate) async fn ask(
        self,
        registry: &Arc<Registry>,
        name: &WindowName,
    ) -> Result<Closed, ChangeError> {
        loop {
            let window = registry.window(name)?;
            if self == Closing::Stop {
                let known = window.recorded.known();
                known.check_readable(name)?;
                if !known.record.is_deployed() {
                    return Err(ChangeError::NoWindow(name.clone()));
                }
            }
            let asking = Asking::new(&window, self);
            let turn = Change::of_window(registry, &window);
            match tokio::time::timeout(registry.config.turn_time, turn).await {
                Ok(Some(change)) => return Ok(Closed::Turn(change, asking)),
                Ok(None) => {}
                Err(_) => {
                    let pending = window.recorded.closings.pending();
                    let Some(first) = asking.leave() else {
                        continue;
                    };
                    if first {
                        tokio::spawn(close_later(registry.clone(), window.clone()));
                    }
                    let unsaved = pending.map(|(_, unsaved)| unsaved);
                    let unsaved = unsaved.unwrap_or_else(|| super::Unsaved::now("", true).shown);
                    return Ok(Closed::Left(window, unsaved));
                }
            }
        }
    }
}

/// Completes a closing that was left with the window, once it has its turn. Requests in flight are
/// cut at the drain deadline, as usual.
async fn close_later(registry: Arc<Registry>, window: Arc<Window>) {
    let turn = Change::of_window(&registry, &window);
    let mut turn = std::pin::pin!(turn);
    let in_time = tokio::time::timeout(registry.config.drain_deadline, turn.as_mut()).await;
    let change = match in_time {
        Ok(change) => change,
        Err(_) => {
            for release in window.serving().releases() {
                release.drain().cut();
            }
            turn.await
        }
    };
    if let Some(mut change) = change {
        tracing::info!(window = %window.name, "closed; the change before it has completed");
        change.finish().await;
    }
}

impl Change {
    /// Applies a closing that was left with the window, in memory.
    pub(super) fn take_left(&self) {
        let closings = &self.window.recorded.closings;
        while let Some(closing) = closings.left() {
            let mut next = self.record();
            if closing.edit(&mut next) {
                self.hold_to_shut(next, closing);
            }
            if closings.done(closing) {
                return;
            }
        }
    }
}
