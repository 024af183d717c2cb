//! The only way to change a window.
//!
//! The record is the desired state: a verb is an edit of it, and [`settle`] makes what serves match
//! it. A [`Change`] waits until it has the window to itself, and then checks that the window is
//! still in the registry: one that was removed meanwhile is not changed any more. Only a `Change`
//! sets a window's record, switches what serves, or writes the record to disk, in one of two
//! orders. [`Change::commit`] is for changes that give something: durable first, then in memory, so
//! that nothing is ever live that a crash would undo. [`Change::enforce`] is for changes that take
//! something away: in memory first, so that no disk can keep an operator from closing a window. A
//! stop or a removal does not even wait for its turn to do that: see [`closing`]. What could not be
//! written is [`Unsaved`], and is retried in the background until it is written or replaced by a
//! later change.
//!
//! Each write is a compare-and-swap on the record's version. If another host has changed the record
//! meanwhile, this one adopts that, and applies its edit again.

mod closing;
mod settle;
#[cfg(test)]
mod tests;
mod unsaved;

use super::record::{RecordVersion, WindowRecord};
use super::registry::Registry;
use super::window::Window;
use super::{ChangeError, WindowName};
use crate::traffic::unavailable::WindowUnavailable;
use arc_swap::ArcSwap;
use closing::Closings;
pub(crate) use closing::TURN_TIME;
pub(super) use closing::{Closed, Closing};
use hms_api::WindowStatus;
pub(super) use settle::Load;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::{Mutex, OwnedMutexGuard};
pub(crate) use unsaved::DISK_TIME;
pub(super) use unsaved::save_all;
use unsaved::{OnDisk, Saved, Unsaved};

/// How often an edit is applied again because another host has changed the record.
const EDITS: usize = 4;

/// A window's record in memory. Read at any time; set only by the holder of the [`Change`].
pub(super) struct Recorded {
    known: ArcSwap<Known>,
    turn: Arc<Mutex<()>>,
    /// Whether a task is working on what is left to do.
    finishing: AtomicBool,
    closings: Closings,
    on_disk: OnDisk,
}

/// What is known about a record.
#[derive(Clone)]
pub(super) struct Known {
    pub record: WindowRecord,
    pub unsaved: Option<Unsaved>,
    /// Why the record on disk cannot be read. The window can then only be removed: a newer host may
    /// still be able to read the record.
    pub unreadable: Option<String>,
}

impl Known {
    /// Whether nothing is left to do: the disk has exactly this record, and no removal is in
    /// progress.
    fn is_finished(&self) -> bool {
        self.unsaved.is_none() && !self.record.removing
    }

    /// # Errors
    /// If the record of this window, `name`, cannot be read.
    pub(crate) fn check_readable(&self, name: &WindowName) -> Result<(), ChangeError> {
        match &self.unreadable {
            None => Ok(()),
            Some(why) => Err(ChangeError::Record {
                window: name.to_string(),
                why: why.clone(),
            }),
        }
    }

    /// Whether the window was removed, and only the disk still has it.
    pub(crate) fn is_going(&self) -> bool {
        let enforced = self.unsaved.as_ref().is_some_and(|u| u.shown.enforced);
        self.record.removing || enforced && self.record.is_vacant()
    }
}

impl Recorded {
    /// `record` is the one on disk.
    pub(crate) fn new(record: WindowRecord) -> Self {
        Recorded {
            on_disk: OnDisk::new(&record),
            known: ArcSwap::from_pointee(Known {
                record,
                unsaved: None,
                unreadable: None,
            }),
            turn: Arc::default(),
            finishing: AtomicBool::new(false),
            closings: Closings::default(),
        }
    }

    /// Whether requests are served. Takes no lock.
    ///
    /// # Errors
    ///
    /// If an operator has closed the window `name`, and another change has its turn.
    pub(crate) fn check_not_closed(&self, name: &WindowName) -> Result<(), WindowUnavailable> {
        self.closings.check(name)
    }

    /// The closings that wait for their turn.
    pub(crate) fn closing(&self) -> Option<Closing> {
        self.closings.pending().map(|(closing, _)| closing)
    }

    /// What of it is not on disk yet.
    pub(crate) fn unsaved(&self) -> Option<hms_api::Unsaved> {
        let pending = self.closings.pending().map(|(_, unsaved)| unsaved);
        pending.or_else(|| Some(self.known().unsaved.as_ref()?.shown.clone()))
    }

    /// Counts the stops that were requested.
    pub(crate) fn stops(&self) -> u64 {
        self.closings.stops()
    }

    /// Records that the record on disk cannot be read, before anybody can change the window.
    pub(crate) fn set_unreadable(&self, why: &str) {
        self.on_disk.confirmed(Some(RecordVersion::UNREADABLE));
        self.known.store(Arc::new(Known {
            unreadable: Some(why.to_owned()),
            ..Known::clone(&self.known())
        }));
    }

    /// Whether nothing is left to do.
    pub(crate) fn is_finished(&self) -> bool {
        self.known().is_finished()
    }

    /// The record in force.
    pub(crate) fn known(&self) -> Arc<Known> {
        self.known.load_full()
    }
}

/// Exclusive access to a window that is in the registry. Dropping it at any moment, even during a
/// write, leaves memory as it was before or after the change, and makes the disk follow.
pub(super) struct Change {
    registry: Arc<Registry>,
    window: Arc<Window>,
    /// A write has not been answered: the disk may have the old or the new record.
    in_doubt: bool,
    /// Shared with blocking work on its behalf, which cannot be cancelled.
    turn: Arc<OwnedMutexGuard<()>>,
}

impl Change {
    /// A change of the window of that name.
    ///
    /// # Errors
    ///
    /// If there is none, nothing was ever deployed to it, or it was removed while this waited.
    pub(crate) async fn of(
        registry: &Arc<Registry>,
        name: &WindowName,
    ) -> Result<Self, ChangeError> {
        let change = Self::of_any(registry, name).await?;
        match change.record().is_deployed() {
            true => Ok(change),
            false => Err(ChangeError::NoWindow(name.clone())),
        }
    }

    /// The same, but also for a window without a release, or with an incomplete removal.
    ///
    /// # Errors
    ///
    /// If there is none, it was removed while this waited, or its record cannot be read.
    pub(crate) async fn of_any(
        registry: &Arc<Registry>,
        name: &WindowName,
    ) -> Result<Self, ChangeError> {
        loop {
            let window = registry.window(name)?;
            if let Some(change) = Self::of_window(registry, &window).await {
                window.recorded.known().check_readable(name)?;
                return Ok(change);
            }
        }
    }

    /// A change of the window of that name. Creates it if there is none.
    ///
    /// # Errors
    ///
    /// If one of that name is being removed, and the disk does not let the removal complete; or if
    /// its record cannot be read.
    pub(crate) async fn of_new(
        registry: &Arc<Registry>,
        name: &WindowName,
    ) -> Result<Self, ChangeError> {
        loop {
            let window = registry.window_or_new(name, WindowRecord::default());
            let Some(mut change) = Self::of_window(registry, &window).await else {
                continue;
            };
            window.recorded.known().check_readable(name)?;
            if !change.record().removing {
                return Ok(change);
            }
            // Its store was to be deleted, so the next window of its name must not find it.
            if !change.finish().await {
                return Err(ChangeError::Removing {
                    window: name.clone(),
                    why: change.why(),
                });
            }
        }
    }

    /// A change of exactly this window. None if it is no longer in the registry when it has its
    /// turn.
    pub(crate) async fn of_window(registry: &Arc<Registry>, window: &Arc<Window>) -> Option<Self> {
        let turn = window.recorded.turn.clone().lock_owned().await;
        let now = registry.window(&window.name).ok()?;
        if !Arc::ptr_eq(&now, window) {
            return None;
        }
        let change = Change {
            registry: registry.clone(),
            window: window.clone(),
            in_doubt: false,
            turn: Arc::new(turn),
        };
        change.take_left();
        Some(change)
    }

    pub(crate) fn window(&self) -> &Arc<Window> {
        &self.window
    }

    /// The record in force.
    pub(crate) fn record(&self) -> WindowRecord {
        self.window.recorded.known().record.clone()
    }

    pub(crate) fn status(&self) -> WindowStatus {
        self.window.status()
    }

    /// What of the window the disk has not taken yet.
    pub(crate) fn unsaved(&self) -> Option<hms_api::Unsaved> {
        let known = self.window.recorded.known();
        Some(known.unsaved.as_ref()?.shown.clone())
    }

    /// Makes the record as edited by `edit` durable, then makes what serves match it. Loads what it
    /// needs before, as `load` says.
    ///
    /// # Errors
    ///
    /// Those of `edit` and of loading; if the record cannot be made durable in time; if other hosts
    /// change it each time. Then everything is as before, or as those hosts have it. What the disk
    /// may have of the edit is replaced in the background.
    pub(crate) async fn commit(
        &mut self,
        load: &Load,
        edit: impl Fn(&mut WindowRecord) -> Result<(), ChangeError>,
    ) -> Result<(), ChangeError> {
        for _ in 0..EDITS {
            let next = self.prepare(load, &edit).await?;
            let saved = self.unsaved().is_none();
            if !next.is_changed && (saved || next.is_served()) {
                if saved {
                    self.open(next);
                }
                return Ok(());
            }
            match self.put(&next).await {
                Ok(()) => {
                    self.open(next);
                    return Ok(());
                }
                Err(ChangeError::Overtaken(_)) => self.check_deployed()?,
                Err(error) => return Err(error),
            }
        }
        Err(ChangeError::Overtaken(self.window.name.clone()))
    }

    /// Applies the record as edited by `edit` at once, makes what serves match it, and then makes
    /// it durable. If the disk fails, the record is still in force, [`Change::unsaved`] says so,
    /// and the write is retried in the background. Loads what it needs before, as `load` says.
    ///
    /// # Errors
    ///
    /// Those of `edit` and of loading; if other hosts change the record each time.
    pub(crate) async fn enforce(
        &mut self,
        load: &Load,
        edit: impl Fn(&mut WindowRecord) -> Result<(), ChangeError>,
    ) -> Result<(), ChangeError> {
        for _ in 0..EDITS {
            let next = self.prepare(load, &edit).await?;
            if !next.is_changed && self.unsaved().is_none() {
                self.open(next);
                return Ok(());
            }
            self.hold_to(next);
            match self.save().await {
                Saved::Yes | Saved::No => return Ok(()),
                Saved::Overtaken => self.check_deployed()?,
            }
        }
        match self.unsaved() {
            Some(_) => Ok(()),
            None => Err(ChangeError::Overtaken(self.window.name.clone())),
        }
    }

    /// Removes the window: closes and drains it, and takes it out of the registry. What cannot be
    /// written is done later; until then the window is [`Known::is_going`].
    pub(crate) async fn remove(&mut self, delete_store: bool) {
        let (closing, mut next) = (Closing::Remove { delete_store }, self.record());
        closing.edit(&mut next);
        self.hold_to_shut(next, closing);
        for _ in 0..EDITS {
            // Changes of another host meanwhile are removed as well.
            let saved = self.save().await;
            if !matches!(saved, Saved::Overtaken) || self.unsaved().is_none() {
                break;
            }
        }
        if self.unsaved().is_none() {
            self.finish().await;
        }
    }

    fn check_deployed(&self) -> Result<(), ChangeError> {
        let known = self.window.recorded.known();
        known.check_readable(&self.window.name)?;
        match known.record.is_deployed() {
            true => Ok(()),
            false => Err(ChangeError::NoWindow(self.window.name.clone())),
        }
    }

    fn set(&self, record: WindowRecord, unsaved: Option<Unsaved>) {
        let known = Known {
            record,
            unsaved,
            unreadable: None,
        };
        self.window.recorded.known.store(Arc::new(known));
        self.registry.hold(&self.window);
    }
}
