//! The one way to change a window.
//!
//! [`Registry::change`] and its siblings wait until they have a window to themselves, and then make
//! sure that it is still the registry's: a window that was removed while they waited is not changed
//! any more. The [`Change`] that they give is the only thing that sets a window's record, turns its
//! pointer or writes its record to disk. It does so in one of two orders. [`Change::commit`], for
//! what gives something: durable first, then in memory, so that nothing is ever live that a crash
//! would take away. [`Change::enforce`], for what takes something away: in memory first, so that no
//! disk can keep an operator from closing a window. A stop and a removal do not even wait for their
//! turn to do that, see [`closing`]. What the disk did not take is [`Unsaved`], and is tried again
//! in the background until the disk takes it or a later change replaces it.

mod closing;
mod settle;
#[cfg(test)]
mod tests;

use super::record::WindowRecord;
use super::registry::Registry;
use super::serving::Serving;
use super::unavailable::WindowUnavailable;
use super::window::Window;
use super::{ChangeError, WindowName, WindowStatus};
use arc_swap::ArcSwap;
use closing::Closings;
pub use closing::TURN_TIME;
pub(super) use closing::{Closed, Closing};
use parking_lot::Mutex as SyncMutex;
use settle::Write;
pub use settle::{DISK_TIME, Unsaved};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::Instant;

/// A window's record as memory has it. Read at any time; set only by whoever holds the [`Change`].
pub(super) struct Recorded {
    known: ArcSwap<Known>,
    turn: Arc<Mutex<()>>,
    /// Whether a task is at work on what is left to do.
    settling: AtomicBool,
    closings: Closings,
    /// The write that the disk has not answered in time. No other is asked for before it is.
    slow: SyncMutex<Option<Write>>,
}

/// What is known of a record.
#[derive(Clone)]
pub(super) struct Known {
    pub record: WindowRecord,
    pub unsaved: Option<Unsaved>,
    /// Why the record that the disk has cannot be read. Then the window can be removed, and nothing
    /// else: a newer host may read the record yet.
    pub unreadable: Option<String>,
}

impl Known {
    /// Whether something is left to do: the disk has another record, or a removal is not done.
    fn is_settled(&self) -> bool {
        self.unsaved.is_none() && !self.record.removing
    }

    /// # Errors
    /// When the record of this window, `name`, cannot be read.
    pub fn check_readable(&self, name: &WindowName) -> Result<(), ChangeError> {
        match &self.unreadable {
            None => Ok(()),
            Some(why) => Err(ChangeError::Record {
                window: name.to_string(),
                why: why.clone(),
            }),
        }
    }

    /// Whether the window was taken away, and only the disk still has it.
    pub fn is_going(&self) -> bool {
        let enforced = self.unsaved.as_ref().is_some_and(|u| u.enforced);
        self.record.removing || enforced && self.record.is_vacant()
    }
}

impl Recorded {
    pub fn new(record: WindowRecord) -> Self {
        Recorded {
            known: ArcSwap::from_pointee(Known {
                record,
                unsaved: None,
                unreadable: None,
            }),
            turn: Arc::default(),
            settling: AtomicBool::new(false),
            closings: Closings::default(),
            slow: SyncMutex::default(),
        }
    }

    /// Whether requests are served. Takes no lock.
    ///
    /// # Errors
    /// Where an operator has closed the window, `name`, and another change has its turn.
    pub fn check_not_closed(&self, name: &WindowName) -> Result<(), WindowUnavailable> {
        self.closings.check(name)
    }

    /// What closes it once it is its turn.
    pub fn closing(&self) -> Option<Closing> {
        self.closings.pending().map(|(closing, _)| closing)
    }

    /// What of it is not on disk yet.
    pub fn unsaved(&self) -> Option<Unsaved> {
        let pending = self.closings.pending().map(|(_, unsaved)| unsaved);
        pending.or_else(|| self.known().unsaved.clone())
    }

    /// Counts the stops that were asked for.
    pub fn stops(&self) -> u64 {
        self.closings.stops()
    }

    /// Notes that the record on disk cannot be read, before anybody can change the window.
    pub fn set_unreadable(&self, why: &str) {
        self.known.store(Arc::new(Known {
            unreadable: Some(why.to_owned()),
            ..Known::clone(&self.known())
        }));
    }

    /// The record as it holds.
    pub fn known(&self) -> Arc<Known> {
        self.known.load_full()
    }
}

/// A window that nobody else changes meanwhile, and that is the registry's. Dropping it at any
/// moment, in the middle of a write as well, leaves memory as it was before or after the change,
/// and has the disk follow.
pub(super) struct Change {
    registry: Arc<Registry>,
    window: Arc<Window>,
    /// The disk was asked and has not answered: it may have the one record or the other.
    in_doubt: bool,
    /// Shared with what blocks on its behalf, and cannot be given up.
    turn: Arc<OwnedMutexGuard<()>>,
}

impl Registry {
    /// The window of that name, to be changed.
    ///
    /// # Errors
    /// When there is none, nothing was ever deployed to it, or it was removed while this waited.
    pub(super) async fn change(self: &Arc<Self>, name: &WindowName) -> Result<Change, ChangeError> {
        let change = self.change_any(name).await?;
        match change.record().releases.is_empty() || change.record().removing {
            true => Err(ChangeError::NoWindow(name.clone())),
            false => Ok(change),
        }
    }

    /// The same where nothing may be deployed yet, or a removal not be done.
    ///
    /// # Errors
    /// When there is none, it was removed while this waited, or its record cannot be read.
    pub(super) async fn change_any(
        self: &Arc<Self>,
        name: &WindowName,
    ) -> Result<Change, ChangeError> {
        let change = self.change_unread(name).await?;
        change.window.recorded.known().check_readable(name)?;
        Ok(change)
    }

    /// The same where its record need not be readable: to remove it.
    ///
    /// # Errors
    /// When there is none, or it was removed while this waited.
    pub(super) async fn change_unread(
        self: &Arc<Self>,
        name: &WindowName,
    ) -> Result<Change, ChangeError> {
        loop {
            let window = self.window(name)?;
            if let Some(change) = self.change_of(&window).await {
                return Ok(change);
            }
        }
    }

    /// The window of that name, made where there is none.
    ///
    /// # Errors
    /// When one of that name is being removed, and the disk does not let that end; or its record
    /// cannot be read.
    pub(super) async fn change_or_new(
        self: &Arc<Self>,
        name: &WindowName,
    ) -> Result<Change, ChangeError> {
        loop {
            let window = self.window_or_new(name, WindowRecord::default());
            let Some(mut change) = self.change_of(&window).await else {
                continue;
            };
            change.window.recorded.known().check_readable(name)?;
            if !change.record().removing {
                return Ok(change);
            }
            // What it had stored was to be deleted, so the next window of its name must not find
            // it.
            if !change.settle().await {
                return Err(ChangeError::Removing {
                    window: name.clone(),
                    why: change.why(),
                });
            }
        }
    }

    /// This very window. None where it is not the registry's any more, once it is its turn.
    pub(super) async fn change_of(self: &Arc<Self>, window: &Arc<Window>) -> Option<Change> {
        let turn = window.recorded.turn.clone().lock_owned().await;
        let now = self.window(&window.name).ok()?;
        if !Arc::ptr_eq(&now, window) {
            return None;
        }
        let change = Change {
            registry: self.clone(),
            window: window.clone(),
            in_doubt: false,
            turn: Arc::new(turn),
        };
        change.take_left();
        Some(change)
    }
}

impl Change {
    pub fn window(&self) -> &Arc<Window> {
        &self.window
    }

    /// The record as it holds.
    pub fn record(&self) -> WindowRecord {
        self.window.recorded.known().record.clone()
    }

    pub fn status(&self) -> WindowStatus {
        self.window.status()
    }

    /// What of the window the disk has not taken yet.
    pub fn unsaved(&self) -> Option<Unsaved> {
        self.window.recorded.known().unsaved.clone()
    }

    /// Makes `next` durable, then holds to it and opens `serving`, where there is one to be opened.
    ///
    /// # Errors
    /// When it cannot be made durable in time. Then everything is as before; what the disk may have
    /// of `next` is replaced in the background.
    pub async fn commit(
        &mut self,
        next: WindowRecord,
        serving: Option<Serving>,
    ) -> Result<(), ChangeError> {
        self.in_doubt = true;
        let deadline = Instant::now() + self.registry.config.disk_time;
        let written = self.write(&next, deadline).await;
        self.in_doubt = false;
        if let Err(error) = written {
            if error.leaves_the_disk_in_doubt() {
                self.doubt(&error.to_string());
            }
            return Err(error);
        }
        self.set(next, None);
        self.switch(serving);
        Ok(())
    }

    /// Holds to `next` and opens `serving` at once, and then makes it durable. Where the disk does
    /// not take it, it holds all the same, [`Change::unsaved`] says so, and it is tried again in
    /// the background.
    pub async fn enforce(&mut self, next: WindowRecord, serving: Option<Serving>) {
        self.set(next, Some(Unsaved::now("", true)));
        self.switch(serving);
        self.save().await;
    }

    /// Removes the window: closes and drains it, and takes it out of the registry. What of that the
    /// disk does not take is done later, and then the window is [`Known::is_going`] until it is.
    pub async fn remove(&mut self, delete_store: bool) {
        if let Some((next, serving)) = (Closing::Remove { delete_store }).of(self.record()) {
            self.enforce(next, Some(serving)).await;
        }
        if self.unsaved().is_none() {
            self.settle().await;
        }
    }

    /// Finishes a removal that an earlier run began. Whether it is done.
    pub async fn finish_removal(&mut self) -> bool {
        self.settle().await
    }

    /// Opens what the record says.
    pub fn open(&self, serving: Serving) {
        self.switch(Some(serving));
    }

    fn set(&self, record: WindowRecord, unsaved: Option<Unsaved>) {
        let limits = self.registry.config.limits.with(&record.limits);
        self.registry.hold(&self.window, limits);
        let known = Known {
            record,
            unsaved,
            unreadable: None,
        };
        self.window.recorded.known.store(Arc::new(known));
    }

    fn switch(&self, serving: Option<Serving>) {
        if let Some(serving) = serving {
            self.window
                .switch(serving, self.registry.config.drain_deadline);
        }
    }
}
