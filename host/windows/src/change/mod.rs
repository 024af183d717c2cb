//! The one way to change a window.
//!
//! The record is the desired state: a verb is an edit of it, and [`settle`] makes what serves match
//! what it says. A [`Change`] waits until it has a window to itself, and then makes sure that the
//! window is still the registry's: one that was removed meanwhile is not changed any more. It is
//! the only thing that sets a window's record, switches what serves, or writes the record to disk,
//! in one of two orders. [`Change::commit`], for what gives something: durable first, then in
//! memory, so that nothing is ever live that a crash would take away. [`Change::enforce`], for what
//! takes something away: in memory first, so that no disk can keep an operator from closing a
//! window. A stop and a removal do not even wait for their turn to do that, see [`closing`]. What
//! the disk did not take is [`Unsaved`], and is tried again in the background until the disk takes
//! it or a later change replaces it.
//!
//! Each write is a compare-and-swap on the record's version. Where another host has changed the
//! record meanwhile, this one takes that over, and makes its edit of it again.

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

/// How often an edit is made of a record that another host has changed meanwhile.
const EDITS: usize = 4;

/// A window's record as memory has it. Read at any time; set only by whoever holds the [`Change`].
pub(super) struct Recorded {
    known: ArcSwap<Known>,
    turn: Arc<Mutex<()>>,
    /// Whether a task is at work on what is left to do.
    finishing: AtomicBool,
    closings: Closings,
    on_disk: OnDisk,
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
    /// Whether nothing is left to do: the disk has this very record, and no removal is under way.
    fn is_finished(&self) -> bool {
        self.unsaved.is_none() && !self.record.removing
    }

    /// # Errors
    /// When the record of this window, `name`, cannot be read.
    pub(crate) fn check_readable(&self, name: &WindowName) -> Result<(), ChangeError> {
        match &self.unreadable {
            None => Ok(()),
            Some(why) => Err(ChangeError::Record {
                window: name.to_string(),
                why: why.clone(),
            }),
        }
    }

    /// Whether the window was taken away, and only the disk still has it.
    pub(crate) fn is_going(&self) -> bool {
        let enforced = self.unsaved.as_ref().is_some_and(|u| u.shown.enforced);
        self.record.removing || enforced && self.record.is_vacant()
    }
}

impl Recorded {
    /// `record` is what the disk has.
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
    /// Where an operator has closed the window, `name`, and another change has its turn.
    pub(crate) fn check_not_closed(&self, name: &WindowName) -> Result<(), WindowUnavailable> {
        self.closings.check(name)
    }

    /// What closes it once it is its turn.
    pub(crate) fn closing(&self) -> Option<Closing> {
        self.closings.pending().map(|(closing, _)| closing)
    }

    /// What of it is not on disk yet.
    pub(crate) fn unsaved(&self) -> Option<hms_api::Unsaved> {
        let pending = self.closings.pending().map(|(_, unsaved)| unsaved);
        pending.or_else(|| Some(self.known().unsaved.as_ref()?.shown.clone()))
    }

    /// Counts the stops that were asked for.
    pub(crate) fn stops(&self) -> u64 {
        self.closings.stops()
    }

    /// Notes that the record on disk cannot be read, before anybody can change the window.
    pub(crate) fn set_unreadable(&self, why: &str) {
        self.on_disk.told(Some(RecordVersion::UNREADABLE));
        self.known.store(Arc::new(Known {
            unreadable: Some(why.to_owned()),
            ..Known::clone(&self.known())
        }));
    }

    /// Whether nothing is left to do.
    pub(crate) fn is_finished(&self) -> bool {
        self.known().is_finished()
    }

    /// The record as it holds.
    pub(crate) fn known(&self) -> Arc<Known> {
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

impl Change {
    /// A change of the window of that name.
    ///
    /// # Errors
    /// When there is none, nothing was ever deployed to it, or it was removed while this waited.
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

    /// The same where nothing may be deployed yet, or a removal not be done.
    ///
    /// # Errors
    /// When there is none, it was removed while this waited, or its record cannot be read.
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

    /// A change of the window of that name, made where there is none.
    ///
    /// # Errors
    /// When one of that name is being removed, and the disk does not let that end; or its record
    /// cannot be read.
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
            // What it had stored was to be deleted, so the next window of its name must not find
            // it.
            if !change.finish().await {
                return Err(ChangeError::Removing {
                    window: name.clone(),
                    why: change.why(),
                });
            }
        }
    }

    /// A change of this very window. None where it is not the registry's any more, once it is its
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

    /// The record as it holds.
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

    /// Makes the record as `edit` has it durable, and then has what serves match it. What it needs
    /// is loaded before, as `load` says.
    ///
    /// # Errors
    /// Those of `edit` and of loading; when the record cannot be made durable in time; when other
    /// hosts change it each time. Then everything is as before, or as those hosts have it; what the
    /// disk may have of the edit is replaced in the background.
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

    /// Holds to the record as `edit` has it at once, and has what serves match it; then makes it
    /// durable. Where the disk does not take it, it holds all the same, [`Change::unsaved`] says
    /// so, and it is tried again in the background. What it needs is loaded before, as `load` says.
    ///
    /// # Errors
    /// Those of `edit` and of loading; when other hosts change the record each time.
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

    /// Removes the window: closes and drains it, and takes it out of the registry. What of that the
    /// disk does not take is done later, and then the window is [`Known::is_going`] until it is.
    pub(crate) async fn remove(&mut self, delete_store: bool) {
        let (closing, mut next) = (Closing::Remove { delete_store }, self.record());
        closing.edit(&mut next);
        self.hold_to_shut(next, closing);
        for _ in 0..EDITS {
            // What another host makes of it meanwhile is removed as well.
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
        let limits = self.registry.config.limits.with(&record.limits);
        self.registry.hold(&self.window, limits);
        let known = Known {
            record,
            unsaved,
            unreadable: None,
        };
        self.window.recorded.known.store(Arc::new(known));
    }
}
